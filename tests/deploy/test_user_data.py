"""The user data of the templates, which is what `enrolld launch-kit` prints, run as an instance would run it: with the simulator's metadata service and the
credentials of its role, which may do what the template allows it and nothing else. openssl makes the key, the AWS CLI writes it, and the daemon enrols the
node. Stood in for are the agents, and the server that signs for Puppet: the simulator's certificates are of nobody's key (tests/puppetserver has a real one)."""

import hashlib
import json
import os
import subprocess
import textwrap
from contextlib import ExitStack

import pytest

import processes
from conftest import ACCOUNT, CREDENTIALS, REGION, Fleet, client
from templates import ROOT, container, daemon_stack, environment, group_stack, queue_stack

BINARY = os.environ["ENROLLD_BIN"]
CONFIGURATION = """
queue_url = "{url}/{account}/enrolld-lifecycle"
region = "{region}"
poll_wait = "2s"

[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "prod-chef", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", owner_role = "arn:aws:iam::{account}:role/web-instances" }}
key_poll = "200ms"
status_poll_initial = "100ms"

[[route]]
name = "db"
groups = ["db-*"]
registrar = {{ kind = "opsworks-cm", server = "prod-puppet", engine = "puppet" }}
key = {{ parameter = "/enrolld/{{instance_id}}/csr", owner_role = "arn:aws:iam::{account}:role/web-instances" }}
key_poll = "200ms"
status_poll_initial = "100ms"
"""


def fixture():
    def hook(name, transition, default):
        delivery = {"queue": "enrolld-lifecycle", "via": "direct"}
        return {"name": name, "transition": transition, "heartbeat_timeout": 3600, "default_result": default, "delivery": delivery}

    hooks = [hook("enrol-on-launch", "launching", "ABANDON"), hook("leave-on-terminate", "terminating", "CONTINUE")]
    return {
        "settings": {"account": ACCOUNT, "region": REGION},
        "queues": [{"name": "dead"}, {"name": "enrolld-lifecycle", "dead_letters": {"queue": "dead", "max_receive_count": 100}}],
        "groups": [{"name": name, "hooks": hooks} for name in ("web-blue", "db-blue")],
        "servers": [{"name": "prod-chef", "engine": "chef"}, {"name": "prod-puppet", "engine": "puppet"}],
        # Writing throttled, as where many launch: the script must try again.
        "faults": [{"operation": "ssm:PutParameter", "effect": {"kind": "throttle", "rate": 0.001, "burst": 0}, "limit": 3}],
    }


@pytest.fixture
def world(tmp_path):
    """A simulator whose instances do nothing by themselves, and a daemon."""
    (tmp_path / "world.json").write_text(json.dumps(fixture()))
    port = processes.free_port()
    url = f"http://127.0.0.1:{port}"
    simulate = [BINARY, "simulate", "--listen", f"127.0.0.1:{port}", "--fixture", "world.json"]
    configuration = CONFIGURATION.format(url=url, account=ACCOUNT, region=REGION)
    with ExitStack() as stack:
        stack.enter_context(processes.process("simulate", simulate, tmp_path, {}, f"{url}/_sim/state?summary=1"))
        stack.enter_context(processes.worker(tmp_path, configuration, CREDENTIALS | {"AWS_ENDPOINT_URL": url}, url, "dead"))
        yield Fleet(url)


AGENTS = {"chef": "https://chef.example.com/organizations/prod", "puppet": "https://puppet.example.com:8140"}


def user_data(engine, key="parameter", **parameters):
    given = {"Key": key, "ServerUrl": AGENTS[engine]} | parameters
    return group_stack(engine, **given).resource("LaunchTemplate")["LaunchTemplateData"]["UserData"]


@pytest.mark.parametrize("key", ["parameter", "document"])
@pytest.mark.parametrize("engine", AGENTS)
def test_the_user_data_is_what_the_launch_kit_prints(engine, key, tmp_path):
    """For the configuration that the daemon's template makes of the same parameters. What sets up the agent stands beside Terraform's example."""
    stack = daemon_stack("puppet-ca" if engine == "puppet" else "chef-server", Key=key)
    (tmp_path / "enrolld.toml").write_text(environment(container(stack, "configuration"))["CONFIGURATION"])
    agent = (ROOT / f"deploy/terraform/examples/{engine}-fargate/agent.sh").read_text().rstrip("\n")
    command = [BINARY, "launch-kit", "--config", str(tmp_path / "enrolld.toml"), "--route", "nodes", "--agent", agent]
    printed = subprocess.run(command, env={}, capture_output=True, text=True, check=True).stdout
    assert user_data(engine, key) == printed
    other = "https://another.example.com"
    assert user_data(engine, key, ServerUrl=other) == printed.replace(AGENTS[engine], other), "the server is the parameter's"


def grants(engine, key):
    """What the template's role may and may not, as the simulator holds an instance to it."""
    found = []
    for policy in group_stack(engine, Key=key).resource("InstanceRole")["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            denies, condition = statement["Effect"] == "Deny", statement.get("Condition", {})
            each = [(action, one) for action in statement["Action"] for one in statement["Resource"]]
            found += [{"action": action, "resource": one, "condition": condition, "denies": denies} for action, one in each]
    return found


class Instance:
    """One that waits at its hook, with a root of its own in a folder."""

    def __init__(self, fleet, folder, group, engine, key="parameter"):
        self.fleet, self.folder, self.engine, self.key = fleet, folder, engine, key
        agent = {"publish": {"how": "never"}, "role": "web-instances", "allowed": grants(engine, key)}
        (self.name,) = fleet.order("launch", group=group, count=1, agent=agent)["instances"]
        self.commands = folder / "bin"
        self.commands.mkdir()
        self.command("aws", f'exec {os.environ["ENROLLD_AWS_CLI"]} "$@"')

    def command(self, name, text):
        path = self.commands / name
        path.write_text(f"#!/bin/sh\n{textwrap.dedent(text)}\n")
        path.chmod(0o755)

    def told(self, name, code=0):
        """A command that notes what it is told; of an agent the first run fails."""
        first = self.folder / "first"
        self.command(name, f'echo "{name} $*" >> {self.folder}/told\ncase $* in *--once*|*--onetime*) [ -e {first} ] || {{ : > {first}; exit 1; }}; exit {code} ;; esac')

    def boot(self, meanwhile=lambda: None, ends=True):
        """Runs the user data, to its end unless it is not to end, and returns what it said."""
        script = user_data(self.engine, self.key).replace("/etc/", f"{self.folder}/etc/")
        (self.folder / "user-data").write_text(script)
        surroundings = {
            "PATH": f"{self.commands}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": self.fleet.url,
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self.fleet.url}/_imds/{self.name}",
            "ENROLLD_FIRST_PAUSE": "1",
            "ENROLLD_LONGEST_PAUSE": "2",
        }
        with (self.folder / "boot.log").open("wb") as log:
            running = subprocess.Popen(["sh", str(self.folder / "user-data")], env=surroundings, stdout=log, stderr=log)
        try:
            meanwhile()
            if ends:
                assert running.wait(120) == 0, (self.folder / "boot.log").read_text()
        finally:
            running.kill()
            running.wait()
        refused = [operation for operation, outcomes in self.fleet.state()["outcomes"].items() if any(one.startswith("AccessDenied") for one in outcomes)]
        assert refused == [], "the template's role allows all that it asks for"


def printed_by_the_document(world, instance, engine):
    """What the template's document says on an instance. The simulator takes it, as SSM would; its command is run here, as the SSM agent runs it, by a shell."""
    made = queue_stack(RunCommand=engine).resource("PrintKey")
    ssm = client("ssm", world.url)
    ssm.create_document(Name=made["Name"], DocumentType=made["DocumentType"], DocumentFormat="JSON", Content=json.dumps(made["Content"]))
    content = json.loads(ssm.get_document(Name=made["Name"])["Content"])
    assert content["schemaVersion"] == "2.2" and "parameters" not in content, "who may send it can have this printed and nothing else"
    (step,) = content["mainSteps"]
    assert step["action"] == "aws:runShellScript"
    script = "\n".join(step["inputs"]["runCommand"]).replace("/etc/", f"{instance.folder}/etc/")
    return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True).stdout


def test_a_node_whose_key_is_printed_by_the_document_writes_none(world, tmp_path):
    instance = Instance(world, tmp_path, "web-blue", "chef", key="document")
    left = tmp_path / "etc/enrolld/node.pub"
    instance.boot(lambda: processes.eventually(lambda: left.exists() and left.read_text(), "the key is made"), ends=False)
    public = left.read_text()
    assert public.startswith("-----BEGIN PUBLIC KEY-----")
    assert printed_by_the_document(world, instance, "chef") == public
    assert "ssm:PutParameter" not in world.state()["calls"]


def test_a_chef_node_boots_and_converges_once_it_is_in_service(world, tmp_path):
    instance = Instance(world, tmp_path, "web-blue", "chef")
    instance.told("chef-client")
    instance.boot()
    assert world.shows(instance.name, "InService")
    made = subprocess.run(["openssl", "rsa", "-in", tmp_path / "etc/chef/client.pem", "-pubout"], check=True, capture_output=True, text=True).stdout
    assert (tmp_path / "etc/chef/client.pem").stat().st_mode & 0o077 == 0
    node = world.state()["servers"]["prod-chef"]["nodes"][instance.name]
    fingerprints = {hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in (made, made.rstrip("\n"))}
    assert node["fingerprint"] in fingerprints, "the public half of the key that the instance keeps"
    told = (tmp_path / "told").read_text().splitlines()
    run = "chef-client --once --chef-license accept-silent"
    assert told == [run, run, "chef-client --daemonize --interval 1800 --splay 300"], "until its first run is well"
    settings = (tmp_path / "etc/chef/client.rb").read_text()
    for line in (f'node_name "{instance.name}"', f'chef_server_url "{AGENTS["chef"]}"', f'client_key "{tmp_path}/etc/chef/client.pem"'):
        assert line in settings.splitlines()
    assert world.state()["outcomes"]["ssm:PutParameter"]["ThrottlingException"] == 3, "it was throttled, and tried again"


def test_a_puppet_node_boots_and_converges_with_the_certificate_that_it_was_given(world, tmp_path):
    instance = Instance(world, tmp_path, "db-blue", "puppet")
    instance.told("puppet", code=2)
    instance.told("systemctl")
    ssl = tmp_path / "etc/puppetlabs/puppet/ssl"
    request = ssl / f"certificate_requests/{instance.name}.pem"

    def sign():
        """As enrolld would have it signed, and hands it back."""
        processes.eventually(lambda: world.shows(instance.name, "InService"), "it is enrolled", 90)

        def openssl(*arguments):
            subprocess.run(["openssl", *map(str, arguments)], cwd=tmp_path, check=True, capture_output=True)

        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
        openssl("x509", "-req", "-in", request, "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", "signed.pem", "-days", "2")
        name = f"/enrolld/{instance.name}/certificate"
        client("ssm", world.url).put_parameter(Name=name, Type="String", Value=(tmp_path / "signed.pem").read_text())

    instance.boot(sign)
    subject = subprocess.run(["openssl", "req", "-in", request, "-noout", "-subject"], check=True, capture_output=True, text=True).stdout
    assert instance.name in subject
    assert (ssl / f"private_keys/{instance.name}.pem").stat().st_mode & 0o077 == 0
    assert (ssl / f"certs/{instance.name}.pem").read_text().strip() == (tmp_path / "signed.pem").read_text().strip()
    assert instance.name in world.state()["servers"]["prod-puppet"]["nodes"]
    told = (tmp_path / "told").read_text().splitlines()
    assert told.count("puppet agent --onetime --no-daemonize --detailed-exitcodes") == 2 and told[-1] == "systemctl enable --now puppet"
    assert f"puppet config set --section main certname {instance.name}" in told
    assert "puppet config set --section main server puppet.example.com" in told, "a name, out of the parameter's URL"


def test_a_puppet_node_by_the_document_leaves_its_request_for_it(world, tmp_path):
    instance = Instance(world, tmp_path, "db-blue", "puppet", key="document")
    left = tmp_path / "etc/enrolld/node.csr"
    instance.boot(lambda: processes.eventually(lambda: left.exists() and left.read_text(), "the request is made"), ends=False)
    assert printed_by_the_document(world, instance, "puppet") == left.read_text()
    assert left.read_text().startswith("-----BEGIN CERTIFICATE REQUEST-----")
