"""The guide's commands, read from it and run: `aws` and `enrolld` against ministack, and against the simulator for what ministack only pretends to do."""

import json
import os
import re
import subprocess

import pytest

import processes
from conftest import ACCOUNT, CREDENTIALS, REGION, ministack
from templates import FOLDER, ROOT, daemon_stack, group_stack, queue_stack, read

GUIDE = ROOT / "deploy" / "README.md"
BINARY = os.environ["ENROLLD_BIN"]
# The server of the page is nobody's here: the simulator's takes its place. Nothing else is changed.
THEIRS = re.compile(r"registrar = \{ kind = \"chef-server\".*\}")
OURS = 'registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "chef" }'

# The first release of the CLI asks an older name of SQS, unless an endpoint stands on the command line; and of SSM the simulator knows only parameters and
# commands.
CLI = """#!/bin/sh
case $1 in
sqs | ssm) exec %(real)s --endpoint-url "$AWS_ENDPOINT_URL" "$@" ;;
*) exec %(real)s "$@" ;;
esac
"""


def blocks():
    """Each block of commands with the mark above it, and where it stands."""
    text = GUIDE.read_text()
    found = re.finditer(r"(?:^[ ]*<!-- (?P<mark>[^>]*) -->\n)?^(?P<indent>[ ]*)```sh\n(?P<code>.*?)^[ ]*```$", text, re.MULTILINE | re.DOTALL)
    for match in found:
        code = "\n".join(line.removeprefix(match["indent"]) for line in match["code"].splitlines())
        yield text[: match.start()].count("\n") + 1, match["mark"] or "", code


def simulated(folder):
    """The account as the guide's stacks would leave it: a queue of that name, the new group with its hooks, and one that is there already, without."""
    arn = {"queue": "enrolld", "via": "direct"}

    def hook(name, transition, default):
        return {"name": name, "transition": transition, "heartbeat_timeout": 3600, "default_result": default, "delivery": arn}

    hooks = [hook("enrol-on-launch", "launching", "ABANDON"), hook("leave-on-terminate", "terminating", "CONTINUE")]
    fixture = {
        "settings": {"account": ACCOUNT, "region": REGION},
        "queues": [{"name": "enrolld-dead-letters"}, {"name": "enrolld", "dead_letters": {"queue": "enrolld-dead-letters", "max_receive_count": 100}}],
        "groups": [{"name": "web-blue", "hooks": hooks}, {"name": "web-green", "hooks": []}],
        "servers": [{"name": "prod-chef", "engine": "chef"}],
    }
    path = folder / "world.json"
    path.write_text(json.dumps(fixture))
    return path


def test_the_commands_of_the_guide_do_what_they_say(tmp_path):
    commands = tmp_path / "bin"
    commands.mkdir()
    aws = commands / "aws"
    aws.write_text(CLI % {"real": os.environ["ENROLLD_AWS_CLI"]})
    aws.chmod(0o755)
    (commands / "enrolld").symlink_to(BINARY)
    work = tmp_path / "work"
    work.mkdir()
    (work / "deploy").symlink_to(ROOT / "deploy")
    subprocess.run(["openssl", "genrsa", "-out", work / "client-key.pem", "2048"], check=True, capture_output=True)

    script = ["set -eu", "set -o pipefail"]
    for line, mark, code in blocks():
        if mark == "run: simulator":
            script += [f"echo '#### the block at line {line}' >&2", THEIRS.sub(OURS, code)]
    assert len(script) > 10, "there are commands to run"

    port = processes.free_port()
    simulate = [BINARY, "simulate", "--listen", f"127.0.0.1:{port}", "--fixture", str(simulated(tmp_path))]
    fleet = f"http://127.0.0.1:{port}"
    with ministack(tmp_path) as cloud, processes.process("simulate", simulate, tmp_path, {}, f"{fleet}/_sim/state?summary=1"):
        surroundings = CREDENTIALS | {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "HOME": str(work),
            "AWS_ENDPOINT_URL": cloud,
            "AWS_ENDPOINT_URL_AUTO_SCALING": fleet,
            "AWS_ENDPOINT_URL_OPSWORKSCM": fleet,
            "AWS_ENDPOINT_URL_SSM": fleet,
        }
        ran = subprocess.run(["bash", "-c", "\n".join(script)], cwd=work, env=surroundings, capture_output=True, text=True, check=False, timeout=300)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
    assert ran.stdout.count(" 0 failed") == 2, "the check of the file finds nothing, and that of all that was made"
    for name in ("worker.json", "instances.json"):
        assert json.loads((work / name).read_text())["Statement"]
    assert (work / "user-data.sh").read_text().startswith("#!")


def test_every_block_of_commands_is_run_or_says_why_not():
    marks = [(line, mark) for line, mark, _ in blocks()]
    assert len(marks) == GUIDE.read_text().count("```sh\n")
    for line, mark in marks:
        assert mark == "run: simulator" or re.fullmatch(r"not run: .{20,}", mark), f"deploy/README.md:{line} is neither run nor says why not"
    assert sum(mark.startswith("run") for _, mark in marks) >= len(marks) / 2


def test_the_configuration_of_the_guide_is_taken_as_it_stands(tmp_path):
    (text,) = [re.search(r"<<END\n(.*?)\nEND\n", code, re.DOTALL)[1] for _, _, code in blocks() if "<<END" in code]
    url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/enrolld"
    for word, value in (("$(output QueueUrl)", url), ("$(output DeadLetterQueueUrl)", f"{url}-dead-letters"), ("$AWS_REGION", REGION), ("$account", ACCOUNT)):
        text = text.replace(word, value)
    assert "$" not in text
    key = tmp_path / "client-key.pem"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    key.chmod(0o400)
    (tmp_path / "enrolld.toml").write_text(text.replace("/etc/enrolld/client-key.pem", str(key)))
    ran = subprocess.run([BINARY, "check", "--offline", "--config", str(tmp_path / "enrolld.toml")], env={}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_stacks_are_given_parameters_that_they_have():
    """Also in the commands that no emulator can run."""
    seen = set()
    for line, _, code in blocks():
        for deploy in re.findall(r"aws cloudformation deploy (.*?)(?=\naws |\n\w+\(|\n\w+=|\Z)", code.replace("\\\n", " "), re.DOTALL):
            (template,) = re.findall(r"--template-file deploy/cloudformation/(\S+)", deploy)
            given = set(re.findall(r"(?<=\s)([A-Z]\w+)=", deploy))
            known = read(template)["Parameters"]
            assert given <= set(known), f"line {line}: {template} has no {given - set(known)}"
            wanted = {name for name, one in known.items() if "Default" not in one}
            # A stack that is there keeps what it was given.
            assert wanted <= given or template in seen, f"line {line}: {template} wants {wanted - given}"
            seen.add(template)
            assert "CAPABILITY_" in deploy
    assert seen == {path.name for path in FOLDER.glob("*.yaml")}, "every template is used"


def table(heading):
    """The permissions in the table under a heading."""
    section = GUIDE.read_text().split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    return re.findall(r"^\| `([\w-]+:\w+)` \|", section, re.MULTILINE)


def actions(policies):
    found = set()
    for policy in policies:
        for statement in policy["PolicyDocument"]["Statement"]:
            if statement["Effect"] == "Allow":
                named = statement["Action"]
                found.update(named if isinstance(named, list) else [named])
    return found


@pytest.mark.parametrize(
    ("heading", "roles"),
    [
        # The first two are held against what is printed by test_policies.
        ("The daemon's role", [daemon_stack(kind).resource("TaskRole") for kind in ("chef-server", "puppet-ca", "opsworks-cm")]),
        ("The instances' role", [group_stack(engine).resource("InstanceRole") for engine in ("chef", "puppet")]),
        ("Auto Scaling's notification role", [queue_stack(Notification=way).resource("NotificationRole") for way in ("HookTarget", "SNS")]),
        ("ECS's execution role", [daemon_stack(kind).resource("ExecutionRole") for kind in ("chef-server", "opsworks-cm")]),
    ],
)
def test_the_tables_of_permissions_have_each_permission_once_and_no_other(heading, roles):
    told = table(heading)
    assert len(told) == len(set(told))
    assert set(told) == set().union(*(actions(role.get("Policies", [])) for role in roles))


def test_what_the_pages_link_is_there():
    for page in (ROOT / "deploy").rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page} links {link}, which is not there"
