"""Starts and stops the real processes of a test, on free ports of the loopback."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "common"))

import confinement  # noqa: E402 (shared with tests/chaos)
import witness  # noqa: E402

BINARY = os.environ.get("ENROLLD_BIN", "target/debug/enrolld")
REGION = "eu-central-1"
ACCOUNT = "123456789012"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(check, what: str, seconds: float = 120.0):
    """Returns the first true answer of `check`; fails with its last one where there is none in time."""
    end = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds:g} s: {what} (last: {answer!r})")
        time.sleep(0.05)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def process(name: str, command: list[str], folder: Path, environment: dict[str, str], ready_url: str):
    """Runs a command until the end of the block; yields once `ready_url` answers 200. What it prints stands in `name`.log."""
    log = folder / f"{name}.log"
    # Nothing of the caller's own AWS may leak in: profiles, credentials, proxies.
    clean = {key: os.environ[key] for key in ("PATH", "LANG", "TMPDIR") if key in os.environ}
    with log.open("wb") as output:
        running = subprocess.Popen(
            command, cwd=folder, env=clean | {"HOME": str(folder)} | environment, stdout=output, stderr=subprocess.STDOUT
        )
    try:

        def ready():
            if running.poll() is not None:
                raise AssertionError(f"{name} ended at once with {running.returncode}:\n{log.read_text(errors='replace')}")
            return answers(ready_url)

        eventually(ready, f"{name} answers at {ready_url}")
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(40)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()


@contextmanager
def ministack(folder: Path):
    port = free_port()
    environment = {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "SERVICES": "sqs,sns,events,ssm,sts",
    }
    command = [str(Path(sys.executable).with_name("ministack"))]
    url = f"http://127.0.0.1:{port}"
    with process("ministack", command, folder, environment, f"{url}/_ministack/health"):
        yield url


@contextmanager
def simulator(folder: Path):
    port = free_port()
    command = [str(Path(BINARY).resolve()), "simulate", "--listen", f"127.0.0.1:{port}"]
    url = f"http://127.0.0.1:{port}"
    with process("simulate", command, folder, {}, f"{url}/_sim/state?summary=1"):
        yield url


@contextmanager
def confined(simulator: str, config: Path, dead_letters: str = "enrolld-dead-letters"):
    """Credentials of a worker that may do on the simulator what is printed for its configuration, and nothing else, which is looked at in the end. The
    access key is its own, since tests look at things that it may not."""
    confinement.confine(simulator, str(Path(BINARY).resolve()), config, "worker", dead_letters)
    yield {"AWS_ACCESS_KEY_ID": "worker", "AWS_SECRET_ACCESS_KEY": "secret"}
    with urllib.request.urlopen(f"{simulator}/_sim/state?summary=1", timeout=30) as answer:
        beyond = confinement.beyond(json.load(answer))
    assert beyond == [], "beyond the policy that is printed for the configuration"


@contextmanager
def worker(
    folder: Path,
    configuration: str,
    environment: dict[str, str],
    simulator: str,
    dead_letters: str = "enrolld-dead-letters",
    elsewhere: str | None = None,
):
    """A worker that may do what is printed for its configuration. Where there is an `elsewhere` beside the simulator, its calls go there and are weighed on
    the way, but for those that the environment sends to the simulator."""
    port, config = free_port(), folder / "enrolld.toml"
    config.write_text(f'listen = "127.0.0.1:{port}"\n{configuration}')
    binary = str(Path(BINARY).resolve())
    with ExitStack() as stack:
        if elsewhere:
            grants = confinement.all_grants(confinement.printed_for(binary, config, dead_letters))
            seen, url = stack.enter_context(witness.between(grants, elsewhere))
            environment = environment | {"AWS_ENDPOINT_URL": url}
        credentials = stack.enter_context(confined(simulator, config, dead_letters))
        command = [binary, "run", "--config", "enrolld.toml"]
        with process("worker", command, folder, environment | credentials, f"http://127.0.0.1:{port}/readyz") as running:
            yield running
        if elsewhere:
            assert seen.beyond == [], "beyond the policy that is printed for the configuration"
            assert "sqs:ReceiveMessage" in seen.calls, "or nothing came by here"
