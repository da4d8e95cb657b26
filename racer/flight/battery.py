"""Whether the battery lets a flight begin: pure.

The vehicle's own verdict counts (BATTERY_STATUS.charge_state); where it gives none, what remains is
held against PX4's default of BAT_CRIT_THR.
"""

from __future__ import annotations

from racer.flight.commands import Command
from racer.flight.px4 import BatterySample

CRITICAL = 0.07  # of the charge: PX4's BAT_CRIT_THR
_BEGIN = frozenset({Command.TAKEOFF, Command.FLY_POLICY})


def refusal(command: Command, battery: BatterySample | None) -> str | None:
    """Why this command is not begun with this battery; None if it is, or if nothing is known."""
    if command not in _BEGIN or battery is None or not _critical(battery):
        return None
    left = "" if battery.remaining is None else f" ({100.0 * battery.remaining:.0f} % left)"
    return f"The battery is too low for {command}{left}: charge or change it."


def _critical(battery: BatterySample) -> bool:
    if battery.critical is not None:
        return battery.critical
    return battery.remaining is not None and battery.remaining <= CRITICAL
