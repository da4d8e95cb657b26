"""The programs as a person starts them: exit codes, one-line answers, a clean end."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flight.ground import Ground
from tests.flight.px4_peer import Px4Peer
from tests.support import REPOSITORY, claim_slot


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    data_dir: Path = tmp_path_factory.mktemp("data")
    with pytest.MonkeyPatch.context() as patch, claim_slot(data_dir) as environment:
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield environment


def run(program: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, program]
    return subprocess.run(
        command,
        check=False,
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
    )


@contextmanager
def controller(environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "drone_controller.py"]
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def ground(environment: dict[str, str]) -> Iterator[Ground]:
    node = Ground(environment)
    try:
        yield node
    finally:
        node.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_controller_ends_within_a_second_of_a_signal(
    environment: dict[str, str], number: signal.Signals
) -> None:
    with ground(environment) as node, controller(environment) as process:
        node.wait_state(20.0, phase="disconnected")
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(timeout=5) == 0
        assert time.monotonic() - started < 1.0


def test_the_controller_ends_while_the_vehicle_owes_it_answers(environment: dict[str, str]) -> None:
    """Freed under a thread that waits for an acknowledgement, MAVSDK never let the program go."""
    peer = Px4Peer(14540 + int(environment["VEHICLE_INSTANCE"]), in_air=True)
    peer.deaf = True
    with ground(environment) as node, peer, controller(environment) as process:
        node.wait_state(20.0, connected=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=8) == 0


def test_a_second_controller_is_told_who_holds_the_port(environment: dict[str, str]) -> None:
    with ground(environment) as node, controller(environment) as process:
        node.wait_state(20.0, phase="disconnected")
        second = run("drone_controller.py", environment)
        assert second.returncode == 1
        assert f"is held by process {process.pid} (" in second.stderr
        assert "drone_controller.py" in second.stderr
        assert len(second.stderr.splitlines()) == 1
        assert process.poll() is None  # and the first one goes on


def test_every_message_on_the_topic_is_answered_once(environment: dict[str, str]) -> None:
    with ground(environment) as node, controller(environment):
        node.wait_state(20.0, phase="disconnected")
        assert "udpin://" in node.result("takeoff", timeout_s=5)["message"]
        assert "Unknown command" in node.result("fly", timeout_s=5)["message"]
        assert "not valid JSON" in node.result("{broken", timeout_s=5)["message"]
        node.results.clear()
        node.send('{"id": "c3", "command": "stop"}')
        node.send('{"id": "d4", "command": "somersault"}')
        deadline = time.monotonic() + 5.0
        while len(node.results) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert sorted((r["id"], r["ok"]) for r in node.results) == [("c3", False), ("d4", False)]


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AUTOPILOT_URL", "carrier-pigeon://coop"), ("VEHICLE_INSTANCE", "the second")],
)
def test_a_bad_setting_is_named_and_ends_with_exit_code_1(
    environment: dict[str, str], variable: str, value: str
) -> None:
    failed = run("drone_controller.py", environment | {variable: value})
    assert failed.returncode == 1
    assert variable in failed.stderr
    assert "Traceback" not in failed.stderr


def test_debug_connection_finds_a_vehicle(environment: dict[str, str]) -> None:
    with Px4Peer(14540 + int(environment["VEHICLE_INSTANCE"]), in_air=False):
        found = run("debug_connection.py", environment)
    assert found.returncode == 0, found.stderr
    assert "Vehicle found: mode HOLD, armed False." in found.stdout
    assert "Ready to arm." in found.stdout


def test_debug_connection_without_a_vehicle_says_what_to_start(environment: dict[str, str]) -> None:
    nothing = run("debug_connection.py", environment)
    assert nothing.returncode == 1
    assert "python -m racer.autopilot" in nothing.stdout
