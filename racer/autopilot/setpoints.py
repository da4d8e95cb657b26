"""Offboard setpoints: MAVLink's NED/FRD messages as ENU/FLU demands of the guidance.

A type mask says which fields to ignore (POSITION_TARGET_TYPEMASK, ATTITUDE_TARGET_TYPEMASK). Like
PX4, a setpoint that leaves a needed combination out, or that is not finite, is not accepted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from racer.geometry.rotation import Quaternion, Vector

# the field that each bit of POSITION_TARGET_TYPEMASK ignores; bit 9 has another meaning
_FIELDS: Final = (
    *("x", "y", "z", "vx", "vy", "vz", "afx", "afy", "afz"),
    *("", "yaw", "yaw_rate"),
)
_FORCE: Final = 1 << 9
_RATES_IGNORED: Final = 0b111  # ATTITUDE_TARGET_TYPEMASK
_THRUST_IGNORED: Final = 1 << 6
_ATTITUDE_IGNORED: Final = 1 << 7
FRAME_LOCAL_NED: Final = 1
FRAME_BODY_NED: Final = 8
_FRAMES: Final = (FRAME_LOCAL_NED, FRAME_BODY_NED)


@dataclass(frozen=True)
class Setpoint:
    """What to fly in Offboard, SI, ENU and FLU; None, or NaN on one axis = not wanted.

    With `body`, velocity and acceleration are (forward, left, up) of the heading. `attitude` or
    `rates` come with `thrust`, in [0, 1] of full.
    """

    position: Vector | None = None
    velocity: Vector | None = None
    acceleration: Vector | None = None
    yaw: float | None = None
    yaw_rate: float | None = None
    body: bool = False
    attitude: Quaternion | None = None
    rates: Vector | None = None
    thrust: float = 0.0

    @property
    def controls_attitude(self) -> bool:
        """False for pure body rates: HEARTBEAT's stabilize flag."""
        return self.rates is None


def from_position_target(message: Mapping[str, Any]) -> Setpoint | None:
    """SET_POSITION_TARGET_LOCAL_NED; None if PX4 would not fly it."""
    mask, frame = message["type_mask"], message["coordinate_frame"]
    if frame not in _FRAMES or mask & _FORCE:
        return None
    body = frame == FRAME_BODY_NED
    wanted = [name for bit, name in enumerate(_FIELDS) if name and not mask >> bit & 1]
    if not all(math.isfinite(message[name]) for name in wanted):
        return None
    turn = _forward_left_up if body else _east_north_up

    def vector(*names: str) -> Vector | None:
        if not set(names) & set(wanted):
            return None
        return turn(*(message[name] if name in wanted else math.nan for name in names))

    position, velocity = vector("x", "y", "z"), vector("vx", "vy", "vz")
    acceleration = vector("afx", "afy", "afz")
    if (body and position is not None) or (position, velocity, acceleration) == (None,) * 3:
        return None
    yaw = 0.5 * math.pi - message["yaw"] if "yaw" in wanted else None
    yaw_rate = -message["yaw_rate"] if "yaw_rate" in wanted else None
    return Setpoint(position, velocity, acceleration, yaw, yaw_rate, body)


def from_attitude_target(message: Mapping[str, Any]) -> Setpoint | None:
    """SET_ATTITUDE_TARGET; None if PX4 would not fly it."""
    mask = message["type_mask"]
    rates = (message["body_roll_rate"], -message["body_pitch_rate"], -message["body_yaw_rate"])
    thrust, q = message["thrust"], message["q"]
    if mask & _THRUST_IGNORED or not all(map(math.isfinite, (*rates, *q, thrust))):
        return None
    thrust = min(max(thrust, 0.0), 1.0)
    if not mask & _ATTITUDE_IGNORED:
        norm = math.hypot(*q)
        if abs(norm - 1.0) > 0.1:
            return None
        turning = 0.0 if mask & _RATES_IGNORED else rates[2]
        attitude = enu_quaternion(*(part / norm for part in q))
        return Setpoint(attitude=attitude, yaw_rate=turning, thrust=thrust)
    if mask & _RATES_IGNORED:
        return None
    return Setpoint(rates=rates, thrust=thrust)


def enu_quaternion(w: float, x: float, y: float, z: float) -> Quaternion:
    """FRD to NED becomes FLU to ENU, and the other way round: the map is its own inverse.

    ENU from NED swaps x and y and negates z, a half turn about (1, 1, 0)/√2; FLU from FRD is a
    half turn about x: q' = n q x.
    """
    half = math.sqrt(0.5)
    return half * (w + z), half * (x + y), half * (x - y), half * (w - z)


def _east_north_up(north: float, east: float, down: float) -> Vector:
    return east, north, -down


def _forward_left_up(forward: float, right: float, down: float) -> Vector:
    return forward, -right, -down
