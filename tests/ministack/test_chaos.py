"""The chaos test's short form on a queue and a parameter store that are not ours: three workers killed at random and started again,
or restarted in order, and nothing is lost."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import processes
from processes import BINARY

CHAOS = Path(__file__).parent.parent / "chaos" / "chaos.py"
WAYS = {
    "killed": ["--kill-every", "0.5", "--kills", "40"],
    "restarted": ["--rolling", "--kill-every", "1", "--kills", "12"],
}


def run(way, folder):
    with processes.ministack(folder) as url:
        size = ["--launches", "100", "--terminations", "30", "--verbose"]
        command = [sys.executable, str(CHAOS), "--bin", str(Path(BINARY).resolve()), "--sqs", url, "--ssm", url, *size, *WAYS[way]]
        return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Both ways at once: each has all its servers for itself, and waits for a minute of which it computes ten seconds."""
    with ThreadPoolExecutor() as pool:
        yield {way: pool.submit(run, way, tmp_path_factory.mktemp(way)) for way in WAYS}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_lost_whatever_happens_to_the_workers(way, runs):
    ran = runs[way].result()
    print(ran.stdout)
    assert ran.returncode == 0, ran.stdout
    assert "SQS and SSM are not the simulator's" in ran.stdout
    assert "100 launches, 30 terminations, 3 workers" in ran.stdout
