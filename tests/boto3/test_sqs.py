"""SQS by the current boto3, which checks the MD5 sums itself."""

import json
import socket
import threading
import time

import pytest
from botocore.exceptions import ConnectionClosedError, ParamValidationError


@pytest.fixture(scope="module")
def sqs(sim):
    return sim.client("sqs")


@pytest.fixture
def queue(sqs, request):
    name = request.node.name.split("[")[0][:70] + str(abs(hash(request.node.name)))[:8]
    return sqs.create_queue(QueueName=name)["QueueUrl"]


def receive(sqs, queue, **more):
    return sqs.receive_message(QueueUrl=queue, **{"MaxNumberOfMessages": 10, **more}).get("Messages", [])


def attribute(sqs, queue, name):
    return sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=[name])["Attributes"][name]


def test_the_default_queue_has_its_dead_letter_queue(sqs):
    url = sqs.get_queue_url(QueueName="enrolld-lifecycle")["QueueUrl"]
    policy = json.loads(attribute(sqs, url, "RedrivePolicy"))
    assert policy["maxReceiveCount"] == 100
    assert policy["deadLetterTargetArn"].endswith(":enrolld-dead-letters")
    assert url in sqs.list_queues(QueueNamePrefix="enrolld-")["QueueUrls"]


def test_a_message_comes_back_until_it_is_deleted(sim, sqs, queue):
    sent = sqs.send_message(QueueUrl=queue, MessageBody="hällo\n")
    [first] = receive(sqs, queue, VisibilityTimeout=1)
    assert (first["MessageId"], first["Body"]) == (sent["MessageId"], "hällo\n")
    assert receive(sqs, queue) == []
    [again] = sim.until(lambda: receive(sqs, queue, AttributeNames=["ApproximateReceiveCount"]), 3)
    assert again["Attributes"] == {"ApproximateReceiveCount": "2"}
    assert again["ReceiptHandle"] != first["ReceiptHandle"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"])
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=again["ReceiptHandle"])
    assert attribute(sqs, queue, "ApproximateNumberOfMessages") == "0"
    assert attribute(sqs, queue, "ApproximateNumberOfMessagesNotVisible") == "0"


def test_attributes_come_only_when_asked_for(sqs, queue):
    attributes = {
        "reason": {"DataType": "String", "StringValue": "unknown envelope"},
        "attempts": {"DataType": "Number", "StringValue": "3"},
        "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
    }
    sqs.send_message(QueueUrl=queue, MessageBody="x", MessageAttributes=attributes)
    [plain] = receive(sqs, queue, VisibilityTimeout=0)
    assert "Attributes" not in plain and "MessageAttributes" not in plain
    [full] = receive(sqs, queue, VisibilityTimeout=0, MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"])
    assert full["MessageAttributes"] == attributes
    assert {"SentTimestamp", "ApproximateReceiveCount", "ApproximateFirstReceiveTimestamp"} <= set(full["Attributes"])
    [one] = receive(sqs, queue, VisibilityTimeout=0, MessageAttributeNames=["rea*", "attempts"])
    assert set(one["MessageAttributes"]) == {"attempts"}
    [some] = receive(sqs, queue, VisibilityTimeout=0, MessageAttributeNames=["reason.*"], AttributeNames=["SentTimestamp"])
    assert "MessageAttributes" in some and set(some["Attributes"]) == {"SentTimestamp"}


def test_a_long_poll_ends_when_a_message_arrives(sqs, queue, sim):
    def later():
        time.sleep(0.3)
        sim.client("sqs").send_message(QueueUrl=queue, MessageBody="x")

    thread = threading.Thread(target=later)
    started = time.monotonic()
    thread.start()
    messages = receive(sqs, queue, WaitTimeSeconds=10)
    assert len(messages) == 1 and 0.2 < time.monotonic() - started < 9
    thread.join()


def test_a_long_poll_without_messages_waits(sqs, queue):
    started = time.monotonic()
    assert receive(sqs, queue, WaitTimeSeconds=1) == []
    assert 0.9 < time.monotonic() - started < 9


@pytest.mark.parametrize("hand_out", [True, False])
def test_a_dropped_long_poll_may_have_taken_the_message(sim, sqs, queue, hand_out):
    name = queue.rsplit("/", 1)[1]
    sim.order("queue-options", {"queue": name, "options": {"dropped_polls_receive": hand_out}})
    host, port = sim.endpoint.removeprefix("http://").split(":")
    body = json.dumps({"QueueUrl": queue, "WaitTimeSeconds": 20})
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
            f"Authorization: AWS4-HMAC-SHA256 Credential=a/b\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        time.sleep(1)
    time.sleep(1)
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    assert attribute(sqs, queue, "ApproximateNumberOfMessagesNotVisible") == ("1" if hand_out else "0")


def test_visibility_can_be_changed_and_given_back(sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    [held] = receive(sqs, queue)
    handle = {"QueueUrl": queue, "ReceiptHandle": held["ReceiptHandle"]}
    sqs.change_message_visibility(**handle, VisibilityTimeout=600)
    assert receive(sqs, queue) == []
    sqs.change_message_visibility(**handle, VisibilityTimeout=0)
    assert len(receive(sqs, queue)) == 1


def test_a_message_is_held_for_twelve_hours_at_most(sim, sqs, queue, refused):
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    [held] = receive(sqs, queue, VisibilityTimeout=600)
    handle = {"QueueUrl": queue, "ReceiptHandle": held["ReceiptHandle"]}
    sim.order("skip", {"ms": 5000})
    code, message = refused(sqs.change_message_visibility, **handle, VisibilityTimeout=43200)
    assert code == "InvalidParameterValue" and "beyond the limit [43200 seconds]" in message
    code, message = refused(sqs.change_message_visibility, **handle, VisibilityTimeout=43201)
    assert code == "InvalidParameterValue"


def test_an_expired_handle_answers_ok_and_does_nothing(sim, sqs, queue, refused):
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    [held] = receive(sqs, queue, VisibilityTimeout=1)
    sim.order("skip", {"ms": 1100})
    handle = {"QueueUrl": queue, "ReceiptHandle": held["ReceiptHandle"]}
    sqs.change_message_visibility(**handle, VisibilityTimeout=600)
    sqs.delete_message(**handle)
    assert attribute(sqs, queue, "ApproximateNumberOfMessages") == "1"
    sim.order("queue-options", {"queue": queue.rsplit("/", 1)[1], "options": {"expired_handles": "error"}})
    assert "MessageNotInflight" in refused(sqs.change_message_visibility, **handle, VisibilityTimeout=600)[0]


def test_a_bad_handle_is_refused(sqs, queue, refused):
    code, message = refused(sqs.delete_message, QueueUrl=queue, ReceiptHandle="nonsense")
    assert code == "ReceiptHandleIsInvalid" and "nonsense" in message


def test_entries_fail_one_by_one_inside_a_batch(sqs, queue):
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    [held] = receive(sqs, queue)
    good, bad = {"Id": "good", "ReceiptHandle": held["ReceiptHandle"]}, {"Id": "bad", "ReceiptHandle": "nonsense"}
    entries = [{**good, "VisibilityTimeout": 60}, {**bad, "VisibilityTimeout": 60}]
    answer = sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
    assert [one["Id"] for one in answer["Successful"]] == ["good"]
    assert [(one["Id"], one["Code"], one["SenderFault"]) for one in answer["Failed"]] == [
        ("bad", "ReceiptHandleIsInvalid", True)
    ]
    answer = sqs.delete_message_batch(QueueUrl=queue, Entries=[good, bad])
    assert [one["Id"] for one in answer["Successful"]] == ["good"]
    assert [one["Id"] for one in answer["Failed"]] == ["bad"]


def test_batches_have_their_limits(sqs, queue, refused):
    def entries(ids):
        return [{"Id": id, "MessageBody": "x"} for id in ids]

    send = sqs.send_message_batch
    assert len(send(QueueUrl=queue, Entries=entries("abcdefghij"))["Successful"]) == 10
    code, message = refused(send, QueueUrl=queue, Entries=entries("abcdefghijk"))
    assert code == "AWS.SimpleQueueService.TooManyEntriesInBatchRequest" and "11" in message
    assert refused(send, QueueUrl=queue, Entries=[])[0] == "AWS.SimpleQueueService.EmptyBatchRequest"
    assert refused(send, QueueUrl=queue, Entries=entries("aa"))[0] == "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"
    assert refused(send, QueueUrl=queue, Entries=entries(["a b"]))[0] == "AWS.SimpleQueueService.InvalidBatchEntryId"
    large = [{"Id": id, "MessageBody": "x" * 600_000} for id in "ab"]
    assert refused(send, QueueUrl=queue, Entries=large)[0] == "AWS.SimpleQueueService.BatchRequestTooLong"


@pytest.mark.parametrize(
    "arguments, code",
    [
        ({"MessageBody": "x" * 1_048_577}, "InvalidParameterValue"),
        ({"MessageBody": ""}, "MissingParameter"),
        ({"MessageBody": "\x00"}, "InvalidMessageContents"),
        ({"MessageBody": "x", "DelaySeconds": 901}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageAttributes": {str(n): {"DataType": "String", "StringValue": "x"} for n in range(11)}}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageAttributes": {"AWS.x": {"DataType": "String", "StringValue": "x"}}}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageAttributes": {"a..b": {"DataType": "String", "StringValue": "x"}}}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "Text", "StringValue": "x"}}}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "Number", "StringValue": "x"}}}, "InvalidParameterValue"),
        ({"MessageBody": "x", "MessageAttributes": {"a": {"DataType": "String", "StringValue": ""}}}, "InvalidParameterValue"),
    ],
)
def test_what_a_message_may_not_be(sqs, queue, refused, arguments, code):
    assert refused(sqs.send_message, QueueUrl=queue, **arguments)[0] == code


@pytest.mark.parametrize(
    "arguments",
    [{"MaxNumberOfMessages": 11}, {"MaxNumberOfMessages": 0}, {"WaitTimeSeconds": 21}, {"VisibilityTimeout": 43201}],
)
def test_what_a_receive_may_not_ask_for(sqs, queue, refused, arguments):
    assert refused(sqs.receive_message, QueueUrl=queue, **arguments)[0] == "InvalidParameterValue"


def test_an_unknown_queue_does_not_exist(sqs, refused):
    with pytest.raises(sqs.exceptions.QueueDoesNotExist):
        sqs.get_queue_url(QueueName="no-such-queue")
    code, message = refused(sqs.receive_message, QueueUrl="http://127.0.0.1:1/123456789012/no-such-queue")
    assert code == "AWS.SimpleQueueService.NonExistentQueue" and message == "The specified queue does not exist."


def test_a_message_that_was_received_too_often_is_moved(sqs, queue):
    dead = sqs.create_queue(QueueName=queue.rsplit("/", 1)[1][:60] + "-dead")["QueueUrl"]
    policy = {"deadLetterTargetArn": attribute(sqs, dead, "QueueArn"), "maxReceiveCount": "2"}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"RedrivePolicy": json.dumps(policy)})
    sqs.send_message(QueueUrl=queue, MessageBody="poison")
    for _ in range(2):
        assert len(receive(sqs, queue, VisibilityTimeout=0)) == 1
    assert receive(sqs, queue) == []
    [moved] = receive(sqs, dead, MessageSystemAttributeNames=["All"])
    assert moved["Body"] == "poison"
    assert moved["Attributes"]["DeadLetterQueueSourceArn"] == attribute(sqs, queue, "QueueArn")


def test_queues_have_their_own_rules(sim, sqs, refused):
    assert refused(sqs.create_queue, QueueName="a b")[0] == "InvalidParameterValue"
    assert refused(sqs.create_queue, QueueName="a", Attributes={"VisibilityTimeout": "43201"})[0] == "InvalidAttributeValue"
    assert refused(sqs.create_queue, QueueName="a", Attributes={"Nonsense": "1"})[0] == "InvalidAttributeName"
    url = sqs.create_queue(QueueName="mayfly", Attributes={"VisibilityTimeout": "60"})["QueueUrl"]
    assert sqs.create_queue(QueueName="mayfly")["QueueUrl"] == url
    assert refused(sqs.create_queue, QueueName="mayfly", Attributes={"VisibilityTimeout": "61"})[0] == "QueueAlreadyExists"
    sqs.delete_queue(QueueUrl=url)
    assert "QueueDeletedRecently" in refused(sqs.create_queue, QueueName="mayfly")[0]
    sim.order("skip", {"ms": 61_000})
    sqs.create_queue(QueueName="mayfly")
    fifo = sqs.create_queue(QueueName="line.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    assert attribute(sqs, fifo, "FifoQueue") == "true"


def test_duplicates_and_disorder_are_options(sim, sqs, queue):
    options = {"duplicate": 1.0, "duplicate_after_ms": 0, "reorder": 50}
    sim.order("queue-options", {"queue": queue.rsplit("/", 1)[1], "options": options})
    for number in range(10):
        sqs.send_message(QueueUrl=queue, MessageBody=str(number))
    messages = [one for _ in range(3) for one in receive(sqs, queue)]
    bodies = [one["Body"] for one in messages]
    assert sorted(bodies) == sorted([str(number) for number in range(10)] * 2)
    assert bodies != sorted(bodies)
    assert len({one["MessageId"] for one in messages}) == 10


def test_a_purge_is_allowed_once_a_minute(sqs, queue, refused):
    sqs.send_message(QueueUrl=queue, MessageBody="x")
    sqs.purge_queue(QueueUrl=queue)
    assert attribute(sqs, queue, "ApproximateNumberOfMessages") == "0"
    assert "PurgeQueueInProgress" in refused(sqs.purge_queue, QueueUrl=queue)[0]


def test_faults_are_the_services_own(sim, sqs, queue, refused):
    def fault(**effect):
        sim.order("faults", {"id": "one", "operation": "sqs:SendMessage", "effect": effect})

    send = {"QueueUrl": queue, "MessageBody": "x"}
    fault(kind="throttle", rate=0.001, burst=1)
    sqs.send_message(**send)
    assert refused(sqs.send_message, **send)[0] == "RequestThrottled"
    fault(kind="error", status=503)
    assert refused(sqs.send_message, **send)[0] == "ServiceUnavailable"
    fault(kind="drop")
    with pytest.raises(ConnectionClosedError):
        sqs.send_message(**send)
    assert attribute(sqs, queue, "ApproximateNumberOfMessages") == "1"
    fault(kind="lose_answer")
    with pytest.raises(ConnectionClosedError):
        sqs.send_message(**send)
    assert attribute(sqs, queue, "ApproximateNumberOfMessages") == "2"
    fault(kind="latency", ms=300)
    started = time.monotonic()
    sqs.send_message(**send)
    assert time.monotonic() - started > 0.29
    sim.order("faults", method="DELETE")
    outcomes = sim.state()["outcomes"]["sqs:SendMessage"]
    assert {"ok", "RequestThrottled", "ServiceUnavailable", "dropped", "answer_lost"} <= set(outcomes)


def test_a_denied_principal_is_denied(sim, queue, refused):
    sim.order("principals", {"access_key_id": "AKIADENIED", "arn": "arn:aws:iam::123456789012:user/denied", "denied": ["sqs:*"]})
    code, message = refused(sim.client("sqs", key="AKIADENIED").receive_message, QueueUrl=queue)
    assert code == "AccessDenied" and "arn:aws:iam::123456789012:user/denied" in message


def test_boto_itself_still_asks_for_a_queue(sqs):
    with pytest.raises(ParamValidationError):
        sqs.receive_message()
