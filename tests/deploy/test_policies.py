"""The policies in the templates are those that `enrolld policy` prints for the configuration in the templates."""

import json
import os
import re
import subprocess

import pytest

import templates
from templates import REGISTRARS, Stack, container, daemon_stack, environment, group_stack, other_stack

BINARY = os.environ["ENROLLD_BIN"]


def printed(folder, stack, *arguments):
    """The documents that are printed for the configuration in the task definition."""
    return printed_for(folder, environment(container(stack, "configuration"))["CONFIGURATION"], *arguments)


def printed_for(folder, text, *arguments):
    path = folder / "enrolld.toml"
    path.write_text(text)
    command = [BINARY, "policy", "--config", str(path), "--output", "json", *arguments]
    ran = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return [policy["document"] for policy in json.loads(ran.stdout)["policies"]]


@pytest.mark.parametrize("pattern", ["web-*", "web-blue"])
@pytest.mark.parametrize("key", ["parameter", "document"])
@pytest.mark.parametrize("registrar", REGISTRARS)
def test_the_tasks_role_may_do_what_is_printed_and_nothing_else(registrar, key, pattern, tmp_path):
    stack = daemon_stack(registrar, GroupPattern=pattern, Key=key)
    role = stack.resource("TaskRole")
    assert "ManagedPolicyArns" not in role
    assert [policy["PolicyDocument"] for policy in role["Policies"]] == printed(tmp_path, stack)


@pytest.mark.parametrize(("engine", "registrar"), [("chef", "chef-server"), ("chef", "opsworks-cm"), ("puppet", "puppet-ca")])
@pytest.mark.parametrize("key", ["parameter", "document"])
def test_the_instances_role_may_do_what_is_printed_and_nothing_else(engine, registrar, key, tmp_path):
    role = group_stack(engine, Key=key).resource("InstanceRole")
    # What the SSM agent asks is AWS's to say, and enrolld prints that it needs it.
    assert role.get("ManagedPolicyArns", []) == (["arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore"] if key == "document" else [])
    wanted = [document for document in printed(tmp_path, daemon_stack(registrar, Key=key), "--instance", "--launch-kit") if document]
    assert [policy["PolicyDocument"] for policy in role.get("Policies", [])] == wanted
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}, "nobody but EC2"


@pytest.mark.parametrize("registrar", REGISTRARS)
def test_the_daemons_role_in_another_account_may_do_what_is_printed_for_it(registrar, tmp_path):
    """The account of the templates is the other one here, and the daemon and its queue are elsewhere."""
    here = daemon_stack(registrar)
    text = environment(container(here, "configuration"))["CONFIGURATION"]
    elsewhere, role = "210987654321", f"arn:aws:iam::{templates.ACCOUNT}:role/enrolld"
    text = re.sub(r"^((?:dead_letter_)?queue_url = .*)$", lambda line: line[1].replace(templates.ACCOUNT, elsewhere), text, flags=re.MULTILINE)
    text = f'accounts = ["{elsewhere}", "{templates.ACCOUNT}"]\n' + text
    text = text.replace('name = "nodes"', f'name = "nodes"\nrole_arn = "{role}"\nexternal_id = "0d0c4f2e"')
    queue = f"arn:aws:sqs:{templates.REGION}:{elsewhere}:enrolld"
    given = {"QueueArn": queue, "DaemonRoleArn": f"arn:aws:iam::{elsewhere}:role/enrolld", "ExternalId": "0d0c4f2e", "Registrar": registrar}
    other = Stack("other-account.yaml", given)
    own, assumed = printed_for(tmp_path, text)
    assert [policy["PolicyDocument"] for policy in other.resource("DaemonRole")["Policies"]] == [assumed]
    (trust,) = other.resource("DaemonRole")["AssumeRolePolicyDocument"]["Statement"]
    (assume,) = [statement for statement in own["Statement"] if statement["Action"] == ["sts:AssumeRole"]]
    wanted = {test: {key: [value] for key, value in keys.items()} for test, keys in trust["Condition"].items()}
    assert wanted == assume["Condition"] and assume["Resource"] == [role], "what the one asks the other allows"
    assert trust["Principal"] == {"AWS": given["DaemonRoleArn"]}
    subscribe = other.resource("TopicPolicy")["PolicyDocument"]["Statement"][0]
    assert subscribe["Principal"] == {"AWS": elsewhere} and subscribe["Condition"]["StringEquals"]["sns:Endpoint"] == queue


@pytest.mark.parametrize(
    ("registrar", "authority", "named"),
    [
        ("chef-server", "public", {"client-key.pem"}),
        ("chef-server", "secret", {"client-key.pem", "ca.pem"}),
        # Whatever is said of it.
        *(("puppet-ca", authority, {"certificate.pem", "private-key.pem", "ca.pem"}) for authority in ("public", "secret")),
        *(("opsworks-cm", authority, set()) for authority in ("public", "secret")),
    ],
)
def test_each_file_that_the_configuration_names_is_written_from_what_the_container_is_handed(registrar, authority, named, tmp_path):
    stack = daemon_stack(registrar, ServerCa=authority)
    writes = container(stack, "configuration")
    command, *pairs = [one for one in writes["Command"] if one not in ("--owner", container(stack, "enrolld")["User"])]
    files = dict(pair.split("=") for pair in pairs)
    assert command == "write-files" and files.pop("enrolld.toml") == "CONFIGURATION"
    text = environment(writes)["CONFIGURATION"]
    assert set(files) == set(re.findall(r'"/etc/enrolld/([^"]+)"', text)) == named
    assert ('ca_file = "/etc/enrolld/ca.pem"' in text) == ("ca.pem" in named)
    assert printed_for(tmp_path, text), "which is a configuration that is taken"
    handed = {one["Name"]: one["ValueFrom"] for one in writes.get("Secrets", [])}
    assert set(files.values()) == set(handed)
    for name, variable in files.items():
        assert handed[variable].endswith(f":{name.removesuffix('.pem').replace('-', '_')}::"), "the key of the secret is called as the file"
    assert writes["Image"] == container(stack, "enrolld")["Image"], "no other image is fetched"


@pytest.mark.parametrize("registrar", ["chef-server", "puppet-ca"])
def test_a_server_of_ones_own_is_refused_without_the_secret_that_its_requests_are_signed_with(registrar):
    (said,) = daemon_stack(registrar, RegistrarSecretArn="").refusals()
    assert "RegistrarSecretArn" in said
    assert daemon_stack(registrar).refusals() == []
    assert daemon_stack("opsworks-cm").refusals() == []


def test_the_metrics_alarms_and_dashboard_of_another_log_are_those_of_the_service():
    service = daemon_stack("chef-server")
    other = Stack("log-alarms.yaml", {"LogGroupName": "<LogGroup>"}, imports=service.imports)
    for kind, count in (("AWS::Logs::MetricFilter", 4), ("AWS::CloudWatch::Alarm", 3)):
        assert other.resources(kind) == service.resources(kind)
        assert len(other.resources(kind)) == count
    assert len(other.template["Resources"]) == 4 + 3 + 1

    def shown(stack):
        """What each part shows, wherever it stands, without what only ECS tells."""
        dashboard = stack.resource("Dashboard")
        found = {}
        for widget in json.loads(dashboard["DashboardBody"])["widgets"]:
            properties = widget["properties"]
            if widget["type"] == "metric":
                properties["metrics"] = [metric for metric in properties["metrics"] if "ECS" not in metric[0]]
            if properties.get("metrics") != []:
                found[properties["title"]] = (widget["type"], properties)
        return dashboard["DashboardName"], found

    assert shown(other) == shown(service)
    assert len(shown(other)[1]) == 5
    assert "ECS" not in other.resource("Dashboard")["DashboardBody"]


def test_a_role_for_another_account_is_refused_without_its_external_id():
    (said,) = other_stack(ExternalId="").refusals()
    assert "ExternalId" in said
    assert other_stack().refusals() == other_stack(DaemonRoleArn="", ExternalId="").refusals() == []


def test_the_group_the_pattern_and_the_role_are_each_others_by_default():
    group, daemon = group_stack(), daemon_stack("chef-server")
    pattern = daemon.parameter("GroupPattern")
    assert pattern.endswith("*") and group.parameter("GroupName").startswith(pattern[:-1])
    assert templates.ROLE.endswith(f"role/{group.parameter('InstanceRoleName')}")
