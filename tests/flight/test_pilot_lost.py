"""Whatever dies or falls silent on the way from a pilot to the motors, the vehicle holds.

The controller, the embedded vehicle, rclpy and MAVSDK are real processes; commands and heartbeats
are what a bridge sends. Each test begins with a vehicle that hovers somewhere.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import count
from math import nan, radians

import pytest

from tests.flight.ground import Ground
from tests.flight.stack import Stack, flying_stack
from tests.support import wait_for

pytestmark = pytest.mark.slow

CEILING_M = 5.0  # of the geofence
LAND_S = 4.0
TOKENS = count(1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {"FENCE_CEILING_M": str(CEILING_M), "PILOT_LOST_LAND_S": str(LAND_S)}
    with flying_stack(tmp_path_factory.mktemp("data"), **settings) as stack:
        stack.ground.wait_state(60.0, connected=True)
        yield stack


@pytest.fixture
def lease(stack: Stack) -> int:
    """A vehicle that hovers, and a new lease whose pilot is there."""
    return stack.ground.hover(next(TOKENS))


def test_a_pilot_who_leaves_is_held_for_and_landed(stack: Stack, lease: int) -> None:
    ground = stack.ground
    ground.fly_forward(lease)
    ground.leave(lease)
    ground.wait_hold(4.0)
    assert ground.state["message"].startswith("The pilot left: holding, landing in 4 s.")
    ground.wait_state(20.0, armed=False, in_air=False)


def test_a_silent_bridge_is_a_lost_pilot_who_may_come_back(stack: Stack, lease: int) -> None:
    ground = stack.ground
    ground.fly_forward(lease)
    ground.beat(None)
    ground.wait_hold(4.0)
    assert ground.state["message"].startswith("The pilot's heartbeat was lost")
    ground.beat(lease)
    time.sleep(LAND_S + 1.0)  # nothing happens: that is what is looked at
    assert ground.state["flight_mode"] == "HOLD"
    assert ground.state["in_air"]


def test_the_bare_topic_steers_five_seconds(stack: Stack, lease: int) -> None:
    ground = stack.ground
    ground.leave(lease)
    assert ground.result("turn_left", timeout_s=5)["ok"]
    began = time.monotonic()
    ground.wait_state(8.0, flight_mode="HOLD")
    assert 4.0 < time.monotonic() - began < 7.0
    assert ground.state["in_air"]


def test_only_the_newest_lease_flies_and_everybody_stops(stack: Stack, lease: int) -> None:
    ground, newer = stack.ground, next(TOKENS)
    ground.beat(newer)
    ground.envelope(newer, id="n1", command="turn_left")
    assert ground.answer("n1", timeout_s=5)["ok"]
    ground.envelope(lease, id="o1", command="move_forward")
    assert "older lease" in ground.answer("o1", timeout_s=5)["message"]
    assert "Somebody else flies" in ground.result("move_forward", timeout_s=5)["message"]
    ground.envelope(newer, id="n1", command="turn_left")  # again, as a sender who heard nothing
    wait_for("the same answer", lambda: _count(ground, "n1") == 2, timeout_s=5)
    ground.envelope(lease, id="o2", command="stop")
    assert ground.answer("o2", timeout_s=5)["ok"]
    assert ground.state["flight_mode"] == "HOLD"


def _count(ground: Ground, request_id: str) -> int:
    return sum(result["id"] == request_id for result in ground.results)


def test_sticks_steer_until_they_fall_silent(stack: Stack, lease: int) -> None:
    ground = stack.ground
    ground.push(lease, forward=-1.0, right=1.0)
    wait_for("its way", lambda: flies(ground, -1.0, -1.0), timeout_s=8)
    assert ground.state["flight_mode"] == "OFFBOARD"
    ground.push(None)
    ground.wait_hold(4.0)
    assert ground.state["message"] == "The sticks fell silent: holding."


def flies(ground: Ground, forward: float, left: float) -> bool:
    linear = ground.odometry[-1].twist.twist.linear
    return abs(linear.x - forward) < 0.3 and abs(linear.y - left) < 0.3


def test_a_stop_outlasts_a_thumb_on_the_stick(stack: Stack, lease: int) -> None:
    ground = stack.ground
    ground.push(lease, forward=-1.0)
    ground.wait_state(5.0, flight_mode="OFFBOARD")
    ground.envelope(None, id=f"stop {lease}", command="stop")
    assert ground.answer(f"stop {lease}", timeout_s=5)["ok"]
    wait_for(  # while the stop was carried out there may have been another reason
        "an answer",
        lambda: any("Centre the sticks first" in r["message"] for r in ground.results),
        timeout_s=5,
    )
    assert ground.state["flight_mode"] == "HOLD"
    ground.push(lease, forward=0.0)
    time.sleep(0.2)
    ground.push(lease, forward=-1.0)
    ground.wait_state(5.0, flight_mode="OFFBOARD")


def goes_to_hold_beside(ground: Ground, *, x: float) -> None:
    """It goes to Hold while somebody publishes twists; how soon, benchmarks.faults measures."""
    ends = time.monotonic() + 5.0
    while ground.state["flight_mode"] != "HOLD":
        assert time.monotonic() < ends, ground.state
        ground.twist(x=x)
        time.sleep(0.01)


def test_sticks_fall_silent_although_somebody_else_moves_others(stack: Stack, lease: int) -> None:
    ground = stack.ground
    ground.push(lease, forward=-1.0)
    ground.wait_state(5.0, flight_mode="OFFBOARD")
    ground.push(None)
    goes_to_hold_beside(ground, x=1.0)


def test_an_idle_joystick_does_not_stand_for_a_lost_pilot(stack: Stack, lease: int) -> None:
    ground = stack.ground
    ground.fly_forward(lease)
    ground.beat(None)
    goes_to_hold_beside(ground, x=0.0)


def test_sticks_that_mean_nothing_are_answered_and_not_flown(stack: Stack, lease: int) -> None:
    ground = stack.ground
    for number, part in enumerate(({"up": nan}, {"forward": 1e9}, {"forward": "fast"})):
        ground.envelope(lease, id=f"bad {number}", type="velocity", **part)
        assert not ground.answer(f"bad {number}", timeout_s=5)["ok"]
    ground.twist(x=nan)
    wait_for("an answer", lambda: ground.results[-1]["command"] == "cmd_vel", timeout_s=5)
    assert ground.state["flight_mode"] == "HOLD"


def test_twists_are_a_topics_pilot(stack: Stack, lease: int) -> None:
    ground = stack.ground
    ground.leave(lease)
    time.sleep(0.2)
    ends = time.monotonic() + 3.0
    while time.monotonic() < ends:
        ground.twist(x=-1.0, turn=radians(20.0))
        time.sleep(0.05)
    assert ground.forward_m_s == pytest.approx(-1.0, abs=0.3)
    assert ground.yaw_rate_deg_s == pytest.approx(20.0, abs=4.0)
    ground.wait_hold(4.0)


def test_the_geofence_holds_a_vehicle_that_is_told_to_leave(stack: Stack, lease: int) -> None:
    """Up, where every test begins at the same height; the walls are the same lines."""
    ground, ends, highest = stack.ground, time.monotonic() + 6.0, 0.0
    ground.push(lease, up=2.0)
    while time.monotonic() < ends:
        highest = max(highest, ground.position[2])
        time.sleep(0.02)
    assert CEILING_M - 1.5 < highest < CEILING_M
    assert abs(ground.last(0.3)[-1].twist.twist.linear.z) < 0.2
    assert ground.state["flight_mode"] == "OFFBOARD"


def test_what_waited_for_a_stopped_controller_is_not_flown(stack: Stack, lease: int) -> None:
    """Stopped too shortly for its watchdog, and longer than a command is good for."""
    ground = stack.ground
    ground.leave(lease)
    time.sleep(0.7)
    stack.controller.send_signal(signal.SIGSTOP)
    ground.send("move_forward")
    time.sleep(1.2)
    stack.controller.send_signal(signal.SIGCONT)
    answer = wait_for("an answer", lambda: ground.results[-1:], timeout_s=5)[0]
    assert answer["command"] == "move_forward"
    assert "was stopped meanwhile" in answer["message"]
    assert ground.state["flight_mode"] == "HOLD"
    wait_for(
        "what is sent afterwards to be flown",
        lambda: ground.result("turn_left", timeout_s=5)["ok"],
        timeout_s=5,
    )


@pytest.mark.parametrize("fault", [signal.SIGSTOP, signal.SIGKILL])
def test_a_vehicle_without_its_controller_holds_and_the_next_one_does_not_move_it(
    stack: Stack, lease: int, fault: signal.Signals
) -> None:
    """One that hangs is killed by its watchdog; then the vehicle's own failsafe acts."""
    ground = stack.ground
    ground.fly_forward(lease)
    ground.beat(None)
    stack.controller.send_signal(fault)
    assert stack.controller.wait(timeout=10.0) == -signal.SIGKILL
    ground.odometry.clear()
    ground.states.clear()
    stack.start_controller()
    ground.wait_state(20.0, connected=True, flight_mode="HOLD", in_air=True)
    wait_for("odometry", lambda: len(ground.odometry) > 30, timeout_s=5)
    wait_for("a standstill", lambda: abs(ground.forward_m_s) < 0.2, timeout_s=5)
    assert ground.states[-1]["lease"] is None  # it knows of none
    assert not any(state["flight_mode"] == "OFFBOARD" for state in ground.states)
