"""What linters say: nothing that is not explained where it stands."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

import templates
from templates import ROOT, group_stack

TOOLS = Path(os.environ["ENROLLD_DEPLOY_TOOLS"])
TEMPLATES = sorted(templates.FOLDER.glob("*.yaml"))
REGIONS = "eu-central-1,us-east-1,eu-west-1"


def ran(tool, *arguments, text=None):
    command = [str(TOOLS / tool), *map(str, arguments)]
    clean = {key: os.environ[key] for key in ("PATH", "HOME", "LANG") if key in os.environ}
    return subprocess.run(command, cwd=ROOT, env=clean, input=text, capture_output=True, text=True, check=False)


def checked(framework, path):
    """What checkov finds in a folder or file, and what it was told to pass over."""
    kind = "--directory" if path.is_dir() else "--file"
    found = ran("checkov", kind, path, "--framework", framework, "--output", "json", "--skip-download", "--compact")
    answer = json.loads(found.stdout)
    assert answer["summary"]["parsing_errors"] == 0, found.stdout
    results = answer["results"]
    assert results["passed_checks"], "something was checked"
    return results["failed_checks"], results["skipped_checks"]


def told(finding):
    return f"{finding['check_id']} {finding['check_name']}: {finding['resource']} ({finding['file_path']})"


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_cfn_lint_finds_nothing_in(template):
    found = ran("cfn-lint", "--regions", *REGIONS.split(","), "--include-checks", "I", "--template", template)
    assert (found.returncode, found.stdout) == (0, ""), found.stdout + found.stderr
    assert "cfn-lint" not in template.read_text(), "and is not told to look away"


@pytest.mark.parametrize(("framework", "path"), [("cloudformation", "cloudformation"), ("terraform", "terraform"), ("dockerfile", "container/Dockerfile")])
def test_checkov_finds_nothing_that_is_not_explained(framework, path):
    failed, skipped = checked(framework, ROOT / "deploy" / path)
    assert [told(finding) for finding in failed] == []
    for finding in skipped:
        assert len(finding["check_result"]["suppress_comment"]) > 40, f"says why: {told(finding)}"


def test_the_linters_would_find_something(tmp_path):
    text = (templates.FOLDER / "group-example.yaml").read_text()
    text = text.replace("HttpTokens: required", "HttpTokens: optional").replace("LifecycleTransition:", "LifecycleTransit:")
    (tmp_path / "group.yaml").write_text(text)
    assert "LifecycleTransit" in ran("cfn-lint", "--template", tmp_path / "group.yaml").stdout
    assert "CKV_AWS_79" in {finding["check_id"] for finding in checked("cloudformation", tmp_path / "group.yaml")[0]}
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp\n")
    assert "DL3006" in ran("hadolint", tmp_path / "Dockerfile").stdout


def test_hadolint_finds_nothing():
    found = ran("hadolint", "--failure-threshold", "style", "deploy/container/Dockerfile")
    assert (found.returncode, found.stdout) == (0, ""), found.stdout + found.stderr
    assert "hadolint" not in (ROOT / "deploy/container/Dockerfile").read_text(), "and is not told to look away"


def shell_scripts():
    yield "image-root", (ROOT / "deploy/container/image-root").read_text()
    for engine in ("chef", "puppet"):
        for key in ("parameter", "document"):
            yield f"user data for {engine} by {key}", group_stack(engine, Key=key).resource("LaunchTemplate")["LaunchTemplateData"]["UserData"]
        agent = (ROOT / f"deploy/terraform/examples/{engine}-fargate/agent.sh").read_text()
        yield f"what sets up {engine}", f"#!/bin/sh\n# shellcheck disable=SC2154 # the kit sets them\n{agent}"


@pytest.mark.parametrize("script", [pytest.param(text, id=name) for name, text in shell_scripts()])
def test_shellcheck_finds_nothing_in(script):
    found = ran("shellcheck", "--severity", "style", "-", text=script)
    assert (found.returncode, found.stdout) == (0, ""), found.stdout + found.stderr


def test_no_private_key_leaves_an_instance():
    for engine in ("chef", "puppet"):
        for key in ("parameter", "document"):
            script = group_stack(engine, Key=key).resource("LaunchTemplate")["LaunchTemplateData"]["UserData"]
            assert len(script) < 16384, "what EC2 takes"
            sent = re.findall(r"aws_once ssm put-parameter .*--value \"file://(\S+)\"", script)
            assert sent == ([] if key == "document" else ["$PUBLISHED"])
            published = re.findall(r"^PUBLISHED=(\S+)$", script, re.MULTILINE)
            assert published == (["${PRIVATE_KEY%.pem}.pub"] if engine == "chef" else ["$SSL_DIR/certificate_requests/$NODE_NAME.pem"])
            assert "--overwrite" not in script
