"""Where the vehicle is now: its clock against ours, and the way it moved since it told."""

from __future__ import annotations

from dataclasses import replace
from math import cos, pi, sin

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racer.flight.estimate import VehicleClock, extrapolate
from racer.geometry.rotation import body_x_axis
from tests.flight.policies import sample

AGES = st.floats(0.0, 0.5)


def test_a_message_is_as_old_as_it_is_slower_than_the_fastest() -> None:
    clock = VehicleClock()
    clock.hear(7.00, 107.002)  # the fastest: its way counts as none
    clock.hear(7.01, 107.030)
    assert clock.age_s(7.01, 107.030) == pytest.approx(0.018, abs=1e-3)
    assert clock.age_s(7.01, 107.050) == pytest.approx(0.038, abs=1e-3)
    assert clock.now_s(107.052) == pytest.approx(7.05, abs=1e-3)


def test_before_anything_was_heard_everything_is_infinitely_old() -> None:
    assert VehicleClock().now_s(5.0) == float("-inf")


@pytest.mark.parametrize("pace", [0.985, 1.0, 1.01])
def test_a_clock_that_runs_slower_or_faster_than_ours_is_followed(pace: float) -> None:
    """A simulator that does not keep up: its second takes longer than ours, for a minute."""
    clock = VehicleClock()
    ages = []
    for tick in range(6000):
        now_s = 0.01 * tick
        stamp_s = pace * now_s
        delay_s = 0.001 if tick % 7 else 0.020
        clock.hear(stamp_s, now_s + delay_s)
        ages.append(clock.age_s(stamp_s, now_s + delay_s) - (delay_s - 0.001))
    assert max(map(abs, ages[100:])) < 0.003


def test_a_stall_of_ours_makes_what_waited_old_and_the_next_one_new() -> None:
    clock = VehicleClock()
    for tick in range(100):
        clock.hear(0.01 * tick, 50.0 + 0.01 * tick)
    late = [(1.0 + 0.01 * tick, 51.4) for tick in range(40)]  # all taken up at once
    for stamp_s, now_s in late:
        clock.hear(stamp_s, now_s)
    assert clock.age_s(1.0, 51.4) == pytest.approx(0.4, abs=0.01)
    assert clock.age_s(1.39, 51.4) == pytest.approx(0.01, abs=0.01)


def test_straight_flight_goes_on() -> None:
    moved = extrapolate(sample(0.0, (1.0, 2.0, 3.0), (4.0, -2.0, 1.0)), 0.05)
    assert moved.position == pytest.approx((1.2, 1.9, 3.05))
    assert moved.velocity == (4.0, -2.0, 1.0)


def test_a_turning_vehicle_turns_on() -> None:
    turning = replace(sample(0.0), angular_velocity=(0.0, 0.0, 2.0))
    nose = body_x_axis(extrapolate(turning, 0.1).attitude)
    assert nose == pytest.approx((cos(pi / 2 + 0.2), sin(pi / 2 + 0.2), 0.0))


@given(AGES, AGES, st.tuples(*[st.floats(-8.0, 8.0)] * 3))
def test_two_steps_are_one(first: float, second: float, rates: tuple[float, ...]) -> None:
    start = replace(sample(0.0), angular_velocity=rates)
    between = extrapolate(start, first)
    later = replace(start, quaternion=between.attitude)
    at_once, in_two = extrapolate(start, first + second), extrapolate(later, second)
    assert at_once.attitude == pytest.approx(in_two.attitude, abs=1e-9)
    assert sum(part * part for part in at_once.attitude) == pytest.approx(1.0)
