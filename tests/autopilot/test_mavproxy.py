"""MAVProxy, as it comes from the registry, flies the embedded vehicle from its command line."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
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
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            self._lines.put(line)

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def until(self, words: str, timeout_s: float) -> None:
        """Wait for a line with these words."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                self.said.append(self._lines.get(timeout=max(0.0, deadline - time.monotonic())))
            except queue.Empty:
                raise AssertionError(f"No '{words}' from MAVProxy: {self.said[-20:]}") from None
            if words in self.said[-1]:
                return


def test_mavproxy_flies_it(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("mavproxy.py")
    with running_vehicle(tmp_path / "vehicle", "--speed-factor", "3") as (instance, _):
        command = [sys.executable, str(program), f"--master=udp:127.0.0.1:{14540 + instance}"]
        with ending(
            subprocess.Popen(
                [*command, "--nowait"],
                cwd=tmp_path,  # it leaves its logs where it runs
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        ) as process:
            console = Console(process)
            console.until("Detected vehicle", START_S)
            console.until("Received", 30.0)  # parameters
            console.type("arm throttle")
            console.until("ARMED", 20.0)
            console.type("mode TAKEOFF")
            console.until("Takeoff detected", 20.0)
            console.until("Mode LOITER", 20.0)
            console.type("mode LAND")
            console.until("Landing detected", 30.0)
            console.until("DISARMED", 20.0)
