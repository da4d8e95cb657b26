"""The flight state machine: pure, no clock, no input or output.

What the vehicle reports (heartbeat, landed state, loss of the link) and which command is being
carried out go in; the phase of flight comes out. The phase is derived from the newest facts and
never stored: after a lost packet or a restart of either side it cannot be out of step.

The heartbeat's mode is the truth. MAVSDK reports success for an Offboard that PX4 refused, so no
return value of a call moves this machine, only what the vehicle says about itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum

from racer.flight.commands import STICKS, VELOCITIES, Command

MIN_MOVE_HEIGHT_M = 1.0  # below it a vehicle that is climbing or landing is not steered
OUR_MODES = ("OFFBOARD", "HOLD")  # we fly; in others a pilot's sticks, Return or Land do
_TAKING_OFF = (Command.TAKEOFF, Command.FLY_POLICY)  # commands that arm a vehicle on the ground


class Phase(StrEnum):
    """Where in a flight the vehicle is."""

    DISCONNECTED = "disconnected"
    IDLE = "idle"
    ARMING = "arming"
    TAKING_OFF = "taking_off"
    HOVERING = "hovering"
    OFFBOARD = "offboard"
    POLICY = "policy"
    LANDING = "landing"
    FAILSAFE = "failsafe"


class Landed(Enum):
    """MAV_LANDED_STATE (MAVLink common.xml)."""

    UNKNOWN = 0
    ON_GROUND = 1
    IN_AIR = 2
    TAKING_OFF = 3
    LANDING = 4


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The vehicle's own word on its mode. `ready`: checks passed; `critical`: in a failsafe."""

    mode: str
    armed: bool
    ready: bool
    critical: bool


@dataclass(frozen=True, slots=True)
class LandedReport:
    """The vehicle's own word on whether it flies."""

    landed: Landed


@dataclass(frozen=True, slots=True)
class StatusText:
    """A line from the vehicle to a person; severity as in syslog (0 emergency … 7 debug)."""

    severity: int
    text: str


@dataclass(frozen=True, slots=True)
class LinkLost:
    """No heartbeat for some seconds, or the vehicle restarted: nothing known holds any more."""


@dataclass(frozen=True, slots=True)
class Commanded:
    """The command now carried out; None when there is none."""

    command: Command | None


Event = Heartbeat | LandedReport | StatusText | LinkLost | Commanded


@dataclass(frozen=True, slots=True)
class FlightState:
    """The newest facts, and the phase that follows from them."""

    connected: bool = False
    mode: str = "UNKNOWN"
    armed: bool = False
    ready: bool = False
    critical: bool = False
    landed: Landed = Landed.UNKNOWN
    running: Command | None = None
    message: str = "Waiting for a vehicle."

    @property
    def in_air(self) -> bool:
        """Off the ground, as the vehicle's own land detector sees it."""
        return self.landed in (Landed.IN_AIR, Landed.TAKING_OFF, Landed.LANDING)

    @property
    def ours(self) -> bool:
        """Whether a Hold may be asked for: it flies as we told it. In its own failsafe it may hold
        for a moment before it lands, and a change of mode would be taken for a pilot's decision
        against that."""
        return self.mode in OUR_MODES and not (self.mode == "HOLD" and self.critical)

    @property
    def phase(self) -> Phase:  # noqa: PLR0911 - a ladder of ranks reads best as returns
        """The phase of flight; a failsafe outranks what it does, the mode outranks the rest."""
        if not self.connected:
            return Phase.DISCONNECTED
        if not self.armed:
            return Phase.ARMING if self.running in _TAKING_OFF else Phase.IDLE
        if self.critical:
            return Phase.FAILSAFE
        if self.mode in ("LAND", "RETURN_TO_LAUNCH"):
            return Phase.LANDING
        if not self.in_air:
            taking_off = self.mode == "TAKEOFF" or self.running in _TAKING_OFF
            return Phase.ARMING if taking_off else Phase.IDLE
        if self.mode == "OFFBOARD":
            return Phase.POLICY if self.running is Command.FLY_POLICY else Phase.OFFBOARD
        if self.mode == "TAKEOFF":
            return Phase.TAKING_OFF
        return Phase.HOVERING


def advance(state: FlightState, event: Event) -> FlightState:
    """The state after one event. Total: every event is allowed in every state."""
    match event:
        case Heartbeat(mode, armed, ready, critical):
            return replace(
                state, connected=True, mode=mode, armed=armed, ready=ready, critical=critical
            )
        case LandedReport(landed):
            return replace(state, landed=landed)
        case StatusText(_, text):
            return replace(state, message=text)
        case Commanded(command):
            return replace(state, running=command)
        case LinkLost():
            return FlightState(running=state.running)


def refusal(state: FlightState, command: str, *, height_m: float, url: str) -> str | None:
    """Why this command, or STICKS, makes no sense now, in words for the pilot; None when it does.

    A refused command pre-empts nothing. `height_m` is above the take-off point.
    """
    if not state.connected:
        return no_vehicle(url)
    if command == Command.TAKEOFF and state.in_air:
        return f"Already flying, {height_m:.1f} m up: steer, `stop` or `land`."
    by_hand = command in VELOCITIES or command == STICKS
    if by_hand or command == Command.FLY_POLICY:
        if not state.in_air and by_hand:
            return f"{command} needs a flying drone: take off first."
        climbing_or_landing = state.phase in (Phase.TAKING_OFF, Phase.LANDING)
        if climbing_or_landing and height_m < MIN_MOVE_HEIGHT_M:
            return (
                f"Only {height_m:.1f} m up and {state.phase.replace('_', ' ')}: {command} is "
                f"possible from {MIN_MOVE_HEIGHT_M:.0f} m."
            )
    return None


def no_vehicle(url: str) -> str:
    """What to tell a person when nothing is heard."""
    return (
        f"No vehicle: listening on {url} and hearing nothing. Start PX4 SITL, or the embedded "
        "vehicle with `python -m racer.autopilot`."
    )
