"""What the image would hold, put together here by the script that its Dockerfile runs, and processes in it. No container engine is needed, and none is
used: the root of a chroot stands for the container's file system."""

import json
import os
import re
import subprocess
import sys
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


def contained(root: Path, mounts: str, user: str, dropped: list[str], *arguments: str) -> list[str]:
    """The command line of a process in the image, by its entry point and with a root that can be written only where `mounts` says so."""
    assert os.geteuid() == 0, "a chroot is made by root, as tests/setup installs packages"
    entry = json.loads(Dockerfile.read().settings["ENTRYPOINT"])
    alone = f'mount --bind "$1" "$1" && {mounts}mount -o remount,ro,bind "$1" && shift && exec "$@"'
    inside = [sys.executable, str(Path(__file__).with_name("contained.py")), str(root), user, ",".join(dropped), *entry, *arguments]
    return ["unshare", "--mount", "sh", "-c", alone, "sh", str(root), *inside]


def command(root: Path, *arguments: str) -> list[str]:
    """As the image's user, without any capability, and where nothing can be written."""
    return contained(root, "", Dockerfile.read().settings["USER"], ["ALL"], *arguments)


def writing(root: Path, user: str, dropped: list[str], *arguments: str) -> list[str]:
    """The container before it, by the same image: as another user, with the capabilities that are left to it, and where the volume is the one thing that
    can be written."""
    return contained(root, 'mount --bind "$1/etc/enrolld" "$1/etc/enrolld" && ', user, dropped, *arguments)
