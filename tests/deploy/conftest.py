"""The AWS that these tests deploy to: ministack, and for Auto Scaling, SSM and the server `enrolld simulate`."""

import json
import os
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import boto3
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "ministack"))

import processes  # noqa: E402 (the other stage that starts such processes)

REGION, ACCOUNT = processes.REGION, processes.ACCOUNT
TOOLS = Path(os.environ["ENROLLD_DEPLOY_TOOLS"])
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
# What the simulator serves when it is asked for nothing else.
GROUP, SERVER, NODE_ROLE = "web-blue", "prod-chef", f"arn:aws:iam::{ACCOUNT}:role/enrolld-node"


def client(service: str, url: str):
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return boto3.client(service, region_name=REGION, endpoint_url=url, **keys)


@contextmanager
def ministack(folder: Path):
    """ministack with what the queue's template makes."""
    port = processes.free_port()
    environment = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "SERVICES": "sqs,sns,events,iam,sts,cloudformation,cloudwatch,monitoring,s3,ssm,secretsmanager,autoscaling,ec2,ecs,ecr,logs",
    }
    url = f"http://127.0.0.1:{port}"
    with processes.process("ministack", [str(TOOLS / "ministack")], folder, environment, f"{url}/_ministack/health"):
        yield url


@dataclass
class Fleet:
    """The simulator. Its hooks notify a queue of its own, from where a test takes the notification."""

    url: str

    def __post_init__(self):
        self.sqs = client("sqs", self.url)
        self.queue_url = self.sqs.get_queue_url(QueueName="enrolld-lifecycle")["QueueUrl"]

    def order(self, path, **body):
        with urlopen(Request(f"{self.url}/_sim/{path}", data=json.dumps(body).encode()), timeout=10) as answer:
            return json.load(answer)

    def state(self):
        with urlopen(f"{self.url}/_sim/state", timeout=10) as answer:
            return json.load(answer)

    def launch(self) -> dict:
        """One more instance; returns the notification of its hook."""
        self.order("launch", group=GROUP, count=1)
        return self.notification("autoscaling:EC2_INSTANCE_LAUNCHING")

    def terminate(self, instance: str) -> dict:
        self.order("terminate", instances=[instance])
        return self.notification("autoscaling:EC2_INSTANCE_TERMINATING")

    def notification(self, transition: str) -> dict:
        def look():
            for message in self.sqs.receive_message(QueueUrl=self.queue_url, WaitTimeSeconds=1).get("Messages", []):
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                if body.get("LifecycleTransition") == transition:
                    return body
            return None

        return processes.eventually(look, f"the simulator sends a notification of {transition}")

    def shows(self, instance: str, state: str) -> bool:
        return self.state()["instances"][instance]["state"] == state

    def nodes(self):
        return self.state()["servers"][SERVER].get("nodes", {})


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="session")
def cloud(folder):
    """Where ministack is."""
    with ministack(folder) as url:
        yield url


@pytest.fixture(scope="session")
def fleet(folder):
    with processes.simulator(folder) as url:
        yield Fleet(url)
