"""PX4's flight modes and the numbers by which MAVLink names them."""

from __future__ import annotations

from enum import IntEnum


def _custom(main: int, sub: int = 0) -> int:
    """PX4's custom_mode: sub mode in the highest byte, main mode in the one below."""
    return sub << 24 | main << 16


class Mode(IntEnum):
    """The modes that the embedded vehicle flies; each value is HEARTBEAT's custom_mode."""

    TAKEOFF = _custom(4, 2)
    HOLD = _custom(4, 3)
    RETURN = _custom(4, 5)
    LAND = _custom(4, 6)
    OFFBOARD = _custom(6)

    @property
    def main(self) -> int:
        """PX4_CUSTOM_MAIN_MODE."""
        return self.value >> 16 & 0xFF


# Modes that PX4 knows and the embedded vehicle cannot fly: they need a remote control or a mission.
UNAVAILABLE = {
    (1, 0): "Manual",
    (2, 0): "Altitude",
    (3, 0): "Position",
    (4, 4): "Mission",
    (5, 0): "Acro",
    (7, 0): "Stabilized",
}
MAIN_MODES = range(1, 9)


class Result(IntEnum):
    """MAV_RESULT."""

    ACCEPTED = 0
    TEMPORARILY_REJECTED = 1
    DENIED = 2
    UNSUPPORTED = 3
    FAILED = 4


class Severity(IntEnum):
    """MAV_SEVERITY."""

    EMERGENCY = 0
    CRITICAL = 2
    WARNING = 4
    INFO = 6


class LandedState(IntEnum):
    """MAV_LANDED_STATE."""

    ON_GROUND = 1
    IN_AIR = 2
    TAKEOFF = 3
    LANDING = 4


class BatteryWarning(IntEnum):
    """How low a battery is; one less than MAV_BATTERY_CHARGE_STATE."""

    NONE = 0
    LOW = 1
    CRITICAL = 2
    EMERGENCY = 3
