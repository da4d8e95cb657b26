"""No wish leads out of the fence, whatever it is, and inside it flies as wished."""

from __future__ import annotations

from math import cos, hypot, inf, pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racer.flight.commands import BodyVelocity
from racer.flight.fence import Drift, Fence, SpeedLimits, clamped, kept_inside

FENCE = Fence(
    west_m=-20, east_m=30, south_m=-30, north_m=30, floor_m=0.3, ceiling_m=15, distance_m=35
)
LIMITS = SpeedLimits(horizontal_m_s=5.0, vertical_m_s=2.0, yaw_rate_rad_s=1.5)
speeds = st.floats(-100, 100)
wishes = st.builds(BodyVelocity, speeds, speeds, speeds, speeds)
DT, LAG_S = 0.033, 0.2


@given(wishes)
def test_limits_keep_the_direction(wish: BodyVelocity) -> None:
    found = clamped(wish, LIMITS)
    assert hypot(found.forward_m_s, found.left_m_s) <= 5.0 + 1e-9
    assert abs(found.up_m_s) <= 2.0
    assert abs(found.yaw_rate_rad_s) <= 1.5
    cross = found.forward_m_s * wish.left_m_s - found.left_m_s * wish.forward_m_s
    assert cross == pytest.approx(0.0, abs=1e-6)
    assert clamped(found, LIMITS) == found or hypot(found.forward_m_s, found.left_m_s) > 4.999


def test_in_the_middle_everything_is_allowed() -> None:
    wish = BodyVelocity(3.0, -2.0, 1.0, 0.4)
    found = kept_inside(wish, FENCE, place=(0, 0, 5), velocity=(0, 0, 0), yaw=0.7)
    assert found.forward_m_s == pytest.approx(3.0)
    assert found.left_m_s == pytest.approx(-2.0)
    assert (found.up_m_s, found.yaw_rate_rad_s) == (1.0, 0.4)


@given(wishes, st.floats(-pi, pi), st.tuples(st.floats(-15, 20), st.floats(-20, 20), st.just(5.0)))
def test_whatever_is_wished_for_ever_the_vehicle_stays_inside(
    wish: BodyVelocity, yaw: float, place: tuple[float, float, float]
) -> None:
    """A vehicle that follows its setpoint with 2 m/s² (1 m/s² up), 0.2 s late, from anywhere."""
    position, velocity = list(place), [0.0, 0.0, 0.0]
    late = [(0.0, 0.0, 0.0)] * int(LAG_S / DT)
    for _ in range(900):
        asked = kept_inside(
            clamped(wish, LIMITS),
            FENCE,
            place=(position[0], position[1], position[2]),
            velocity=(velocity[0], velocity[1], velocity[2]),
            yaw=yaw,
        )
        c, s = cos(yaw), sin(yaw)
        late.append(
            (
                c * asked.forward_m_s - s * asked.left_m_s,
                s * asked.forward_m_s + c * asked.left_m_s,
                asked.up_m_s,
            )
        )
        for axis, (target, most) in enumerate(zip(late.pop(0), (2.0, 2.0, 1.0), strict=True)):
            change = max(-most * DT, min(most * DT, target - velocity[axis]))
            velocity[axis] += change
            position[axis] += velocity[axis] * DT
        yaw += asked.yaw_rate_rad_s * DT
        assert FENCE.outside((position[0], position[1], position[2])) is None
        assert position[2] >= FENCE.floor_m - 0.2


def test_outside_only_the_way_back_is_allowed() -> None:
    away = BodyVelocity(4.0)
    place, still = (31.0, 0.0, 5.0), (0.0, 0.0, 0.0)
    assert kept_inside(away, FENCE, place=place, velocity=still, yaw=0.0).forward_m_s == 0.0
    back = kept_inside(away, FENCE, place=place, velocity=still, yaw=pi)
    assert back.forward_m_s == pytest.approx(4.0)


def test_a_place_outside_is_named() -> None:
    assert FENCE.outside((0, 0, 5)) is None
    assert FENCE.outside((31, 0, 5)) == "east 31.0 m is outside the geofence (-20 to 30 m)"
    assert "height" in str(FENCE.outside((0, 0, 15.1)))
    assert "distance" in str(FENCE.outside((28, 29, 5)))
    assert "north" in str(FENCE.outside((0, inf, 5)))


STILL, EASTWARDS, BACK = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)


@pytest.mark.parametrize(
    ("place", "velocity", "through"),
    [
        ((0, 0, 5), EASTWARDS, None),
        ((31, 0, 5), EASTWARDS, None),  # a vehicle that brakes may overshoot
        ((32.1, 0, 5), STILL, None),  # it holds its place there
        ((32.1, 0, 5), (0.4, 0.0, 0.0), None),
        ((32.1, 0, 5), BACK, None),
        ((32.1, 0, 5), (0.0, 3.0, 0.0), None),  # along the wall
        ((32.1, 0, 5), EASTWARDS, "east 32.1 m, the geofence is -20 to 30 m"),
        ((-22.1, 0, 5), BACK, "east -22.1 m"),
        ((-22.1, 0, 5), EASTWARDS, None),
        ((0, -32.1, 5), (0.0, -1.0, 0.0), "north -32.1 m"),
        ((0, 0, 17.1), (0.0, 0.0, 1.0), "height 17.1 m"),
        ((0, 0, 17.1), (0.0, 0.0, -1.0), None),
        ((0, 0, -9.0), (0.0, 0.0, -1.0), None),  # a valley has no floor
        ((27, 27, 5), (1.0, 1.0, 0.0), "distance 38.2 m, the geofence is 0 to 35 m"),
        ((27, 27, 5), (1.0, -1.0, 0.0), None),
        ((0, 0, 0), STILL, None),
    ],
)
def test_who_is_driven_out(
    place: tuple[float, float, float], velocity: tuple[float, float, float], through: str | None
) -> None:
    found = FENCE.driven_out(place, velocity)
    assert (found or "").startswith(through or "")
    assert (found is None) == (through is None)


OUT, IN = (33.0, 0.0, 5.0), (20.0, 0.0, 5.0)


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([(0.0, OUT, EASTWARDS), (0.9, OUT, EASTWARDS)], []),
        ([(0.0, OUT, EASTWARDS), (1.0, OUT, EASTWARDS)], [1.0]),
        ([(0.0, OUT, EASTWARDS), (0.5, OUT, STILL), (1.0, OUT, EASTWARDS)], []),
        ([(0.0, OUT, EASTWARDS), (0.5, IN, EASTWARDS), (1.0, OUT, EASTWARDS)], []),
        ([(0.0, OUT, EASTWARDS)] * 50, []),  # nothing new is heard
        ([(9.0, OUT, EASTWARDS), (0.5, OUT, EASTWARDS), (1.0, OUT, EASTWARDS)], []),  # restarted
        ([(0.25 * n, OUT, EASTWARDS) for n in range(10)], [1.0, 2.0]),  # once a second
    ],
)
def test_a_drift_is_said_after_a_second_without_a_break(
    samples: list[tuple[float, tuple[float, float, float], tuple[float, float, float]]],
    said: list[float],
) -> None:
    drift = Drift(FENCE)
    assert [at for at, place, velocity in samples if drift.look(place, velocity, at)] == said
