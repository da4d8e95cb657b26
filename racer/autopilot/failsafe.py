"""What is flown instead of the pilot's mode: PX4's failsafe framework, as far as it applies here.

Two causes: Offboard without setpoints, and a battery that runs empty. Each may want an action; the
worst is flown. A battery's action waits in Hold for COM_FAIL_ACT_T, so that the pilot can decide
otherwise: a change of mode overrides it until the battery gets worse. Offboard's loss ends with new
setpoints. Like the commander this has no clock: time comes in as an argument.

Source: PX4's commander/failsafe (framework.cpp, failsafe.cpp) and batteryCheck.cpp, and recordings
of PX4's simulation (tests/autopilot/transcripts).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from racer.autopilot.modes import BatteryWarning, Mode, Severity
from racer.autopilot.parameters import Parameters

_OFFBOARD_DELAY_S: Final = 0.05  # PX4's commander looks at its inputs this much later
_REPORTS_EVERY_S: Final = 2.0  # PX4 tells of its health this often at most
_SEVERITY: Final = (None, Mode.HOLD, Mode.RETURN, Mode.LAND)  # the worst last
_OFFBOARD_ACTIONS: Final = {4: Mode.LAND, 5: Mode.HOLD}  # COM_OBL_RC_ACT; without RC others return
_DISARM: Final = (6, 7)
_BATTERY_ACTIONS: Final = {  # COM_LOW_BAT_ACT: at the critical, at the emergency level
    1: (Mode.RETURN, Mode.RETURN),
    2: (Mode.LAND, Mode.LAND),
    3: (Mode.RETURN, Mode.LAND),
}
_BATTERY_TEXTS: Final = {
    BatteryWarning.LOW: (Severity.CRITICAL, "Low battery\t"),
    BatteryWarning.CRITICAL: (Severity.CRITICAL, "Critical battery\t"),
    BatteryWarning.EMERGENCY: (Severity.EMERGENCY, "Emergency battery level\t"),
}


@dataclass
class Failsafe:
    """`say`: where texts for the pilot go. `mode`: what is flown instead of the pilot's mode."""

    parameters: Parameters
    say: Callable[[Severity, str], None]
    mode: Mode | None = None
    disarms: bool = False  # COM_OBL_RC_ACT wants the vehicle disarmed
    warning: BatteryWarning = BatteryWarning.NONE  # the worst since arming
    _tolerated: BatteryWarning = BatteryWarning.NONE  # the pilot flies on in spite of it
    _act_at_s: float | None = None  # when the battery's action may begin
    _said: BatteryWarning = BatteryWarning.NONE
    _said_at_s: float = 0.0

    def arm(self) -> None:
        """Who arms with a low battery is not sent home for that."""
        self._tolerated = self.warning

    def disarm(self) -> None:
        """All is forgotten."""
        self._stop()

    def override(self) -> None:
        """The pilot changed the mode."""
        if self.mode is not None:
            self._tolerated = self.warning
        self._stop()

    def check_battery(self, now: float, warning: BatteryWarning, *, armed: bool) -> None:
        """Take note of the battery. While armed a warning only gets worse."""
        self.warning = max(self.warning, warning) if armed else warning
        if self.warning != self._said and now - self._said_at_s >= _REPORTS_EVERY_S:
            self._said, self._said_at_s = self.warning, now
            if self.warning in _BATTERY_TEXTS:
                self.say(*_BATTERY_TEXTS[self.warning])

    def update(self, now: float, *, intention: Mode, setpoint_at_s: float) -> None:
        """Choose `mode`, for an armed vehicle."""
        lost = self._offboard_action(now, intention, setpoint_at_s)
        battery = self._battery_action(intention)
        if battery is None:
            self._act_at_s = None
        elif self._act_at_s is None:
            delay = self.parameters["COM_FAIL_ACT_T"] if self.mode is None else 0.0
            self._act_at_s = now + delay
        wanted = max(lost, battery, key=_SEVERITY.index)
        if self._act_at_s is not None and now < self._act_at_s:
            wanted = Mode.HOLD
        if _SEVERITY.index(wanted) > _SEVERITY.index(self.mode):
            self._announce(now)
        self.mode = wanted
        self.disarms = lost is not None and self.parameters["COM_OBL_RC_ACT"] in _DISARM

    def _announce(self, now: float) -> None:
        text = "Failsafe activated"
        if self._act_at_s is not None and now < self._act_at_s:
            text += f": entering Hold for {self._act_at_s - now:.0f} seconds"
        self.say(Severity.CRITICAL, f"{text}\t")

    def _offboard_action(self, now: float, intention: Mode, setpoint_at_s: float) -> Mode | None:
        """COM_OF_LOSS_T after the last setpoint."""
        if intention != Mode.OFFBOARD:
            return None
        loss = self.parameters["COM_OF_LOSS_T"]
        # once lost, setpoints are back when they are fresh; before, the commander is a little late
        late = _OFFBOARD_DELAY_S if self.mode is None else 0.0
        if now - setpoint_at_s < loss + late:
            return None
        return _OFFBOARD_ACTIONS.get(int(self.parameters["COM_OBL_RC_ACT"]), Mode.RETURN)

    def _battery_action(self, intention: Mode) -> Mode | None:
        """A vehicle that already lands or returns is not sent home."""
        if self.warning <= self._tolerated or self.warning < BatteryWarning.CRITICAL:
            return None
        actions = _BATTERY_ACTIONS.get(int(self.parameters["COM_LOW_BAT_ACT"]), (None, None))
        action = actions[self.warning == BatteryWarning.EMERGENCY]
        landing = intention in (Mode.LAND, Mode.RETURN)
        return None if action == Mode.RETURN and landing else action

    def _stop(self) -> None:
        self.mode, self.disarms, self._act_at_s = None, False, None
