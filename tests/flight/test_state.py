"""The flight state machine, state by event."""

from __future__ import annotations

import itertools

import pytest

from racer.flight.commands import VELOCITIES, Command
from racer.flight.state import (
    Commanded,
    FlightState,
    Heartbeat,
    Landed,
    LandedReport,
    LinkLost,
    Phase,
    StatusText,
    advance,
    refusal,
)

URL = "udpin://0.0.0.0:14540"


def beat(mode: str, *, armed: bool = True, ready: bool = True, critical: bool = False) -> Heartbeat:
    return Heartbeat(mode=mode, armed=armed, ready=ready, critical=critical)


DISARMED = beat("HOLD", armed=False)
GROUND, AIR = LandedReport(Landed.ON_GROUND), LandedReport(Landed.IN_AIR)

# Each state by the events that lead to it; each line is a state of its own.
STATES = {
    "disconnected": [],
    "idle": [DISARMED, GROUND],
    "arming": [DISARMED, GROUND, Commanded(Command.TAKEOFF)],
    "taking_off": [beat("TAKEOFF"), LandedReport(Landed.TAKING_OFF)],
    "hovering": [beat("HOLD"), AIR],
    "offboard": [beat("OFFBOARD"), AIR],
    "policy": [beat("OFFBOARD"), AIR, Commanded(Command.FLY_POLICY)],
    "landing": [beat("LAND"), LandedReport(Landed.LANDING)],
    "failsafe": [beat("HOLD", critical=True), AIR],
}

# From each state, each event, and the phase it must lead to.
_AWAY_FROM_POLICY = (
    ("HOLD", Phase.HOVERING),
    ("TAKEOFF", Phase.TAKING_OFF),
    ("LAND", Phase.LANDING),
    ("RETURN_TO_LAUNCH", Phase.LANDING),
    ("POSCTL", Phase.HOVERING),
)
_AIRBORNE = ("taking_off", "hovering", "offboard", "landing", "failsafe")
TRANSITIONS = [
    *[(start, LinkLost(), Phase.DISCONNECTED) for start in STATES],
    *[(start, beat("HOLD"), Phase.HOVERING) for start in _AIRBORNE],
    *[(start, beat("OFFBOARD"), Phase.OFFBOARD) for start in _AIRBORNE],
    *[("policy", beat(mode), phase) for mode, phase in _AWAY_FROM_POLICY],
    *[(start, beat("OFFBOARD", critical=True), Phase.FAILSAFE) for start in ("policy",)],
    ("policy", Commanded(None), Phase.OFFBOARD),
    ("policy", Commanded(Command.STOP), Phase.OFFBOARD),  # until the heartbeat says HOLD
    ("policy", GROUND, Phase.ARMING),
    ("offboard", Commanded(Command.FLY_POLICY), Phase.POLICY),
    ("hovering", Commanded(Command.FLY_POLICY), Phase.HOVERING),  # until it is in Offboard
    ("idle", Commanded(Command.FLY_POLICY), Phase.ARMING),  # it takes off first
    *[(start, beat("TAKEOFF"), Phase.TAKING_OFF) for start in _AIRBORNE],
    *[(start, beat("LAND"), Phase.LANDING) for start in _AIRBORNE],
    *[(start, beat("RETURN_TO_LAUNCH"), Phase.LANDING) for start in _AIRBORNE],
    *[(start, beat("POSCTL"), Phase.HOVERING) for start in _AIRBORNE],
    *[
        (start, beat(mode, critical=True), Phase.FAILSAFE)
        for start in _AIRBORNE
        for mode in ("HOLD", "OFFBOARD", "RETURN_TO_LAUNCH", "LAND")
    ],
    *[(start, DISARMED, Phase.IDLE) for start in STATES if start not in ("arming", "policy")],
    ("policy", DISARMED, Phase.ARMING),
    *[(start, StatusText(6, "Armed by external command"), Phase(start)) for start in STATES],
    ("arming", DISARMED, Phase.ARMING),
    ("arming", beat("HOLD"), Phase.ARMING),  # armed, not yet off the ground
    ("arming", beat("TAKEOFF"), Phase.ARMING),
    ("arming", Commanded(None), Phase.IDLE),
    ("idle", Commanded(Command.TAKEOFF), Phase.ARMING),
    ("idle", Commanded(Command.STOP), Phase.IDLE),
    ("idle", beat("HOLD"), Phase.IDLE),  # somebody armed it and does nothing
    ("idle", beat("OFFBOARD", armed=False, ready=False), Phase.IDLE),  # after a landing from it
    ("idle", beat("HOLD", armed=False, ready=False, critical=True), Phase.IDLE),
    ("hovering", Commanded(Command.LAND), Phase.HOVERING),  # a command is a wish, not a fact
    ("hovering", Commanded(Command.MOVE_FORWARD), Phase.HOVERING),
    ("landing", GROUND, Phase.LANDING),  # down, motors still on
    ("taking_off", AIR, Phase.TAKING_OFF),
    ("offboard", GROUND, Phase.IDLE),
    ("disconnected", AIR, Phase.DISCONNECTED),  # the heartbeat alone connects
    ("disconnected", DISARMED, Phase.IDLE),
]


def after(events: list[object]) -> FlightState:
    state = FlightState()
    for event in events:
        state = advance(state, event)  # type: ignore[arg-type] # a list of any events
    return state


@pytest.mark.parametrize("name", STATES)
def test_each_phase_is_reached(name: str) -> None:
    assert after(STATES[name]).phase == name


@pytest.mark.parametrize(("start", "event", "phase"), TRANSITIONS)
def test_transition(start: str, event: object, phase: Phase) -> None:
    assert after([*STATES[start], event]).phase is phase


def test_every_phase_is_covered() -> None:
    assert {Phase(name) for name in STATES} == set(Phase)


def test_losing_the_link_forgets_everything_but_the_running_command() -> None:
    flying = after([*STATES["offboard"], StatusText(4, "Low battery"), Commanded(Command.LAND)])
    lost = advance(flying, LinkLost())
    assert lost == FlightState(running=Command.LAND)
    assert not lost.in_air
    assert not lost.armed


def test_the_state_follows_from_the_newest_facts_whatever_came_before() -> None:
    events = [beat("OFFBOARD"), AIR, DISARMED, StatusText(6, "x"), Commanded(Command.STOP)]
    last = [beat("HOLD"), AIR, StatusText(6, "y"), Commanded(None)]
    ends = {after([*order, *last]) for order in itertools.permutations(events)}
    assert len(ends) == 1


@pytest.mark.parametrize("command", Command)
def test_without_a_vehicle_every_command_says_where_we_listen_and_what_to_start(
    command: Command,
) -> None:
    reason = refusal(FlightState(), command, height_m=0.0, url=URL)
    assert reason is not None
    assert URL in reason
    assert "racer.autopilot" in reason


@pytest.mark.parametrize("command", VELOCITIES)
def test_on_the_ground_movements_ask_for_a_takeoff(command: Command) -> None:
    reason = refusal(after(STATES["idle"]), command, height_m=0.0, url=URL)
    assert reason is not None
    assert "take off first" in reason


@pytest.mark.parametrize(
    "command", [Command.TAKEOFF, Command.LAND, Command.STOP, Command.FLY_POLICY]
)
def test_on_the_ground_the_others_are_allowed(command: Command) -> None:
    assert refusal(after(STATES["idle"]), command, height_m=0.0, url=URL) is None


@pytest.mark.parametrize(
    "phase", ["taking_off", "hovering", "offboard", "policy", "landing", "failsafe"]
)
def test_in_the_air_all_but_a_takeoff_is_allowed(phase: str) -> None:
    state = after(STATES[phase])
    refused = {c for c in Command if refusal(state, c, height_m=2.5, url=URL) is not None}
    assert refused == {Command.TAKEOFF}


@pytest.mark.parametrize("phase", ["taking_off", "landing"])
@pytest.mark.parametrize("command", [*VELOCITIES, Command.FLY_POLICY])
def test_close_to_the_ground_a_climbing_or_landing_vehicle_is_not_steered(
    phase: str, command: Command
) -> None:
    state = after(STATES[phase])
    assert "Only 0.9 m" in (refusal(state, command, height_m=0.9, url=URL) or "")
    assert refusal(after(STATES["offboard"]), command, height_m=0.9, url=URL) is None
