"""Quaternion algebra against rotation matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from racer.geometry.rotation import (
    Quaternion,
    body_x_axis,
    body_z_axis,
    conjugate,
    cross,
    multiply,
    rotate,
    rotate_inverse,
)

numbers = st.floats(-1.0, 1.0)
vectors = st.tuples(numbers, numbers, numbers)


@st.composite
def rotations(draw: st.DrawFn) -> Quaternion:
    raw = np.array([draw(numbers) for _ in range(4)])
    assume(np.linalg.norm(raw) > 0.1)
    w, x, y, z = raw / np.linalg.norm(raw)
    return float(w), float(x), float(y), float(z)


@given(rotations(), vectors)
def test_rotating_there_and_back_is_nothing(q: Quaternion, v: tuple[float, float, float]) -> None:
    assert rotate_inverse(q, rotate(q, v)) == pytest.approx(v, abs=1e-12)
    assert np.linalg.norm(rotate(q, v)) == pytest.approx(np.linalg.norm(v), abs=1e-12)


@given(rotations(), rotations(), vectors)
def test_a_product_rotates_by_the_right_factor_first(
    a: Quaternion, b: Quaternion, v: tuple[float, float, float]
) -> None:
    assert rotate(multiply(a, b), v) == pytest.approx(rotate(a, rotate(b, v)), abs=1e-12)


@given(rotations())
def test_the_axes_are_the_rotated_unit_vectors(q: Quaternion) -> None:
    assert body_x_axis(q) == pytest.approx(rotate(q, (1.0, 0.0, 0.0)), abs=1e-12)
    assert body_z_axis(q) == pytest.approx(rotate(q, (0.0, 0.0, 1.0)), abs=1e-12)
    assert multiply(q, conjugate(q)) == pytest.approx((1.0, 0.0, 0.0, 0.0), abs=1e-12)


def test_a_quarter_turn_left_takes_east_to_north() -> None:
    left = (math.cos(math.pi / 4), 0.0, 0.0, math.sin(math.pi / 4))
    assert rotate(left, (1.0, 0.0, 0.0)) == pytest.approx((0.0, 1.0, 0.0), abs=1e-12)


def test_the_cross_product_of_east_and_north_is_up() -> None:
    assert cross((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)) == (0.0, 0.0, 1.0)
