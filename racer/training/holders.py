"""Names of processes that hold leases: told apart everywhere, known to be dead where they ran."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from racer.flight.commands import boot_id


def this_process() -> str:
    """Tells this process from every other one, also on other machines and in other boots."""
    return f"{_place()} {os.getpid()} {_started(os.getpid())}"


def is_dead(name: str) -> bool:
    """Whether the process of a worker's name is known to have ended: one of this machine, in this
    boot. Of others only their leases can tell."""
    place, _, process = name.rpartition(" ")[0].partition(" # ")
    pid, _, started = process.partition(" ")
    return f"{place} #" == _place() and pid.isdecimal() and _started(int(pid)) != started


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
