"""Gate crossing: exact between two positions."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from racer.geometry.gates import GateFrame, cross_gate, in_gate_axes
from racer.geometry.rotation import Vector

offsets = st.floats(-3.0, 3.0)
distances = st.floats(0.01, 5.0)
angles = st.floats(-math.pi, math.pi)


def gate(yaw: float = 0.0, centre: Vector = (0.0, 0.0, 0.0), *, circular: float = 0.0) -> GateFrame:
    """A 1.5 m opening in a frame of 0.2 m."""
    c, s = math.cos(yaw), math.sin(yaw)
    return GateFrame(centre, (c, s, 0.0), (-s, c, 0.0), (0.0, 0.0, 1.0), 0.75, 0.2, circular)


def at(frame: GateFrame, ahead: float, left: float, up: float) -> Vector:
    """A point given in the gate's axes, in world coordinates."""
    x, y, z = (
        frame.centre[i] + ahead * frame.forward[i] + left * frame.left[i] + up * frame.up[i]
        for i in range(3)
    )
    return x, y, z


@given(angles, st.tuples(distances, distances), *(st.tuples(offsets, offsets),) * 2)
def test_a_segment_is_judged_where_it_meets_the_plane(
    yaw: float,
    away: tuple[float, float],
    first: tuple[float, float],
    last: tuple[float, float],
) -> None:
    (behind, beyond), (y0, z0), (y1, z1) = away, first, last
    frame = gate(yaw, (3.0, -2.0, 1.5))
    share = behind / (behind + beyond)
    y, z = y0 + share * (y1 - y0), z0 + share * (z1 - z0)
    worst = max(abs(y), abs(z))
    assume(abs(worst - 0.75) > 1e-6)
    assume(abs(worst - 0.95) > 1e-6)
    start, end = at(frame, -behind, y0, z0), at(frame, beyond, y1, z1)
    there, back = cross_gate(frame, start, end), cross_gate(frame, end, start)
    assert (there.passed, there.reverse, there.hit) == (worst < 0.75, False, 0.75 < worst < 0.95)
    assert (back.passed, back.reverse, back.hit) == (False, worst < 0.75, 0.75 < worst < 0.95)
    assert there.when == pytest.approx(share, abs=1e-6)
    assert back.when == pytest.approx(1.0 - share, abs=1e-6)
    assert there.offset == pytest.approx(math.hypot(y, z), abs=1e-5)


@given(angles, st.floats(-5.0, -0.01), st.floats(-5.0, -0.01), offsets, offsets)
def test_a_segment_on_one_side_does_nothing(
    yaw: float, x0: float, x1: float, y0: float, y1: float
) -> None:
    frame = gate(yaw)
    crossed = cross_gate(frame, at(frame, x0, y0, 0.0), at(frame, x1, y1, 0.0))
    assert (crossed.passed, crossed.reverse, crossed.hit) == (False, False, False)
    assert crossed.when == 0.0


@given(st.lists(st.floats(-2.0, 2.0), min_size=2, max_size=12))
def test_crossings_forward_and_back_alternate_however_a_flight_is_cut(path: list[float]) -> None:
    frame = gate()
    balance = 0
    for x0, x1 in pairwise(path):
        crossed = cross_gate(frame, (x0, 0.0, 0.0), (x1, 0.0, 0.0))
        balance += int(crossed.passed) - int(crossed.reverse)
    assert balance == int(path[-1] > 0.0) - int(path[0] > 0.0)


def test_a_vehicle_with_a_body_needs_more_room() -> None:
    frame = gate()
    start, end = (-1.0, 0.6, 0.0), (1.0, 0.6, 0.0)
    assert cross_gate(frame, start, end).passed
    wide = cross_gate(frame, start, end, radius=0.25)
    assert (wide.passed, wide.hit) == (False, True)
    beside = cross_gate(frame, (-1.0, 1.1, 0.0), (1.0, 1.1, 0.0), radius=0.25)
    assert beside.hit  # its arm touches the frame from outside


@given(st.floats(-1.2, 1.2), st.floats(-1.2, 1.2), angles)
def test_a_round_opening_has_no_corners(left: float, up: float, yaw: float) -> None:
    frame = gate(yaw, (1.0, 2.0, 3.0), circular=1.0)
    away = math.hypot(left, up)
    assume(abs(away - 0.65) > 1e-6)
    assume(abs(away - 1.05) > 1e-6)
    start, end = at(frame, -1.0, left, up), at(frame, 2.0, left, up)
    crossed = cross_gate(frame, start, end, radius=0.1)
    assert (crossed.passed, crossed.hit) == (away < 0.65, 0.65 < away < 1.05)
    assert crossed.when == pytest.approx(1.0 / 3.0)


def test_arrays_are_judged_element_by_element() -> None:
    frame = gate()._replace(round=np.array([0.0, 0.0, 0.0, 0.0, 1.0]))
    left = np.array([0.0, 0.8, 2.0, 0.6, 0.6])
    ones = np.ones(5)
    crossed = cross_gate(frame, (-ones, left, 0.6 * ones), (ones, left, 0.6 * ones))
    assert crossed.passed.tolist() == [True, False, False, True, False]
    assert crossed.hit.tolist() == [False, True, False, False, True]


def test_points_are_measured_along_the_gates_axes() -> None:
    frame = gate(math.pi / 2, (1.0, 1.0, 1.0))
    assert np.allclose(in_gate_axes(frame, (1.0, 3.0, 1.5)), (2.0, 0.0, 0.5))
