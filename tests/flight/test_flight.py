"""The controller, the embedded vehicle, rclpy and MAVSDK as real processes: they fly.

Commands go out as a plain ROS 2 publisher sends them; every check is on what came back over ROS 2.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from math import cos, hypot, radians, sin
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from mcap.reader import make_reader
from mcap.writer import MCAP0_MAGIC
from mcap_ros2.decoder import DecoderFactory

from tests.flight.ground import yaw_deg
from tests.flight.policies import write_steering_policy
from tests.flight.stack import Stack, flying_stack
from tests.support import REPOSITORY, wait_for

pytestmark = pytest.mark.slow


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
    ground.repeating = "move_forward"  # or it would hold after five seconds
    wait_for("2 m/s along the nose", lambda: abs(ground.forward_m_s - 2.0) < 0.3, timeout_s=12)
    ground.repeating = None
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

    for _ in range(3):
        raced = ground.result(f"fly_policy {run}", timeout_s=90)
        if not re.search(r"s old|s late", raced["message"]):
            break  # a machine that stood still for half a second is not what is looked at
    assert raced["ok"], raced
    assert re.search(r"Flew short in \d\.\d\d s: 2 of 2 gates, splits", raced["message"])
    assert any(state["phase"] == "policy" for state in ground.states)
    assert ground.state["flight_mode"] == "HOLD"
    assert ground.position[1] > 9.0  # behind the second gate
    flown = [o.pose.pose.position for o in ground.last(20.0)]
    at_start = max(at for at, place in enumerate(flown) if place.y < 1.0)
    crossed = flown[at_start:]  # the way to the start may lead past the gates, too
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


def test_flights_are_recorded_up_to_the_controllers_last_moment(stack: Stack) -> None:
    """Those of the tests above; the last one goes on."""
    stack.controller.kill()
    stack.controller.wait()
    killed_ns = time.time_ns()
    folder = Path(stack.environment["DATA_DIR"]) / "flights"
    files = sorted(folder.iterdir())
    wait_for("the end", lambda: files[-1].read_bytes().endswith(MCAP0_MAGIC), timeout_s=5)
    stack.start_controller()
    stack.ground.wait_state(10.0, connected=True, flight_mode="HOLD", phase="hovering")

    topics, first, last = stack.ground.topics, recording(files[0]), recording(files[-1])
    taken_off_ns = next(at for at, m in first[topics.commands] if m.data == "takeoff")
    armed_ns = next(at for at, m in first[topics.state] if json.loads(m.data)["armed"])
    assert taken_off_ns < armed_ns
    assert max(m.pose.pose.position.z for _, m in first[topics.odometry]) > 2.2
    assert any(m.twist.linear.x == 2.0 for _, m in first[topics.velocity_setpoint])
    assert any(json.loads(m.data)["command"] == "land" for _, m in first[topics.results])
    assert first[topics.battery]
    assert first[topics.place_setpoint]  # the way to a race's start
    assert len(first[topics.clock]) == len(first[topics.odometry])
    assert abs(last[topics.odometry][-1][0] - killed_ns) < 0.5e9


def recording(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """Each topic's messages with their times, Unix ns."""
    found = defaultdict(list)
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for _, channel, message, decoded in reader.iter_decoded_messages():
            found[channel.topic].append((message.log_time, decoded))
    return found


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
