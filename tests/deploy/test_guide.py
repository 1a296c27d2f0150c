"""The guide's commands, read from it and run: `aws` and `enrolld` against ministack, and against the simulator for what ministack only pretends to do."""

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
from urllib.request import urlopen

import pytest

import processes
from conftest import ACCOUNT, CREDENTIALS, REGION, client, ministack
from templates import FOLDER, ROOT, container, daemon_stack, environment, group_stack, other_stack, queue_stack, read
from test_queue import UNKNOWN

GUIDE = ROOT / "deploy" / "README.md"
BINARY = os.environ["ENROLLD_BIN"]
RUN, RUN_ELSEWHERE = "run: simulator", "run: simulator, which is one region and one account"
RUN_AFTER_A_FAILURE = "run: simulator, after a creation that has failed"
# By tests/package: in a root that systemd boots, and from this tree.
RUN_ON_A_MACHINE, RUN_WITH_RUST = "run: a machine of its own", "run: where there is Rust"
# Where what may be typed on another day begins, and the parts of it, each of which is. The sections before are one shell's.
NEW_SHELL, OTHER_DAYS = "A new shell", ("The service on ECS", "The package on EC2", "Another configuration", "Removal", "More than one region", "More than one account")
FIRST_DAY = ("1. The program and the queue", "2. The configuration", "3a. The daemon on ECS", "3b. The daemon on EC2", "4. Groups", "What a large launch meets first")
# The server of the page is nobody's: where it would be asked, the simulator's takes its place. Nothing else is changed.
ASKS_THE_SERVER = "enrolld check --config enrolld.toml\n"
# What the page calls the other account's topic.
OTHER_TOPIC = "arn:aws:sns:eu-central-1:210987654321:enrolld"
THEIRS = "registrar = { kind = .chef-server.*}"
OURS = 'registrar = { kind = "opsworks-cm", server = "prod-chef", engine = "chef" }'

# The first release of the CLI asks an older name of SQS, unless an endpoint stands on the command line. Of SSM the simulator knows only parameters and
# commands, and of Auto Scaling nothing of launch templates, which ministack does; what a group is given there, ministack ignores, and so it is written down.
CLI = """#!/bin/sh
case "$1 $2" in
ec2\\ run-instances)
  # As EC2 does with an instance profile that IAM has just made.
  tried=$(cat "$HOME/tried" 2>/dev/null || echo 0)
  echo "$((tried + 1))" >"$HOME/tried"
  if [ "$tried" -lt "${REFUSED_AT_FIRST:-2}" ]; then
    echo 'An error occurred (InvalidParameterValue) when calling the RunInstances operation: Value (enrolld) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name' >&2
    exit 255
  fi
  exec %(real)s "$@"
  ;;
cloudformation\\ deploy)
  # Its change sets are named after the second, and nobody types two in one.
  while [ "$(cat "$HOME/deployed" 2>/dev/null)" = "$(date +%%s)" ]; do /bin/sleep 0.1; done
  ended=0
  %(real)s "$@" || ended=$?
  date +%%s >"$HOME/deployed"
  exit "$ended"
  ;;
autoscaling\\ update-auto-scaling-group) echo "$*" >>"$HOME/updated" ;;
esac
case "$1 $2 $*" in
sqs\\ * | ssm\\ * | autoscaling\\ update-auto-scaling-group\\ * | *LaunchTemplate.Version*) exec %(real)s --endpoint-url "$AWS_ENDPOINT_URL" "$@" ;;
*) exec %(real)s "$@" ;;
esac
"""
# Nobody waits for the emulator.
NO_PAUSE = """#!/bin/sh
echo "$1" >>"$HOME/paused"
"""
# What a block of the page cannot be, in its running text.
COMMAND = re.compile(r"`(?:aws|apt-get|systemctl|sudo|docker|cargo|kubectl|terraform) [^`]*`")


def blocks():
    """Each block of commands with the mark above it, and where it stands."""
    text = GUIDE.read_text()
    found = re.finditer(r"(?:^[ ]*<!-- (?P<mark>[^>]*) -->\n)?^(?P<indent>[ ]*)```sh\n(?P<code>.*?)^[ ]*```$", text, re.MULTILINE | re.DOTALL)
    for match in found:
        code = "\n".join(line.removeprefix(match["indent"]) for line in match["code"].splitlines())
        yield text[: match.start()].count("\n") + 1, match["mark"] or "", code


def section(line):
    """The heading that a line stands under."""
    found = [one.lstrip("#").strip() for one in GUIDE.read_text().splitlines()[: line + 1] if re.match(r"##+ ", one)]
    return found[-1]


def of(*headings, marks=(RUN,)):
    """The blocks under these headings that have one of these marks."""
    return [block for block in blocks() if section(block[0]) in headings and block[1] in marks]


def simulated(folder, **green):
    """The account as the guide's stacks would leave it: a queue of that name, the new group with its hooks, and one that is there already, without."""
    arn = {"queue": "enrolld", "via": "direct"}

    def hook(name, transition, default):
        return {"name": name, "transition": transition, "heartbeat_timeout": 3600, "default_result": default, "delivery": arn}

    hooks = [hook("enrol-on-launch", "launching", "ABANDON"), hook("leave-on-terminate", "terminating", "CONTINUE")]
    fixture = {
        "settings": {"account": ACCOUNT, "region": REGION},
        "queues": [{"name": "enrolld-dead-letters"}, {"name": "enrolld", "dead_letters": {"queue": "enrolld-dead-letters", "max_receive_count": 100}}],
        "groups": [{"name": "web-blue", "hooks": hooks}, {"name": "shop-green", "hooks": [], **green}],
        "servers": [{"name": "prod-chef", "engine": "chef"}],
    }
    path = folder / "world.json"
    path.write_text(json.dumps(fixture))
    return path


SHELL = ("set -eu", "set -o pipefail")


class Desk:
    """Where the commands are typed: this repository's deploy/, with the key that the server gave, and ministack behind `aws`."""

    def __init__(self, folder, cloud):
        self.work, self.cloud, self.script = folder / "work", cloud, [*SHELL]
        commands = folder / "bin"
        commands.mkdir()
        aws = commands / "aws"
        aws.write_text(CLI % {"real": os.environ["ENROLLD_AWS_CLI"]})
        aws.chmod(0o755)
        (commands / "enrolld").symlink_to(BINARY)
        pause = commands / "sleep"
        pause.write_text(NO_PAUSE)
        pause.chmod(0o755)
        templates = self.work / "deploy" / "cloudformation"
        shutil.copytree(FOLDER, templates)
        shutil.copytree(ROOT / "deploy" / "systemd", self.work / "deploy" / "systemd")
        # The page deploys all of it; ministack knows all but these.
        template = read("daemon-ecs.yaml")
        template["Resources"] = {name: one for name, one in template["Resources"].items() if one["Type"] not in UNKNOWN}
        (templates / "daemon-ecs.yaml").write_text(json.dumps(template))
        subprocess.run(["openssl", "genrsa", "-out", self.work / "client-key.pem", "2048"], check=True, capture_output=True)
        authority = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=ours", "-keyout", "/dev/null", "-out", self.work / "ca.pem"]
        subprocess.run(["openssl", *authority], check=True, capture_output=True)
        self.surroundings = CREDENTIALS | {"PATH": f"{commands}:{os.environ['PATH']}", "HOME": str(self.work), "AWS_ENDPOINT_URL": cloud}

    def type(self, line, code):
        asks = ASKS_THE_SERVER in code + "\n"
        if asks:
            self.script.append(f"cp enrolld.toml theirs.toml && sed -i 's|{THEIRS}|{OURS}|' enrolld.toml")
        self.script += [f"echo '#### the block at line {line}' >&2", code]
        if asks:
            self.script.append("mv theirs.toml enrolld.toml")

    def run(self):
        """In a shell that knows nothing of the last one, but has its files. Nothing is left to be typed."""
        ran = subprocess.run(["bash", "-c", "\n".join(self.script)], cwd=self.work, env=self.surroundings, capture_output=True, text=True, check=False, timeout=600)
        self.script = [*SHELL]
        assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr[-3000:]
        return ran.stdout

    def type_on_another_day(self, found):
        for line, _, code in [*of(NEW_SHELL), *found]:
            self.type(line, code)
        return self.run()


def what_is_there_already(cloud):
    """The group that exists before the guide is read, as ministack has it: with a role, with a launch template, and in the simulator without hooks."""
    ec2, iam = client("ec2", cloud), client("iam", cloud)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
    iam.create_role(RoleName="shop-instances", AssumeRolePolicyDocument=json.dumps(trust))
    iam.create_instance_profile(InstanceProfileName="shop-instances")
    iam.add_role_to_instance_profile(InstanceProfileName="shop-instances", RoleName="shop-instances")
    data = {"ImageId": "ami-0123456789abcdef0", "InstanceType": "t3.micro", "IamInstanceProfile": {"Name": "shop-instances"}}
    ec2.create_launch_template(LaunchTemplateName="shop-green", LaunchTemplateData=data)
    template = {"LaunchTemplateName": "shop-green", "Version": "1"}
    made = {"MinSize": 0, "MaxSize": 3, "LaunchTemplate": template, "AvailabilityZones": [f"{REGION}a"]}
    client("autoscaling", cloud).create_auto_scaling_group(AutoScalingGroupName="shop-green", **made)
    # A later one, which nobody has tried with the group.
    ec2.create_launch_template_version(LaunchTemplateName="shop-green", LaunchTemplateData=data | {"InstanceType": "t3.large"})


def running(cloud):
    found = client("ec2", cloud).describe_instances()["Reservations"]
    return [one for reservation in found for one in reservation["Instances"] if one["State"]["Name"] == "running"]


def what_is_left(cloud):
    """What an account would still have, and somebody pay for or wonder about."""
    left = {f"stack {one['StackName']}" for one in client("cloudformation", cloud).list_stacks()["StackSummaries"] if one["StackStatus"] != "DELETE_COMPLETE"}
    left |= {f"queue {url}" for url in client("sqs", cloud).list_queues().get("QueueUrls", [])}
    iam = client("iam", cloud)
    left |= {f"role {role['RoleName']}" for role in iam.list_roles()["Roles"] if not role["Path"].startswith("/aws-service-role/")}
    left |= {f"profile {one['InstanceProfileName']}" for one in iam.list_instance_profiles()["InstanceProfiles"]}
    left |= {f"repository {one['repositoryName']}" for one in client("ecr", cloud).describe_repositories()["repositories"]}
    left |= {f"log {one['logGroupName']}" for one in client("logs", cloud).describe_log_groups()["logGroups"]}
    left |= {f"secret {one['Name']}" for one in client("secretsmanager", cloud).list_secrets()["SecretList"] if "DeletedDate" not in one}
    left |= {f"machine {one['InstanceId']}" for one in running(cloud)}
    left |= {f"parameter {one['Name']}" for one in client("ssm", cloud).describe_parameters()["Parameters"]}
    for role in iam.list_roles()["Roles"]:
        left |= {f"policy {name} of {role['RoleName']}" for name in iam.list_role_policies(RoleName=role["RoleName"])["PolicyNames"]}
    return left


def service_roles(cloud):
    """What ECS works by. The emulator spells the name in its own way."""
    return [role["RoleName"] for role in client("iam", cloud).list_roles()["Roles"] if role["Path"] == "/aws-service-role/ecs.amazonaws.com/"]


def latest_launch_templates(cloud):
    ec2 = client("ec2", cloud)
    ids = [one["LaunchTemplateId"] for one in ec2.describe_launch_templates()["LaunchTemplates"]]
    return [one for id in ids for one in ec2.describe_launch_template_versions(LaunchTemplateId=id, Versions=["$Latest"])["LaunchTemplateVersions"]]


def test_the_commands_of_the_guide_do_what_they_say(tmp_path):
    port = processes.free_port()
    simulate = [BINARY, "simulate", "--listen", f"127.0.0.1:{port}", "--fixture", str(simulated(tmp_path))]
    fleet = f"http://127.0.0.1:{port}"
    with ministack(tmp_path) as cloud, processes.process("simulate", simulate, tmp_path, {}, f"{fleet}/_sim/state?summary=1"):
        desk = Desk(tmp_path, cloud)
        for service in ("AUTO_SCALING", "OPSWORKSCM", "SSM"):
            desk.surroundings[f"AWS_ENDPOINT_URL_{service}"] = fleet
        what_is_there_already(cloud)
        before = what_is_left(cloud)
        for line, _, code in of(*FIRST_DAY):
            desk.type(line, code)
        assert len(desk.script) > 30, "there are commands to run"
        said = desk.run()
        assert len(running(cloud)) == 2, "a machine in each zone, though EC2 had not heard of their profile at first"
        assert (desk.work / "paused").read_text().split() == ["5", "5"]
        launched = [one["LaunchTemplateData"] for one in latest_launch_templates(cloud) if "shop" not in one["LaunchTemplateName"]]
        assert [one["ImageId"] for one in launched] == ["ami-0123456789abcdef0"], "the parameter's value, which is the image's ID"
        secret = client("secretsmanager", cloud).get_secret_value(SecretId="enrolld-server")["SecretString"]
        assert set(json.loads(secret)) == {"client_key", "ca"}
        versions = client("ec2", cloud).describe_launch_template_versions(LaunchTemplateName="shop-green")["LaunchTemplateVersions"]
        assert service_roles(cloud), "where ECS was never used"
        (cluster,) = client("ecs", cloud).list_clusters()["clusterArns"]
        # As Container Insights does, and nobody else can take it away again.
        client("logs", cloud).create_log_group(logGroupName=f"/aws/ecs/containerinsights/{cluster.rsplit('/', 1)[1]}/performance")
        for heading in OTHER_DAYS:
            desk.type_on_another_day(of(heading))
        left = what_is_left(cloud) - before
    assert said.count(" 0 failed") == 3, "the checks of the file find nothing, nor that of all that was made"
    assert len(json.loads((desk.work / "worker.json").read_text())["Statement"]) > 4
    (groups,) = [one for one in json.loads((desk.work / "worker.json").read_text())["Statement"] if one["Sid"] == "LifecycleActions"]
    assert {one.rsplit("/", 1)[1] for one in groups["Resource"]} == {"web-*", "shop-*"}, "the daemon may do what the group that was there already needs"
    assert json.loads((desk.work / "instances.json").read_text())["Statement"]
    script = (desk.work / "user-data.sh").read_text()
    assert script.startswith("#!")
    # That the group takes this version cannot be seen: the emulator ignores it.
    (made,) = [one["LaunchTemplateData"] for one in versions if one["VersionNumber"] == 3]
    assert base64.b64decode(made["UserData"]).decode() == script
    assert made["InstanceType"] == "t3.micro", "all else is what the group had, and not what is the latest"
    assert "MetadataOptions" not in made, "what runs there may ask by IMDSv1, or through a hop more; and with a group's tags EC2 may refuse its launches"
    given = re.findall(r"--launch-template LaunchTemplateName=shop-green,Version=(\S+)", (desk.work / "updated").read_text())
    assert given == ["3", "1"], "and what it had it is given back"
    assert not left, "what the guide makes it takes away again"
    on_ec2 = (desk.work / "enrolld-ec2.toml").read_text()
    assert 'client_key = "/run/credentials/enrolld.service/keys_client-key.pem"' in on_ec2
    assert "LoadCredential=keys:/etc/enrolld/keys" in (ROOT / "deploy/systemd/enrolld.service").read_text()


def ecs_blocks():
    """Those that make the service, from its role on to the look at it."""
    found = [block for block in blocks() if section(block[0]) == "3a. The daemon on ECS"]
    (role,) = [at for at, (_, _, code) in enumerate(found) if "create-service-linked-role" in code]
    (service,) = [at for at, (_, _, code) in enumerate(found) if "daemon-ecs.yaml" in code]
    assert role < service, "it must be there when CloudFormation makes the service"
    return found[role], found[service]


def test_a_role_of_ecs_that_is_there_is_not_made_again(tmp_path):
    role, _ = ecs_blocks()
    with ministack(tmp_path) as cloud:
        name, path = "AWSServiceRoleForECS", "/aws-service-role/ecs.amazonaws.com/"
        client("iam", cloud).create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))
        desk = Desk(tmp_path, cloud)
        desk.type_on_another_day([role])
        assert service_roles(cloud) == [name]


def test_a_first_creation_that_has_failed_is_taken_away_before_the_next_try(tmp_path):
    _, service = ecs_blocks()
    (removal,) = of("3a. The daemon on ECS", marks=(RUN_AFTER_A_FAILURE,))
    with ministack(tmp_path) as cloud:
        desk = Desk(tmp_path, cloud)
        for line, _, code in of(FIRST_DAY[0]):
            desk.type(line, code)
        desk.run()
        known = desk.work / "deploy" / "cloudformation" / "daemon-ecs.yaml"
        made = known.read_text()
        cloudformation = client("cloudformation", cloud)

        def try_it():
            for line, _, code in of(NEW_SHELL):
                desk.type(line, code)
            desk.script.append("repository=enrolld secret=arn:aws:secretsmanager:eu-central-1:123456789012:secret:enrolld-server-AbCdEf")
            desk.type(service[0], service[2])
            desk.run()

        def status():
            return cloudformation.describe_stacks(StackName="enrolld")["Stacks"][0]["StackStatus"]

        fails = {"Type": "AWS::Logs::LogStream", "DependsOn": "Service", "Properties": {"LogGroupName": "/is/not/there"}}
        known.write_text(json.dumps(json.loads(made) | {"Resources": json.loads(made)["Resources"] | {"Fails": fails}}))
        with pytest.raises(AssertionError):
            try_it()
        # The emulator would take the next try on top of it, and CloudFormation does not.
        assert status() == "ROLLBACK_COMPLETE"
        desk.type_on_another_day([removal])
        assert "stack enrolld" not in what_is_left(cloud)
        known.write_text(made)
        try_it()
        assert status() == "CREATE_COMPLETE"


def test_another_region_and_another_account_are_joined_by_the_commands_of_the_guide(tmp_path):
    """The emulator's one account is both, and its one region stands for the other."""
    port = processes.free_port()
    fleet, topic = f"http://127.0.0.1:{port}", f"arn:aws:sns:{REGION}:{ACCOUNT}:enrolld"
    world = json.loads(simulated(tmp_path).read_text())
    world["groups"].append({"name": "far-blue", "hooks": []})
    # Auto Scaling must be able to send to it.
    world["topics"] = [{"arn": topic, "queue": "enrolld", "raw": True}]
    (tmp_path / "world.json").write_text(json.dumps(world))
    simulate = [BINARY, "simulate", "--listen", f"127.0.0.1:{port}", "--fixture", str(tmp_path / "world.json")]
    with ministack(tmp_path) as cloud, processes.process("simulate", simulate, tmp_path, {}, f"{fleet}/_sim/state?summary=1"):
        # The other account's topic, which is another than that of the other region.
        sns, sqs = client("sns", cloud), client("sqs", cloud)
        second = sns.create_topic(Name="of-the-other-account")["TopicArn"]
        assert sum(OTHER_TOPIC in code for _, _, code in blocks()) == 1

        def here(code):
            return code.replace("us-east-1", REGION).replace(OTHER_TOPIC, second)

        desk = Desk(tmp_path, cloud)
        for service in ("AUTO_SCALING", "STS"):
            desk.surroundings[f"AWS_ENDPOINT_URL_{service}"] = fleet
        for line, _, code in of(*FIRST_DAY[:2]):
            desk.type(line, code)
        desk.run()
        elsewhere = [(line, mark, here(code)) for line, mark, code in of(*OTHER_DAYS, marks=(RUN_ELSEWHERE,))]
        region, topics, queue, route, hooks, *removal = elsewhere
        for block in (region, topics, queue, route):
            desk.type_on_another_day([block])
        desk.type_on_another_day(of("Another configuration"))
        said = desk.type_on_another_day([hooks])
        assert "2 made, 0 changed" in said and f"enrolld-launch  to {topic}" in said
        url = sqs.get_queue_url(QueueName="enrolld")["QueueUrl"]
        policy = json.loads(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"])["Attributes"]["Policy"])
        (let,) = [one for one in policy["Statement"] if one["Sid"] == "FromOtherTopics"]
        assert set(let["Condition"]["ArnEquals"]["aws:SourceArn"]) == {topic, second}, "the second account's topic does not take the place of the other region's"
        for one in (topic, second):
            sns.publish(TopicArn=one, Message=f"as it was sent to {one}")
            (received,) = processes.eventually(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), "the message comes")
            assert received["Body"] == f"as it was sent to {one}"
            sqs.delete_message(QueueUrl=url, ReceiptHandle=received["ReceiptHandle"])
        granted = client("iam", cloud).get_role_policy(RoleName="enrolld", PolicyName="enrolld")["PolicyDocument"]
        (assume,) = [one for one in granted["Statement"] if one["Action"] == ["sts:AssumeRole"]]
        assert assume["Resource"] == ["arn:aws:iam::210987654321:role/enrolld"], "and the daemon may be what its configuration says"
        assert 'role_arn = "arn:aws:iam::210987654321:role/enrolld"' in (desk.work / "enrolld-ec2.toml").read_text()
        # A topic of somebody else, which stays.
        other = client("sns", cloud).create_topic(Name="other")["TopicArn"]
        client("sns", cloud).subscribe(TopicArn=other, Protocol="sqs", Endpoint=f"arn:aws:sqs:{REGION}:{ACCOUNT}:enrolld")
        assert len(removal) == 2
        assert "2 removed" in desk.type_on_another_day(removal)
        # The other account's is taken off in the same way, with its number.
        assert {one["TopicArn"] for one in sns.list_subscriptions()["Subscriptions"]} == {other, second}
        assert "stack enrolld-topic" not in what_is_left(cloud)
        with urlopen(f"{fleet}/_sim/state", timeout=10) as answer:
            state = json.load(answer)
        assert not state["groups"]["far-blue"]["hooks"] and state["calls"]["autoscaling:PutLifecycleHook"] == 2
        assert "sts:AssumeRole" not in state["calls"], "the role is the daemon's alone"


def test_what_the_guide_says_of_another_account_is_what_its_template_makes():
    (text,) = [re.search(r"<<ROUTE\n(.*?)\nROUTE\n", code, re.DOTALL)[1] for _, _, code in blocks() if "<<ROUTE" in code]
    (deployed,) = [code for _, _, code in blocks() if "DaemonRoleArn=" in code]
    given = dict(re.findall(r"([A-Z]\w+)='?([^\s']+)", deployed))
    assert f'external_id = "{given["ExternalId"]}"' in text and f'groups = ["{given["GroupPattern"]}"]' in text
    assert f':role/{read("other-account.yaml")["Parameters"]["RoleName"]["Default"]}"' in text
    # The subscriptions of a topic are its owner's to list; one's own are not.
    assert "list-subscriptions-by-topic" not in GUIDE.read_text()


def plain(code):
    """Without what stands between single quotes, where a shell reads no variables."""
    return re.sub(r"'[^']*'", "", code)


def test_what_is_typed_on_another_day_knows_what_it_needs():
    """Also in the commands that no emulator can run: each part by itself, and the shell that it begins with."""
    text = GUIDE.read_text()
    (new,) = of(NEW_SHELL)
    assert new[2] in [code for _, _, code in of(FIRST_DAY[0])], "it is what the first shell began with"
    typed = {section(line) for line, mark, _ in blocks() if mark != RUN_ON_A_MACHINE}
    assert typed == {NEW_SHELL, *OTHER_DAYS, *FIRST_DAY}, "and there is no other"
    for part in (FIRST_DAY, *((NEW_SHELL, heading) for heading in OTHER_DAYS)):
        known = {"PWD", "HOME"}
        for line, _, code in [block for block in blocks() if section(block[0]) in part]:
            known |= set(re.findall(r"(?:^|[\s({;])(\w+)=", code)) | set(re.findall(r"\bfor (\w+) in\b", code)) | set(re.findall(r"^(\w+)\(\)", code, re.MULTILINE))
            unknown = set(re.findall(r"\$\{?([A-Za-z_]\w*)", plain(code))) | set(re.findall(r"\$\((output)\b", code))
            assert unknown <= known, f"deploy/README.md:{line} asks for {unknown - known}, which its shell has not"
            if "docker push" in code:
                assert "docker login" in code, f"deploy/README.md:{line}: a login of the first day is over"
    assert text.count("(#a-new-shell)") >= 2


def test_a_machine_that_cannot_be_made_is_not_tried_for_ever(tmp_path):
    """The emulator is not asked: all that EC2 would say is that it knows no such instance profile."""
    desk = Desk(tmp_path, "http://127.0.0.1:9")
    desk.surroundings["REFUSED_AT_FIRST"] = "1000"
    (block,) = [block for block in of("3b. The daemon on EC2") if "run-instances" in block[2]]
    desk.type(block[0], block[2])
    with pytest.raises(AssertionError, match="Invalid IAM Instance Profile name"):
        desk.run()
    assert len((desk.work / "paused").read_text().split()) == 11, "a minute, of the first machine alone"


def test_what_is_installed_on_a_machine_was_brought_there_and_was_made_before():
    made, brought = {"client-key.pem"}, set()
    for line, mark, code in blocks():
        for files in re.findall(r'\bscp (.*) "admin@', code):
            names = {"enrolld.deb" if name == '"$package"' else name for name in files.split()}
            assert names <= made, f"deploy/README.md:{line} brings {names - made}, which nothing has made"
            brought |= names
        for words in re.findall(r"^sudo (?:install|apt-get install) (.*)$", code, re.MULTILINE):
            (name,) = [word.removeprefix("./") for word in words.split() if re.fullmatch(r"(\./|[a-z])[\w.-]*\.\w+", word)]
            name = "enrolld.deb" if re.fullmatch(r"enrolld_[\d.]+-1_amd64\.deb", name) else name
            assert name in brought, f"deploy/README.md:{line} installs {name}, which has not come there"
        made |= set(re.findall(r"> ([\w.-]+)$", code, re.MULTILINE)) | ({"enrolld.deb"} if "package=$(deploy/debian/build)" in code else set())
    assert brought == {"enrolld.deb", "enrolld-ec2.toml", "client-key.pem", "fluent-bit.conf"}


def test_the_commands_are_those_of_either_release_of_the_cli():
    """Those that are run are so by the first release; of the others it is asked whether it has them."""
    for line, mark, code in blocks():
        for service, command in re.findall(r"\baws ([a-z0-9-]+) ([a-z-]+)", code) if mark.startswith("not run") else []:
            asked = subprocess.run([os.environ["ENROLLD_AWS_CLI"], service, command, "--no-such-option"], env=CREDENTIALS, capture_output=True, text=True, check=False)
            assert "Invalid choice" not in asked.stderr, f"deploy/README.md:{line}: aws {service} {command}"


def test_each_group_has_a_role_of_its_own_which_its_route_believes():
    """A role that a stack has made is the stack's: with a policy of somebody else's in it, it could not be deleted, and with it go the instances that have it."""
    text = "\n".join(code for _, _, code in blocks())
    believed = dict(re.findall(r'^name = "(\w+)"\n.*?owner_role = "\S+:role/([\w-]+)"', text, re.MULTILINE | re.DOTALL))
    assert believed == {"web": "web-instances", "shop": "shop-instances", "far": "far-instances"}
    assert set(re.findall(r"InstanceRoleName=(\S+)", text)) == {believed["web"]} == set(re.findall(r"InstanceRoleArn=\S+:role/([\w-]+)", text))
    granted = set(re.findall(r"put-role-policy --role-name (\S+)", text))
    assert granted == {"enrolld", believed["shop"]} and "create-role --role-name enrolld " in text, "one is made by hand, and one was there"
    (printed,) = re.findall(r"enrolld launch-kit --config enrolld\.toml --route (\w+) ", text)
    assert f'select(.route == "{printed}").document' in text and f"put-role-policy --role-name {believed[printed]} " in text


def test_every_block_of_commands_is_run_or_says_why_not():
    marks = [(line, mark) for line, mark, _ in blocks()]
    assert len(marks) == GUIDE.read_text().count("```sh\n")
    for line, mark in marks:
        assert mark in (RUN, RUN_ELSEWHERE, RUN_AFTER_A_FAILURE, RUN_ON_A_MACHINE, RUN_WITH_RUST) or re.fullmatch(r"not run: .{20,}", mark), f"deploy/README.md:{line} is neither run nor says why not"
    for mark, script in ((RUN_ON_A_MACHINE, "run"), (RUN_WITH_RUST, "from_source")):
        # The script fails where there are not so many, and each of them is to be typed.
        asked = re.findall(rf"tests/package/guide '<!-- {mark} -->' (\d+)\)", (ROOT / "tests/package" / script).read_text())
        assert asked == [str([one for _, one in marks].count(mark))]
    assert sum(mark.startswith("run") for _, mark in marks) >= len(marks) * 2 / 3


def test_the_package_is_built_everywhere_with_the_program_that_the_guide_has_tried():
    pages = [GUIDE, ROOT / "docs" / "systemd.md", ROOT / "deploy" / "debian" / "build"]
    assert len({version for page in pages for version in re.findall(r"cargo install --locked cargo-deb(.*?)[\n)]", page.read_text())}) == 1


def test_what_the_guide_deploys_and_installs_it_has_built():
    text = "\n".join(code for _, _, code in blocks())
    deployed = set(re.findall(r'Image="\$repository:(\w+)"', text))
    assert deployed == set(re.findall(r'docker push "\$repository:(\w+)"', text)) == set(re.findall(r'--tag "\$repository:(\w+)"', text))
    for _, mark, code in blocks():
        if mark == RUN_ON_A_MACHINE:
            assert not re.findall(r"\$\w+", code), "what was set elsewhere is not known there"


def test_no_command_escapes_into_the_running_text():
    text = re.sub(r"^[ ]*```sh\n.*?^[ ]*```$", "", GUIDE.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert not COMMAND.findall(text), "commands stand in blocks, where they are run or say why not"


def test_the_configuration_of_the_guide_is_taken_as_it_stands(tmp_path):
    (text,) = [re.search(r"<<END\n(.*?)\nEND\n", code, re.DOTALL)[1] for _, _, code in blocks() if "<<END" in code]
    url = f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/enrolld"
    key = tmp_path / "client-key.pem"
    for word, value in (("$PWD", str(tmp_path)), ("$(output QueueUrl)", url), ("$(output DeadLetterQueueUrl)", f"{url}-dead-letters"), ("$AWS_REGION", REGION), ("$account", ACCOUNT)):
        text = text.replace(word, value)
    assert "$" not in text
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    key.chmod(0o400)
    (tmp_path / "enrolld.toml").write_text(text)
    ran = subprocess.run([BINARY, "check", "--offline", "--config", str(tmp_path / "enrolld.toml")], env={}, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_page_says_for_how_many_tasks_the_stack_waits():
    """Nothing waits for what the scaling does when the service is there."""
    stack = daemon_stack("chef-server")
    assert "DesiredCount" not in stack.resource("Service") and stack.resource("ScalableTarget")["MinCapacity"] == 2
    text = GUIDE.read_text()
    told = text.index("The stack is made once one task is well. The second follows")
    assert "aws ecs describe-services " in text[told:].split("```")[1]


def test_stacks_are_given_parameters_that_they_have():
    """Also in the commands that no emulator can run."""
    seen = set()
    for line, _, code in blocks():
        for deploy in re.findall(r"aws cloudformation deploy (.*?)(?=\naws |\n\w+\(|\n\w+=|\Z)", code.replace("\\\n", " "), re.DOTALL):
            (template,) = re.findall(r"--template-file deploy/cloudformation/(\S+)", deploy)
            values = dict(re.findall(r"(?<=\s)([A-Z]\w+)=(\S+)", deploy))
            given, known = set(values), read(template)["Parameters"]
            assert given <= set(known), f"line {line}: {template} has no {given - set(known)}"
            for name in [name for name in given if known[name]["Type"].startswith("AWS::SSM::Parameter::Value<")]:
                # The emulator would take an image's ID as well, where CloudFormation finds no parameter of that name.
                assert f"aws ssm put-parameter --name {values[name]} " in code and f"aws ssm delete-parameter --name {values[name]}\n" in GUIDE.read_text(), f"line {line}: {name}"
            wanted = {name for name, one in known.items() if "Default" not in one}
            # A stack that is there keeps what it was given.
            assert wanted <= given or template in seen, f"line {line}: {template} wants {wanted - given}"
            seen.add(template)
            roles = any(resource["Type"] == "AWS::IAM::Role" for resource in read(template)["Resources"].values())
            assert ("CAPABILITY_" in deploy) == roles
    assert seen == {path.name for path in FOLDER.glob("*.yaml")}, "every template is used"


KINDS = ("chef-server", "puppet-ca", "opsworks-cm")


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
        # Those that are printed are held against it by test_policies, action by action with their resources.
        ("The daemon's role", [daemon_stack(kind, Key=key).resource("TaskRole") for kind in KINDS for key in ("parameter", "document")]),
        ("The instances' role", [group_stack(engine).resource("InstanceRole") for engine in ("chef", "puppet")]),
        ("Auto Scaling's notification role", [queue_stack(Notification=way).resource("NotificationRole") for way in ("HookTarget", "SNS")]),
        ("The role in another account", [other_stack(kind).resource("DaemonRole") for kind in KINDS]),
        ("ECS's execution role", [daemon_stack(kind).resource("ExecutionRole") for kind in ("chef-server", "opsworks-cm")]),
    ],
)
def test_the_tables_of_permissions_have_each_permission_once_and_no_other(heading, roles):
    told = table(heading)
    assert len(told) == len(set(told))
    assert set(told) == set().union(*(actions(role.get("Policies", [])) for role in roles))


def printed(folder, *arguments):
    """The actions that are allowed by what is printed for the daemon on ECS, with whichever server and either way of keys."""
    found = set()
    for kind, key in itertools.product(KINDS, ("parameter", "document")):
        path = folder / "enrolld.toml"
        path.write_text(environment(container(daemon_stack(kind, Key=key), "configuration"))["CONFIGURATION"])
        command = [BINARY, "policy", "--config", str(path), "--output", "json", *arguments]
        ran = subprocess.run(command, env={}, capture_output=True, text=True, check=True)
        # Instances whose keys are printed by a document need nothing.
        found |= actions([{"PolicyDocument": policy["document"]} for policy in json.loads(ran.stdout)["policies"] if policy["document"]])
    return found


def fluent_bit():
    """Each section of its file, with its settings."""
    found = {}
    for line in (ROOT / "deploy/systemd/fluent-bit.conf").read_text().splitlines():
        if section := re.fullmatch(r"\[(\w+)\]", line):
            settings = found.setdefault(section[1], {})
        elif line.strip() and not line.lstrip().startswith("#"):
            name, value = line.split(None, 1)
            assert settings.setdefault(name, value) == value, f"{name} is set twice"
    return found


def test_on_ec2_the_daemons_lines_come_where_the_alarms_look_for_them():
    sections = fluent_bit()
    journal, logs = sections["INPUT"], sections["OUTPUT"]
    assert (journal["name"], logs["name"], logs["match"]) == ("systemd", "cloudwatch_logs", journal["tag"])
    assert journal["systemd_filter"] == "_SYSTEMD_UNIT=enrolld.service" and (ROOT / "deploy/systemd/enrolld.service").is_file()
    assert logs["log_key"] == "MESSAGE", "the filters read the daemon's object, and not the journal's around it"
    group = logs["log_group_name"]
    assert group == read("log-alarms.yaml")["Parameters"]["LogGroupName"]["Default"]
    text = "\n".join(code for _, _, code in blocks())
    assert f"--log-group-name {group}\n" in text and f"LogGroupName={group}\n" in text
    assert f"export AWS_REGION={logs['region']} " in text, "what the guide replaces is the region of the file"
    (allowed,) = re.findall(r"--arg group \"(\S+)\" \\\n.*Action: \[([^\]]*)\]", text)
    assert allowed[0] == f"arn:aws:logs:$AWS_REGION:$account:log-group:{group}:*"
    assert json.loads(f"[{allowed[1]}]") == table("The log, on EC2"), "and the table has these"
    assert logs["auto_create_group"] == "false", "which is not among them"


def test_what_commands_and_the_launch_kit_add_is_what_is_printed(tmp_path):
    worker, instance = printed(tmp_path), printed(tmp_path, "--instance")
    more = printed(tmp_path, "--with-check") | printed(tmp_path, "--with-dead-letters") | printed(tmp_path, "--with-sweep")
    assert set(table("What other commands add")) == more - worker
    converges = ("--instance", "--converge-hook", "converge", "--group", "web-blue")
    kit = printed(tmp_path, "--instance", "--launch-kit") | printed(tmp_path, *converges) | printed(tmp_path, *converges, "--converge-heartbeat")
    assert set(table("What the launch kit adds")) == kit - instance
    assert table("With groups in another account") == ["sts:AssumeRole"]


def test_whoever_attaches_hooks_needs_the_permissions_of_the_page_and_no_other(tmp_path):
    """By the calls that the commands make of a simulated AWS. iam:PassRole is checked by the service, and is no call."""
    port = processes.free_port()
    fleet = f"http://127.0.0.1:{port}"
    simulate = [BINARY, "simulate", "--listen", f"127.0.0.1:{port}", "--fixture", str(simulated(tmp_path, warm_pool={"state": "Stopped", "reuse": True}))]
    path = tmp_path / "enrolld.toml"
    text = environment(container(daemon_stack("chef-server", GroupPattern="*-*"), "configuration"))["CONFIGURATION"]
    path.write_text(text.replace(f"https://sqs.{REGION}.amazonaws.com", fleet))
    role = ["--role-arn", f"arn:aws:iam::{ACCOUNT}:role/notify"]
    with processes.process("simulate", simulate, tmp_path, {}, f"{fleet}/_sim/state?summary=1"):
        for arguments in (["attach", "--group", "shop-green", *role], ["list", "--group", "shop-green"], ["list"], ["detach", "--group", "shop-green"]):
            command = [BINARY, "hooks", *arguments, "--config", str(path)]
            ran = subprocess.run(command, env=CREDENTIALS | {"AWS_ENDPOINT_URL": fleet}, capture_output=True, text=True, check=False)
            # Without a group `list` looks at one whose hooks are not as they should be.
            assert ran.returncode == 0 or arguments == ["list"], ran.stdout + ran.stderr
        with urlopen(f"{fleet}/_sim/state", timeout=10) as answer:
            calls = set(json.load(answer)["calls"])
    assert set(table("Whoever runs the commands")) == calls | {"iam:PassRole"}


def test_what_the_pages_link_is_there():
    for page in (ROOT / "deploy").rglob("*.md"):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert "://" in link or (page.parent / link).exists(), f"{page} links {link}, which is not there"
        for link, place in re.findall(r"\]\(([^)#]*)#([^)]+)\)", page.read_text()):
            if "://" in link:
                continue
            text = ((page.parent / link) if link else page).read_text()
            # As GitHub makes them.
            headings = {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in re.findall(r"^##+ (.*)$", text, re.MULTILINE)}
            assert place in headings, f"{page} links {link}#{place}, which is not there"
