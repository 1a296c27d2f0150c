"""A message that comes in any of the ways ends with the node associated, the instance in service, the message gone."""

import hashlib
import json
import subprocess

import pytest

from conftest import GROUP
from processes import ACCOUNT, eventually

WAYS = ["direct", "sns", "sns_raw", "eventbridge", "eventbridge_sns"]


@pytest.fixture(scope="session")
def public_key(tmp_path_factory) -> str:
    key = tmp_path_factory.mktemp("key") / "private.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    return subprocess.run(["openssl", "rsa", "-in", key, "-pubout"], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("way", WAYS)
def test_a_node_comes_and_goes_whichever_way_its_messages_take(way, cloud, fleet, worker, public_key):
    send = getattr(cloud, f"send_{way}")

    launch = fleet.launch()
    instance = launch["EC2InstanceId"]
    assert fleet.lifecycle_state(instance) == "Pending:Wait"
    parameter = f"/enrolld/{instance}/public-key"
    cloud.ssm.put_parameter(Name=parameter, Value=public_key, Type="String")
    send(launch)
    eventually(lambda: fleet.lifecycle_state(instance) == "InService", f"{instance} is in service")
    assert fleet.nodes()[instance]["fingerprint"] == hashlib.md5(public_key.encode(), usedforsecurity=False).hexdigest(), "with the key that the node wrote"
    eventually(lambda: cloud.messages() == 0, "the launch's message is gone")

    send(fleet.terminate(instance))
    eventually(lambda: fleet.lifecycle_state(instance) is None, f"{instance} is gone")
    assert instance not in fleet.nodes()
    eventually(lambda: cloud.messages() == 0, "the termination's message is gone")
    eventually(lambda: cloud.ssm.get_parameters(Names=[parameter])["InvalidParameters"] == [parameter], "the parameter is deleted")
    assert cloud.take_dead_letter() is None


def test_a_key_that_is_a_secure_string_is_read_in_clear(cloud, fleet, worker, public_key):
    launch = fleet.launch()
    instance = launch["EC2InstanceId"]
    parameter = f"/enrolld/{instance}/public-key"
    cloud.ssm.put_parameter(Name=parameter, Value=public_key, Type="SecureString")
    assert cloud.ssm.get_parameter(Name=parameter)["Parameter"]["Value"] != public_key, "or this would show nothing"
    cloud.send_direct(launch)
    eventually(lambda: fleet.lifecycle_state(instance) == "InService", f"{instance} is in service")
    assert fleet.nodes()[instance]["fingerprint"] == hashlib.md5(public_key.encode(), usedforsecurity=False).hexdigest()
    eventually(lambda: cloud.messages() == 0, "the launch's message is gone")


@pytest.mark.parametrize("way", ["direct", "sns", "sns_raw"])
def test_the_notification_of_a_new_hook_is_acknowledged(way, cloud, worker):
    getattr(cloud, f"send_{way}")(
        {
            "AccountId": ACCOUNT,
            "RequestId": "d5c4b3a2-9180-4f6e-8d7c-6b5a49382716",
            "AutoScalingGroupName": GROUP,
            "Service": "AWS Auto Scaling",
            "Event": "autoscaling:TEST_NOTIFICATION",
            "Time": "2026-03-02T08:00:00.000Z",
        }
    )
    eventually(lambda: cloud.messages() == 0, "the message is gone")
    assert cloud.take_dead_letter() is None


def test_what_nobody_understands_stands_in_the_dead_letter_queue_with_its_reason(cloud, worker):
    body = json.dumps({"Type": "Notification", "TopicArn": cloud.topic, "Message": "<html>"})
    cloud.sqs.send_message(QueueUrl=cloud.queue_url, MessageBody=body)
    letter = eventually(cloud.take_dead_letter, "a dead letter")
    assert letter["Body"] == body
    assert "not_json" in [attribute.get("StringValue") for attribute in letter["MessageAttributes"].values()]
    eventually(lambda: cloud.messages() == 0, "the message is gone")
