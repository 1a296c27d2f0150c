"""One ministack, one simulator and one worker for all tests of this folder."""

import json
from dataclasses import dataclass
from urllib.request import urlopen

import boto3
import pytest

import processes
from processes import REGION

CREDENTIALS = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
# What the simulator serves when it is asked for nothing else.
GROUP = "web-blue"
SERVER = "prod-chef"
QUEUE = "enrolld-lifecycle"
# The queue of ministack that the redrive policy of its lifecycle queue names.
DEAD_LETTERS = "lifecycle-dead-letters"
DETAIL_TYPES = {
    "autoscaling:EC2_INSTANCE_LAUNCHING": "EC2 Instance-launch Lifecycle Action",
    "autoscaling:EC2_INSTANCE_TERMINATING": "EC2 Instance-terminate Lifecycle Action",
}

CONFIGURATION = """
queue_url = "{queue_url}"
region = "{region}"
log = "info,enrolld=debug"
poll_wait = "2s"

[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "{server}", engine = "chef" }}
# ministack records the account itself, and no role, as the writer of every parameter.
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", require_owner = false }}
key_poll = "200ms"
status_poll_initial = "100ms"
"""


def client(service: str, url: str):
    return boto3.client(service, region_name=REGION, endpoint_url=url, **CREDENTIALS)


@dataclass
class Cloud:
    """ministack, and what is set up in it: the queue, its dead letters, two topics and two rules."""

    url: str
    queue_url: str
    dead_letters_url: str
    topic: str
    raw_topic: str

    def __post_init__(self):
        self.sqs = client("sqs", self.url)
        self.sns = client("sns", self.url)
        self.events = client("events", self.url)
        self.ssm = client("ssm", self.url)

    @classmethod
    def set_up(cls, url: str):
        sqs, sns, events = (client(service, url) for service in ("sqs", "sns", "events"))

        def queue(name, **attributes):
            queue_url = sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
            return queue_url, sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]

        dead_letters_url, dead_letters_arn = queue(DEAD_LETTERS)
        redrive = json.dumps({"deadLetterTargetArn": dead_letters_arn, "maxReceiveCount": 100})
        queue_url, queue_arn = queue("lifecycle", RedrivePolicy=redrive, VisibilityTimeout="120")

        def topic(name, raw):
            arn = sns.create_topic(Name=name)["TopicArn"]
            sns.subscribe(TopicArn=arn, Protocol="sqs", Endpoint=queue_arn, Attributes={"RawMessageDelivery": raw})
            return arn

        topics = topic("lifecycle", "false"), topic("lifecycle-raw", "true")
        # PutEvents refuses sources that begin with aws, here as in AWS, so the rules are for sources of our own.
        for name, target in (("to-queue", queue_arn), ("to-topic", topics[0])):
            pattern = {"source": [f"test.{name}"], "detail-type": list(DETAIL_TYPES.values())}
            events.put_rule(Name=name, EventPattern=json.dumps(pattern), State="ENABLED")
            assert events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": target}])["FailedEntryCount"] == 0
        return cls(url, queue_url, dead_letters_url, *topics)

    def send_direct(self, notification):
        self.sqs.send_message(QueueUrl=self.queue_url, MessageBody=json.dumps(notification))

    def send_sns(self, notification):
        self.sns.publish(TopicArn=self.topic, Message=json.dumps(notification), Subject="Auto Scaling: lifecycle action")

    def send_sns_raw(self, notification):
        self.sns.publish(TopicArn=self.raw_topic, Message=json.dumps(notification))

    def send_eventbridge(self, notification, source="test.to-queue"):
        outside = {"AccountId", "RequestId", "Service", "Time"}
        entry = {
            "Source": source,
            "DetailType": DETAIL_TYPES[notification["LifecycleTransition"]],
            "Detail": json.dumps({field: value for field, value in notification.items() if field not in outside}),
        }
        assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def send_eventbridge_sns(self, notification):
        self.send_eventbridge(notification, source="test.to-topic")

    def messages(self) -> int:
        """How many messages are in the queue, those in hand included."""
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=counts)["Attributes"]
        return sum(int(attributes[count]) for count in counts)

    def take_dead_letter(self):
        """A dead letter, which is gone from there after; none where there is none."""
        found = self.sqs.receive_message(QueueUrl=self.dead_letters_url, MessageAttributeNames=["All"]).get("Messages", [])
        for message in found:
            self.sqs.delete_message(QueueUrl=self.dead_letters_url, ReceiptHandle=message["ReceiptHandle"])
        return found[0] if found else None


@dataclass
class Fleet:
    """The simulator: Auto Scaling and OpsWorks CM. Its hooks notify a queue of its own, from where a test takes the notification
    to send it the way it wants to test."""

    url: str

    def __post_init__(self):
        self.autoscaling = client("autoscaling", self.url)
        self.sqs = client("sqs", self.url)
        self.queue_url = self.sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]

    def nodes(self):
        """The nodes that are associated with the server, by name."""
        with urlopen(f"{self.url}/_sim/state", timeout=10) as response:
            return json.load(response)["servers"][SERVER].get("nodes", {})

    def launch(self):
        """One more instance; returns the notification of its hook."""
        group = self.autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[GROUP])["AutoScalingGroups"][0]
        self.autoscaling.set_desired_capacity(AutoScalingGroupName=GROUP, DesiredCapacity=group["DesiredCapacity"] + 1)
        return self.notification("autoscaling:EC2_INSTANCE_LAUNCHING")

    def terminate(self, instance: str):
        """One instance less; returns the notification of its hook."""
        self.autoscaling.terminate_instance_in_auto_scaling_group(InstanceId=instance, ShouldDecrementDesiredCapacity=True)
        notification = self.notification("autoscaling:EC2_INSTANCE_TERMINATING")
        assert notification["EC2InstanceId"] == instance
        return notification

    def notification(self, transition: str):
        """The next notification of a transition, out of the simulator's queue; those of hooks that were made are passed over."""

        def look():
            received = self.sqs.receive_message(QueueUrl=self.queue_url, WaitTimeSeconds=1).get("Messages", [])
            for message in received:
                self.sqs.delete_message(QueueUrl=self.queue_url, ReceiptHandle=message["ReceiptHandle"])
                body = json.loads(message["Body"])
                if body.get("LifecycleTransition") == transition:
                    return body
            return None

        return processes.eventually(look, f"the simulator sends a notification of {transition}")

    def lifecycle_state(self, instance: str):
        """The state that Auto Scaling shows; none where it does not list the instance."""
        instances = self.autoscaling.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
        return instances[0]["LifecycleState"] if instances else None


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="session")
def cloud(folder):
    with processes.ministack(folder) as url:
        yield Cloud.set_up(url)


@pytest.fixture(scope="session")
def fleet(folder):
    with processes.simulator(folder) as url:
        yield Fleet(url)


@pytest.fixture(scope="session")
def worker(folder, cloud, fleet):
    environment = {
        "AWS_ENDPOINT_URL_AUTO_SCALING": fleet.url,
        "AWS_ENDPOINT_URL_OPSWORKSCM": fleet.url,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    configuration = CONFIGURATION.format(queue_url=cloud.queue_url, region=REGION, server=SERVER)
    with processes.worker(folder, configuration, environment, fleet.url, DEAD_LETTERS, cloud.url) as running:
        yield running
    assert running.returncode == 0, "SIGTERM ends the worker well"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Shows the end of each process's log beside a test that failed."""
    report = yield
    if report.failed and "folder" in item.funcargs:
        for log in sorted(item.funcargs["folder"].glob("*.log")):
            report.sections.append((f"end of {log.name}", "\n".join(log.read_text(errors="replace").splitlines()[-60:])))
    return report
