"""How much memory a run needs, and whether there is enough for one more.

The figures were measured: the largest resident size of a training process on two cores, the
compilation of its programs included (which is most of it), in MB.

| algorithm | defaults | more |
|---|---|---|
| PPO | 1050 | 1303 with 4096 drones, 1364 with 256 hidden units |
| SAC | 1465 | 1671 with 2048 drones |
| APG | 1642 | 1597 with 1024 drones, 1686 with 256 hidden units |

So a need is a base, and a figure for every control step that is held at once: its row in the
replay buffer, or its hidden units in both networks and in their gradients. A quarter is added,
since other cores, courses and reward functions compile to other sizes. It is an estimate: the
kernel has the last word, and a run that it kills is tried again (racer.training.leases).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

_MB = 10**6
_MARGIN = 1.25
_RESERVE_MB = 512  # for the service, the vehicle, the controller and the database
_UNIT_BYTES = 25  # of a hidden unit and a control step
_ROW_BYTES = 260  # of a control step in the replay buffer
_CGROUPS, _OWN_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class Needs(NamedTuple):
    """Of an algorithm."""

    base_mb: int
    drones: int  # its default of `num_envs`
    steps: int  # likewise of what `steps_key` means: control steps of each that are held at once
    steps_key: str
    hidden: int | None  # likewise of `hidden`; None: rows without activations


NEEDS = {
    "ppo": Needs(950, 1024, 64, "rollout_steps", 64),
    "sac": Needs(1400, 512, 512, "buffer_steps", None),
    "apg": Needs(1650, 256, 32, "horizon", 64),
}


def needed_mb(config: Mapping[str, Any]) -> int:
    """What a run of this configuration takes at most, roughly, MB."""
    needs = NEEDS.get(str(config.get("algorithm", "ppo")), NEEDS["ppo"])
    steps = int(config.get("num_envs", needs.drones)) * int(
        config.get(needs.steps_key, needs.steps)
    )
    size = _ROW_BYTES
    if needs.hidden is not None:
        size = _UNIT_BYTES * int(config.get("hidden", needs.hidden))
    return round(_MARGIN * (needs.base_mb + steps * size / _MB))


class Budget:
    """Decides whether one more run fits beside those that this server executes."""

    def __init__(
        self,
        *,
        most_mb: int = 0,
        available_mb: Callable[[], float] | None = None,
        taken_mb: Callable[[str], float] | None = None,
    ) -> None:
        """`most_mb`: what all its runs may need together; 0: what the machine has left, as
        `available_mb` tells. `taken_mb`: what the process that works in a folder has by now."""
        self._most_mb = most_mb
        self._available_mb = available_mb or _available_mb
        self._taken_mb = taken_mb

    def fits(self, need_mb: float, running: Mapping[str, float]) -> bool:
        """Whether `need_mb` more fit. `running`: the needs of those under way, by their folders.

        The first one always does: nobody would ever make room for it. Those that have begun only
        just have not taken yet what they will.
        """
        if not running:
            return True
        if self._most_mb:
            return sum(running.values()) + need_mb <= self._most_mb
        taken = self._taken_mb or _taken_by_children()
        to_come = sum(max(0.0, needs - taken(folder)) for folder, needs in running.items())
        return self._available_mb() - to_come - _RESERVE_MB >= need_mb


def _available_mb() -> float:
    """Of the machine, and of the control groups that bound us."""
    room = cgroup_room()
    machine = psutil.virtual_memory().available
    return (machine if room is None else min(machine, room)) / _MB


def _taken_by_children() -> Callable[[str], float]:
    """The resident sizes of the training processes that are our children, by their folders."""
    sizes: dict[str, float] = {}
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            command, size = child.cmdline(), child.memory_info().rss / _MB
            if "--output" in command[:-1]:
                folder = command[command.index("--output") + 1]
                sizes[folder] = sizes.get(folder, 0.0) + size
    return lambda folder: sizes.get(folder, 0.0)


def cgroup_room(root: Path = _CGROUPS, own: Path = _OWN_CGROUP) -> int | None:
    """Bytes that our control groups leave, None when none of them has a limit.

    cgroup v2, as systemd and containers have it: every group above ours bounds us, too. Inside a
    container the path is `/`, and its own limit stands at the root. Files that were read and may
    be forgotten count as room.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    path = next((line[3:] for line in lines if line.startswith("0::/")), "/")
    group = root.joinpath(path.lstrip("/"))
    if not group.is_relative_to(root) or ".." in group.parts:
        group = root  # of another namespace: it cannot be seen from here
    rooms = []
    while True:
        if (room := _room_of(group)) is not None:
            rooms.append(room)
        if group == root:
            return min(rooms, default=None)
        group = group.parent


def _room_of(group: Path) -> int | None:
    with suppress(OSError, ValueError):  # the root has no such files, and "max" is no number
        most = int((group / "memory.max").read_text(encoding="ascii"))
        used = int((group / "memory.current").read_text(encoding="ascii"))
        statistics = (group / "memory.stat").read_text(encoding="ascii").split()
        told = dict(zip(statistics[::2], statistics[1::2], strict=True))
        return max(0, most - used + int(told.get("inactive_file", 0)))
    return None
