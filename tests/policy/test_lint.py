"""What `enrolld policy` prints, before an IAM linter that knows each action, its resources and its condition keys."""

import json
import os
import pathlib
import subprocess
import tomllib

import parliament
import pytest

BINARY = os.environ["ENROLLD_BIN"]
CONFIGURATIONS = sorted(pathlib.Path(__file__).parent.glob("configurations/*.toml"))
# What a managed policy holds, white space aside.
MANAGED_POLICY_CHARACTERS = 6144


def printed(configuration, *arguments):
    command = [BINARY, "policy", "--config", str(configuration), "--output", "json", *arguments]
    ran = subprocess.run(command, env={}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return [policy["document"] for policy in json.loads(ran.stdout)["policies"] if policy["document"]]


def findings(document):
    analysed = parliament.analyze_policy_string(json.dumps(document), include_community_auditors=True)
    return [f"{finding.issue}: {finding.detail} {finding.location}" for finding in analysed.findings if not is_meant(finding)]


def is_meant(finding):
    """A route with role_arn assumes that role: the auditor warns of any policy that gives credentials, however few."""
    return finding.issue == "CREDENTIALS_EXPOSURE" and finding.location.get("actions") == ["sts:assumerole"]


# Stands for one that the configuration's first route serves.
A_GROUP = "(group)"


def served(configuration):
    return tomllib.loads(configuration.read_text())["route"][0]["groups"][0].replace("*", "blue").replace("?", "1")


KINDS = [
    [],
    ["--with-check", "--with-dead-letters", "--with-sweep"],
    ["--instance"],
    ["--instance", "--launch-kit"],
    ["--instance", "--converge-hook", "converge", "--group", A_GROUP],
]


@pytest.mark.parametrize("arguments", KINDS, ids=lambda given: " ".join(given) or "daemon")
@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda path: path.stem)
def test_the_linter_finds_nothing(configuration, arguments):
    for document in printed(configuration, *(served(configuration) if one == A_GROUP else one for one in arguments)):
        assert findings(document) == [], json.dumps(document, indent=2)
        assert len("".join(json.dumps(document).split())) <= MANAGED_POLICY_CHARACTERS


@pytest.mark.parametrize("configuration", CONFIGURATIONS, ids=lambda path: path.stem)
def test_no_action_is_a_pattern_and_names_of_statements_are_unique(configuration):
    for document in printed(configuration, "--with-check", "--with-dead-letters"):
        for statement in document["Statement"]:
            assert not [action for action in statement["Action"] if "*" in action or "?" in action]
        names = [statement["Sid"] for statement in document["Statement"]]
        assert len(names) == len(set(names))


def test_the_linter_would_find_something():
    document = printed(CONFIGURATIONS[0])[0]
    document["Statement"][0]["Resource"] = ["arn:aws:s3:::bucket"]
    assert findings(document)
