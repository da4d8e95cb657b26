"""A name that no other process ever has: which one holds a lease or a lock, and whether it lives.

Process ids begin anew on every machine, in every container and with every boot.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path


@cache
def boot_id() -> str:
    """Names this machine's monotonic clock: it begins anew with every boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def this_process() -> str:
    """Tells this process from every other one, also on other machines and in other boots."""
    return f"{_place()} {os.getpid()} {_started(os.getpid())}"


def is_dead(name: str) -> bool:
    """Whether the process of a worker's name is known to have ended: one of this machine, in this
    boot. Of others only their leases can tell."""
    process = name.rpartition(" ")[0]  # behind it stands which worker of the process
    return _pid_here(process) is not None and living_pid(process) is None


def living_pid(name: str) -> int | None:
    """The id of the process of that name (this_process) if it lives, and where ids mean the same
    as here."""
    pid = _pid_here(name)
    return pid if pid is not None and _started(pid) == name.rpartition(" ")[2] else None


def _pid_here(name: str) -> int | None:
    place, _, process = name.partition(" # ")
    pid = process.partition(" ")[0]
    return int(pid) if f"{place} #" == _place() and pid.isdecimal() else None


def _place() -> str:
    """Where process ids mean the same as here."""
    return f"{socket.gethostname()} {boot_id()} {os.readlink('/proc/self/ns/pid')} #"


def _started(pid: int) -> str | None:
    """When a process began, in the kernel's ticks since boot; None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]  # proc(5), field 22; the name may hold spaces
