"""The course of training: wide at first, narrow later, in the same place as the real one."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.learning.config import TrainingConfig
from racer.learning.curriculum import training_task
from racer.sim.task import Settings, Task, course_ranges, make_task
from racer.sim.track import load_track

HULL_M = 0.1
TASK = make_task(load_track("split_s"), Settings(), velocity_limit_m_s=20.0, yaw_limit_deg_s=90.0)


def flown_task(task: Task, config: TrainingConfig, *, epoch: int) -> Task:
    return training_task(task, config, epoch=epoch, hull_m=HULL_M)


def test_a_plain_training_flies_the_real_course() -> None:
    plain = TrainingConfig(epochs=4, first_opening=1.0, miss_m=0.0)
    for config, epoch in ((plain, 1), (TrainingConfig(epochs=4, miss_m=0.0), 3)):
        flown = flown_task(TASK, config, epoch=epoch)
        assert np.array_equal(flown.gates.half_size, TASK.gates.half_size)
        assert np.array_equal(flown.gates.frame, TASK.gates.frame)


def test_openings_narrow_until_half_of_the_training_and_frames_appear() -> None:
    config = TrainingConfig(epochs=8, first_opening=2.0, last_opening=0.5, miss_m=1.0)
    flown = [flown_task(TASK, config, epoch=epoch) for epoch in range(1, 9)]
    radii = [float(task.gates.half_size[0]) for task in flown]
    assert radii == pytest.approx([0.6, 0.4875, 0.375, 0.2625, 0.15, 0.15, 0.15, 0.15])
    assert all(np.all(task.gates.frame == 1.0) for task in flown)
    assert all(task.gates.centre is TASK.gates.centre for task in flown)
    sooner = dataclasses.replace(config, real_course_from=0.25)
    flown = [flown_task(TASK, sooner, epoch=epoch) for epoch in range(1, 9)]
    radii = [float(task.gates.half_size[0]) for task in flown]
    assert radii == pytest.approx([0.6, 0.375, 0.15, 0.15, 0.15, 0.15, 0.15, 0.15])


@pytest.mark.parametrize("course", ["toledo", "lsy_level0", "figure_eight"])
def test_no_frame_of_training_stands_in_another_gates_way(course: str) -> None:
    task = make_task(load_track(course), Settings(), velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
    gates = flown_task(task, TrainingConfig(miss_m=2.0), epoch=1).gates
    centres, reach = np.stack(gates.centre, axis=-1), task.gates.half_size + gates.frame
    assert np.all(gates.frame >= task.gates.frame)
    for i, j in itertools.combinations(range(len(reach)), 2):
        apart = float(np.linalg.norm(centres[i] - centres[j]))
        if apart > 0.0 and gates.frame[i] > task.gates.frame[i]:
            assert reach[i] <= 0.5 * apart + 1e-6


def test_a_frame_that_is_wider_already_stays() -> None:
    flown = flown_task(TASK, TrainingConfig(miss_m=0.0), epoch=1)
    assert np.array_equal(flown.gates.frame, TASK.gates.frame)


def test_gates_and_poles_may_move_farther_than_the_course_says() -> None:
    course = load_track("lsy_level2")
    varied = make_task(
        course,
        Settings(randomise=True),
        velocity_limit_m_s=2.0,
        yaw_limit_deg_s=90.0,
        ranges=course_ranges(course),
    )
    flown = flown_task(varied, TrainingConfig(course_variation=2.0), epoch=1).ranges
    assert flown is not None
    assert varied.ranges is not None
    assert flown.gate_position == pytest.approx(2.0 * varied.ranges.gate_position)
    assert flown.obstacle_position == pytest.approx(2.0 * varied.ranges.obstacle_position)
    assert flown.start_position == pytest.approx(varied.ranges.start_position)
    assert flown_task(TASK, TrainingConfig(course_variation=2.0), epoch=1).ranges is None


def test_displaced_gates_may_be_seen_from_farther_away_at_first() -> None:
    course = load_track("lsy_level2")
    task = make_task(course, Settings(), velocity_limit_m_s=2.0, yaw_limit_deg_s=90.0)
    config = TrainingConfig(epochs=8, first_sight=5.0)
    ranges = [flown_task(task, config, epoch=n).sight_range for n in range(1, 9)]
    assert ranges == pytest.approx([3.5, 2.8, 2.1, 1.4, 0.7, 0.7, 0.7, 0.7])
    assert flown_task(task, TrainingConfig(), epoch=1).sight_range == task.sight_range
    assert flown_task(TASK, config, epoch=1).sight_range == np.inf  # as far as ever


def test_poles_may_grow_from_nothing() -> None:
    """A hull touches a pole nearer than both radii: what is missing at first is missing of both."""
    course = load_track("lsy_level2")
    task = make_task(course, Settings(), velocity_limit_m_s=2.0, yaw_limit_deg_s=90.0)
    config = TrainingConfig(epochs=8, first_poles=0.0)
    reach = [
        flown_task(task, config, epoch=n).obstacles.radius[0] + np.float32(HULL_M)
        for n in range(1, 9)
    ]
    assert reach == pytest.approx([0.0, *(0.115 * np.array([0.25, 0.5, 0.75, 1, 1, 1, 1]))])
    for same, epoch in ((config, 5), (TrainingConfig(epochs=8), 1)):
        poles = flown_task(task, same, epoch=epoch).obstacles
        assert np.array_equal(poles.radius, task.obstacles.radius)


def test_what_a_crash_costs_is_scaled() -> None:
    dear = flown_task(TASK, TrainingConfig(caution=3.0), epoch=8)
    assert dear.rewards.crash == pytest.approx(3.0 * TASK.rewards.crash)
    assert flown_task(TASK, TrainingConfig(), epoch=8).rewards == TASK.rewards


@pytest.mark.parametrize(
    "key",
    [
        "first_opening",
        "last_opening",
        "miss_m",
        "calm",
        "heading_spread_deg",
        "start_spread_m",
        "caution",
        "course_variation",
        "first_sight",
        "first_poles",
        "real_course_from",
    ],
)
def test_a_course_that_makes_no_sense_is_refused(key: str) -> None:
    with pytest.raises(InvalidInputError, match=key):
        TrainingConfig.from_mapping({key: -1.0})
