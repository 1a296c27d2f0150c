"""Starts a program as a container engine would: in a root of its own, as a user, and with what a task definition leaves of the capabilities that an engine
gives by default. A program can then do no more than these, be its user root or not.

    contained.py ROOT UID:GID DROPPED COMMAND…

DROPPED is as a task definition has it, with commas: names without CAP_, or ALL."""

import ctypes
import os
import sys
from pathlib import Path

# What Docker gives a container, and ECS therefore too (the API reference of ECS, KernelCapabilities), by the numbers of linux/capability.h.
DEFAULT = {
    "CHOWN": 0,
    "DAC_OVERRIDE": 1,
    "FOWNER": 3,
    "FSETID": 4,
    "KILL": 5,
    "SETGID": 6,
    "SETUID": 7,
    "SETPCAP": 8,
    "NET_BIND_SERVICE": 10,
    "NET_RAW": 13,
    "SYS_CHROOT": 18,
    "MKNOD": 27,
    "AUDIT_WRITE": 29,
    "SETFCAP": 31,
}
PR_CAPBSET_DROP = 24


def left(dropped: list[str]) -> set[int]:
    unknown = set(dropped) - set(DEFAULT) - {"ALL"}
    assert not unknown, f"no engine gives {unknown}, so that there is nothing to drop"
    return set() if "ALL" in dropped else {number for name, number in DEFAULT.items() if name not in dropped}


def main(root: str, user: str, dropped: str, *command: str) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    keep = left(dropped.split(","))
    os.chroot(root)
    os.chdir("/")
    # Of the bounding set, from where root's own are taken at the exec below: until then this process needs some that it drops.
    for number in set(range(last + 1)) - keep:
        if library.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), f"the capability {number} cannot be dropped")
    uid, gid = map(int, user.split(":"))
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    try:
        os.execv(command[0], command)
    except FileNotFoundError:
        # As a shell has it.
        sys.exit(127)


if __name__ == "__main__":
    main(*sys.argv[1:])
