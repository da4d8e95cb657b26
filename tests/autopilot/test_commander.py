"""The commander, transition by transition; numbers and texts as measured on PX4."""

from __future__ import annotations

import pytest

from racer.autopilot.commander import Commander, Facts
from racer.autopilot.modes import LandedState, Mode, Result
from racer.autopilot.parameters import Parameters

GROUND = Facts(height_m=0.0, contact=True, climbing=False)
AIR = Facts(height_m=2.5, contact=False, climbing=False)
READY = 4.0
DENIED = "Arming denied: Resolve system health failures first\t"


def commander(**changes: int | float) -> Commander:
    return Commander(Parameters(changes))


def texts(c: Commander) -> list[str]:
    said, c.texts = [text for _, text in c.texts], []
    return said


def flying(mode: Mode = Mode.HOLD, **changes: int | float) -> Commander:
    """Armed and in the air at t = 10 s; in Offboard with a setpoint of that moment."""
    c = commander(**changes)
    assert c.arm(READY) == Result.ACCEPTED
    c.update(READY + 1, AIR)
    c.receive_setpoint(10.0)
    assert c.enter(mode, 10.0) == Result.ACCEPTED
    texts(c)
    return c


def test_arming_is_denied_until_the_checks_pass() -> None:
    c = commander()
    assert c.arm(1.0) == Result.TEMPORARILY_REJECTED
    assert texts(c) == [DENIED]
    assert c.arm(READY) == Result.ACCEPTED
    assert texts(c) == ["Armed by external command\t"]
    assert (c.arm(READY), texts(c)) == (Result.ACCEPTED, [])


def test_disarm_in_the_air_is_denied_unless_forced() -> None:
    c = flying()
    assert c.disarm() == Result.TEMPORARILY_REJECTED
    assert texts(c) == ["Disarming denied: not landed\t"]
    assert c.armed
    assert c.arm_or_disarm(0.0, 21196.0, 10.0) == Result.ACCEPTED
    assert not c.armed
    assert c.disarm() == Result.ACCEPTED  # when disarmed


def test_a_disarmed_takeoff_waits_for_arming() -> None:
    c = commander()
    assert c.takeoff(READY) == Result.ACCEPTED
    assert (c.mode, c.armed, texts(c)) == (Mode.TAKEOFF, False, [])
    c.arm(READY + 1)
    assert texts(c) == ["Armed by external command\t", "Using default takeoff altitude: 2.5 m\t"]


def test_takeoff_ends_in_hold() -> None:
    c = commander()
    c.arm(READY)
    c.takeoff(READY)
    c.update(5.0, Facts(0.1, contact=False, climbing=True))
    assert c.landed_state == LandedState.TAKEOFF
    assert texts(c)[-1] == "Takeoff detected\t"
    c.update(9.0, Facts(2.4, contact=False, climbing=True, takeoff_done=True))
    assert (c.mode, c.landed_state) == (Mode.HOLD, LandedState.IN_AIR)


def test_offboard_without_setpoints() -> None:
    c = commander()
    assert c.enter(Mode.OFFBOARD, READY) == Result.ACCEPTED  # disarmed: allowed
    assert c.arm(READY) == Result.TEMPORARILY_REJECTED  # but then there is no arming
    c.enter(Mode.HOLD, READY)
    c.arm(READY)
    texts(c)
    assert c.request_mode(6, 0, READY) == Result.TEMPORARILY_REJECTED
    assert texts(c) == ["Switching to Offboard is currently not available\t"]
    c.receive_setpoint(READY)
    assert c.request_mode(6, 0, READY) == Result.ACCEPTED


@pytest.mark.parametrize(
    ("main", "sub", "text"),
    [
        (99, 0, "Unsupported main mode\t"),
        (4, 99, "Unsupported auto mode\t"),
        (3, 0, "Switching to Position is currently not available\t"),
        (4, 4, "Switching to Mission is currently not available\t"),
    ],
)
def test_modes_it_cannot_fly_are_rejected_and_change_nothing(
    main: int, sub: int, text: str
) -> None:
    c = flying()
    assert c.request_mode(main, sub, 10.0) == Result.TEMPORARILY_REJECTED
    assert (texts(c), c.mode) == ([text], Mode.HOLD)


@pytest.mark.parametrize(
    ("action", "mode"),
    [*((action, Mode.RETURN) for action in range(4)), (4, Mode.LAND), (5, Mode.HOLD)],
)
def test_lost_setpoints_trigger_the_failsafe_and_new_ones_end_it(action: int, mode: Mode) -> None:
    c = flying(Mode.OFFBOARD, COM_OBL_RC_ACT=action)
    c.update(11.0, AIR)
    assert (c.mode, c.failsafe.mode) == (Mode.OFFBOARD, None)
    c.update(11.1, AIR)
    assert (c.mode, c.failsafe.mode) == (mode, mode)
    assert texts(c) == ["Failsafe activated\t"]
    c.update(11.2, AIR)
    assert texts(c) == []  # said once
    entries = c.entries
    c.receive_setpoint(15.0)
    c.update(15.0, AIR)
    assert (c.mode, c.failsafe.mode, c.entries) == (Mode.OFFBOARD, None, entries + 1)


@pytest.mark.parametrize("action", [6, 7])
def test_lost_setpoints_may_disarm(action: int) -> None:
    c = flying(Mode.OFFBOARD, COM_OBL_RC_ACT=action)
    c.update(11.1, AIR)
    assert not c.armed


def test_the_loss_time_is_a_parameter() -> None:
    c = flying(Mode.OFFBOARD, COM_OF_LOSS_T=3.0)
    c.update(12.9, AIR)
    assert c.failsafe.mode is None
    c.update(13.1, AIR)
    assert c.failsafe.mode == Mode.RETURN


def test_the_pilot_overrides_a_failsafe() -> None:
    c = flying(Mode.OFFBOARD)
    c.update(11.1, AIR)
    assert c.enter(Mode.LAND, 12.0) == Result.ACCEPTED
    assert (c.mode, c.failsafe.mode, c.landed_state) == (Mode.LAND, None, LandedState.LANDING)


@pytest.mark.parametrize("origin", [Mode.HOLD, Mode.OFFBOARD])
def test_landing_disarms_and_gives_back_the_mode_it_was_called_from(origin: Mode) -> None:
    c = flying(origin)
    c.enter(Mode.LAND, 10.0)
    for now in (11.0, 12.1):  # touches down at 11 s
        c.update(now, GROUND)
    assert c.landed
    c.update(14.0, GROUND)
    assert c.armed  # COM_DISARM_LAND = 2 s
    c.update(14.2, GROUND)
    assert (c.armed, c.mode) == (False, origin)
    said = ["Landing at current position\t", "Landing detected\t", "Disarmed by landing\t"]
    assert texts(c) == said


def test_armed_and_idle_it_disarms_after_ten_seconds() -> None:
    c = commander()
    c.arm(READY)
    c.update(13.9, GROUND)
    assert c.armed
    c.update(14.1, GROUND)
    assert not c.armed
    assert texts(c)[-1] == "Disarmed by auto preflight disarming\t"


def test_zero_means_never_disarm() -> None:
    c = commander(COM_DISARM_PRFLT=0.0)
    c.arm(READY)
    c.update(1000.0, GROUND)
    assert c.armed


def test_a_takeoff_right_after_landing_is_not_cut_off_by_the_disarm() -> None:
    c = flying()
    c.enter(Mode.LAND, 10.0)
    c.update(11.0, GROUND)
    c.update(12.1, GROUND)
    assert c.landed
    c.takeoff(13.0)
    c.update(15.0, GROUND)
    assert c.armed


def test_skimming_the_ground_is_no_landing_while_it_climbs() -> None:
    c = flying()
    c.update(11.0, Facts(0.0, contact=True, climbing=True))
    c.update(12.5, Facts(0.0, contact=True, climbing=True))
    assert not c.landed


def test_it_has_not_landed_while_the_rotors_carry_it() -> None:
    c = flying()
    c.enter(Mode.LAND, 10.0)
    c.update(11.0, Facts(0.0, contact=True, climbing=False, light=False))
    c.update(15.0, Facts(0.0, contact=True, climbing=False, light=False))
    assert not c.landed
    c.update(15.5, GROUND)
    assert not c.landed
    c.update(16.1, GROUND)
    assert c.landed
