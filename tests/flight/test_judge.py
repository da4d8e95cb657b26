"""Laps and splits from telemetry: the moment of a passage, and what ends a race."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racer.flight.judge import Course, Judge, obstruction
from racer.flight.plan import make_course
from racer.flight.px4 import Vector
from racer.sim.task import Settings, make_task
from racer.sim.track import parse_track
from tests.flight.policies import COURSE, sample, steering_plan

RADIUS = 0.25


def course(text: str = COURSE) -> Course:
    track = parse_track(text)
    task = make_task(track, Settings(), velocity_limit_m_s=4.0, yaw_limit_deg_s=90.0)
    return make_course(task, track, radius_m=RADIUS)


SHORT = course()
TWICE = course("laps = 2\n" + COURSE)


def fly(judge: Judge, *places: Vector, start_s: float = 10.0, every_s: float = 0.1) -> None:
    """One sample a place, at a constant rate."""
    for number, place in enumerate(places):
        judge.see(sample(start_s + number * every_s, place, velocity=(0.0, 5.0, 0.0)))


def started(course: Course = SHORT, at_s: float = 10.0) -> Judge:
    judge = Judge(course)
    judge.start(at_s)
    return judge


def test_a_passage_is_timed_between_two_samples() -> None:
    judge = started()
    fly(judge, (0.0, 3.7, 2.5), (0.3, 4.1, 2.6))
    [passage] = judge.passages
    assert passage.number == 1
    assert passage.stamp_s == pytest.approx(10.075)  # three quarters of the way
    assert passage.offset_m == pytest.approx((0.225**2 + 0.075**2) ** 0.5, abs=1e-3)
    assert passage.speed_m_s == pytest.approx(5.0)
    assert judge.splits_s() == pytest.approx([0.075])
    assert not judge.finished


@given(st.floats(0.01, 0.99))
def test_the_rate_of_the_telemetry_is_not_in_the_time(phase: float) -> None:
    """Constant speed: however the samples fall, the gates are passed when they are."""
    judge = started()
    for number in range(40):
        at_s = 0.05 * (number + phase)
        judge.see(sample(10.0 + at_s, (5.0 * at_s / 9.0, 5.0 * at_s, 2.5)))
    assert judge.splits_s()[0] == pytest.approx(0.8, abs=1e-6)
    assert judge.finished
    assert judge.time_s() == pytest.approx(judge.splits_s()[0] + judge.splits_s()[1])


def test_gates_count_in_order_and_in_their_direction_only() -> None:
    judge = started()
    fly(judge, (1.0, 8.0, 2.8), (1.0, 10.0, 2.8))  # the second gate first
    fly(judge, (0.0, 5.0, 2.5), (0.0, 3.0, 2.5), start_s=11.0)  # the first one backwards
    assert judge.passed == 0
    assert judge.hit is None


def test_flying_past_a_gate_is_no_passage_and_no_crash() -> None:
    judge = started()
    fly(judge, (0.0, 3.0, 5.5), (0.0, 5.0, 5.5))
    assert (judge.passed, judge.hit) == (0, None)


def test_any_gates_frame_and_any_pole_ends_it() -> None:
    for before, after, what in (
        ((0.9, 3.9, 2.5), (0.9, 4.1, 2.5), "the frame of gate 1"),
        ((1.0, 8.9, 3.6), (1.0, 9.2, 3.6), "the frame of gate 2"),  # not its turn yet
        ((4.0, 8.0, 2.0), (4.0, 9.0, 2.0), "pole 1"),
    ):
        judge = started()
        fly(judge, before, after, (0.0, 3.9, 2.5), (0.0, 4.1, 2.5))
        assert judge.hit == what
        assert judge.passed == 0  # nothing counts after it


def test_samples_out_of_order_and_repeated_ones_are_no_segments() -> None:
    judge = started()
    judge.see(sample(10.0, (0.0, 3.9, 2.5)))
    judge.see(sample(10.0, (0.0, 4.1, 2.5)))
    judge.see(sample(9.9, (0.0, 4.1, 2.5)))
    assert judge.passed == 0
    judge.see(sample(10.1, (0.0, 4.1, 2.5)))
    assert judge.passed == 1


def test_what_was_flown_before_the_start_does_not_count() -> None:
    judge = Judge(SHORT)
    fly(judge, (0.0, 3.9, 2.5), (0.0, 4.1, 2.5))
    assert judge.passed == 0
    assert judge.splits_s() == []
    judge.start(20.0)
    judge.see(sample(20.1, (0.0, 4.2, 2.5)))  # nor the way from there to here
    judge.see(sample(20.2, (0.0, 4.4, 2.5)))
    assert judge.passed == 0


def test_laps_are_from_first_gate_to_first_gate() -> None:
    judge = started(TWICE)
    lap = [(0.0, 3.9, 2.5), (0.0, 4.1, 2.5), (1.0, 8.9, 2.8), (1.0, 9.1, 2.8), (6.0, 9.1, 7.0)]
    fly(judge, *lap, (6.0, 3.0, 7.0), *lap, every_s=1.0)
    assert judge.finished
    assert [passage.number for passage in judge.passages] == [1, 2, 1, 2]
    assert judge.laps_s() == pytest.approx([6.0])
    assert sum(judge.splits_s()) == pytest.approx(judge.time_s())


def test_a_wider_clearance_sees_what_the_hull_would_miss() -> None:
    here, there = (3.5, 8.0, 2.0), (3.5, 10.0, 2.0)  # half a metre beside the pole
    assert obstruction(SHORT, here, there) is None
    assert obstruction(SHORT, here, there, clearance=2.0) == "pole 1"


def test_a_policys_course_is_the_trainings(tmp_path: Path) -> None:
    plan = steering_plan(tmp_path)
    assert plan.course.radius_m == RADIUS
    assert plan.course.passages == 2
    assert plan.course.gates == SHORT.gates
    assert plan.course.gate(0) is plan.course.gates[0]
    assert plan.course.gate(2) is plan.course.gates[1]  # the last one stays the last
