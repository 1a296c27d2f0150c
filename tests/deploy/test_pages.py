"""The commands of README.md and docs/: in an order that ends no launch, and printing what they are said to print."""

import json
import os
import re
import subprocess

import pytest

from templates import ROOT, queue_stack

BINARY = os.environ["ENROLLD_BIN"]
BY_HAND, KIT = ROOT / "README.md", ROOT / "docs" / "launch-kit.md"
PAGES = [BY_HAND, *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
SOURCES = [*sorted((ROOT / "deploy" / "terraform").rglob("*.tf")), *sorted((ROOT / "src" / "cli").rglob("*.rs"))]


def commands(text):
    """Each command of the blocks, with what follows its line's end."""
    shown = "\n".join(re.sub(r"^   ", "", code, flags=re.MULTILINE) for code in re.findall(r"^[ ]*```sh\n(.*?)^[ ]*```$", text, re.MULTILINE | re.DOTALL))
    return [line.split("   #", 1)[0].rstrip() for line in shown.replace("\\\n", " ").splitlines() if line.strip()]


def part(page, heading):
    return page.read_text().split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def in_order(listed, *words):
    """Where the first command with each of these words stands: each behind the one before."""
    places = [next((at for at, command in enumerate(listed) if word in command), None) for word in words]
    assert None not in places, f"there is no {words[places.index(None)]}"
    assert places == sorted(places), f"the order is to be {words}"


def configuration():
    (text,) = re.findall(r"^   ```toml\n   # enrolld\.toml\n(.*?)^   ```$", part(BY_HAND, "Connect it to your account"), re.MULTILINE | re.DOTALL)
    return re.sub(r"^   ", "", text, flags=re.MULTILINE)


def test_by_hand_the_hooks_are_attached_when_all_is_there_that_they_wait_for():
    """A hook holds launches from the moment that it is there, and ends them where nobody completes it."""
    listed = commands(part(BY_HAND, "Connect it to your account"))
    in_order(listed, "sqs create-queue", "enrolld launch-kit", "enrolld policy --config enrolld.toml --instance", "enrolld run", "iam create-role", "iam put-role-policy", "hooks attach")
    (attached,) = [at for at, command in enumerate(listed) if "hooks attach" in command]
    assert listed[attached + 1 :] == ["enrolld check --config enrolld.toml"], "and then nothing is missing"


def test_by_hand_the_role_that_sends_is_made_and_may_what_that_of_the_template_may():
    text = part(BY_HAND, "Connect it to your account")
    (named,) = re.findall(r"hooks attach .*--role-arn arn:aws:iam::\d+:role/([\w-]+)\n", text)
    assert re.findall(r"iam (?:create-role|put-role-policy) --role-name ([\w-]+)", text) == [named, named]
    trust, policy = (json.loads(document) for document in re.findall(r"-policy-document(?: \\\n)?\s+'(\{.*?\})'\n", text, re.DOTALL))
    role = queue_stack().resource("NotificationRole")
    assert trust == role["AssumeRolePolicyDocument"]
    (wanted,) = role["Policies"][0]["PolicyDocument"]["Statement"]
    (given,) = policy["Statement"]
    assert given["Action"] == wanted["Action"] == ["sqs:SendMessage", "sqs:GetQueueUrl"]
    assert f"\nqueue_url = \"https://sqs.eu-central-1.amazonaws.com/{given['Resource'].split(':', 4)[4].replace(':', '/')}\"" in "\n" + configuration()


def test_what_is_printed_by_hand_is_printed_for_the_configuration_of_the_page(tmp_path):
    (tmp_path / "enrolld.toml").write_text(configuration())
    (tmp_path / "enrolld").symlink_to(BINARY)
    listed = [command for command in commands(part(BY_HAND, "Connect it to your account")) if re.match(r"enrolld (policy|launch-kit) ", command)]
    assert len(listed) == 3
    script = "\n".join(["set -eu -o pipefail", *listed])
    ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    for name in ("worker.json", "instances.json"):
        assert json.loads((tmp_path / name).read_text())["Statement"], name
    assert (tmp_path / "user-data.sh").read_text().startswith("#!")


def test_the_second_hook_is_made_when_instances_can_complete_it():
    listed = commands(part(KIT, "In service only once it has converged"))
    in_order(listed, "enrolld launch-kit", "enrolld policy", "iam put-role-policy", "create-launch-template-version", "update-auto-scaling-group", "put-lifecycle-hook")


def converging():
    """Each command that prints something for a second hook, and where it stands."""
    for page in (*PAGES, *SOURCES):
        for at, line in enumerate(page.read_text().splitlines(), 1):
            if found := re.match(r'\s*(enrolld (?:launch-kit|policy) .*--converge-hook [^";]*)', line):
                yield pytest.param(found[1].replace('\\"', '"').strip(), id=f"{page.relative_to(ROOT)}:{at}")


def test_there_are_commands_for_a_second_hook():
    assert len(list(converging())) >= 9


@pytest.mark.parametrize("command", converging())
def test_what_is_printed_for_a_second_hook_knows_its_group(command, tmp_path):
    """The script of a route for web-* would otherwise ask the instance's tag, which is not in its metadata unless the launch template says so, and publish nothing until it is."""
    (tmp_path / "enrolld.toml").write_text(configuration())
    (tmp_path / "enrolld").symlink_to(BINARY)
    printed = command.split(" > ")[0]
    ran = subprocess.run(["bash", "-c", printed], cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ("\nGROUP='web-blue'\n" if "launch-kit" in command else "autoScalingGroupName/web-blue") in ran.stdout


def test_a_policy_that_is_written_into_a_file_is_one():
    """With another role or another route several are printed, which together are no JSON."""
    lines = [line.replace('\\"', '"') for page in (*PAGES, *SOURCES) for line in page.read_text().splitlines()]
    written = [line for line in lines if re.search(r"enrolld policy --.* > \S+", line)]
    assert len(written) >= 16
    for line in written:
        assert re.search(r" --output json \| jq '\.policies\[(0\]|\] \| select\(\.route == \"\w+\"\))\.document' > \w+\.json$", line), line
