"""What racing is measured against, and whether a set of seeds reached it. No JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True)
class Goal:
    """A published task, its recipe and its limits."""

    recipe: str
    starts: int
    limit_s: float
    training_limit_s: float
    flying_lap: bool  # a flying lap counts, else the course time
    published_s: float  # the best published learned policy
    spread: bool  # starts differ by our evaluation's spread, beyond the published protocol
    optimum_s: float | None = None  # nobody flies faster than this


MORE_STARTS = 1000

GOALS = {
    "track_a": Goal("track_a", 64, 6.45, 600.0, True, 6.50, True, optimum_s=6.13),
    "track_d": Goal("track_d", 20, 3.40, 600.0, False, 3.394, False),
}


@dataclasses.dataclass(frozen=True)
class Result:
    """One training seed, trained and flown."""

    task: str
    seed: int
    completion: float  # share of the starts
    best_s: float | None  # of the flights that finished; None when none did
    mean_s: float | None
    p95_s: float | None
    course_s: float | None  # mean time from the start to the last gate
    gate_error_m: float | None
    crash_causes: dict[str, int]
    more_completion: float  # of MORE_STARTS others: what a few starts leave to chance
    more_mean_s: float | None
    train_s: float  # wall time of the training program, compilation included
    train_cpu_s: float
    env_steps: int  # control steps flown in training


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The worst of all seeds against the goal."""

    task: str
    worst_s: float | None
    limit_s: float
    ratio_to_limit: float | None
    ratio_to_published: float | None
    ratio_to_optimum: float | None
    slowest_training_s: float
    faults: tuple[str, ...]


def judge(goal: Goal, results: Sequence[Result]) -> Verdict:
    """The worst seed counts in everything, and a flight faster than the optimum is a fault."""
    means = [result.mean_s for result in results if result.mean_s is not None]
    worst = max(means) if len(means) == len(results) else None
    slowest = max(result.train_s for result in results)
    bests = [result.best_s for result in results if result.best_s is not None]
    faults = {
        "some starts were not finished": any(result.completion < 1.0 for result in results),
        "slower than the limit": worst is None or worst > goal.limit_s,
        "trained longer than allowed": slowest > goal.training_limit_s,
        "faster than the optimum: an error of the simulator": goal.optimum_s is not None
        and any(best < goal.optimum_s for best in bests),
    }
    return Verdict(
        task=goal.recipe,
        worst_s=worst,
        limit_s=goal.limit_s,
        ratio_to_limit=_ratio(worst, goal.limit_s),
        ratio_to_published=_ratio(worst, goal.published_s),
        ratio_to_optimum=_ratio(worst, goal.optimum_s),
        slowest_training_s=slowest,
        faults=tuple(name for name, holds in faults.items() if holds),
    )


def _ratio(seconds: float | None, reference: float | None) -> float | None:
    return None if seconds is None or reference is None else round(seconds / reference, 4)
