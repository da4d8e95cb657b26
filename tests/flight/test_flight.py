"""The controller, the embedded vehicle, rclpy and MAVSDK as real processes: they fly.

Commands go out as a plain ROS 2 publisher sends them; every check is on what came back over ROS 2.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, hypot, radians, sin
from pathlib import Path
from uuid import uuid4

import pytest

from tests.flight.ground import Ground, yaw_deg
from tests.flight.policies import write_steering_policy
from tests.support import REPOSITORY, claim_slot, wait_for

pytestmark = pytest.mark.slow


class Stack:
    """A vehicle and a controller in a slot of their own, and a node that watches them."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.ground = Ground(int(environment["ROS_DOMAIN_ID"]))
        self.vehicle = self.start_vehicle()
        self.controller = self.start_controller()

    def start_vehicle(self) -> subprocess.Popen[bytes]:
        instance, data_dir = self.environment["VEHICLE_INSTANCE"], self.environment["DATA_DIR"]
        cache = f"{data_dir}/jax_cache"  # the second start need not compile the physics again
        self.vehicle = self._start(
            "-m", "racer.autopilot", "--instance", instance, "--compile-cache", cache
        )
        return self.vehicle

    def start_controller(self) -> subprocess.Popen[bytes]:
        self.controller = self._start("drone_controller.py")
        return self.controller

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, *arguments]
        return subprocess.Popen(command, cwd=REPOSITORY, env=self.environment)

    def close(self) -> None:
        for process in (self.controller, self.vehicle):
            process.terminate()
        for process in (self.controller, self.vehicle):
            process.wait(timeout=5)
        self.ground.close()


@contextmanager
def flying_stack(data_dir: Path) -> Iterator[Stack]:
    with claim_slot(data_dir) as environment:
        stack = Stack(environment)
        try:
            yield stack
        finally:
            stack.close()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        with flying_stack(tmp_path_factory.mktemp("data")) as stack:
            stack.ground.wait_state(60.0, connected=True)
            yield stack


def test_the_seven_commands_fly(stack: Stack) -> None:
    ground = stack.ground
    assert "take off first" in ground.result("move_forward", timeout_s=5)["message"]

    taken_off = ground.result("takeoff", timeout_s=45)
    assert taken_off["ok"], taken_off
    assert ground.position[2] == pytest.approx(2.5, abs=0.3)
    assert ground.state["in_air"]

    assert ground.result("turn_left", timeout_s=5)["ok"]
    before = ground.position
    wait_for("the yaw rate", lambda: ground.yaw_rate_deg_s > 28.0, timeout_s=5)
    assert ground.turned_deg(2.0) == pytest.approx(60.0, abs=6.0)  # -30 °/s by the compass
    assert hypot(ground.position[0] - before[0], ground.position[1] - before[1]) < 0.5

    assert ground.result("move_forward", timeout_s=5)["ok"]
    assert ground.state["flight_mode"] == "OFFBOARD"
    before = ground.position
    wait_for("2 m/s along the nose", lambda: abs(ground.forward_m_s - 2.0) < 0.3, timeout_s=12)
    yaw = radians(yaw_deg(ground.odometry[-1]))
    east, north = ground.position[0] - before[0], ground.position[1] - before[1]
    assert east * cos(yaw) + north * sin(yaw) > 0.9 * hypot(east, north) > 1.0

    assert ground.result("turn_right", timeout_s=5)["ok"]
    wait_for("the yaw rate", lambda: ground.yaw_rate_deg_s < -28.0, timeout_s=5)
    assert ground.turned_deg(1.5) == pytest.approx(-45.0, abs=5.0)

    assert ground.result("move_backward", timeout_s=5)["ok"]
    wait_for("backwards", lambda: ground.forward_m_s < -1.5, timeout_s=8)

    assert ground.result("stop", timeout_s=5)["ok"]
    assert ground.state["flight_mode"] == "HOLD"
    wait_for("a standstill", lambda: abs(ground.forward_m_s) < 0.2, timeout_s=5)
    assert ground.position[2] == pytest.approx(2.5, abs=0.4)
    assert "Already flying" in ground.result("takeoff", timeout_s=5)["message"]

    landed = ground.result("land", timeout_s=30)
    assert landed["ok"], landed
    assert not ground.state["armed"]
    assert not ground.state["in_air"]
    assert ground.state["flight_mode"] == "HOLD"
    assert ground.position[2] < 0.3
    assert ground.batteries[-1].voltage > 1.0


def test_land_during_takeoff_lands_and_each_command_has_its_own_result(stack: Stack) -> None:
    ground = stack.ground
    ground.results.clear()
    ground.send('{"id": "a1", "command": "takeoff"}')
    ground.wait_state(20.0, phase="taking_off")
    ground.send('{"id": "b2", "command": "land"}')
    wait_for("both results", lambda: len(ground.results) == 2, timeout_s=30)
    by_id = {result["id"]: result for result in ground.results}
    assert not by_id["a1"]["ok"]
    assert by_id["a1"]["message"] == "Pre-empted by land."
    assert by_id["b2"]["ok"], by_id["b2"]
    assert not ground.state["armed"]


def test_a_policy_takes_off_races_and_gives_way_to_land(stack: Stack) -> None:
    """A steering law as ONNX, from telemetry alone; judged again from the odometry it left."""
    ground, run = stack.ground, str(uuid4())
    write_steering_policy(Path(stack.environment["DATA_DIR"]) / "runs" / run)
    unknown = ground.result(f"fly_policy {uuid4()}", timeout_s=5)
    assert not unknown["ok"]
    assert "no trained policy" in unknown["message"]

    raced = ground.result(f"fly_policy {run}", timeout_s=90)
    assert raced["ok"], raced
    assert re.search(r"Flew short in \d\.\d\d s: 2 of 2 gates, splits", raced["message"])
    assert any(state["phase"] == "policy" for state in ground.states)
    assert ground.state["flight_mode"] == "HOLD"
    assert ground.position[1] > 9.0  # behind the second gate
    crossed = [o.pose.pose.position for o in ground.last(15.0)]
    for gate, (x, y, z) in enumerate([(0.0, 4.0, 2.5), (1.0, 9.0, 2.8)]):
        nearest = min(crossed, key=lambda p, y=y: abs(p.y - y))
        assert hypot(nearest.x - x, nearest.z - z) < 0.4, gate

    ground.results.clear()
    ground.send(f"fly_policy {run}")  # the way back to the start leads over the gates
    wait_for("its climb", lambda: ground.position[2] > 3.2, timeout_s=10)
    ground.send("land")
    wait_for("both results", lambda: len(ground.results) == 2, timeout_s=30)
    assert ground.results[0]["message"] == "Pre-empted by land."
    assert ground.results[1]["ok"], ground.results[1]


def test_a_controller_told_to_end_leaves_the_vehicle_holding(stack: Stack) -> None:
    ground = stack.ground
    assert ground.result("takeoff", timeout_s=45)["ok"]
    assert ground.result("move_forward", timeout_s=5)["ok"]
    wait_for("flying forward", lambda: ground.forward_m_s > 1.0, timeout_s=5)
    stack.controller.send_signal(signal.SIGTERM)
    assert stack.controller.wait(timeout=1.0) == 0

    ground.states.clear()
    ground.odometry.clear()
    stack.start_controller()
    ground.wait_state(10.0, connected=True, flight_mode="HOLD", phase="hovering")
    wait_for("odometry", lambda: len(ground.odometry) > 30, timeout_s=5)
    wait_for("a standstill", lambda: abs(ground.forward_m_s) < 0.2, timeout_s=3)


def test_after_the_vehicle_was_killed_and_restarted_the_next_command_works(stack: Stack) -> None:
    """In flight before: the vehicle of the test above."""
    ground = stack.ground
    stack.vehicle.kill()
    stack.vehicle.wait()
    ground.wait_state(6.0, connected=False, phase="disconnected")
    refused = ground.result("takeoff", timeout_s=5)
    assert not refused["ok"]
    assert "udpin://" in refused["message"]

    stack.start_vehicle()
    ground.wait_state(60.0, connected=True, armed=False)
    ground.results.clear()
    ground.send("takeoff")
    ground.wait_state(30.0, phase="taking_off")
    ground.send("land")
    wait_for("both results", lambda: len(ground.results) == 2, timeout_s=30)
    assert ground.results[1]["command"] == "land"
    assert ground.results[1]["ok"], ground.results[1]


def test_minimal_test_flies_and_says_so(stack: Stack) -> None:
    """It needs the port for itself, so the controller leaves first."""
    stack.controller.terminate()
    assert stack.controller.wait(timeout=2.0) == 0
    flown = subprocess.run(
        [sys.executable, "minimal_test.py"],
        check=False,
        cwd=REPOSITORY,
        env=stack.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert flown.returncode == 0, flown.stdout + flown.stderr
    steps = ["Connected. Taking off", "Flying at 2.", "Hovered", "Landing", "motors off"]
    places = [flown.stdout.index(step) for step in steps]
    assert places == sorted(places)
