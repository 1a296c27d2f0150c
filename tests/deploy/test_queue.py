"""The queue's template deployed for real, and the daemon behind it: in the image's root, with the configuration and by the commands of the task
definition. Only the server is the simulator's, and the port of its health check is free rather than fixed."""

import json
import os
import subprocess
from contextlib import contextmanager

import pytest

import confinement
import image
import processes
import witness
from conftest import ACCOUNT, CREDENTIALS, NODE_ROLE, REGION, SERVER, client
from processes import BINARY, eventually
from templates import FOLDER, NETWORK, REGISTRARS, ROLE, ROOT, container, daemon_stack, environment, read

WAYS = ["HookTarget", "SNS", "EventBridge"]
DETAIL_TYPES = {
    "autoscaling:EC2_INSTANCE_LAUNCHING": "EC2 Instance-launch Lifecycle Action",
    "autoscaling:EC2_INSTANCE_TERMINATING": "EC2 Instance-terminate Lifecycle Action",
}


# What ministack does not know.
UNKNOWN = {"AWS::ApplicationAutoScaling::ScalableTarget", "AWS::ApplicationAutoScaling::ScalingPolicy", "AWS::EC2::SecurityGroupEgress"}


def deployed_stack(cloudformation, name, body, given):
    """A stack once it is made."""
    parameters = [{"ParameterKey": key, "ParameterValue": str(value)} for key, value in given.items()]
    cloudformation.create_stack(StackName=name, TemplateBody=body, Parameters=parameters, Capabilities=["CAPABILITY_NAMED_IAM"])

    def stack():
        found = cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        assert "ROLLBACK" not in found["StackStatus"] and "FAILED" not in found["StackStatus"], found
        return found if found["StackStatus"] == "CREATE_COMPLETE" else None

    return eventually(stack, f"the stack {name} is made")


class Deployed:
    """The stack of queue.yaml in ministack."""

    def __init__(self, url, way):
        self.way, self.url, self.name = way, url, f"enrolld-{way.lower()}"
        self.sqs, self.sns, self.events = (client(service, url) for service in ("sqs", "sns", "events"))
        cloudformation = client("cloudformation", url)
        given = {"QueueName": self.name, "Notification": way, "GroupNamePrefix": "web-"}
        outputs = deployed_stack(cloudformation, self.name, (FOLDER / "queue.yaml").read_text(), given)["Outputs"]
        self.outputs = {output["OutputKey"]: output["OutputValue"] for output in outputs}
        self.exports = {output["ExportName"]: output["OutputValue"] for output in outputs if "ExportName" in output}

    def send(self, notification):
        """As it comes from the hook: to the target that the stack names, or as an event that its rule picks up."""
        if self.way == "HookTarget":
            assert self.outputs["NotificationTargetArn"] == self.outputs["QueueArn"]
            self.sqs.send_message(QueueUrl=self.outputs["QueueUrl"], MessageBody=json.dumps(notification))
        elif self.way == "SNS":
            self.sns.publish(TopicArn=self.outputs["NotificationTargetArn"], Message=json.dumps(notification))
        else:
            self.put_event(notification)

    def rule(self):
        (rule,) = [rule for rule in self.events.list_rules()["Rules"] if self.name in rule["Name"]]
        return rule

    def put_event(self, notification):
        outside = {"AccountId", "RequestId", "Service", "Time"}
        entry = {
            # PutEvents refuses sources that begin with aws, here as in AWS: see `listens_to_tests`.
            "Source": "test.autoscaling",
            "DetailType": DETAIL_TYPES[notification["LifecycleTransition"]],
            "Detail": json.dumps({name: value for name, value in notification.items() if name not in outside}),
        }
        assert self.events.put_events(Entries=[entry])["FailedEntryCount"] == 0

    def listens_to_tests(self):
        """The rule takes events of a test's as well as Auto Scaling's; its target, and what else it asks for, stay."""
        rule = self.rule()
        pattern = json.loads(rule["EventPattern"])
        pattern["source"].append("test.autoscaling")
        self.events.put_rule(Name=rule["Name"], EventPattern=json.dumps(pattern), State="ENABLED")

    def messages(self, which="QueueUrl") -> int:
        counts = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.outputs[which], AttributeNames=counts)["Attributes"]
        return sum(int(attributes[count]) for count in counts)


@contextmanager
def daemon(folder, deployed, fleet):
    """The task: first the container that writes the configuration, then the daemon."""
    imports = {name.replace(deployed.name, "enrolld-queue", 1): value for name, value in deployed.exports.items()}
    stack = daemon_stack("opsworks-cm", imports, ServerName=SERVER, InstanceRoleArn=NODE_ROLE)
    root = image.build(folder, os.environ["ENROLLD_BIN"])
    # What a container engine would write.
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    first, second = container(stack, "configuration"), container(stack, "enrolld")
    dropped = [one["LinuxParameters"]["Capabilities"]["Drop"] for one in (first, second)]
    assert dropped[1] == ["ALL"], "which is how the daemon is started below"
    written = image.writing(root, first["User"], dropped[0], *first["Command"])
    subprocess.run(written, env={"PATH": os.environ["PATH"], **environment(first)}, check=True)

    port = processes.free_port()
    config = root / "etc/enrolld/enrolld.toml"
    grants = confinement.all_grants(confinement.printed_for(BINARY, config, "enrolld-dead-letters"))
    command = image.command(root, *second["Command"])
    with witness.between(grants, deployed.url) as (seen, way), processes.confined(fleet.url, config) as credentials:
        surroundings = CREDENTIALS | {
            "AWS_ENDPOINT_URL": fleet.url,
            "AWS_ENDPOINT_URL_SQS": way.replace("127.0.0.1", "localhost"),
            "ENROLLD_LISTEN": f"127.0.0.1:{port}",
        }
        with processes.process("daemon", command, folder, surroundings | credentials, f"http://127.0.0.1:{port}/livez") as running:
            running.root, running.port, running.check = root, port, second["HealthCheck"]["Command"]
            yield running
    assert running.returncode == 0, (folder / "daemon.log").read_text()
    assert seen.beyond == [], "beyond the policy that is printed for the configuration"
    assert "sqs:ReceiveMessage" in seen.calls, "or nothing came by here"


@pytest.fixture(scope="module")
def stacks():
    """Those that are made already, by their ways."""
    return {}


@pytest.fixture(params=WAYS)
def deployed(request, cloud, stacks):
    if request.param not in stacks:
        stacks[request.param] = Deployed(cloud, request.param)
    return stacks[request.param]


def test_an_event_on_each_way_reaches_the_daemon_and_ends_in_service(deployed, fleet, tmp_path):
    if deployed.way == "EventBridge":
        deployed.listens_to_tests()
    with daemon(tmp_path, deployed, fleet) as running:

        def is_well():
            # The check of the task definition, which is that of the image, at another port.
            assert running.check == ["CMD", "/enrolld", "health"]
            url = f"http://127.0.0.1:{running.port}/readyz"
            return subprocess.run(image.command(running.root, "health", "--url", url), check=False, capture_output=True).returncode == 0

        eventually(is_well, "the health check passes")
        launch = fleet.launch()
        instance = launch["EC2InstanceId"]
        deployed.send(launch)
        eventually(lambda: fleet.shows(instance, "InService"), f"{instance} is in service", 60)
        assert instance in fleet.nodes()
        deployed.send(fleet.terminate(instance))
        eventually(lambda: instance not in fleet.nodes(), f"{instance} is taken off", 60)
        eventually(lambda: deployed.messages() == 0, "no message is left", 60)
    assert deployed.messages("DeadLetterQueueUrl") == 0
    lines = [json.loads(line) for line in (tmp_path / "daemon.log").read_text().splitlines()]
    assert [line["result"] for line in lines if line.get("event") == "ended"] == ["enrolled", "left"]


def test_the_queue_is_as_the_daemon_wants_it(deployed):
    attributes = deployed.sqs.get_queue_attributes(QueueUrl=deployed.outputs["QueueUrl"], AttributeNames=["All"])["Attributes"]
    redrive = json.loads(attributes["RedrivePolicy"])
    assert (redrive["deadLetterTargetArn"], int(redrive["maxReceiveCount"])) == (deployed.outputs["DeadLetterQueueArn"], 100)
    statements = json.loads(attributes["Policy"])["Statement"]
    senders = [statement["Principal"] for statement in statements if statement["Effect"] == "Allow"]
    by_way = {"HookTarget": [], "SNS": [{"Service": "sns.amazonaws.com"}], "EventBridge": [{"Service": "events.amazonaws.com"}]}
    assert senders == by_way[deployed.way], "and nobody else may send"
    sources = [statement["Condition"] for statement in statements if statement["Effect"] == "Allow"]
    if deployed.way == "HookTarget":
        assert sources == []
    else:
        arn = deployed.outputs["NotificationTargetArn"] if deployed.way == "SNS" else deployed.rule()["Arn"]
        assert sources == [{"ArnEquals": {"aws:SourceArn": arn}}], "and of them nobody else's topic or rule"
        assert arn.startswith("arn:aws:sns:" if deployed.way == "SNS" else "arn:aws:events:")
    assert bool([rule for rule in deployed.events.list_rules()["Rules"] if deployed.name in rule["Name"]]) == (deployed.way == "EventBridge")
    assert ("NotificationRoleArn" in deployed.outputs) == (deployed.way != "EventBridge")


@pytest.mark.parametrize("deployed", ["EventBridge"], indirect=True)
def test_the_rule_takes_what_auto_scaling_emits_for_these_hooks_and_groups_alone(deployed):
    rule = deployed.rule()
    event = json.loads((ROOT / "tests/events/eventbridge-launch.json").read_text())

    def takes(**changed):
        changed_event = event | {"detail": event["detail"] | changed}
        return deployed.events.test_event_pattern(EventPattern=rule["EventPattern"], Event=json.dumps(changed_event))["Result"]

    assert takes(LifecycleHookName="enrol-on-launch", AutoScalingGroupName="web-blue")
    assert not takes(LifecycleHookName="drain", AutoScalingGroupName="web-blue"), "a hook of somebody else's"
    assert not takes(LifecycleHookName="enrol-on-launch", AutoScalingGroupName="db-blue")
    (target,) = deployed.events.list_targets_by_rule(Rule=rule["Name"])["Targets"]
    assert (target["Arn"], target["DeadLetterConfig"]["Arn"]) == (deployed.outputs["QueueArn"], deployed.outputs["DeadLetterQueueArn"])
    assert rule["EventPattern"] and ACCOUNT in target["Arn"] and REGION in target["Arn"]


@pytest.mark.parametrize("deployed", ["HookTarget"], indirect=True)
@pytest.mark.parametrize("registrar", REGISTRARS)
def test_the_services_template_is_taken_but_for_what_the_emulator_does_not_know(registrar, cloud, deployed):
    template = read("daemon-ecs.yaml")
    template["Resources"] = {name: one for name, one in template["Resources"].items() if one["Type"] not in UNKNOWN}
    given = {"QueueStack": deployed.name, "Registrar": registrar, "Image": "enrolld", "InstanceRoleArn": ROLE, **NETWORK, **REGISTRARS[registrar]}
    name = f"enrolld-{registrar}"
    made = deployed_stack(client("cloudformation", cloud), name, json.dumps(template), given)
    assert {output["OutputKey"] for output in made["Outputs"]} == {"TaskRoleArn", "LogGroupName", "ClusterName", "ServiceName"}
    filters = client("logs", cloud).describe_metric_filters(logGroupName=f"/enrolld/{name}")["metricFilters"]
    assert {one["metricTransformations"][0]["metricName"] for one in filters} == {"Alive", "Open", "Held", "Abandoned"}
    body = json.loads(client("cloudwatch", cloud).get_dashboard(DashboardName=name)["DashboardBody"])
    assert [widget["type"] for widget in body["widgets"]].count("metric") == 5
    assert "${" not in json.dumps(body) and deployed.name in json.dumps(body)


def test_the_groups_template_is_taken(cloud, deployed):
    for engine in ("chef", "puppet"):
        given = {"QueueStack": deployed.name, "Notification": deployed.way, "Engine": engine, "SubnetIds": NETWORK["SubnetIds"]}
        name = f"{deployed.name}-{engine}"
        more = {"SecurityGroupIds": "sg-0123456789abcdef0", "GroupName": name, "InstanceRoleName": name}
        deployed_stack(client("cloudformation", cloud), name, (FOLDER / "group-example.yaml").read_text(), given | more)


def test_the_template_for_another_account_is_taken_and_its_topic_reaches_the_queue(cloud):
    """The one account of the emulator is both. The queue's own template is told of the topic, and its owner subscribes it, as the guide has it."""
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:enrolld"
    cloudformation = client("cloudformation", cloud)
    queue = deployed_stack(cloudformation, "here", (FOLDER / "queue.yaml").read_text(), {"QueueName": "here", "OtherTopicArns": topic})
    outputs = {output["OutputKey"]: output["OutputValue"] for output in queue["Outputs"]}
    given = {"QueueArn": outputs["QueueArn"], "DaemonRoleArn": ROLE, "ExternalId": "0d0c4f2e", "RoleName": "assumed"}
    there = deployed_stack(cloudformation, "there", (FOLDER / "other-account.yaml").read_text(), given)
    assert topic in [output["OutputValue"] for output in there["Outputs"]]
    sqs, sns = client("sqs", cloud), client("sns", cloud)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=outputs["QueueArn"], Attributes={"RawMessageDelivery": "true"})
    sns.publish(TopicArn=topic, Message="as it was sent")
    received = eventually(lambda: sqs.receive_message(QueueUrl=outputs["QueueUrl"]).get("Messages"), "the message comes")
    assert received[0]["Body"] == "as it was sent"
    policy = json.loads(sqs.get_queue_attributes(QueueUrl=outputs["QueueUrl"], AttributeNames=["Policy"])["Attributes"]["Policy"])
    (allowed,) = [statement for statement in policy["Statement"] if statement["Effect"] == "Allow"]
    assert allowed["Condition"] == {"ArnEquals": {"aws:SourceArn": [topic]}}
