"""What stands between the worker and ministack sees a call beyond the policy, and lets it through unchanged."""

import pytest

import confinement
import witness
from conftest import client

QUEUE = f"arn:aws:sqs:{confinement.REGION}:{confinement.ACCOUNT}:witnessed"
PARAMETERS = f"arn:aws:ssm:{confinement.REGION}:{confinement.ACCOUNT}:parameter/enrolld/i-*"


def grant(action, resource, **more):
    return {"action": action, "resource": resource, "condition": {}, "denies": False} | more


@pytest.fixture
def watched(cloud):
    grants = [
        grant("sqs:SendMessage", QUEUE),
        grant("ssm:GetParameters", PARAMETERS),
        # Conditions are for the services that are not here: what would need one is beyond.
        grant("sqs:DeleteMessage", QUEUE, condition={"StringEquals": {"aws:RequestedRegion": ["eu-central-1"]}}),
    ]
    cloud.sqs.create_queue(QueueName="witnessed")
    with witness.between(grants, cloud.url) as (seen, url):
        yield seen, client("sqs", url), client("ssm", url), cloud.sqs.get_queue_url(QueueName="witnessed")["QueueUrl"]


def test_what_the_policy_allows_is_let_through_and_counted(watched):
    seen, sqs, ssm, url = watched
    assert sqs.send_message_batch(QueueUrl=url, Entries=[{"Id": "1", "MessageBody": "x"}])["Successful"]
    assert ssm.get_parameters(Names=["/enrolld/i-1/a", "/enrolld/i-2/a"])["InvalidParameters"]
    assert (seen.calls, seen.beyond) == ({"sqs:SendMessage": 1, "ssm:GetParameters": 1}, [])


def test_what_it_does_not_allow_is_let_through_and_told(watched):
    seen, sqs, ssm, url = watched
    sqs.receive_message(QueueUrl=url)
    assert seen.beyond.pop() == ("sqs:ReceiveMessage", [QUEUE])
    sqs.send_message(QueueUrl=url, MessageBody="x")
    assert seen.beyond == []
    received = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.delete_message(QueueUrl=url, ReceiptHandle=received[0]["ReceiptHandle"])
    assert seen.beyond.pop()[0] == "sqs:DeleteMessage"
    ssm.get_parameters(Names=["/enrolld/i-1/a", "/secret"])
    action, resources = seen.beyond.pop()
    assert action == "ssm:GetParameters" and resources[1].endswith("parameter/secret")
    ssm.describe_parameters()
    assert seen.beyond.pop() == ("ssm:DescribeParameters", []), "what is about everything"
