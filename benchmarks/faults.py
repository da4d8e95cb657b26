"""How soon the vehicle holds when what flies it goes away.

    python -m benchmarks.faults

Starts the real service with the embedded vehicle, takes off and flies forward; then, five times
each, cuts the pilot's TCP connection without a goodbye to the WebSocket, and stops the controller
(SIGSTOP). The vehicle's own word counts: a ground station on its other link asks it for its mode
fifty times a second. Prints JSON lines; exit code 1 when a limit is missed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
from pymavlink import mavutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from benchmarks.control import running
from tests.support import claim_slot, wait_for

TIMES = 5
CUT_LIMIT_S, STOP_LIMIT_S = 0.7, 3.0
_ASK_S = 0.02
_HEARTBEAT, _REQUEST_MESSAGE = 0, 512
_OFFBOARD, _HOLD = 393216, 50593792


class GroundStation:
    """The vehicle's mode, as it says itself on the link for ground stations."""

    def __init__(self, instance: int) -> None:
        self._link = mavutil.mavlink_connection(f"udpout:127.0.0.1:{18570 + instance}")
        self._system = instance + 1
        self._ends = threading.Event()
        self.mode = 0
        self.changed_s: dict[int, float] = {}  # when each mode was first heard of, anew each time
        self._threads = [threading.Thread(target=work) for work in (self._ask, self._hear)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._ends.wait(_ASK_S):
            mav = self._link.mav
            mav.heartbeat_send(6, 8, 0, 0, 0)
            mav.command_long_send(
                self._system, 1, _REQUEST_MESSAGE, 0, _HEARTBEAT, 0, 0, 0, 0, 0, 0
            )

    def _hear(self) -> None:
        while not self._ends.is_set():
            message = self._link.recv_match(type="HEARTBEAT", blocking=True, timeout=0.2)
            if message is None or message.get_srcComponent() != 1:
                continue
            if message.custom_mode != self.mode:
                self.mode = message.custom_mode
                self.changed_s[self.mode] = time.monotonic()

    def close(self) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()
        self._link.close()


def fly(socket: ClientConnection, command: str) -> None:
    socket.send(command)
    while (frame := json.loads(socket.recv(timeout=60)))["type"] != "command_result":
        continue
    if not frame["ok"]:
        raise RuntimeError(frame["message"])


def held_after_s(ground: GroundStation, fault: Callable[[], None]) -> float:
    """Seconds from the fault until the vehicle says that it holds."""
    wait_for("Offboard", lambda: ground.mode == _OFFBOARD, timeout_s=5)
    time.sleep(1.0)  # in full flight
    began = time.monotonic()
    fault()
    wait_for("Hold", lambda: ground.mode == _HOLD, timeout_s=10, every_s=0.005)
    return ground.changed_s[_HOLD] - began


def main() -> int:
    with tempfile.TemporaryDirectory() as data, claim_slot(Path(data)) as slot:
        environment = slot | {"STACK": "embedded"}
        web = f"127.0.0.1:{slot['PORT']}"
        ground = GroundStation(int(slot["VEHICLE_INSTANCE"]))
        try:
            with running("main.py", environment=environment):
                cuts, stops = measured(web, ground)
        finally:
            ground.close()
    ratios = {}
    for name, found, limit_s in (
        ("pilot's socket cut", cuts, CUT_LIMIT_S),
        ("controller stopped", stops, STOP_LIMIT_S),
    ):
        ratios[name] = max(found) / limit_s
        line = {"fault": name, "held_after_s": [round(each, 2) for each in found]}
        print(json.dumps(line | {"limit_s": limit_s, "ratio": round(ratios[name], 2)}), flush=True)
    return int(max(ratios.values()) > 1.0)


def measured(web: str, ground: GroundStation) -> tuple[list[float], list[float]]:
    """Seconds until it held, of every cut and of every stop."""
    wait_for("the vehicle", lambda: _parts(web).get("vehicle"), timeout_s=120)
    url, cuts, stops = f"ws://{web}/ws/control", [], []
    with connect(url) as pilot:
        fly(pilot, "takeoff")
    directions = ("move_forward", "move_backward") * TIMES
    for direction in directions[:TIMES]:
        with suppress(ConnectionClosed, OSError), connect(url) as pilot:
            fly(pilot, direction)
            cuts.append(held_after_s(ground, pilot.socket.close))
    for direction in directions[:TIMES]:
        with connect(url) as pilot:
            fly(pilot, direction)
            controller = wait_for("it", partial(_controller, web), timeout_s=5)
            stops.append(held_after_s(ground, partial(os.kill, controller, signal.SIGSTOP)))
            gone = {controller, None}
            wait_for("the next one", lambda gone=gone: _controller(web) not in gone, timeout_s=20)
            wait_for("the vehicle", lambda: _parts(web).get("vehicle"), timeout_s=20)
            fly(pilot, "stop")
    with connect(url) as pilot:
        fly(pilot, "land")
    return cuts, stops


def _parts(web: str) -> dict[str, Any]:
    try:
        return dict(httpx.get(f"http://{web}/readyz", timeout=5).json()["parts"])
    except (httpx.TransportError, ValueError, KeyError):
        return {}


def _controller(web: str) -> int | None:
    """Its process; None while it is started again."""
    pid: int | None = _parts(web)["stack"]["children"]["controller"]["pid"]
    return pid


if __name__ == "__main__":
    sys.exit(main())
