"""A loop that hangs is killed; one that beats, ends or has not begun is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import REPOSITORY, wait_for

STALL_S = 0.4
_BEATS = """
import sys, time
sys.path.insert(0, {root!r})
from racer.flight.watchdog import fork_watchdog
dog = fork_watchdog({stall})
time.sleep({before})
for _ in range(10):
    dog.beat()
    time.sleep(0.05)
print("beaten", flush=True)
{then}
"""


def start(then: str, *, before: float = 0.0) -> subprocess.Popen[str]:
    source = _BEATS.format(root=str(REPOSITORY), stall=STALL_S, before=before, then=then)
    return subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_loop_that_hangs_is_killed_and_a_line_says_why() -> None:
    with start("time.sleep(60)", before=2 * STALL_S) as program:
        assert program.stdout.readline() == "beaten\n"
        began = time.monotonic()
        assert program.wait(timeout=10) == -signal.SIGKILL
        assert time.monotonic() - began < STALL_S + 2.0
        assert "its loop hung for 0.4 s" in program.stderr.read()


def test_a_stopped_process_is_killed() -> None:
    with start("while True: dog.beat(); time.sleep(0.05)") as program:
        assert program.stdout.readline() == "beaten\n"
        time.sleep(2 * STALL_S)  # it beats: nothing happens
        assert program.poll() is None
        program.send_signal(signal.SIGSTOP)
        assert program.wait(timeout=10) == -signal.SIGKILL


@pytest.mark.parametrize("then", ["dog.close(); time.sleep(1.2)", ""], ids=["closed", "ended"])
def test_who_ends_properly_is_left_alone_and_the_watchdog_goes(then: str) -> None:
    with start(then) as program:
        children = Path(f"/proc/{program.pid}/task/{program.pid}/children")
        watchdog = int(wait_for("the fork", lambda: children.read_text().split(), timeout_s=5)[0])
        assert program.wait(timeout=10) == 0
        assert program.stderr.read() == ""
        wait_for("its end", lambda: not _alive(watchdog), timeout_s=5)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
