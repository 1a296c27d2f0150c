"""The user data of the templates, run as an instance would run it: openssl makes the key, the AWS CLI writes it to the simulator as the instance's role, and
the daemon enrols the node. Stood in for are the metadata service (by a `curl` that knows the instance's name), the agents, and pauses."""

import hashlib
import json
import os
import subprocess
import textwrap
from contextlib import ExitStack

import pytest

import processes
from conftest import ACCOUNT, CREDENTIALS, REGION, Fleet, client
from templates import group_stack, queue_stack

BINARY = os.environ["ENROLLD_BIN"]
CONFIGURATION = """
queue_url = "{url}/{account}/enrolld-lifecycle"
region = "{region}"
listen = "127.0.0.1:{port}"
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
certificate_parameter = "/enrolld/{{instance_id}}/certificate"
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
    port, listen = processes.free_port(), processes.free_port()
    url = f"http://127.0.0.1:{port}"
    simulate = [BINARY, "simulate", "--listen", f"127.0.0.1:{port}", "--fixture", "world.json"]
    (tmp_path / "enrolld.toml").write_text(CONFIGURATION.format(url=url, account=ACCOUNT, region=REGION, port=listen))
    with ExitStack() as stack:
        stack.enter_context(processes.process("simulate", simulate, tmp_path, {}, f"{url}/_sim/state?summary=1"))
        run = [BINARY, "run", "--config", "enrolld.toml"]
        stack.enter_context(processes.process("daemon", run, tmp_path, CREDENTIALS | {"AWS_ENDPOINT_URL": url}, f"http://127.0.0.1:{listen}/readyz"))
        yield Fleet(url)


class Instance:
    """One that waits at its hook, with a root of its own in a folder."""

    def __init__(self, fleet, folder, group):
        self.fleet, self.folder = fleet, folder
        agent = {"publish": {"how": "never"}}
        (self.name,) = fleet.order("launch", group=group, count=1, agent=agent)["instances"]
        fleet.order("principals", access_key_id="instance", arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/web-instances/{self.name}", account=ACCOUNT, denied=[])
        self.commands = folder / "bin"
        self.commands.mkdir()
        self.command("aws", f'exec {os.environ["ENROLLD_AWS_CLI"]} "$@"')
        self.command("curl", f"case $* in *api/token*) echo session ;; *instance-id*) echo {self.name} ;; *) exit 22 ;; esac")
        self.command("sleep", "exec /bin/sleep 0.2")

    def command(self, name, text):
        path = self.commands / name
        path.write_text(f"#!/bin/sh\n{textwrap.dedent(text)}\n")
        path.chmod(0o755)

    def told(self, name):
        """A command that notes what it is told, and succeeds once the instance is in service."""
        seen = self.folder / "in-service"
        self.command(name, f'echo "{name} $*" >> {self.folder}/told\ncase $* in *config*|*enable*) exit 0 ;; esac\n[ -e {seen} ]')

    def boot(self, engine, key="parameter", ready=None):
        """Runs the user data to its end; the server takes the agent once the instance is in service, or when `ready` says so."""
        ready = ready or (lambda: self.fleet.shows(self.name, "InService"))
        script = group_stack(engine, Key=key).resource("LaunchTemplate")["LaunchTemplateData"]["UserData"].replace("/etc/", f"{self.folder}/etc/")
        (self.folder / "user-data").write_text(script)
        surroundings = {
            "PATH": f"{self.commands}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "AWS_ACCESS_KEY_ID": "instance",
            "AWS_SECRET_ACCESS_KEY": "instance",
            "AWS_ENDPOINT_URL": self.fleet.url,
            "AWS_MAX_ATTEMPTS": "1",
        }
        with (self.folder / "boot.log").open("wb") as log:
            running = subprocess.Popen(["bash", str(self.folder / "user-data")], env=surroundings, stdout=log, stderr=log)
        try:
            processes.eventually(ready, f"{self.name} is ready", 90)
            (self.folder / "in-service").touch()
            assert running.wait(60) == 0, (self.folder / "boot.log").read_text()
        finally:
            running.kill()
            running.wait()


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
    instance = Instance(world, tmp_path, "web-blue")
    instance.told("chef-client")
    instance.boot("chef", key="document", ready=lambda: (tmp_path / "etc/chef/client.rb").exists())
    public = (tmp_path / "etc/enrolld/node.pub").read_text()
    assert public.startswith("-----BEGIN PUBLIC KEY-----")
    assert printed_by_the_document(world, instance, "chef") == public
    assert "ssm:PutParameter" not in world.state()["calls"]


def test_a_chef_node_boots_and_converges_once_it_is_in_service(world, tmp_path):
    instance = Instance(world, tmp_path, "web-blue")
    instance.told("chef-client")
    instance.boot("chef")
    public = (tmp_path / "etc/enrolld/node.pub").read_text()
    made = subprocess.run(["openssl", "rsa", "-in", tmp_path / "etc/chef/client.pem", "-pubout"], check=True, capture_output=True, text=True).stdout
    assert public == made, "the public half of the key that the instance keeps"
    assert (tmp_path / "etc/chef/client.pem").stat().st_mode & 0o077 == 0
    node = world.state()["servers"]["prod-chef"]["nodes"][instance.name]
    assert node["fingerprint"] in {hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() for text in (public, public.rstrip("\n"))}
    told = (tmp_path / "told").read_text().splitlines()
    assert told[-2:] == ["chef-client --once --chef-license accept-silent", "chef-client --daemonize --interval 1800 --splay 300"]
    settings = (tmp_path / "etc/chef/client.rb").read_text()
    assert f"node_name '{instance.name}'" in settings and "chef_server_url 'https://chef.example.com/organizations/prod'" in settings
    assert world.state()["outcomes"]["ssm:PutParameter"]["ThrottlingException"] == 3, "it was throttled, and tried again"


def test_a_puppet_node_boots_and_converges_with_the_certificate_that_it_was_given(world, tmp_path):
    instance = Instance(world, tmp_path, "db-blue")
    instance.told("puppet")
    instance.told("systemctl")
    instance.boot("puppet")
    ssl = tmp_path / "etc/puppetlabs/puppet/ssl"
    subject = subprocess.run(["openssl", "req", "-in", tmp_path / "etc/enrolld/node.csr", "-noout", "-subject"], check=True, capture_output=True, text=True).stdout
    assert instance.name in subject
    assert printed_by_the_document(world, instance, "puppet") == (tmp_path / "etc/enrolld/node.csr").read_text()
    assert (ssl / f"private_keys/{instance.name}.pem").stat().st_mode & 0o077 == 0
    assert "BEGIN CERTIFICATE" in (ssl / f"certs/{instance.name}.pem").read_text()
    assert instance.name in world.state()["servers"]["prod-puppet"]["nodes"]
    told = (tmp_path / "told").read_text().splitlines()
    assert "puppet agent --onetime --no-daemonize --detailed-exitcodes" in told and told[-1] == "systemctl enable --now puppet"
    assert f"puppet config set --section main certname {instance.name}" in told
    assert "puppet config set --section main server chef.example.com" in told, "a name, out of the parameter's URL"
