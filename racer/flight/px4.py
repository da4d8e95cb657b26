"""PX4's MAVLink messages in, our events out: ENU world, FLU body. Pure functions.

The messages come as decoded fields (`{"custom_mode": 393216, …}`), NaN as None. Mode numbers are
PX4's custom_mode (px4_custom_mode.h): byte 2 the main mode, byte 3 the sub mode.

NED to ENU swaps north with east and turns down to up; FRD to FLU turns y and z. For a quaternion
q = (w, x, y, z) from FRD to NED that product is √½·(w+z, x+y, x−y, w−z) from FLU to ENU:
q_enu←ned · q · q_frd←flu with q_enu←ned = (0, √½, √½, 0) and q_frd←flu = (0, 1, 0, 0), sign free.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

from racer.flight.state import Heartbeat, Landed, LandedReport, StatusText

Fields = Mapping[str, Any]
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]

_MAIN_MODES = {
    1: "MANUAL",
    2: "ALTCTL",
    3: "POSCTL",
    5: "ACRO",
    6: "OFFBOARD",
    7: "STABILIZED",
}
_AUTO_MODES = {
    1: "READY",
    2: "TAKEOFF",
    3: "HOLD",
    4: "MISSION",
    5: "RETURN_TO_LAUNCH",
    6: "LAND",
    8: "FOLLOW_ME",
    9: "PRECISION_LAND",
    10: "VTOL_TAKEOFF",
}
_ARMED_FLAG = 128  # MAV_MODE_FLAG_SAFETY_ARMED
_STANDBY, _ACTIVE, _CRITICAL = 3, 4, 5  # MAV_STATE
_WORLD_FRAMES = (1, 20)  # MAV_FRAME_LOCAL_NED, _LOCAL_FRD (no compass: PX4 then means its own NED)
_BODY_FRAMES = (8, 12)  # MAV_FRAME_BODY_NED (old name), _BODY_FRD
_UNIT_WITHIN = 0.05  # of a quaternion's squared length: float32 is a million times better
# MAV_BATTERY_CHARGE_STATE: OK, LOW and CHARGING; CRITICAL, EMERGENCY, FAILED and UNHEALTHY
_CHARGE_STATES = {1: False, 2: False, 3: True, 4: True, 5: True, 6: True, 7: False}
_CELLS_UNKNOWN = 65535  # mV in BATTERY_STATUS.voltages: this cell does not exist


@dataclass(frozen=True, slots=True)
class OdometrySample:
    """Where the vehicle is and how it moves, at one instant of its own clock."""

    stamp_s: float  # s since the vehicle started: when this was so, not when it was sent
    position: Vector  # m, ENU, from the estimator's origin
    velocity: Vector  # m/s, ENU
    velocity_body: Vector  # m/s, FLU
    quaternion: Quaternion  # (w, x, y, z), body to world
    angular_velocity: Vector  # rad/s, FLU


@dataclass(frozen=True, slots=True)
class BatterySample:
    """The battery's word on itself; None where the vehicle does not know."""

    voltage_v: float | None
    current_a: float | None
    remaining: float | None  # 0 … 1
    critical: bool | None = None  # the vehicle's verdict: it has to come down


def mode_name(custom_mode: int) -> str:
    """The flight mode's name as MAVSDK spells it."""
    main, sub = (custom_mode >> 16) & 0xFF, (custom_mode >> 24) & 0xFF
    if main == 4:
        return _AUTO_MODES.get(sub, f"AUTO_{sub}")
    return _MAIN_MODES.get(main, "UNKNOWN")


def heartbeat(fields: Fields) -> Heartbeat:
    """HEARTBEAT (id 0)."""
    status = fields["system_status"]
    return Heartbeat(
        mode=mode_name(fields["custom_mode"]),
        armed=bool(fields["base_mode"] & _ARMED_FLAG),
        ready=status in (_STANDBY, _ACTIVE),
        critical=status >= _CRITICAL,
    )


def landed(fields: Fields) -> LandedReport:
    """EXTENDED_SYS_STATE (id 245)."""
    value = fields["landed_state"]
    return LandedReport(Landed(value) if value <= Landed.LANDING.value else Landed.UNKNOWN)


def odometry(fields: Fields) -> OdometrySample | None:
    """ODOMETRY (id 331); None while the estimator has no position, for what is no motion (infinite
    numbers, a quaternion that is no rotation) or in a frame we do not know."""
    numbers = [fields[name] for name in ("x", "y", "z", "vx", "vy", "vz", *_RATES)]
    if None in numbers or None in fields["q"] or fields["frame_id"] not in _WORLD_FRAMES:
        return None
    norm = sum(part * part for part in fields["q"])
    if not all(map(isfinite, numbers)) or not abs(norm - 1.0) < _UNIT_WITHIN:
        return None
    x, y, z, vx, vy, vz, roll_rate, pitch_rate, yaw_rate = numbers
    quaternion = quaternion_enu_flu(fields["q"])
    if fields["child_frame_id"] in _BODY_FRAMES:
        body = (vx, -vy, -vz)
        velocity = rotate(quaternion, body)
    elif fields["child_frame_id"] in _WORLD_FRAMES:
        velocity = (vy, vx, -vz)
        w, qx, qy, qz = quaternion
        body = rotate((w, -qx, -qy, -qz), velocity)
    else:
        return None
    rates = (roll_rate, -pitch_rate, -yaw_rate)
    stamp_s = fields["time_usec"] * 1e-6
    return OdometrySample(stamp_s, (y, x, -z), velocity, body, quaternion, rates)


_RATES = ("rollspeed", "pitchspeed", "yawspeed")


def battery(fields: Fields) -> BatterySample:
    """BATTERY_STATUS (id 147): mV a cell, cA, percent; -1 means unknown, as charge state 0 does."""
    cells = [mv for mv in fields["voltages"] if mv != _CELLS_UNKNOWN]
    current, remaining = fields["current_battery"], fields["battery_remaining"]
    return BatterySample(
        voltage_v=sum(cells) / 1000 if cells else None,
        current_a=current / 100 if current >= 0 else None,
        remaining=remaining / 100 if remaining >= 0 else None,
        critical=_CHARGE_STATES.get(fields.get("charge_state", 0)),
    )


class TextAssembler:
    """Joins STATUSTEXT (id 253) chunks: a text over 50 characters comes in several, same id."""

    def __init__(self) -> None:
        self._id = 0
        self._text = ""

    def add(self, fields: Fields) -> StatusText | None:
        """The whole text once its last chunk is here, else None."""
        chunk = str(fields["text"]).split("\0", 1)[0]
        if fields["id"] == 0:  # not chunked
            return StatusText(fields["severity"], chunk.strip())
        if fields["id"] != self._id or fields["chunk_seq"] == 0:
            self._id, self._text = fields["id"], ""
        self._text += chunk
        if len(chunk) == 50:
            return None
        return StatusText(fields["severity"], self._text.strip())


def quaternion_enu_flu(q: tuple[float, float, float, float] | list[float]) -> Quaternion:
    """(w, x, y, z) from FRD-to-NED to FLU-to-ENU; see the module's equation."""
    w, x, y, z = q
    half = sqrt(0.5)
    return half * (w + z), half * (x + y), half * (x - y), half * (w - z)


def rotate(q: Quaternion, v: Vector) -> Vector:
    """Rotate v by the unit quaternion q: v + 2w(u×v) + 2u×(u×v), u the vector part."""
    w, x, y, z = q
    tx, ty, tz = (
        2 * (y * v[2] - z * v[1]),
        2 * (z * v[0] - x * v[2]),
        2 * (x * v[1] - y * v[0]),
    )
    return (
        v[0] + w * tx + y * tz - z * ty,
        v[1] + w * ty + z * tx - x * tz,
        v[2] + w * tz + x * ty - y * tx,
    )
