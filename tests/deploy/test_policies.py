"""The policies in the templates are those that `enrolld policy` prints for the configuration in the templates."""

import json
import os
import subprocess

import pytest

import templates
from templates import REGISTRARS, container, daemon_stack, environment, group_stack

BINARY = os.environ["ENROLLD_BIN"]


def printed(folder, stack, *arguments):
    """The documents that are printed for the configuration in the task definition."""
    path = folder / "enrolld.toml"
    path.write_text(environment(container(stack, "configuration"))["CONFIGURATION"])
    command = [BINARY, "policy", "--config", str(path), "--output", "json", *arguments]
    ran = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return [policy["document"] for policy in json.loads(ran.stdout)["policies"]]


@pytest.mark.parametrize("pattern", ["web-*", "web-blue"])
@pytest.mark.parametrize("registrar", REGISTRARS)
def test_the_tasks_role_may_do_what_is_printed_and_nothing_else(registrar, pattern, tmp_path):
    stack = daemon_stack(registrar, GroupPattern=pattern)
    role = stack.resource("TaskRole")
    assert "ManagedPolicyArns" not in role
    assert [policy["PolicyDocument"] for policy in role["Policies"]] == printed(tmp_path, stack)


@pytest.mark.parametrize(("engine", "registrar"), [("chef", "chef-server"), ("chef", "opsworks-cm"), ("puppet", "puppet-ca")])
def test_the_instances_role_may_do_what_is_printed_and_nothing_else(engine, registrar, tmp_path):
    role = group_stack(engine).resource("InstanceRole")
    assert "ManagedPolicyArns" not in role
    assert [policy["PolicyDocument"] for policy in role["Policies"]] == printed(tmp_path, daemon_stack(registrar), "--instance")
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust == {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}, "nobody but EC2"


def test_the_group_the_pattern_and_the_role_are_each_others_by_default():
    group, daemon = group_stack(), daemon_stack("chef-server")
    pattern = daemon.parameter("GroupPattern")
    assert pattern.endswith("*") and group.parameter("GroupName").startswith(pattern[:-1])
    assert templates.ROLE.endswith(f"role/{group.parameter('InstanceRoleName')}")
