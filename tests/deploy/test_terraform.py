"""The Terraform module: it parses, what it refers to is there, and it makes what the templates make. No Terraform has run it."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import image
from templates import FOLDER as TEMPLATES
from templates import ROOT, Stack, container, daemon_stack, group_stack, queue_stack, read

BINARY = os.environ["ENROLLD_BIN"]
FOLDER = ROOT / "deploy" / "terraform"
MODULES = sorted({path.parent for path in FOLDER.rglob("*.tf")})
EXAMPLES = {"chef-fargate": "chef", "puppet-fargate": "puppet"}


@pytest.fixture(scope="module")
def parsed():
    """Every file, as python-hcl2 reads it."""
    files = sorted(str(path) for path in FOLDER.rglob("*.tf"))
    ran = subprocess.run([os.environ["ENROLLD_HCL_PYTHON"], str(Path(__file__).with_name("parse_hcl.py")), *files], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return {Path(path): content for path, content in json.loads(ran.stdout).items()}


def blocks(parsed, module, kind):
    """The blocks of a kind in a module's files, by their labels."""
    found = {}
    for path, content in parsed.items():
        if path.parent == module:
            for block in content.get(kind, []):
                for label, body in block.items():
                    if kind in ("resource", "data"):
                        found.update({f"{label}.{name}": inner for name, inner in body.items()})
                    else:
                        found[label] = body
    return found


def text_of(module):
    """A module's files without comments and descriptions, which may speak of anything."""
    text = "\n".join(path.read_text() for path in sorted(module.glob("*.tf")))
    text = re.sub(r"<<-EOT.*?EOT", "", text, flags=re.DOTALL)
    return "\n".join(line for line in text.splitlines() if not re.match(r"\s*(#|description\s*=)", line))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_what_a_module_refers_to_is_there_and_what_is_there_is_referred_to(module, parsed):
    text = text_of(module)
    variables = blocks(parsed, module, "variable")
    assert set(re.findall(r"\bvar\.(\w+)", text)) == set(variables)
    for name, variable in variables.items():
        assert variable.get("description") and variable.get("type"), f"{name} says what it is"
    assert set(re.findall(r"\blocal\.(\w+)", text)) == set(blocks(parsed, module, "locals"))
    resources, data = blocks(parsed, module, "resource"), blocks(parsed, module, "data")
    assert set(re.findall(r"\bdata\.(aws_\w+\.\w+)", text)) == set(data)
    assert set(re.findall(r"(?<![\w.\"])(aws_\w+\.\w+)", re.sub(r"\bdata\.aws_\w+", "", text))) <= set(resources)
    for called, body in blocks(parsed, module, "module").items():
        source = (module / body["source"]).resolve()
        wanted = blocks(parsed, source, "variable")
        given = set(body) - {"source", "depends_on"}
        assert given <= set(wanted), f"{called} has no {given - set(wanted)}"
        missing = {name for name, variable in wanted.items() if "default" not in variable} - given
        assert not missing, f"{called} wants {missing}"
        assert set(re.findall(rf"\bmodule\.{called}\.(\w+)", text)) <= set(blocks(parsed, source, "output"))
    for path in re.findall(r'file\("\$\{path\.module\}/([^"]+)"\)', text):
        assert (module / path).is_file(), path


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_examples_policies_are_those_that_are_printed_for_its_configuration(example, parsed):
    folder = FOLDER / "examples" / example
    said = (folder / "main.tf").read_text()
    commands = re.findall(r"^#   enrolld (policy .*) > (\w+\.json)$", said, re.MULTILINE)
    assert [name for _, name in commands] == ["worker.json", "instances.json"]
    for command, name in commands:
        ran = subprocess.run(["sh", "-c", f'"$0" {command}', BINARY], cwd=folder, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=True)
        assert (folder / name).read_text() == ran.stdout, f"{name} is stale"
    configuration = tomllib.loads((folder / "enrolld.toml").read_text())
    (route,) = configuration["route"]
    modules = blocks(parsed, folder, "module")
    assert route["key"]["owner_role"].endswith(f"role/{modules['group']['role_name']}")
    assert modules["group"]["name"].startswith(route["groups"][0].rstrip("*"))
    assert configuration["log_format"] == "json", "which is what the metrics are read from"
    named = {value.removeprefix("/etc/enrolld/") for value in route["registrar"].values() if value.startswith("/etc/enrolld/")}
    assert named == set(modules["enrolld"]["daemon"]["secrets"]), "each file that the configuration names is written"


def alarms_of(stack: Stack):
    wanted = ("Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods", "ComparisonOperator", "Threshold", "TreatMissingData")
    alarms = [[alarm[name] for name in wanted] for alarm in stack.resources("AWS::CloudWatch::Alarm").values()]
    return sorted([namespace.replace("enrolld/stack", "log"), *map(str, rest)] for namespace, *rest in alarms)


def test_the_alarms_and_metrics_are_those_of_the_templates(parsed):
    defaults = {name: variable.get("default") for name, variable in blocks(parsed, FOLDER, "variable").items()}
    found = []
    local = blocks(parsed, FOLDER, "locals")
    for namespace, kind in (("AWS/SQS", "queue_alarms"), ("log", "log_alarms")):
        for alarm in local[kind].values():
            threshold = str(alarm["threshold"])
            if name := re.search(r"var\.(\w+)", threshold):
                threshold = defaults[name[1]]
                if name[1] == "daemon":
                    (threshold,) = re.findall(r"abandoned_launches\s+= optional\(number, (\d+)\)", (FOLDER / "variables.tf").read_text())
            words = (alarm["metric"], alarm["statistic"], alarm["period"], alarm["periods"], alarm["comparison"], threshold, alarm.get("missing", "notBreaching"))
            found.append([namespace, *map(str, words)])
    assert sorted(found) == sorted(alarms_of(queue_stack()) + alarms_of(daemon_stack("chef-server")))

    filters = {name: (one["pattern"], one["value"], one["otherwise"] not in (None, "null", "${null}")) for name, one in local["log_filters"].items()}
    expected = {}
    for one in daemon_stack("chef-server").resources("AWS::Logs::MetricFilter").values():
        (made,) = one["MetricTransformations"]
        expected[made["MetricName"]] = (one["FilterPattern"], made["MetricValue"], "DefaultValue" in made)
    assert filters == expected


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_examples_user_data_is_what_the_launch_kit_prints_for_its_configuration(example, parsed):
    folder = FOLDER / "examples" / example
    (route,) = tomllib.loads((folder / "enrolld.toml").read_text())["route"]
    agent = (folder / "agent.sh").read_text().rstrip("\n")
    assert route["registrar"]["url"] in agent, "the agent asks the server that its node is enrolled with"
    command = [BINARY, "launch-kit", "--config", str(folder / "enrolld.toml"), "--route", route["name"], "--agent", agent]
    printed = subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout
    assert (folder / "user-data.sh").read_text() == printed, "user-data.sh is stale"
    assert blocks(parsed, folder, "module")["group"]["user_data"] == '${file("${path.module}/user-data.sh")}'
    said = (folder / "main.tf").read_text()
    assert f'#   enrolld launch-kit --config enrolld.toml --route {route["name"]} --agent "$(cat agent.sh)" > user-data.sh\n' in said


def test_the_task_is_that_of_the_template(parsed):
    given = blocks(parsed, FOLDER, "resource")["aws_ecs_task_definition.daemon"]["container_definitions"]
    task = container(daemon_stack("chef-server"), "enrolld")
    check = task["HealthCheck"]
    for word in (
        'user = "65532:65532"',
        f"stopTimeout = {task['StopTimeout']}",
        'command = ["run", "--config", "/etc/enrolld/enrolld.toml"]',
        f'command = ["CMD", "/enrolld", "health"], interval = {check["Interval"]}, timeout = {check["Timeout"]}, retries = {check["Retries"]}',
        'capabilities = {drop = ["ALL"]}',
    ):
        assert word in given, word
    assert given.count("readonlyRootFilesystem = true") == 2
    assert given.count("image = var.daemon.image") == 2, "no other image is fetched"
    for word in container(daemon_stack("opsworks-cm"), "configuration")["Command"]:
        assert f'"{word}"' in given, word
    assert '"${name}=${variable}"' in given
    assert image.Dockerfile.read().settings["USER"] in given


def one(block):
    """A block that is written once."""
    return block[0] if isinstance(block, list) else block


def test_the_service_scales_and_goes_back_as_that_of_the_template(parsed):
    stack = daemon_stack("chef-server")
    service, policy = stack.resource("Service"), stack.resource("ScalingPolicy")["TargetTrackingScalingPolicyConfiguration"]
    resources = blocks(parsed, FOLDER, "resource")
    given, scaling = resources["aws_ecs_service.daemon"], resources["aws_appautoscaling_policy.messages_per_task"]
    deployment, breaker = service["DeploymentConfiguration"], one(given["deployment_circuit_breaker"])
    assert deployment["DeploymentCircuitBreaker"] == {"Enable": True, "Rollback": True}
    assert (breaker["enable"], breaker["rollback"]) == (True, True)
    assert deployment["MinimumHealthyPercent"] == given["deployment_minimum_healthy_percent"] == 100, "an old task stays until a new one is well"
    assert deployment["MaximumPercent"] == given["deployment_maximum_percent"] == 200

    tracking = one(scaling["target_tracking_scaling_policy_configuration"])
    assert stack.resource("ScalingPolicy")["PolicyType"] == scaling["policy_type"] == "TargetTrackingScaling"
    assert policy["ScaleOutCooldown"] == tracking["scale_out_cooldown"] == 60
    assert policy["ScaleInCooldown"] == tracking["scale_in_cooldown"] == 900, "slowly in"
    assert scaling["policy_type"] == "TargetTrackingScaling" and "disable_scale_in" not in tracking

    def metric(stat, namespace, name, dimensions):
        return stat, namespace, name, sorted(dimensions)

    expected, expressions = {}, {}
    for query in policy["CustomizedMetricSpecification"]["Metrics"]:
        if "MetricStat" in query:
            stat = query["MetricStat"]
            names = [dimension["Name"] for dimension in stat["Metric"]["Dimensions"]]
            expected[query["Id"]] = metric(stat["Stat"], stat["Metric"]["Namespace"], stat["Metric"]["MetricName"], names)
        else:
            expressions[query["Id"]] = query["Expression"]
        assert query["ReturnData"] == ("Expression" in query), "one result, and that is the quotient"
    assert expected == {
        "waiting": ("Average", "AWS/SQS", "ApproximateNumberOfMessagesVisible", ["QueueName"]),
        "running": ("Average", "ECS/ContainerInsights", "RunningTaskCount", ["ClusterName", "ServiceName"]),
    }
    assert stack.resource("Cluster")["ClusterSettings"] == [{"Name": "containerInsights", "Value": "enabled"}], "where the second comes from"
    assert one(resources["aws_ecs_cluster.daemon"]["setting"]) == {"name": "containerInsights", "value": "enabled"}
    found = {}
    for query in one(tracking["customized_metric_specification"])["metrics"]:
        if "metric_stat" in query:
            stat = one(query["metric_stat"])
            inner = one(stat["metric"])
            found[query["id"]] = metric(stat["stat"], inner["namespace"], inner["metric_name"], [one["name"] for one in inner["dimensions"]])
        else:
            assert expressions[query["id"]] == query["expression"].replace("${var.daemon.min_tasks}", str(stack.parameter("MinTasks")))
        assert query["return_data"] == ("expression" in query)
    assert found == expected
    assert list(expressions.values()) == ["waiting / FILL(running, 2)"]

    defaults = (FOLDER / "variables.tf").read_text()
    for parameter, variable in (("MinTasks", "min_tasks"), ("MaxTasks", "max_tasks"), ("MessagesPerTask", "messages_per_task")):
        assert re.search(rf"{variable}\s+= optional\(number, {stack.parameter(parameter)}\)", defaults), variable
    target, capacity = resources["aws_appautoscaling_target.daemon"], stack.resource("ScalableTarget")
    assert (capacity["ServiceNamespace"], capacity["ScalableDimension"]) == (target["service_namespace"], target["scalable_dimension"])
    assert (capacity["MinCapacity"], capacity["MaxCapacity"]) == (2, 6) and policy["TargetValue"] == 50


def test_what_the_templates_keep_is_not_destroyed(parsed):
    pairs = {"DeadLetters": "aws_sqs_queue.dead_letters", "LogGroup": "aws_cloudwatch_log_group.daemon"}
    kept = set()
    for template in sorted(TEMPLATES.glob("*.yaml")):
        for name, resource in read(template.name)["Resources"].items():
            assert resource.get("UpdateReplacePolicy") == {"RetainExceptOnCreate": "Retain"}.get(resource.get("DeletionPolicy"), resource.get("DeletionPolicy")), name
            kept |= {pairs[name]} if resource.get("DeletionPolicy", "Delete") != "Delete" else set()
    guarded, forgotten = set(), set()
    for module in MODULES:
        for name, resource in blocks(parsed, module, "resource").items():
            guarded |= {name} if one(resource.get("lifecycle", {})).get("prevent_destroy") else set()
            forgotten |= {name} if resource.get("skip_destroy") else set()
    assert guarded | forgotten == kept == set(pairs.values())
    removal = (FOLDER / "README.md").read_text().split("\n## Removal\n", 1)[1].split("\n## ", 1)[0]
    destroyed = removal.index("\nterraform destroy\n")
    for name in guarded:
        assert removal.index(f"terraform state rm module.enrolld.{name}\n") < destroyed, "or all is refused"
    called, by_hand = blocks(parsed, FOLDER, "variable")["name"]["default"], removal[destroyed:]
    resources = blocks(parsed, FOLDER, "resource")
    for name, command in (("aws_sqs_queue.dead_letters", "get-queue-url --queue-name {} "), ("aws_cloudwatch_log_group.daemon", "delete-log-group --log-group-name {}\n")):
        assert command.format(resources[name]["name"].replace("${var.name}", called)) in by_hand, f"{name} is deleted by hand"
    insights = resources["aws_ecs_cluster.daemon"]["name"].replace("${var.name}", called).replace("var.name", called)
    assert f"delete-log-group --log-group-name /aws/ecs/containerinsights/{insights}/performance\n" in by_hand


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_examples_group_goes_before_its_daemon_and_is_not_waited_for(example, parsed):
    group = blocks(parsed, FOLDER / "examples" / example, "module")["group"]
    assert "module.enrolld" in str(group["depends_on"])
    made = blocks(parsed, FOLDER / "group", "resource")["aws_autoscaling_group.group"]
    assert made["wait_for_capacity_timeout"] == "0"


def test_the_readme_says_that_no_terraform_has_run_it():
    assert "No Terraform binary has run this" in (FOLDER / "README.md").read_text()
