"""Starts the built binary on a free port, once for each test file."""

import json
import os
import re
import signal
import subprocess
import time
import urllib.request

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

REGION = "eu-central-1"
ACCOUNT = "123456789012"


class Simulator:
    def __init__(self, endpoint):
        self.endpoint = endpoint

    def client(self, service, key="simulated", **config):
        config.setdefault("retries", {"total_max_attempts": 1})
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key="simulated",
            config=Config(**config),
        )

    def order(self, path, body=None, method="POST"):
        data = None if method == "GET" else json.dumps(body if body is not None else {}).encode()
        request = urllib.request.Request(f"{self.endpoint}/_sim/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def state(self):
        return self.order("state", method="GET")

    def launch(self, group="web-blue", count=1, **more):
        return self.order("launch", {"group": group, "count": count, **more})["instances"]

    def until(self, what, seconds=30):
        """Waits until `what()` is true, and gives what it was."""
        end = time.monotonic() + seconds
        while True:
            value = what()
            if value:
                return value
            assert time.monotonic() < end, "it did not happen in time"
            time.sleep(0.02)


@pytest.fixture(scope="module")
def sim():
    process = subprocess.Popen(
        [os.environ["ENROLLD_BIN"], "simulate", "--listen", "127.0.0.1:0", "--seed", "7"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        endpoint = None
        for line in process.stdout:
            found = re.search(r"AWS_ENDPOINT_URL=(\S+)", line)
            if found:
                endpoint = found.group(1)
                break
        assert endpoint, "the simulator did not say where it is"
        yield Simulator(endpoint)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    finally:
        process.kill()
        process.stdout.close()


@pytest.fixture
def refused():
    """Runs a call that must be refused, and gives its error code and message."""

    def run(call, **arguments):
        with pytest.raises(ClientError) as caught:
            call(**arguments)
        error = caught.value.response["Error"]
        return error["Code"], error.get("Message", "")

    return run
