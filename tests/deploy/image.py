"""What the image would hold, put together here by the script that its Dockerfile runs, and processes in it. No container engine is needed, and none is
used: the root of a chroot stands for the container's file system."""

import json
import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from templates import ROOT

DOCKERFILE = ROOT / "deploy" / "container" / "Dockerfile"


@dataclass
class Dockerfile:
    """The instructions of the last stage, and the commands of the stage that it copies from."""

    base: str = ""
    copies: list = field(default_factory=list)
    settings: dict = field(default_factory=dict)
    runs: list = field(default_factory=list)

    @classmethod
    def read(cls):
        text = re.sub(r"\\\n", " ", DOCKERFILE.read_text())
        found = cls()
        for line in text.splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            instruction, rest = line.split(None, 1)
            match instruction:
                case "FROM":
                    found.base, found.copies, found.settings = rest, [], {}
                case "COPY":
                    found.copies.append(rest)
                case "RUN":
                    found.runs.append(rest)
                case _:
                    found.settings[instruction] = rest
        return found


def build(folder: Path, binary: str) -> Path:
    """The image's root: the last stage copies one folder, and a command of the stage before makes it; that command is run here."""
    dockerfile = Dockerfile.read()
    assert dockerfile.base == "scratch", "nothing is there but what is copied"
    assert dockerfile.copies == ["--from=build /image/ /"]
    assert dockerfile.runs[-1] == "./image-root target/release/enrolld /image", "and this is what makes it"
    root = folder / "image"
    subprocess.run([str(ROOT / "deploy/container/image-root"), binary, str(root)], check=True)
    return root


def command(root: Path, *arguments: str) -> list[str]:
    """The command line of a process in the image: as its user, by its entry point, and with a root that nobody can write to."""
    assert os.geteuid() == 0, "a chroot is made by root, as tests/setup installs packages"
    settings = Dockerfile.read().settings
    alone = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    inside = ["chroot", f"--userspec={settings['USER']}", str(root), *json.loads(settings["ENTRYPOINT"]), *arguments]
    return ["unshare", "--mount", "sh", "-c", alone, "sh", str(root), *inside]


def writing(root: Path, user: str, *arguments: str) -> list[str]:
    """The command line of the container before it, by the same image: as another user, and where the volume is the one thing that can be written."""
    settings = Dockerfile.read().settings
    alone = 'mount --bind "$1" "$1" && mount --bind "$1/etc/enrolld" "$1/etc/enrolld" && mount -o remount,ro,bind "$1" && shift && exec "$@"'
    inside = ["chroot", f"--userspec={user}", str(root), *json.loads(settings["ENTRYPOINT"]), *arguments]
    return ["unshare", "--mount", "sh", "-c", alone, "sh", str(root), *inside]
