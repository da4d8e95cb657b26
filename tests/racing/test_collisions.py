"""Who meets whom, on paths that are drawn by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racer.racing.collisions import collide, first_touch, hull_radius_m
from racer.sim.airframe import load_airframe
from tests.racing.paths import flight, straight

TOUCH_M = 0.5


def test_crossing_paths_collide_when_the_hulls_touch() -> None:
    east = straight((-4.0, 0.0, 2.0), (2.0, 0.0, 0.0))
    north = straight((0.0, -4.0, 2.0), (0.0, 2.0, 0.0), hz=60.0)
    # both are 2 (t - 2) from the crossing: the distance is √2 · 2 (2 - t)
    moment = 2.0 - TOUCH_M / (2.0 * math.sqrt(2.0))
    assert first_touch(east, north, TOUCH_M) == pytest.approx(moment, abs=1e-9)
    first, second = collide([east, north], TOUCH_M)
    for one, other in ((first, 1), (second, 0)):
        assert (one.end, one.cause, one.collided_with) == ("crashed", "drone", (other,))
        assert one.end_s == pytest.approx(moment)
    apart = np.linalg.norm(first.position[-1] - second.position[-1])
    assert apart == pytest.approx(TOUCH_M, abs=1e-9)


def test_who_flies_by_a_little_farther_off_does_not_collide() -> None:
    east = straight((-4.0, 0.0, 2.0), (2.0, 0.0, 0.0))
    above = straight((4.0, 0.0, 2.0 + TOUCH_M + 1e-6), (-2.0, 0.0, 0.0))
    assert first_touch(east, above, TOUCH_M) is None
    nearer = straight((4.0, 0.0, 2.0 + TOUCH_M - 1e-6), (-2.0, 0.0, 0.0))
    assert first_touch(east, nearer, TOUCH_M) == pytest.approx(2.0, abs=1e-3)
    assert collide([east, above], TOUCH_M) == [east, above]


def test_a_touch_between_two_samples_is_found() -> None:
    """At 10 Hz and 20 m/s each the drones are 4 m farther on at the next sample."""
    east = straight((-9.0, 0.0, 2.0), (20.0, 0.0, 0.0), seconds=1.0, hz=10.0)
    west = straight((9.0, 0.1, 2.0), (-20.0, 0.0, 0.0), seconds=1.0, hz=10.0)
    met = first_touch(east, west, TOUCH_M)
    assert met == pytest.approx((18.0 - math.sqrt(TOUCH_M**2 - 0.01)) / 40.0, abs=1e-9)


def test_nobody_meets_a_drone_that_waits_or_has_ended() -> None:
    hovering = straight((0.0, 0.0, 2.0), (0.0, 0.0, 0.0), seconds=3.0)
    passing = straight((-2.0, 0.0, 2.0), (1.0, 0.0, 0.0), seconds=4.0)
    assert first_touch(hovering, passing, TOUCH_M) == pytest.approx(1.5)
    waiting = straight((0.0, 0.0, 2.0), (0.0, 0.0, 0.0), start_s=2.6)
    assert first_touch(waiting, passing, TOUCH_M) is None
    finished = hovering.ended(1.0, end="finished")
    assert first_touch(finished, passing, TOUCH_M) is None
    at_its_start = straight((0.0, 0.0, 2.0), (0.0, 0.0, 0.0), start_s=2.0)
    touched = collide([at_its_start, passing], TOUCH_M)[0]
    assert touched.end == "crashed"
    assert touched.start_s < touched.end_s <= 2.001  # somebody hovered in its place


def test_who_has_crashed_is_out_of_the_way_of_the_others() -> None:
    first = straight((-2.0, 0.0, 2.0), (1.0, 0.0, 0.0))
    second = straight((2.0, 0.0, 2.0), (-1.0, 0.0, 0.0))  # meets the first at 1.75 s
    third = straight((0.0, -2.2, 2.0), (0.0, 1.0, 0.0))  # would meet them both later
    assert first_touch(first, third, TOUCH_M) is not None
    ended = collide([first, second, third], TOUCH_M)
    assert [one.cause for one in ended] == ["drone", "drone", None]
    assert ended[2] is third


def test_three_may_touch_at_the_same_moment() -> None:
    paths = [
        straight((-2.0, 0.0, 2.0), (1.0, 0.0, 0.0)),
        straight((0.0, 0.0, 2.0), (0.0, 0.0, 0.0)),
        straight((2.0, 0.0, 2.0), (-1.0, 0.0, 0.0)),
    ]
    ended = collide(paths, TOUCH_M)
    assert [one.collided_with for one in ended] == [(1,), (0, 2), (1,)]


def test_gates_passed_before_the_collision_count() -> None:
    passages = np.array([0.5, 1.7, 1.8])
    first = straight((-2.0, 0.0, 2.0), (1.0, 0.0, 0.0), passages=passages, end="finished")
    second = straight((2.0, 0.0, 2.0), (-1.0, 0.0, 0.0))
    ended = collide([first, second], TOUCH_M)[0]
    assert ended.passages.tolist() == [0.5, 1.7]
    assert ended.course_time_s is None


numbers = st.floats(-3.0, 3.0)
walks = st.lists(st.tuples(numbers, numbers, numbers), min_size=4, max_size=4)


@settings(max_examples=60, deadline=None)
@given(walks, walks, st.floats(0.0, 1.0))
def test_the_first_touch_is_the_one_that_a_close_look_finds(
    a: list[tuple[float, float, float]], b: list[tuple[float, float, float]], late: float
) -> None:
    one = flight([0.0, 1.0, 2.0, 3.0], a)
    other = flight(late + np.array([0.0, 0.7, 1.4, 2.1]), b)
    fine = np.linspace(late, min(3.0, late + 2.1), 20_001)

    def places(path: object) -> np.ndarray:
        return np.stack([np.interp(fine, path.time, p) for p in path.position.T], axis=1)

    apart = np.linalg.norm(places(one) - places(other), axis=1)
    found = first_touch(one, other, TOUCH_M)
    if found is None:
        assert apart.min() > TOUCH_M - 1e-9
    else:
        assert np.all(apart[fine < found - 1e-9] > TOUCH_M - 1e-9)
        there = np.interp(found, fine, apart)
        assert there <= TOUCH_M + 1e-2


def test_an_airframe_that_races_as_a_point_has_the_size_of_its_rotors_here() -> None:
    assert hull_radius_m(load_airframe("x500")) == 0.25
    assert 0.05 < hull_radius_m(load_airframe("cpc")) < 0.3
