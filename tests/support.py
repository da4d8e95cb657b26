"""What several test packages share: isolated stacks, waiting for conditions, child processes."""

from __future__ import annotations

import fcntl
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, AnyStr, TypeVar

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
_INSTANCES = range(20, 40)  # 14540+i and 14580+i of these never meet each other, nor instance 0

T = TypeVar("T")


def free_tcp_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def claim_slot(data_dir: Path) -> Iterator[dict[str, str]]:
    """An environment whose UDP ports, ROS domain, web port and data nobody else uses meanwhile.

    A lock file per PX4 instance serves every test process of this machine.
    """
    locks = Path(tempfile.gettempdir()) / f"toledo-racer-slots-{os.getuid()}"
    locks.mkdir(exist_ok=True)
    for instance in _INSTANCES:
        with ExitStack() as stack:
            lock = stack.enter_context((locks / str(instance)).open("w"))
            if not _locked(lock) or not _ports_free(instance):
                continue
            yield os.environ | {
                "VEHICLE_INSTANCE": str(instance),
                "ROS_DOMAIN_ID": str(instance),
                "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
                "HOST": "127.0.0.1",
                "PORT": str(free_tcp_port()),
                "DATA_DIR": str(data_dir),
                "DATABASE_URL": "",
                "PYTHONUNBUFFERED": "1",
            }
            return
    raise RuntimeError("Every test slot is taken: are old test processes still running?")


def _locked(lock: IO[str]) -> bool:
    """Take the lock if it is free. The kernel releases it when its holder dies."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ports_free(instance: int) -> bool:
    """Whether nobody, also no leftover of a killed test run, holds this instance's UDP ports."""
    for port in (14540 + instance, 14580 + instance, 18570 + instance):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("0.0.0.0", port))  # noqa: S104 - as the vehicle and MAVSDK do
            except OSError:
                return False
    return True


@contextmanager
def ending(process: subprocess.Popen[AnyStr]) -> Iterator[subprocess.Popen[AnyStr]]:
    """The process, killed at the end of the block whatever happens in it."""
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """A folder on a tmpfs of this size, behind which more of its options may stand."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path | str) -> None:
    """Write a file that takes all the room that its disk has."""
    with suppress(OSError), open(path, "ab", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def wait_for(
    what: str, probe: Callable[[], T | None], *, timeout_s: float, every_s: float = 0.05
) -> T:
    """Poll `probe` until it returns something truthy; fail with `what` after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if value := probe():
            return value
        time.sleep(every_s)
    raise AssertionError(f"Waited {timeout_s} s in vain for: {what}")
