"""MAVProxy, as it comes from the registry, flies the embedded vehicle from its command line."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.autopilot.process import START_S, running_vehicle
from tests.support import ending

pytestmark = pytest.mark.slow


class Console:
    """MAVProxy's command line: lines in, lines out."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._lines: queue.Queue[str] = queue.Queue()
        self.said: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)

    def close(self) -> None:
        """Before its pipe is closed, the thread that reads from it must be over."""
        self._process.kill()
        self._reader.join()

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def until(self, *words: str, timeout_s: float) -> str:
        """Wait for a line with any of these words; which they are."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.said.append(self._lines.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"No {words} from MAVProxy: {self.said[-20:]}") from None
            if found := next((word for word in words if word in self.said[-1]), None):
                return found


def test_mavproxy_flies_it(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("mavproxy.py")
    with (
        running_vehicle(tmp_path / "vehicle", "--speed-factor", "3") as (instance, _),
        ExitStack() as stack,
    ):
        command = [sys.executable, str(program), f"--master=udp:127.0.0.1:{14540 + instance}"]
        process = stack.enter_context(
            ending(
                subprocess.Popen(
                    [*command, "--nowait"],
                    cwd=tmp_path,  # it leaves its logs where it runs
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                )
            )
        )
        console = stack.enter_context(closing(Console(process)))
        console.until("Detected vehicle", timeout_s=START_S)
        console.until("parameters", timeout_s=30.0)
        console.type("arm throttle")
        while console.until("DISARM: ACCEPTED", "TEMPORARILY_REJECTED", timeout_s=20.0) != (
            "DISARM: ACCEPTED"
        ):  # its checks do not pass yet
            console.type("arm throttle")
        console.type("takeoff 2.5")
        console.until("Takeoff detected", timeout_s=20.0)
        console.until("Mode LOITER", timeout_s=20.0)
        console.type("long MAV_CMD_NAV_LAND 0 0 0 0 0 0 0")  # its modes are ArduPilot's
        console.until("Landing detected", timeout_s=30.0)
        console.until("DISARMED", timeout_s=20.0)
        assert not [line for line in console.said if "fence breach" in line]
