"""MAVLink messages in, ENU and FLU out; the rows of the mode table were measured on PX4 v1.17."""

from __future__ import annotations

from math import cos, inf, radians, sin, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racer.flight import px4
from racer.flight.state import Heartbeat, Landed, StatusText

HALF = sqrt(0.5)


@pytest.mark.parametrize(
    ("numbers", "mode", "flags"),
    [
        ((29, 50593792, 0), "HOLD", ""),  # not armable
        ((29, 50593792, 3), "HOLD", "ready"),
        ((157, 50593792, 4), "HOLD", "armed ready"),
        ((157, 33816576, 4), "TAKEOFF", "armed ready"),
        ((145, 393216, 4), "OFFBOARD", "armed ready"),  # velocity or position
        ((129, 393216, 4), "OFFBOARD", "armed ready"),  # body rates
        ((157, 84148224, 5), "RETURN_TO_LAUNCH", "armed critical"),  # failsafe
        ((157, 100925440, 4), "LAND", "armed ready"),
        ((1, 393216, 0), "OFFBOARD", ""),  # disarmed, no setpoints
    ],
)
def test_heartbeats_as_px4_sends_them(numbers: tuple[int, int, int], mode: str, flags: str) -> None:
    fields = dict(zip(("base_mode", "custom_mode", "system_status"), numbers, strict=True))
    assert px4.heartbeat(fields) == Heartbeat(
        mode, armed="armed" in flags, ready="ready" in flags, critical="critical" in flags
    )


@given(st.integers(0, 2**32 - 1))
def test_every_custom_mode_has_a_name(custom_mode: int) -> None:
    assert px4.mode_name(custom_mode)


def test_landed_states() -> None:
    assert px4.landed({"landed_state": 1}).landed is Landed.ON_GROUND
    assert px4.landed({"landed_state": 4}).landed is Landed.LANDING
    assert px4.landed({"landed_state": 99}).landed is Landed.UNKNOWN


def odometry(**changes: object) -> dict[str, object]:
    """North 1 m, east 2 m, up 3 m; heading east; 2 m/s along the nose, turning right, nose up."""
    return {
        "time_usec": 12_500_000,
        "x": 1.0,
        "y": 2.0,
        "z": -3.0,
        "q": [HALF, 0.0, 0.0, HALF],
        "vx": 2.0,
        "vy": 0.0,
        "vz": -0.5,
        "rollspeed": 0.1,
        "pitchspeed": 0.2,
        "yawspeed": 0.3,
        "frame_id": 1,
        "child_frame_id": 12,
    } | changes


def test_odometry_in_the_body_frame() -> None:
    sample = px4.odometry(odometry())
    assert sample is not None
    assert sample.stamp_s == pytest.approx(12.5)
    assert sample.position == (2.0, 1.0, 3.0)
    assert sample.velocity == pytest.approx((2.0, 0.0, 0.5))  # east and up
    assert sample.velocity_body == pytest.approx((2.0, 0.0, 0.5))
    assert sample.quaternion == pytest.approx((1.0, 0.0, 0.0, 0.0))  # ENU yaw 0 is east
    assert sample.angular_velocity == pytest.approx((0.1, -0.2, -0.3))


def test_odometry_with_the_velocity_in_the_world_frame_says_the_same() -> None:
    sample = px4.odometry(odometry(vx=0.0, vy=2.0, vz=-0.5, child_frame_id=1))
    assert sample is not None
    assert sample.velocity == pytest.approx((2.0, 0.0, 0.5))
    assert sample.velocity_body == pytest.approx((2.0, 0.0, 0.5))


@pytest.mark.parametrize(
    "changes",
    [
        {"x": None},
        {"vz": None},
        {"q": [None, 0.0, 0.0, 0.0]},
        {"q": [0.0, 0.0, 0.0, 0.0]},
        {"q": [1.0, 1.0, 0.0, 0.0]},
        {"y": inf},  # MAVSDK's JSON spells it 1e+9999
        {"rollspeed": -inf},
        {"frame_id": 18},
        {"child_frame_id": 99},
    ],
)
def test_odometry_that_says_nothing_usable_is_none(changes: dict[str, object]) -> None:
    assert px4.odometry(odometry(**changes)) is None


ANGLES = st.floats(-3.0, 3.0)
VECTORS = st.tuples(*[st.floats(-50.0, 50.0)] * 3)


def quaternion(roll: float, pitch: float, yaw: float) -> px4.Quaternion:
    """z-y-x Euler angles to (w, x, y, z), from the textbook's half angles."""
    cr, sr, cp, sp = cos(roll / 2), sin(roll / 2), cos(pitch / 2), sin(pitch / 2)
    cy, sy = cos(yaw / 2), sin(yaw / 2)
    return (
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    )


@given(ANGLES, ANGLES, ANGLES, VECTORS)
def test_both_frames_see_the_same_arrow(
    roll: float, pitch: float, yaw: float, arrow: px4.Vector
) -> None:
    """A body arrow turned to the world in NED and in ENU points to the same place."""
    in_ned = quaternion(roll, pitch, yaw)
    north, east, down = px4.rotate(in_ned, (arrow[0], -arrow[1], -arrow[2]))
    in_enu = px4.rotate(px4.quaternion_enu_flu(list(in_ned)), arrow)
    assert in_enu == pytest.approx((east, north, -down), abs=1e-9)


@given(ANGLES, ANGLES, ANGLES, VECTORS)
def test_rotation_keeps_lengths_and_is_undone_by_the_conjugate(
    roll: float, pitch: float, yaw: float, arrow: px4.Vector
) -> None:
    w, x, y, z = quaternion(roll, pitch, yaw)
    turned = px4.rotate((w, x, y, z), arrow)
    assert sum(c * c for c in turned) == pytest.approx(sum(c * c for c in arrow), abs=1e-9)
    assert px4.rotate((w, -x, -y, -z), turned) == pytest.approx(arrow, abs=1e-9)


def test_a_quarter_turn_about_up() -> None:
    yaw = radians(90) / 2
    assert px4.rotate((cos(yaw), 0.0, 0.0, sin(yaw)), (1.0, 0.0, 0.0)) == pytest.approx((0, 1, 0))


def test_battery_units_and_unknowns() -> None:
    cells = [4100, 4200, 65535, 65535]
    known = {"voltages": cells, "current_battery": 1250, "battery_remaining": 87}
    assert px4.battery(known) == px4.BatterySample(pytest.approx(8.3), 12.5, 0.87)
    unknown = {"voltages": [65535] * 10, "current_battery": -1, "battery_remaining": -1}
    assert px4.battery(unknown) == px4.BatterySample(None, None, None)
    charge = [px4.battery(known | {"charge_state": state}).critical for state in range(8)]
    assert charge == [None, False, False, True, True, True, True, False]


def test_long_texts_come_in_chunks() -> None:
    texts = px4.TextAssembler()
    first = "Arming denied: Resolve system health failures firs"
    assert texts.add({"severity": 2, "text": first, "id": 1, "chunk_seq": 0}) is None
    whole = texts.add({"severity": 2, "text": "t\t\0\0", "id": 1, "chunk_seq": 1})
    assert whole == StatusText(2, first + "t")
    short = texts.add({"severity": 6, "text": "Takeoff detected\t", "id": 0, "chunk_seq": 0})
    assert short == StatusText(6, "Takeoff detected")


def test_a_lost_last_chunk_does_not_leak_into_the_next_text() -> None:
    texts = px4.TextAssembler()
    assert texts.add({"severity": 2, "text": "x" * 50, "id": 1, "chunk_seq": 0}) is None
    text = texts.add({"severity": 4, "text": "Low battery", "id": 2, "chunk_seq": 0})
    assert text == StatusText(4, "Low battery")
