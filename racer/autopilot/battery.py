"""A lithium-polymer battery that drains: charge from the rotors' power, voltage from charge.

Hover of the X500 draws about 17 A from 4 cells (PX4's sizing: 2 kg on 10-inch propellers), which
empties the default 5 Ah in some 18 minutes. Power grows with thrust to 3/2 (momentum theory).

As in PX4's simulation a disarmed vehicle has a full battery, SIM_BAT_DRAIN empties it by the clock
and SIM_BAT_MIN_PCT stops it, so that the same test of a failsafe runs on both.
"""

from __future__ import annotations

from dataclasses import dataclass

from racer.autopilot.modes import BatteryWarning
from racer.autopilot.parameters import Parameters

_AVIONICS_A = 0.8
_FULL_THRUST_A = 46.0  # all four rotors
_CELL_EMPTY_V = 3.5
_CELL_FULL_V = 4.2
_CELL_OHM = 0.004
_LEVELS = (  # the worst first
    ("BAT_EMERGEN_THR", BatteryWarning.EMERGENCY),
    ("BAT_CRIT_THR", BatteryWarning.CRITICAL),
    ("BAT_LOW_THR", BatteryWarning.LOW),
)


@dataclass
class Battery:
    """One pack. `capacity_mah` and cells come from BAT1_CAPACITY and BAT1_N_CELLS."""

    parameters: Parameters
    used_mah: float = 0.0
    current_a: float = _AVIONICS_A

    def drain(self, rotor_commands: tuple[float, float, float, float], seconds: float) -> None:
        """Count `seconds` in the air with these rotor commands (thrust, in [0, 1] of full)."""
        power = sum(max(share, 0.0) ** 1.5 for share in rotor_commands) / 4.0
        self.current_a = _AVIONICS_A + _FULL_THRUST_A * power
        by_clock_s = self.parameters["SIM_BAT_DRAIN"]
        if by_clock_s > 0.0:
            self.used_mah += self.capacity_mah * seconds / by_clock_s
        else:
            self.used_mah += self.current_a * seconds / 3.6
        kept = min(self.parameters["SIM_BAT_MIN_PCT"] / 100.0, 1.0)
        self.used_mah = min(self.used_mah, self.capacity_mah * (1.0 - kept))

    def renew(self) -> None:
        """A full one."""
        self.used_mah, self.current_a = 0.0, _AVIONICS_A

    @property
    def capacity_mah(self) -> float:
        """BAT1_CAPACITY."""
        return max(float(self.parameters["BAT1_CAPACITY"]), 1.0)

    @property
    def warning(self) -> BatteryWarning:
        """How low it is, by BAT_LOW_THR, BAT_CRIT_THR and BAT_EMERGEN_THR."""
        left = self.remaining
        for parameter, warning in _LEVELS:
            if left < self.parameters[parameter]:
                return warning
        return BatteryWarning.NONE

    @property
    def remaining(self) -> float:
        """Share of the capacity that is left, 0 to 1."""
        return max(0.0, 1.0 - self.used_mah / self.capacity_mah)

    @property
    def voltage_v(self) -> float:
        """At the terminals, under the present load."""
        cell = _CELL_EMPTY_V + (_CELL_FULL_V - _CELL_EMPTY_V) * self.remaining
        return self.cells * (cell - _CELL_OHM * self.current_a)

    @property
    def cells(self) -> int:
        """Cells in series, 1 to 10: what BATTERY_STATUS has room for."""
        return min(max(int(self.parameters["BAT1_N_CELLS"]), 1), 10)

    @property
    def time_remaining_s(self) -> int:
        """At the present current."""
        return int(self.remaining * self.capacity_mah * 3.6 / self.current_a)
