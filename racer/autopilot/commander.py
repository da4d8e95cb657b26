"""Who may fly, and how: PX4's commander as a pure state machine.

It owns arming, the flight mode, landing detection and the automatic disarm, and asks the failsafe
what to fly instead. It has no clock and no socket: time and what the vehicle senses come in as
arguments, texts for the pilot queue up in `texts`, verdicts are return values. So every transition
is tested event by event.

What the user asked for (`intention`) and what is flown (`mode`) differ only in a failsafe. Each
(re-)entry of a mode counts up `entries`, from which the guidance sees that it must start anew.
The behaviour copied here was measured on PX4 v1.17; docs/vehicle.md lists it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from racer.autopilot.companions import Companions
from racer.autopilot.failsafe import Failsafe
from racer.autopilot.modes import (
    MAIN_MODES,
    UNAVAILABLE,
    BatteryWarning,
    LandedState,
    Mode,
    Result,
    Severity,
)
from racer.autopilot.parameters import Parameters

_FORCE = 21196.0  # MAV_CMD_COMPONENT_ARM_DISARM's magic number
_LANDED_AFTER_S = 1.0  # of contact with little thrust and without a wish to climb
_AIRBORNE_HEIGHT_M = 0.05
_PREVENT_ARMING = (Mode.LAND, Mode.RETURN)


class Facts(NamedTuple):
    """What the commander hears from the vehicle each tick."""

    height_m: float
    contact: bool  # touches the ground
    climbing: bool  # the guidance wants to go up
    takeoff_done: bool = False
    light: bool = True  # so little thrust that the ground must be carrying
    battery: BatteryWarning = BatteryWarning.NONE


@dataclass
class Commander:
    """PX4's commander. `ready_at_s`: when the arming checks begin to pass."""

    parameters: Parameters
    ready_at_s: float = 3.5
    armed: bool = False
    landed: bool = True
    intention: Mode = Mode.HOLD
    entries: int = 0
    takeoff_height_m: float = math.nan  # NaN: MIS_TAKEOFF_ALT
    setpoint_at_s: float = -math.inf
    _after_disarming: Mode = Mode.HOLD
    _flown: bool = False
    _armed_at_s: float = 0.0
    _landed_at_s: float = 0.0
    _contact_since_s: float | None = 0.0

    def __post_init__(self) -> None:
        self.texts: list[tuple[Severity, str]] = []
        self.failsafe = Failsafe(self.parameters, say=self._say)
        self.companions = Companions(self.parameters, say=self._say)

    # What is flown

    @property
    def mode(self) -> Mode:
        """The mode that is flown."""
        return self.failsafe.mode or self.intention

    @property
    def landed_state(self) -> LandedState:
        """EXTENDED_SYS_STATE's landed_state."""
        if self.landed:
            return LandedState.ON_GROUND
        states = {Mode.TAKEOFF: LandedState.TAKEOFF, Mode.LAND: LandedState.LANDING}
        return states.get(self.mode, LandedState.IN_AIR)

    def offboard_available(self, now: float) -> bool:
        """Whether setpoints are fresh enough to fly Offboard."""
        return now - self.setpoint_at_s <= self.parameters["COM_OF_LOSS_T"]

    def can_arm(self, now: float) -> bool:
        """Whether the arming checks pass."""
        return (
            now >= self.ready_at_s
            and self.mode not in _PREVENT_ARMING
            and (self.mode != Mode.OFFBOARD or self.offboard_available(now))
            and self.failsafe.warning < BatteryWarning.CRITICAL
        )

    # What the pilot asks

    def arm(self, now: float, *, force: bool = False) -> Result:
        """MAV_CMD_COMPONENT_ARM_DISARM with param1 = 1."""
        if self.armed:
            return Result.ACCEPTED
        if not (force or self.can_arm(now)):
            self._critical("Arming denied: Resolve system health failures first\t")
            return Result.TEMPORARILY_REJECTED
        self.armed, self._flown = True, False
        self._armed_at_s = now
        self.failsafe.arm()
        self.entries += 1
        self._info("Armed by external command\t")
        if self.mode == Mode.TAKEOFF:
            self._announce_takeoff()
        return Result.ACCEPTED

    def disarm(self, *, force: bool = False) -> Result:
        """MAV_CMD_COMPONENT_ARM_DISARM with param1 = 0."""
        if not self.armed:
            return Result.ACCEPTED
        if not (force or self.landed):
            self._critical("Disarming denied: not landed\t")
            return Result.TEMPORARILY_REJECTED
        self._disarm("Disarmed by external command\t")
        return Result.ACCEPTED

    def arm_or_disarm(self, wish: float, magic: float, now: float) -> Result:
        """MAV_CMD_COMPONENT_ARM_DISARM with its parameters 1 and 2."""
        force = magic == _FORCE
        if wish == 1.0:
            return self.arm(now, force=force)
        return self.disarm(force=force) if wish == 0.0 else Result.UNSUPPORTED

    def request_mode(self, main: int, sub: int, now: float) -> Result:
        """MAV_CMD_DO_SET_MODE's verdict."""
        wanted = sub << 24 | main << 16
        if wanted in Mode._value2member_map_:
            return self.enter(Mode(wanted), now)
        name = UNAVAILABLE.get((main, sub)) or UNAVAILABLE.get((main, 0))
        if name is not None:
            self._critical(f"Switching to {name} is currently not available\t")
        else:
            what = "auto" if main in MAIN_MODES else "main"
            self._critical(f"Unsupported {what} mode\t")
        return Result.TEMPORARILY_REJECTED

    def enter(self, mode: Mode, now: float) -> Result:
        """Fly `mode`. Offboard needs fresh setpoints, unless the vehicle is disarmed."""
        if mode == Mode.OFFBOARD and self.armed and not self.offboard_available(now):
            self._critical("Switching to Offboard is currently not available\t")
            return Result.TEMPORARILY_REJECTED
        again = mode == self.mode and mode in (Mode.OFFBOARD, Mode.LAND, Mode.RETURN)
        self.intention = mode
        self.failsafe.override()
        if mode in (Mode.HOLD, Mode.OFFBOARD):
            self._after_disarming = mode
        if not again:
            self.entries += 1
        if mode == Mode.LAND:
            self._info("Landing at current position\t")
        return Result.ACCEPTED

    def takeoff(self, now: float, *, height_m: float = math.nan) -> Result:
        """MAV_CMD_NAV_TAKEOFF to `height_m` above home, NaN = MIS_TAKEOFF_ALT."""
        self.takeoff_height_m = height_m
        result = self.enter(Mode.TAKEOFF, now)
        if self.armed:
            self._announce_takeoff()
            if self.landed:  # also shortly after a landing: the disarm timer starts anew
                self._flown, self._armed_at_s = False, now
        return result

    def receive_setpoint(self, now: float) -> None:
        """An offboard setpoint arrived."""
        self.setpoint_at_s = now

    # What time and the vehicle do

    def update(self, now: float, facts: Facts) -> None:
        """One tick: landing detection, automatic disarm, end of the takeoff, failsafe."""
        self._detect_landing(now, facts)
        self.companions.update(now)
        self.failsafe.check_battery(now, facts.battery, armed=self.armed)
        if self.armed:
            self._check_failsafe(now)
            self._disarm_when_due(now)
        if self.armed and self.mode == Mode.TAKEOFF and facts.takeoff_done:
            self.enter(Mode.HOLD, now)

    def _detect_landing(self, now: float, facts: Facts) -> None:
        if not facts.contact:
            self._contact_since_s = None
            if self.landed and facts.height_m > _AIRBORNE_HEIGHT_M:
                self.landed, self._flown = False, True
                self._info("Takeoff detected\t")
            return
        if self._contact_since_s is None or not facts.light or (facts.climbing and self.armed):
            self._contact_since_s = now
        if not self.landed and now - self._contact_since_s >= _LANDED_AFTER_S:
            self.landed, self._landed_at_s = True, now
            self._info("Landing detected\t")

    def _disarm_when_due(self, now: float) -> None:
        if not self.landed:
            return
        name = "COM_DISARM_LAND" if self._flown else "COM_DISARM_PRFLT"
        since = self._landed_at_s if self._flown else self._armed_at_s
        delay = self.parameters[name]
        if delay > 0 and now - since >= delay:
            self._disarm(
                "Disarmed by landing\t" if self._flown else "Disarmed by auto preflight disarming\t"
            )

    def _check_failsafe(self, now: float) -> None:
        before = self.mode
        self.failsafe.update(now, intention=self.intention, setpoint_at_s=self.setpoint_at_s)
        if self.mode != before:
            self.entries += 1
        if self.failsafe.disarms:
            self._disarm("Disarmed by failsafe\t")

    def _disarm(self, text: str) -> None:
        self.armed = False
        self.failsafe.disarm()
        if self.intention != self._after_disarming:
            self.intention = self._after_disarming
            self.entries += 1
        self._info(text)

    def _announce_takeoff(self) -> None:
        if math.isnan(self.takeoff_height_m):
            height = self.parameters["MIS_TAKEOFF_ALT"]
            self._info(f"Using default takeoff altitude: {height:.1f} m\t")

    def _info(self, text: str) -> None:
        self._say(Severity.INFO, text)

    def _critical(self, text: str) -> None:
        self._say(Severity.CRITICAL, text)

    def _say(self, severity: Severity, text: str) -> None:
        self.texts.append((severity, text))
