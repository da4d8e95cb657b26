"""Faults between the controller and the vehicle, in flight: nothing is lost, nothing moves unasked.

The controller and the embedded vehicle are real processes; between them lies a relay that loses
what a test tells it to lose. What happens when pilots fail is in test_pilot_lost.py.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from itertools import count, pairwise

import pytest

from tests.flight.ground import Ground
from tests.flight.stack import Stack, flying_stack
from tests.support import wait_for

pytestmark = pytest.mark.slow

GAP_S = 2.0  # of the link: less than MAVSDK needs to call a vehicle lost
TOKENS = count(1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    room = {"FENCE_NORTH_M": "900", "FENCE_SOUTH_M": "-900", "FENCE_DISTANCE_M": "900"}
    with flying_stack(tmp_path_factory.mktemp("data"), lossy=True, **room) as stack:
        stack.ground.wait_state(60.0, connected=True)
        yield stack


@pytest.fixture
def lease(stack: Stack) -> int:
    """A vehicle that hovers, and a new lease whose pilot is there."""
    return stack.ground.hover(next(TOKENS))


def by_sticks(ground: Ground, lease: int) -> None:
    ground.push(lease, forward=1.5)
    ground.wait_state(5.0, flight_mode="OFFBOARD")
    wait_for("flying forward", lambda: ground.forward_m_s > 0.5, timeout_s=8)


def stays(ground: Ground, *, seconds: float) -> None:
    """It holds its place although somebody still pushes."""
    ground.wait_hold(8.0)
    seen, north = len(ground.states), ground.position[1]
    time.sleep(seconds)  # nothing happens: that is what is looked at
    assert {state["flight_mode"] for state in ground.states[seen:]} == {"HOLD"}
    assert abs(ground.position[1] - north) < 0.5


def test_after_two_seconds_without_a_link_the_vehicle_holds_until_it_is_asked_anew(
    stack: Stack, lease: int
) -> None:
    """It would come back to Offboard with the setpoint from before the gap."""
    ground = stack.ground
    by_sticks(ground, lease)
    stack.relay.lose(1.0)
    time.sleep(GAP_S)  # the fault itself
    stack.relay.lose(0.0)
    stays(ground, seconds=2.0)
    assert any("does not tell its position" in s["message"] for s in ground.states)
    ground.push(lease, forward=0.0)
    ground.push(None)
    ground.fly_forward(lease)


def test_a_failsafe_that_only_the_vehicle_noticed_ends_the_flight(stack: Stack, lease: int) -> None:
    """Setpoints are lost, telemetry is not; they arrive again as soon as its Hold was heard of."""
    ground = stack.ground
    by_sticks(ground, lease)
    seen = len(ground.states)
    stack.relay.lose(1.0, down=0.0)
    ground.wait_state(8.0, phase="failsafe", flight_mode="HOLD")
    stack.relay.lose(0.0)
    wait_for(
        "the reason",
        lambda: any("HOLD by its failsafe" in s["message"] for s in ground.states[seen:]),
        timeout_s=5,
    )
    wait_for("a standstill", lambda: abs(ground.forward_m_s) < 0.2, timeout_s=5)
    north = ground.position[1]
    ground.wait_state(8.0, phase="hovering")  # asked for by the controller: no setpoint ends it
    stays(ground, seconds=1.0)
    assert abs(ground.position[1] - north) < 0.5


def test_with_a_third_of_all_packets_lost_sticks_act_and_each_command_has_one_answer(
    stack: Stack, lease: int
) -> None:
    ground = stack.ground
    by_sticks(ground, lease)
    stack.relay.lose(0.3)
    try:
        ground.push(lease, forward=-1.5)
        wait_for("flying backwards", lambda: ground.forward_m_s < -0.5, timeout_s=8)
        ground.push(None)
        for number, command in enumerate(("turn_left", "stop", "move_forward", "stop")):
            ground.envelope(lease, id=f"{lease} {number}", command=command)
            ground.answer(f"{lease} {number}", timeout_s=20)
    finally:
        stack.relay.lose(0.0)
    ids = [result["id"] for result in ground.results if result["id"]]
    assert sorted(ids) == [f"{lease} {number}" for number in range(4)]
    wait_for(
        "a stop that is carried out",
        lambda: ground.result("stop", timeout_s=20)["ok"],
        timeout_s=40,
    )
    stays(ground, seconds=0.5)


@pytest.mark.parametrize("longer", [False, True], ids=["a moment", "until it is called lost"])
def test_a_vehicle_that_stood_still_does_not_fly_on(stack: Stack, lease: int, longer: bool) -> None:
    """SIGSTOP of the vehicle: what is sent meanwhile waits in its socket."""
    ground = stack.ground
    by_sticks(ground, lease)
    seen = len(ground.states)
    stack.vehicle.send_signal(signal.SIGSTOP)
    try:
        if longer:
            ground.wait_state(10.0, connected=False)
        else:
            wait_for(
                "the controller to notice",
                lambda: any("its position" in s["message"] for s in ground.states[seen:]),
                timeout_s=5,
            )
    finally:
        stack.vehicle.send_signal(signal.SIGCONT)
    ground.wait_state(10.0, connected=True)
    wait_for("odometry", lambda: len(ground.last(0.3)) > 3, timeout_s=5)
    stays(ground, seconds=1.0)


def test_a_vehicle_killed_in_flight_leaves_nothing_for_the_next_one(
    stack: Stack, lease: int
) -> None:
    ground = stack.ground
    by_sticks(ground, lease)
    stack.vehicle.kill()
    stack.vehicle.wait()
    ground.wait_state(10.0, connected=False)
    stack.start_vehicle()
    ground.wait_state(60.0, connected=True)
    seen = len(ground.states)
    time.sleep(1.0)  # the sticks still point forward, and nothing happens
    assert not any(state["armed"] or state["in_air"] for state in ground.states[seen:])


def test_a_takeoff_that_is_asked_for_again_is_one_takeoff(stack: Stack) -> None:
    """By the same pilot with the same id and with another one, and by somebody else."""
    ground, token = stack.ground, next(TOKENS)
    ground.push(None)
    ground.beat(token)
    wait_for("its pilot", lambda: ground.flown_by(token), timeout_s=10)
    assert not ground.state["in_air"]
    ground.results.clear()
    for lease, request in ((token, "a"), (token, "a"), (token, "b"), (None, "c"), (token - 1, "d")):
        ground.envelope(lease, id=request, command="takeoff")
    assert ground.answer("b", timeout_s=45)["ok"]
    ground.envelope(token, id="e", command="takeoff")
    found = {request: ground.answer(request, timeout_s=5) for request in "abcde"}
    assert found["a"]["message"] == "Pre-empted by takeoff."
    assert "Somebody else flies" in found["c"]["message"]
    assert "older lease" in found["d"]["message"]
    assert "Already flying" in found["e"]["message"]
    assert sorted(result["id"] for result in ground.results) == [*"abcde"]
    assert 2.0 < ground.position[2] < 3.0
    modes = [state["flight_mode"] for state in ground.states]
    assert modes[-1] == "HOLD"


def test_an_empty_battery_lands_the_vehicle_whatever_its_pilot_pushes(
    stack: Stack, lease: int
) -> None:
    """PX4 holds before it lands; neither thumb nor controller may end that unasked."""
    ground = stack.ground
    by_sticks(ground, lease)
    seen = len(ground.states)
    stack.set_parameters(SIM_BAT_MIN_PCT=6.0, COM_FAIL_ACT_T=2.0, SIM_BAT_DRAIN=3.0)
    try:
        ground.wait_state(20.0, phase="failsafe", flight_mode="HOLD")
        ground.wait_state(10.0, flight_mode="LAND")
        assert any("HOLD by its failsafe" in s["message"] for s in ground.states[seen:])
        ground.wait_state(30.0, armed=False, in_air=False)
    finally:
        stack.set_parameters(SIM_BAT_MIN_PCT=0.0, SIM_BAT_DRAIN=0.0)
    modes = [s["flight_mode"] for s in ground.states[seen:] if s["in_air"]]
    changes = [pair for pair in pairwise(modes) if pair[0] != pair[1]]
    assert changes == [("OFFBOARD", "HOLD"), ("HOLD", "LAND")]
