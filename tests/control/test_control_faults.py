"""Faults of the web service and its clients while a vehicle flies under a pilot at a socket.

`main.py`, the controller and the embedded vehicle are processes of their own (STACK=external): the
service may die while the vehicle flies on. The bridge is a node inside the service, so a service
that is killed or stopped is a bridge that is.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.flight.stack import Stack, flying_stack
from tests.support import REPOSITORY, ending, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    room = {"FENCE_NORTH_M": "900", "FENCE_SOUTH_M": "-900", "FENCE_DISTANCE_M": "900"}
    with flying_stack(tmp_path_factory.mktemp("data"), **room) as stack:
        stack.ground.wait_state(60.0, connected=True)
        yield stack


class Service:
    """A web service beside the stack, and how to reach it."""

    def __init__(self, stack: Stack) -> None:
        self.address = f"127.0.0.1:{stack.environment['PORT']}"
        self.process = subprocess.Popen(
            [sys.executable, "main.py"],
            cwd=REPOSITORY,
            env=stack.environment | {"STACK": "external"},
        )

    def ready(self) -> bool:
        try:
            parts = httpx.get(f"http://{self.address}/readyz", timeout=5).json()["parts"]
        except httpx.TransportError:
            return False
        return bool(parts["controller"] and parts["vehicle"])

    @contextmanager
    def pilot(self, name: str) -> Iterator[ClientConnection]:
        """A client at `/ws/control`."""
        url = f"ws://{self.address}/ws/control?pilot={name}"
        with connect(url, close_timeout=1) as socket:
            yield socket


@contextmanager
def serving(stack: Stack) -> Iterator[Service]:
    service = Service(stack)
    with ending(service.process):
        wait_for("the service", service.ready, timeout_s=30)
        yield service


@pytest.fixture(scope="module")
def service(stack: Stack) -> Iterator[Service]:
    with serving(stack) as service:
        yield service


def result(pilot: ClientConnection, command: str) -> dict[str, Any]:
    pilot.send(command)
    return answer(pilot)


def answer(pilot: ClientConnection) -> dict[str, Any]:
    while (frame := json.loads(pilot.recv(timeout=60)))["type"] != "command_result":
        continue
    return dict(frame)


def fly_forward(stack: Stack, pilot: ClientConnection) -> None:
    """In flight at more than 1 m/s, by this pilot."""
    if not stack.ground.state["in_air"]:
        taken_off = result(pilot, "takeoff")
        assert taken_off["ok"], taken_off
    moved = result(pilot, "move_forward")
    assert moved["ok"], moved
    wait_for("flying forward", lambda: stack.ground.forward_m_s > 1.0, timeout_s=8)


def token(stack: Stack) -> int:
    return int(stack.ground.state["lease"]["token"])


def test_a_stopped_service_is_a_lost_pilot_and_what_waited_for_it_is_not_flown(
    stack: Stack, service: Service
) -> None:
    ground = stack.ground
    with service.pilot("Ada") as ada:
        fly_forward(stack, ada)
        lease, seen = token(stack), len(ground.states)
        service.process.send_signal(signal.SIGSTOP)
        try:
            ground.wait_hold(8.0)
            assert any("heartbeat was lost" in s["message"] for s in ground.states[seen:])
            ada.send("move_forward")
            ada.send('{"type": "velocity", "forward": 1.5}')
            time.sleep(1.0)  # longer than a service is ever busy
        finally:
            service.process.send_signal(signal.SIGCONT)
        late = answer(ada)
        assert not late["ok"]
        assert "was stopped meanwhile" in late["message"]
        wait_for("its pilot", lambda: ground.flown_by(lease), timeout_s=5)
        assert ground.state["flight_mode"] == "HOLD"
        wait_for("a new command", lambda: result(ada, "turn_left")["ok"], timeout_s=8)
        assert token(stack) == lease
        assert result(ada, "stop")["ok"]


def test_a_frozen_page_is_a_lost_pilot_although_its_socket_is_open(
    stack: Stack, service: Service
) -> None:
    ground = stack.ground
    with service.pilot("Ada") as ada:
        ada.send('{"type": "heartbeat"}')
        fly_forward(stack, ada)
        seen = len(ground.states)
        ada.send('{"type": "heartbeat"}')
        ground.wait_hold(8.0)
        assert any("The pilot left" in s["message"] for s in ground.states[seen:])
        ada.send('{"type": "heartbeat"}')
        wait_for("its return", lambda: ground.flown_by(token(stack)), timeout_s=5)
        assert ground.state["flight_mode"] == "HOLD"
        assert result(ada, "stop")["ok"]


def test_ten_thousand_frames_of_a_vandal_keep_no_stop_waiting(
    stack: Stack, service: Service
) -> None:
    ground = stack.ground

    def shout() -> None:
        with suppress(ConnectionClosed), service.pilot("Vandal") as vandal:
            for number in range(10_000):
                vandal.send("move_backward" if number % 2 else '{"type": "velocity", "up": NaN}')

    with service.pilot("Ada") as ada:
        fly_forward(stack, ada)
        shouting = threading.Thread(target=shout)
        shouting.start()
        try:
            assert result(ada, "stop")["ok"]
            ground.wait_hold(5.0)
        finally:
            shouting.join()
        assert ground.state["flight_mode"] == "HOLD"


def test_a_killed_service_is_a_lost_pilot_and_the_next_one_flies_on(
    stack: Stack, service: Service
) -> None:
    """The last test of this service."""
    ground = stack.ground
    with service.pilot("Ada") as ada:
        fly_forward(stack, ada)
        lease, seen = token(stack), len(ground.states)
        service.process.kill()
        ground.wait_hold(8.0)
        assert any("heartbeat was lost" in s["message"] for s in ground.states[seen:])
        service.process.wait()
    with serving(stack) as following, following.pilot("Grace") as grace:
        assert ground.state["in_air"]
        assert result(grace, "turn_left")["ok"]
        assert token(stack) > lease
        assert result(grace, "stop")["ok"]
