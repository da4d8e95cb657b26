"""NED to ENU, type masks, and refusal of what PX4 would not fly."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racer.autopilot.setpoints import enu_quaternion, from_attitude_target, from_position_target
from racer.geometry.rotation import rotate

ZERO = dict.fromkeys(("x", "y", "z", "vx", "vy", "vz", "afx", "afy", "afz", "yaw", "yaw_rate"), 0.0)


def position_target(mask: int, frame: int = 1, **fields: float) -> dict[str, Any]:
    return {**ZERO, "type_mask": mask, "coordinate_frame": frame, **fields}


def attitude_target(mask: int, **fields: Any) -> dict[str, Any]:
    rates = {"body_roll_rate": 0.1, "body_pitch_rate": 0.2, "body_yaw_rate": 0.3}
    return {"type_mask": mask, "q": (1.0, 0.0, 0.0, 0.0), "thrust": 0.5, **rates, **fields}


def test_mavsdks_velocity_body() -> None:
    sp = from_position_target(position_target(1479, 8, vx=2.0, vy=1.0, vz=-0.5, yaw_rate=0.5))
    assert sp is not None
    assert (sp.body, sp.velocity, sp.yaw_rate) == (True, (2.0, -1.0, 0.5), -0.5)
    assert (sp.position, sp.acceleration, sp.yaw) == (None, None, None)


def test_mavsdks_velocity_ned() -> None:
    sp = from_position_target(position_target(2503, vx=2.0, vy=1.0, vz=-0.5, yaw=math.pi / 2))
    assert sp is not None
    assert (sp.velocity, sp.yaw, sp.yaw_rate) == ((1.0, 2.0, 0.5), pytest.approx(0.0), None)


def test_mavsdks_position_and_acceleration() -> None:
    place = from_position_target(position_target(2552, x=3.0, y=4.0, z=-5.0))
    both = from_position_target(position_target(2496, x=3.0, vy=1.0))
    push = from_position_target(position_target(3135, afx=1.0, afz=-2.0))
    assert place is not None
    assert both is not None
    assert push is not None
    assert (place.position, place.velocity) == ((4.0, 3.0, 5.0), None)
    assert (both.position, both.velocity) == ((0.0, 3.0, 0.0), (1.0, 0.0, 0.0))
    assert (push.acceleration, push.yaw) == ((0.0, 1.0, 2.0), None)


def test_an_ignored_axis_is_not_a_number() -> None:
    sp = from_position_target(position_target(0b110111000011, z=-3.0, vx=1.0))
    assert sp is not None
    assert sp.position is not None
    assert [math.isnan(axis) for axis in sp.position] == [True, True, False]


@pytest.mark.parametrize(
    "message",
    [
        position_target(1479, 8, vx=math.nan),
        position_target(1479, 8, vx=math.inf),
        position_target(1479, 21),  # a frame PX4 does not fly
        position_target(2552, 8),  # a position relative to the nose
        position_target(0xFFF),  # nothing at all
        position_target(1479 | 1 << 9, 8),  # a force
    ],
)
def test_setpoints_that_are_not_flown(message: dict[str, Any]) -> None:
    assert from_position_target(message) is None


def test_ignored_fields_may_hold_anything() -> None:
    assert from_position_target(position_target(1479, 8, x=math.nan, yaw=math.inf)) is not None


def test_body_rates_and_attitude() -> None:
    rates = from_attitude_target(attitude_target(128, thrust=1.5))
    level = from_attitude_target(attitude_target(7))
    assert rates is not None
    assert level is not None
    assert (rates.rates, rates.thrust) == ((0.1, -0.2, -0.3), 1.0)
    assert not rates.controls_attitude
    assert level.attitude == pytest.approx((math.sqrt(0.5), 0, 0, math.sqrt(0.5)))  # nose north
    assert level.yaw_rate == 0.0


@pytest.mark.parametrize(
    "message",
    [
        attitude_target(7, q=(0.0, 0.0, 0.0, 0.0)),
        attitude_target(7, q=(math.nan, 0.0, 0.0, 0.0)),
        attitude_target(128, thrust=math.nan),
        attitude_target(64 | 128),
        attitude_target(7 | 128),
    ],
)
def test_attitudes_that_are_not_flown(message: dict[str, Any]) -> None:
    assert from_attitude_target(message) is None


@given(st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1))
def test_quaternion_conversion_turns_vectors_alike(raw: tuple[float, ...]) -> None:
    norm = math.hypot(*raw)
    w, x, y, z = (part / norm for part in raw)
    forward, right, down = 0.3, -0.2, 0.9
    north, east, below = rotate((w, x, y, z), (forward, right, down))
    enu = rotate(enu_quaternion(w, x, y, z), (forward, -right, -down))
    assert enu == pytest.approx((east, north, -below), abs=1e-12)
    assert enu_quaternion(*enu_quaternion(w, x, y, z)) == pytest.approx((w, x, y, z))
