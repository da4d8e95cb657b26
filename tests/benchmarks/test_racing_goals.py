"""A goal is reached by the worst seed, or not at all."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.racing_goals import GOALS, Result, judge

GOAL = GOALS["track_a"]
GOOD = Result(
    task="track_a",
    seed=0,
    completion=1.0,
    best_s=6.38,
    mean_s=6.40,
    p95_s=6.41,
    course_s=20.1,
    gate_error_m=0.2,
    crash_causes={},
    more_completion=1.0,
    more_mean_s=6.40,
    train_s=300.0,
    train_cpu_s=600.0,
    env_steps=1,
)


def test_good_seeds_have_no_fault_and_the_slowest_is_quoted() -> None:
    verdict = judge(GOAL, [GOOD, dataclasses.replace(GOOD, mean_s=6.44, train_s=301.0)])
    assert verdict.faults == ()
    assert verdict.worst_s == 6.44
    assert verdict.slowest_training_s == 301.0
    assert verdict.ratio_to_limit == pytest.approx(6.44 / 6.45, abs=1e-4)
    assert verdict.ratio_to_published == pytest.approx(6.44 / 6.50, abs=1e-4)
    assert verdict.ratio_to_optimum == pytest.approx(6.44 / 6.13, abs=1e-4)


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ({"completion": 63 / 64}, "not finished"),
        ({"mean_s": 6.46}, "slower"),
        ({"mean_s": None, "best_s": None, "completion": 0.0}, "slower"),
        ({"train_s": 601.0}, "longer"),
        ({"best_s": 6.12}, "optimum"),
    ],
)
def test_one_bad_seed_is_a_fault(bad: dict[str, float | None], fault: str) -> None:
    worst = dataclasses.replace(GOOD, **bad)  # type: ignore[arg-type]  # any field, by parameter
    verdict = judge(GOAL, [GOOD, worst, GOOD])
    assert any(fault in named for named in verdict.faults)


def test_a_seed_that_never_finished_has_no_worst_time() -> None:
    verdict = judge(GOAL, [GOOD, dataclasses.replace(GOOD, mean_s=None, best_s=None)])
    assert verdict.worst_s is None
    assert verdict.ratio_to_limit is None
