"""The Terraform modules make what the templates make: each resource of the one, with its variables known, against that of the other with the same parameters.
The templates' queue has been deployed; no Terraform has run."""

import json
import re

import pytest

from hcl import Module
from templates import ACCOUNT, NETWORK, REGION, REGISTRARS, Stack, container, daemon_stack, group_stack, imports_of, other_stack, queue_stack
from test_terraform import FOLDER, blocks, one, parsed  # noqa: F401 (a fixture)

WAYS = {"HookTarget": "hook-target", "SNS": "sns", "EventBridge": "eventbridge"}
DAEMON = {
    "image": "enrolld",
    "configuration": "the configuration",
    "policy": "the policy",
    "secrets": {},
    "vpc_id": NETWORK["VpcId"],
    "subnet_ids": NETWORK["SubnetIds"].split(","),
    "server_port": 443,
    "assign_public_ip": False,
}


def made(parsed, folder=FOLDER, known=None, **variables):  # noqa: F811
    """A module with these variables, and the others as they are by default."""
    defaults = {name: variable["default"] for name, variable in blocks(parsed, folder, "variable").items() if "default" in variable}
    return Module(
        resources=blocks(parsed, folder, "resource"),
        data=blocks(parsed, folder, "data"),
        locals=blocks(parsed, folder, "locals"),
        variables={name: None if value in ("null", "${null}") else value for name, value in defaults.items()} | variables,
        known={
            "data.aws_caller_identity.here.account_id": ACCOUNT,
            "data.aws_partition.here.partition": "aws",
            "data.aws_region.here.name": REGION,
        }
        | (known or {}),
    )


def queue_module(parsed, notification="HookTarget", **variables):  # noqa: F811
    stack = queue_stack(Notification=notification)
    known = {"aws_cloudwatch_event_rule.lifecycle.arn": "<Rule.Arn>", "aws_sns_topic.notifications.arn": stack.known["Topic"]}
    for resource, name in (("Queue", "queue"), ("DeadLetters", "dead_letters")):
        known |= {f"aws_sqs_queue.{name}.arn": stack.known[f"{resource}.Arn"], f"aws_sqs_queue.{name}.id": stack.known[resource]}
    return made(parsed, known=known, notification=WAYS[notification], **variables)


def daemon_module(parsed, **daemon):  # noqa: F811
    defaults = {"cpu_architecture": "X86_64", "cpu": 256, "memory": 512, "min_tasks": 2, "max_tasks": 6, "messages_per_task": 50, "log_retention": 365, "abandoned_launches": 3}
    # These are the type's own, which a test of test_terraform reads where they stand.
    text = (FOLDER / "variables.tf").read_text()
    for name, value in defaults.items():
        assert f"{name} " in text and f", {json.dumps(value)})" in text, name
    return made(parsed, daemon=DAEMON | defaults | daemon)


def listed(value):
    return value if isinstance(value, list) else [value]


def policy(document):
    """A policy, with what may be written as one or as a list of one written as a list."""
    statements = []
    for statement in document["Statement"]:
        plain = {"Effect": statement["Effect"], "Action": sorted(listed(statement["Action"]))}
        if "Sid" in statement:
            plain["Sid"] = statement["Sid"]
        if "Resource" in statement:
            plain["Resource"] = sorted(listed(statement["Resource"]))
        if "Principal" in statement:
            who = statement["Principal"]
            plain["Principal"] = who if who == "*" else {kind: listed(names) for kind, names in who.items()}
        if "Condition" in statement:
            plain["Condition"] = {test: {key: listed(value) for key, value in keys.items()} for test, keys in statement["Condition"].items()}
        statements.append(plain)
    return document["Version"], statements


def test_the_queues_are_those_of_the_template(parsed):  # noqa: F811
    stack, module = queue_stack(), queue_module(parsed)
    for resource, name in (("Queue", "queue"), ("DeadLetters", "dead_letters")):
        wanted, given = stack.resource(resource), module.resource(f"aws_sqs_queue.{name}")
        assert given.pop("name") == wanted["QueueName"]
        called = {
            "VisibilityTimeout": "visibility_timeout_seconds",
            "MessageRetentionPeriod": "message_retention_seconds",
            "ReceiveMessageWaitTimeSeconds": "receive_wait_time_seconds",
            "SqsManagedSseEnabled": "sqs_managed_sse_enabled",
            "RedrivePolicy": "redrive_policy",
            "RedriveAllowPolicy": "redrive_allow_policy",
        }
        assert {called[key]: value for key, value in wanted.items() if key in called} == given
        assert set(wanted) - set(called) == {"QueueName"}
    assert stack.resource("Queue")["RedrivePolicy"]["maxReceiveCount"] == 100


@pytest.mark.parametrize("others", [[], ["arn:aws:sns:us-east-1:210987654321:enrolld"]])
@pytest.mark.parametrize("way", WAYS)
def test_the_queues_policies_are_those_of_the_template(way, others, parsed):  # noqa: F811
    stack = queue_stack(Notification=way, **({"OtherTopicArns": ",".join(others)} if others else {}))
    stack.known |= {"Rule.Arn": "<Rule.Arn>"}
    module = queue_module(parsed, way, other_topic_arns=others)
    for resource, name in (("QueuePolicy", "queue"), ("DeadLettersPolicy", "dead_letters")):
        wanted, given = stack.resource(resource), module.resource(f"aws_sqs_queue_policy.{name}")
        assert policy(given["policy"]) == policy(wanted["PolicyDocument"])
        assert wanted["Queues"] == [given["queue_url"]]
    assert len(policy(module.resource("aws_sqs_queue_policy.queue")["policy"])[1]) == 1 + bool(others) + (way != "HookTarget")


@pytest.mark.parametrize("way", WAYS)
def test_the_way_to_the_queue_is_that_of_the_template(way, parsed):  # noqa: F811
    stack, module = queue_stack(Notification=way, GroupNamePrefix="web-"), queue_module(parsed, way, group_name_prefix="web-")
    pairs = {
        "NotificationRole": "aws_iam_role.notification",
        "Topic": "aws_sns_topic.notifications",
        "Subscription": "aws_sns_topic_subscription.queue",
        "Rule": "aws_cloudwatch_event_rule.lifecycle",
    }
    there = {name for name, made in stack.template["Resources"].items() if "Condition" not in made or stack.condition(made["Condition"])}
    for resource, name in pairs.items():
        assert module.count(name) == (resource in there), f"{resource} and {name} are made alike"
    if way == "EventBridge":
        wanted, given = stack.resource("Rule"), module.resource("aws_cloudwatch_event_rule.lifecycle")
        assert given["event_pattern"] == wanted["EventPattern"]
        assert wanted["EventPattern"]["detail"]["AutoScalingGroupName"] == [{"prefix": "web-"}]
        (target,) = wanted["Targets"]
        named = module.resource("aws_cloudwatch_event_target.queue")
        assert (named["target_id"], named["arn"], one(named["dead_letter_config"])["arn"]) == (target["Id"], target["Arn"], target["DeadLetterConfig"]["Arn"])
        all_groups = queue_module(parsed, way).resource("aws_cloudwatch_event_rule.lifecycle")["event_pattern"]
        assert all_groups == queue_stack(Notification=way).resource("Rule")["EventPattern"]
        assert "AutoScalingGroupName" not in all_groups["detail"]
        return
    role = stack.resource("NotificationRole")
    assert policy(module.resource("aws_iam_role.notification")["assume_role_policy"]) == policy(role["AssumeRolePolicyDocument"])
    (wanted,) = role["Policies"]
    given = module.resource("aws_iam_role_policy.notification")
    assert (given["name"], policy(given["policy"])) == (wanted["PolicyName"], policy(wanted["PolicyDocument"]))
    if way == "SNS":
        topic, named = stack.resource("Topic"), module.resource("aws_sns_topic.notifications")
        assert (named["name"], named["kms_master_key_id"]) == (topic["TopicName"], topic["KmsMasterKeyId"])
        wanted, given = stack.resource("Subscription"), module.resource("aws_sns_topic_subscription.queue")
        assert given == {"topic_arn": wanted["TopicArn"], "protocol": wanted["Protocol"], "endpoint": wanted["Endpoint"], "raw_message_delivery": wanted["RawMessageDelivery"]}


@pytest.mark.parametrize("engine", ["chef", "puppet"])
def test_the_document_is_that_of_the_template(engine, parsed):  # noqa: F811
    wanted = queue_stack(RunCommand=engine).resource("PrintKey")
    given = queue_module(parsed, run_command=engine).resource("aws_ssm_document.print_key")
    assert given["content"] == wanted["Content"]
    assert (given["name"], given["document_type"], given["target_type"]) == (wanted["Name"], wanted["DocumentType"], wanted["TargetType"])
    assert queue_module(parsed).count("aws_ssm_document.print_key") == 0


def test_each_alarm_looks_at_what_that_of_the_template_looks_at(parsed):  # noqa: F811
    """And is sent to whoever wants to know, as it comes and as it goes."""
    topic = "arn:aws:sns:eu-central-1:123456789012:alarms"
    module = made(parsed, daemon=DAEMON | {"abandoned_launches": 3}, alarm_actions=[topic], known={"aws_cloudwatch_log_group.daemon.name": "<LogGroup>"})
    found = {}
    for name in ("queue", "log"):
        for alarm in module.resource(f"aws_cloudwatch_metric_alarm.{name}").values():
            dimensions = sorted(alarm.get("dimensions", {}).items())
            found[alarm["alarm_description"]] = (alarm["namespace"], alarm["metric_name"], dimensions, alarm["threshold"], alarm["alarm_actions"], alarm["ok_actions"])
    wanted = {}
    stack = daemon_stack("chef-server", AlarmTopicArn=topic)
    for alarms in (queue_stack(AlarmTopicArn=topic), stack):
        for alarm in alarms.resources("AWS::CloudWatch::Alarm").values():
            dimensions = sorted((dimension["Name"], dimension["Value"]) for dimension in alarm.get("Dimensions", []))
            namespace = alarm["Namespace"].replace("enrolld/stack", "enrolld/enrolld")
            wanted[alarm["AlarmDescription"]] = (namespace, alarm["MetricName"], dimensions, alarm["Threshold"], alarm["AlarmActions"], alarm["OKActions"])
    assert found == wanted and len(found) == 6
    filters = module.resource("aws_cloudwatch_log_metric_filter.log")
    for one_filter in stack.resources("AWS::Logs::MetricFilter").values():
        (metric,) = one_filter["MetricTransformations"]
        given = one(filters[metric["MetricName"]]["metric_transformation"])
        assert (given["namespace"], given["name"], given["unit"]) == (metric["MetricNamespace"].replace("/stack", "/enrolld"), metric["MetricName"], metric["Unit"])
        assert filters[metric["MetricName"]]["log_group_name"] == one_filter["LogGroupName"]


def test_the_dashboard_is_that_of_the_template(parsed):  # noqa: F811
    module = daemon_module(parsed)
    module.known |= {"aws_ecs_cluster.daemon.name": "<Cluster>", "aws_ecs_service.daemon.name": "<Service.Name>", "data.aws_region.here.name": REGION}
    given = module.resource("aws_cloudwatch_dashboard.daemon")
    stack = daemon_stack("chef-server")
    wanted = stack.resource("Dashboard")
    body = wanted["DashboardBody"].replace("enrolld/stack", "enrolld/enrolld").replace("<LogGroup>", "/enrolld/enrolld")
    assert given["dashboard_body"] == json.loads(body)
    assert len(given["dashboard_body"]["widgets"]) == 6


def test_what_is_made_of_another_log_is_that_of_the_template(parsed):  # noqa: F811
    module = made(parsed, log_group_name="/enrolld/ec2")
    queue = queue_stack()
    stack = Stack("log-alarms.yaml", imports=imports_of(queue))
    body = stack.resource("Dashboard")["DashboardBody"].replace("enrolld/stack", "enrolld/enrolld")
    assert module.resource("aws_cloudwatch_dashboard.daemon")["dashboard_body"] == json.loads(body)
    alarms = module.resource("aws_cloudwatch_metric_alarm.log")
    wanted = {alarm["AlarmDescription"]: (alarm["MetricName"], alarm["Threshold"]) for alarm in stack.resources("AWS::CloudWatch::Alarm").values()}
    assert {alarm["alarm_description"]: (alarm["metric_name"], alarm["threshold"]) for alarm in alarms.values()} == wanted
    filters = module.resource("aws_cloudwatch_log_metric_filter.log")
    assert {one["log_group_name"] for one in filters.values()} == {"/enrolld/ec2"} and len(filters) == 4
    alone = made(parsed)
    assert alone.count("aws_cloudwatch_dashboard.daemon") == 0
    assert alone.resource("aws_cloudwatch_metric_alarm.log") == alone.resource("aws_cloudwatch_log_metric_filter.log") == {}


def container_of(template):
    """A container of the template as a task definition has it: by other names."""

    def lower(value, key=None):
        if isinstance(value, list):
            return [lower(each) for each in value]
        if isinstance(value, dict):
            # The driver's own options keep their names.
            return value if key == "Options" else {name[0].lower() + name[1:]: lower(inner, name) for name, inner in value.items()}
        return value

    return lower(template)


SECRETS = {
    "chef-server": {"client-key.pem": "client_key"},
    "chef-server of a private authority": {"client-key.pem": "client_key", "ca.pem": "ca"},
    "puppet-ca": {"certificate.pem": "certificate", "private-key.pem": "private_key", "ca.pem": "ca"},
    "opsworks-cm": {},
}


@pytest.mark.parametrize("server", SECRETS)
def test_the_task_its_roles_and_its_log_are_those_of_the_template(server, parsed):  # noqa: F811
    registrar, _, private = server.partition(" ")
    stack = daemon_stack(registrar, ServerCa="secret" if private else "public")
    secret = REGISTRARS[registrar].get("RegistrarSecretArn")
    module = daemon_module(parsed, secrets={name: f"{secret}:{key}::" for name, key in SECRETS[server].items()})
    module.known["aws_cloudwatch_log_group.daemon.name"] = "<LogGroup>"
    task, given = stack.resource("TaskDefinition"), module.resource("aws_ecs_task_definition.daemon")
    assert (given["requires_compatibilities"], given["network_mode"]) == (task["RequiresCompatibilities"], task["NetworkMode"])
    assert (str(given["cpu"]), str(given["memory"])) == (task["Cpu"], task["Memory"])
    runtime = one(given["runtime_platform"])
    assert (runtime["cpu_architecture"], runtime["operating_system_family"]) == (task["RuntimePlatform"]["CpuArchitecture"], task["RuntimePlatform"]["OperatingSystemFamily"])
    assert [volume["name"] for volume in given["volume"]] == [volume["Name"] for volume in task["Volumes"]]
    for name, written in zip(("configuration", "enrolld"), given["container_definitions"], strict=True):
        wanted = container_of(container(stack, name))
        # What a file is handed over as is each one's own; that it is, and from where, is not.
        for each in (wanted, written):
            if name == "configuration":
                each["environment"] = [variable["name"] for variable in each["environment"]]
                handed = {variable["name"]: variable["valueFrom"] for variable in each.pop("secrets", [])}
                command, *files = [word for word in each["command"] if word not in ("--owner", "65532:65532")]
                pairs = dict(pair.split("=") for pair in files)
                each["command"] = [command, {file: handed.get(variable, variable) for file, variable in pairs.items()}]
            for mount in each["mountPoints"]:
                mount.setdefault("readOnly", False)
        assert written == wanted, name
    trust = policy(stack.resource("TaskRole")["AssumeRolePolicyDocument"])
    assert trust == policy(stack.resource("ExecutionRole")["AssumeRolePolicyDocument"])
    for role in ("task", "execution"):
        assert policy(module.resource(f"aws_iam_role.{role}")["assume_role_policy"]) == trust
    assert module.resource("aws_iam_role_policy.task")["policy"] == "the policy"
    execution = stack.resource("ExecutionRole")
    assert [module.resource("aws_iam_role_policy_attachment.execution")["policy_arn"]] == execution["ManagedPolicyArns"]
    if secret:
        assert policy(module.resource("aws_iam_role_policy.secrets")["policy"]) == policy(execution["Policies"][0]["PolicyDocument"])
    else:
        assert module.count("aws_iam_role_policy.secrets") == 0 and "Policies" not in execution
    log, wanted = module.resource("aws_cloudwatch_log_group.daemon"), stack.resource("LogGroup")
    assert (log["name"], log["retention_in_days"]) == (wanted["LogGroupName"].replace("/stack", "/enrolld"), wanted["RetentionInDays"])


@pytest.mark.parametrize("port", [443, 8140])
@pytest.mark.parametrize("public", [False, True])
def test_the_services_network_is_that_of_the_template(public, port, parsed):  # noqa: F811
    stack = daemon_stack("chef-server", ServerPort=port, AssignPublicIp="ENABLED" if public else "DISABLED")
    module = daemon_module(parsed, server_port=port, assign_public_ip=public)
    module.known["aws_security_group.daemon.id"] = "<SecurityGroup>"
    wanted = stack.resource("Service")
    network = wanted["NetworkConfiguration"]["AwsvpcConfiguration"]
    given = module.resource("aws_ecs_service.daemon")
    assert one(given["network_configuration"]) == {
        "assign_public_ip": network["AssignPublicIp"] == "ENABLED",
        "security_groups": network["SecurityGroups"],
        "subnets": network["Subnets"],
    }
    assert (given["launch_type"], given["platform_version"]) == (wanted["LaunchType"], wanted["PlatformVersion"])
    assert (given["propagate_tags"], given["enable_ecs_managed_tags"]) == (wanted["PropagateTags"], wanted["EnableECSManagedTags"])
    group, named = stack.resource("SecurityGroup"), module.resource("aws_security_group.daemon")
    assert "SecurityGroupIngress" not in group and "ingress" not in named, "nothing comes in"
    assert (named["description"], named["vpc_id"]) == (group["GroupDescription"], group["VpcId"])

    def rule(one_rule, *names):
        return tuple(one_rule[name] for name in names)

    out = {rule(each, "IpProtocol", "FromPort", "ToPort", "CidrIp") for each in group["SecurityGroupEgress"] + list(stack.resources("AWS::EC2::SecurityGroupEgress").values())}
    rules = module.resource("aws_vpc_security_group_egress_rule.daemon").values()
    assert {rule(each, "ip_protocol", "from_port", "to_port", "cidr_ipv4") for each in rules} == out
    assert {one_rule[1] for one_rule in out} == {443, port}
    told = [group["GroupDescription"], named["description"]]
    told += [each["Description"] for each in group["SecurityGroupEgress"] + list(stack.resources("AWS::EC2::SecurityGroupEgress").values())]
    told += [each["description"] for each in rules]
    for description in told:
        assert re.fullmatch(r"[A-Za-z0-9. _:/()#,@\[\]+=&;{}!$*-]{1,255}", description), f"EC2 refuses {description!r}"


def test_the_service_scales_within_the_bounds_of_the_template(parsed):  # noqa: F811
    stack, module = daemon_stack("chef-server"), daemon_module(parsed)
    wanted, given = stack.resource("ScalableTarget"), module.resource("aws_appautoscaling_target.daemon")
    assert (given["min_capacity"], given["max_capacity"]) == (wanted["MinCapacity"], wanted["MaxCapacity"])
    policy_of = module.resource("aws_appautoscaling_policy.messages_per_task")
    tracking = one(policy_of["target_tracking_scaling_policy_configuration"])
    assert tracking["target_value"] == stack.resource("ScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]["TargetValue"]
    assert module.resource("aws_ecs_service.daemon")["desired_count"] == given["min_capacity"]


@pytest.mark.parametrize("way", WAYS)
def test_the_group_is_that_of_the_template(way, parsed):  # noqa: F811
    stack = group_stack(notification=way, RootDeviceName="/dev/sda1")
    hook = stack.resource("Group")["LifecycleHookSpecificationList"][0]
    variables = {
        "name": "web-blue",
        "role_name": "web-instances",
        "policy": "the policy",
        "user_data": "the user data",
        "image_id": stack.parameter("ImageId"),
        "root_device_name": stack.parameter("RootDeviceName"),
        "subnet_ids": NETWORK["SubnetIds"].split(","),
        "security_group_ids": ["sg-0123456789abcdef0"],
        "notification_target_arn": hook.get("NotificationTargetARN"),
        "notification_role_arn": hook.get("RoleARN"),
    }
    module = made(parsed, FOLDER / "group", known={"aws_iam_instance_profile.instances.arn": "<InstanceProfile.Arn>"}, **variables)
    group, given = stack.resource("Group"), module.resource("aws_autoscaling_group.group")
    assert (given["name"], given["min_size"], given["max_size"]) == (group["AutoScalingGroupName"], group["MinSize"], group["MaxSize"])
    assert given["vpc_zone_identifier"] == group["VPCZoneIdentifier"]

    def plain(found, *names):
        return tuple(found.get(name) for name in names)

    hooks = [plain(each, "LifecycleHookName", "LifecycleTransition", "DefaultResult", "HeartbeatTimeout", "NotificationTargetARN", "RoleARN") for each in group["LifecycleHookSpecificationList"]]
    names = ("name", "lifecycle_transition", "default_result", "heartbeat_timeout", "notification_target_arn", "role_arn")
    assert [plain(each, *names) for each in given["initial_lifecycle_hook"]] == hooks
    launch, template = stack.resource("LaunchTemplate")["LaunchTemplateData"], module.resource("aws_launch_template.instances")
    assert (template["image_id"], template["instance_type"], template["vpc_security_group_ids"]) == (launch["ImageId"], launch["InstanceType"], launch["SecurityGroupIds"])
    assert template["user_data"] == "the user data"
    options = launch["MetadataOptions"]
    assert one(template["metadata_options"]) == {
        "http_endpoint": options["HttpEndpoint"],
        "http_tokens": options["HttpTokens"],
        "http_put_response_hop_limit": options["HttpPutResponseHopLimit"],
    }
    assert "InstanceMetadataTags" not in options, "a group's tags may be such that EC2 would then refuse its launches"
    (disk,) = launch["BlockDeviceMappings"]
    given_disk = one(template["block_device_mappings"])
    ebs = one(given_disk["ebs"])
    assert given_disk["device_name"] == disk["DeviceName"] == "/dev/sda1", "the image's own: another is a disk without a size"
    assert (ebs["encrypted"], ebs["volume_type"], ebs["delete_on_termination"]) == (disk["Ebs"]["Encrypted"], disk["Ebs"]["VolumeType"], disk["Ebs"]["DeleteOnTermination"])
    role = stack.resource("InstanceRole")
    assert policy(module.resource("aws_iam_role.instances")["assume_role_policy"]) == policy(role["AssumeRolePolicyDocument"])
    assert module.resource("aws_iam_role_policy.instances")["policy"] == "the policy"


def test_what_another_account_has_is_that_of_the_template(parsed):  # noqa: F811
    stack = other_stack()
    topic = "<Topic>"
    daemon = {"role_name": stack.parameter("RoleName"), "role_arn": stack.parameter("DaemonRoleArn"), "external_id": stack.parameter("ExternalId"), "policy": "the policy"}
    module = made(parsed, FOLDER / "other-account", known={"aws_sns_topic.notifications.arn": topic}, queue_arn=stack.parameter("QueueArn"), daemon=daemon)
    assert module.resource("aws_sns_topic.notifications")["kms_master_key_id"] == stack.resource("Topic")["KmsMasterKeyId"]
    assert policy(module.resource("aws_sns_topic_policy.notifications")["policy"]) == policy(stack.resource("TopicPolicy")["PolicyDocument"])
    role = stack.resource("NotificationRole")
    assert policy(module.resource("aws_iam_role.notification")["assume_role_policy"]) == policy(role["AssumeRolePolicyDocument"])
    assert policy(module.resource("aws_iam_role_policy.notification")["policy"]) == policy(role["Policies"][0]["PolicyDocument"])
    assert policy(module.resource("aws_iam_role.daemon")["assume_role_policy"]) == policy(stack.resource("DaemonRole")["AssumeRolePolicyDocument"])
    assert module.resource("aws_iam_role_policy.daemon")["policy"] == "the policy"
    alone = made(parsed, FOLDER / "other-account", queue_arn=stack.parameter("QueueArn"), daemon=None)
    assert alone.count("aws_iam_role.daemon") == 0
