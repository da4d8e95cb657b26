"""Poles: a segment flown by a sphere touches one, or it does not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from racer.geometry.obstacles import Cylinder, nearest, touches
from racer.geometry.rotation import Vector

POLE = Cylinder(base=(1.0, -2.0, 0.5), radius=0.3, height=2.0)
RADIUS = 0.2
coordinates = st.floats(-2.0, 2.0)
points = st.tuples(coordinates, coordinates, coordinates)


def near(point: Vector) -> Vector:
    """A point given relative to the middle of the pole."""
    return 1.0 + point[0], -2.0 + point[1], 1.5 + point[2]


def depth(at: np.ndarray) -> np.ndarray:
    """How far points (N, 3) are inside the grown pole, m; negative outside."""
    side = 0.3 + RADIUS - np.hypot(at[:, 0] - 1.0, at[:, 1] + 2.0)
    return np.minimum(side, 1.0 + RADIUS - abs(at[:, 2] - 1.5))


@given(points, points)
def test_a_touch_is_what_walking_along_the_segment_finds(a: Vector, b: Vector) -> None:
    start, end = np.array(near(a)), np.array(near(b))
    walk = start + np.linspace(0.0, 1.0, 2001)[:, None] * (end - start)
    deepest = depth(walk).max()
    assume(abs(deepest) > 2e-3)  # a step of the walk
    assert touches(POLE, near(a), near(b), radius=RADIUS) == (deepest > 0.0)


@pytest.mark.parametrize(
    ("start", "end", "touched"),
    [
        ((-2.0, 0.49, 0.0), (2.0, 0.49, 0.0), True),  # 1 cm into the side
        ((-2.0, 0.51, 0.0), (2.0, 0.51, 0.0), False),
        ((-2.0, 0.0, 1.19), (2.0, 0.0, 1.19), True),  # 1 cm too low over the top
        ((-2.0, 0.0, 1.21), (2.0, 0.0, 1.21), False),
        ((0.0, 0.0, 3.0), (0.0, 0.0, -3.0), True),  # straight down through it
        ((0.6, 0.0, 3.0), (0.6, 0.0, -3.0), False),  # straight down beside it
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), True),  # standing in it
        ((0.6, 0.0, 0.0), (0.6, 0.0, 0.0), False),  # standing beside it
        ((-2.0, 0.0, 0.0), (-0.6, 0.0, 0.0), False),  # stopped before it
        ((-2.0, 0.0, 3.0), (0.0, 0.0, 1.3), False),  # ends above it
        ((-2.0, 0.0, 3.0), (2.0, 0.0, -3.0), True),  # falls into it
    ],
)
def test_touches_by_hand(start: Vector, end: Vector, touched: bool) -> None:
    assert touches(POLE, near(start), near(end), radius=RADIUS) == touched
    assert touches(POLE, near(end), near(start), radius=RADIUS) == touched


def test_arrays_are_judged_element_by_element() -> None:
    """Two poles against three segments: (2, 1) and (3,) make (2, 3)."""
    column = np.array([[0.0], [5.0]], np.float32)
    poles = Cylinder(base=(column, 0.0 * column, 0.0 * column), radius=0.1, height=2.0)
    x = np.array([0.0, 5.0, 9.0], np.float32)
    ones = np.ones(3, np.float32)
    found = touches(poles, (x, -ones, ones), (x, ones, ones), radius=0.05)
    assert found.tolist() == [[True, False, False], [False, True, False]]


@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=6))
def test_the_nearest_poles_come_first_and_equally_near_ones_in_order(
    places: list[tuple[int, int]],
) -> None:
    x, y = np.array(places, float).T
    heights = np.arange(1.0, len(places) + 1.0)  # tells the poles apart
    poles = Cylinder((x, y, 0.0 * x), 0.0 * x + 0.1, heights)
    order = sorted(range(len(places)), key=lambda index: math.hypot(*places[index]))
    found = nearest(poles, (0.0, 0.0, 5.0), 3, np)
    assert [int(pole.height) - 1 for _, pole in found] == order[:3]
    for distance, pole in found:
        assert distance == pytest.approx(math.hypot(pole.base[0], pole.base[1]), abs=1e-2)
    start = np.zeros((2, 4))  # and for a batch, with columns that broadcast to it
    wide = Cylinder(*(_wide(part) for part in poles))
    for one, many in zip(found, nearest(wide, (start, start, start), 3, np), strict=True):
        assert np.all(many[1].height == one[1].height)
        assert many[1].base[0].shape == (2, 4)


def _wide(part: Any) -> Any:
    if isinstance(part, tuple):
        return tuple(_wide(one) for one in part)
    return np.reshape(part, (-1, 1, 1))
