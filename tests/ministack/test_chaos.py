"""Three workers, killed at random and started again, on a queue and a parameter store that are not ours: nothing is lost."""

import json
import os
import random
import subprocess
import time
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

import processes
from conftest import GROUP, SERVER, Cloud, Fleet, client
from processes import BINARY, REGION, eventually

LAUNCHES, TERMINATIONS, KILLS = 40, 10, 12

CONFIGURATION = """
queue_url = "{queue_url}"
region = "{region}"
listen = "off"
log_format = "json"
poll_wait = "5s"
visibility_timeout = "30s"
connect_timeout = "1s"
attempt_timeout = "4s"
call_timeout = "5s"
retry_initial = "100ms"
retry_max = "2s"
not_ready_initial = "200ms"
not_ready_max = "1s"
shutdown_grace = "5s"

[[route]]
name = "web"
groups = ["web-*"]
registrar = {{ kind = "opsworks-cm", server = "{server}", engine = "chef" }}
key = {{ parameter = "/enrolld/{{instance_id}}/public-key", require_owner = false }}
key_poll = "500ms"
status_poll_initial = "200ms"
"""


def order(fleet, path, body):
    with urlopen(Request(f"{fleet.url}/_sim/{path}", data=json.dumps(body).encode()), timeout=10) as answer:
        return json.load(answer)


def state(fleet):
    with urlopen(f"{fleet.url}/_sim/state", timeout=10) as answer:
        return json.load(answer)


@pytest.fixture
def folder(tmp_path):
    return tmp_path


@pytest.fixture
def cloud(folder):
    with processes.ministack(folder) as url:
        yield Cloud.set_up(url)


@pytest.fixture
def fleet(folder):
    with processes.simulator(folder) as url:
        yield Fleet(url)


class Workers:
    def __init__(self, folder: Path, cloud, fleet, count: int):
        self.folder, self.dice = folder, random.Random(7)
        self.environment = {key: os.environ[key] for key in ("PATH",) if key in os.environ} | {
            "HOME": str(folder),
            "AWS_ENDPOINT_URL": cloud.url,
            "AWS_ENDPOINT_URL_AUTO_SCALING": fleet.url,
            "AWS_ENDPOINT_URL_OPSWORKSCM": fleet.url,
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        (folder / "enrolld.toml").write_text(CONFIGURATION.format(queue_url=cloud.queue_url, region=REGION, server=SERVER))
        self.running = [self.start(number) for number in range(count)]

    def start(self, number):
        with open(self.folder / f"worker-{number}.log", "ab") as log:
            command = [str(Path(BINARY).resolve()), "run", "--config", "enrolld.toml"]
            return subprocess.Popen(command, cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT)

    def kill_one(self):
        number = self.dice.randrange(len(self.running))
        self.running[number].kill()
        self.running[number].wait(10)
        self.running[number] = self.start(number)

    def stop(self):
        for running in self.running:
            running.terminate()
        return [running.wait(20) for running in self.running]


def test_nothing_is_lost_when_workers_are_killed_and_auto_scaling_and_the_server_fail(folder, cloud, fleet):
    for effect, probability in (({"kind": "throttle", "rate": 1}, 0.2), ({"kind": "error"}, 0.05), ({"kind": "lose_answer"}, 0.02)):
        for operation in ("autoscaling:CompleteLifecycleAction", "autoscaling:DescribeAutoScalingInstances", "opsworks-cm:*"):
            order(fleet, "faults", {"operation": operation, "effect": effect, "probability": probability})
    order(fleet, "launch", {"group": GROUP, "count": LAUNCHES})
    launches = [fleet.notification("autoscaling:EC2_INSTANCE_LAUNCHING") for _ in range(LAUNCHES)]
    # The instances wrote their keys into the simulator's parameter store; the workers read ministack's.
    published = state(fleet)["parameters"]
    workers = Workers(folder, cloud, fleet, 3)
    try:
        for number, launch in enumerate(launches):
            name = f"/enrolld/{launch['EC2InstanceId']}/public-key"
            cloud.ssm.put_parameter(Name=name, Value=value_of(fleet, name, published), Type="String")
            cloud.send_direct(launch)
            if number % 10 == 0:  # as SQS may
                cloud.send_direct(launch)
        order(fleet, "server-status", {"server": SERVER, "status": "UNDER_MAINTENANCE", "for_ms": 3000})
        for _ in range(KILLS):
            workers.kill_one()
            time.sleep(0.5)
        instances = [launch["EC2InstanceId"] for launch in launches]
        eventually(lambda: all(state(fleet)["instances"][i]["state"] == "InService" for i in instances), "all are in service", 120)
        leaving = instances[:TERMINATIONS]
        order(fleet, "terminate", {"instances": leaving})
        for _ in leaving:
            cloud.send_direct(fleet.notification("autoscaling:EC2_INSTANCE_TERMINATING"))
        for _ in range(KILLS // 3):
            workers.kill_one()
            time.sleep(0.5)
        eventually(lambda: state(fleet)["counts"]["open_actions"] == 0, "every action has its result", 120)
        eventually(lambda: cloud.messages() == 0, "no message is left", 120)
    finally:
        codes = workers.stop()
    assert codes == [0, 0, 0]
    last = state(fleet)
    assert {action["result"] for action in last["actions"]} == {"CONTINUE"}
    assert {action["closed_by"] for action in last["actions"]} == {"completed"}
    associated = {entry["node"]: entry["at_ms"] for entry in reversed(last["associations"]) if entry["what"] == "associated"}
    for action in last["actions"]:
        if action["transition"] == "launching":
            assert associated[action["instance"]] <= action["closed_ms"], "in service only after its association"
    assert set(fleet.nodes()) == set(instances) - set(leaving)
    assert cloud.take_dead_letter() is None


def value_of(fleet, name, published):
    assert name in published, f"the instance wrote {name}"
    return client("ssm", fleet.url).get_parameter(Name=name)["Parameter"]["Value"]
