"""How fast trained policies race on published tracks: three training seeds each, the worst quoted.

    python -m benchmarks.racing [track_a] [track_d]

Trains a recipe with the training program, as the service does, then flies the exported policy from
starts that no training has seen (racer.learning.policy_evaluation): as many as the task's protocol
says, which is what counts, and 1,000 more. Prints one JSON line a seed and one a task, and draws
the first flight of the slowest seed over its track into benchmarks/plots/. Times are interpolated
to the moment at which a gate's plane is crossed.

- `track_a`: UZH Split-S with the quadrotor of the time-optimal benchmark (Foehn et al. 2021). A
  flying lap counts, from one passage of the first gate to the next, over 64 starts of three laps.
  The time-optimal lap takes 6.13 to 6.15 s: a faster one is an error of the simulator.
- `track_d`: learnsyslab/lsy_drone_racing, level 2. The mean course time of 20 runs counts, gates,
  poles and start moved as the course file says, the vehicle as it is.

Exit code 1 if a worst seed misses its limit, trains longer than allowed or beats the optimum.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.racing_goals import GOALS, MORE_STARTS, Goal, Result, judge
from benchmarks.racing_plot import draw_flight
from racer.learning.config import recipes
from racer.learning.policy_evaluation import Evaluated, evaluate_policy
from tests.support import REPOSITORY

SEEDS = (0, 1, 2)
EVALUATION_SEED = 20_260
PLOTS = REPOSITORY / "benchmarks" / "plots"


def train(recipe: str, seed: int, folder: Path) -> tuple[float, float, int]:
    """One training by the training program: wall and CPU seconds, and control steps flown."""
    folder.mkdir(parents=True)
    config = folder / "given.json"
    config.write_text(json.dumps({"recipe": recipe, "seed": seed}))
    command = [sys.executable, "-m", "racer.learning.worker", "--config", str(config)]
    began, steps, cpu = time.monotonic(), 0, _children_cpu_s()
    with subprocess.Popen(
        [*command, "--output", str(folder)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    ) as worker:
        for line in worker.stdout or ():
            steps = json.loads(line).get("env_steps", steps)
    if worker.returncode != 0:
        raise RuntimeError(f"The training of {recipe} with seed {seed} failed.")
    return time.monotonic() - began, _children_cpu_s() - cpu, steps


def fly(goal: Goal, folder: Path, *, starts: int, seed: int) -> Evaluated:
    """Fly an exported policy as the task's protocol says."""
    return evaluate_policy(
        folder,
        starts=starts,
        seed=seed,
        variation="none" if goal.spread else "course",
        spread=goal.spread,
    )


def measure(goal: Goal, seed: int, folder: Path) -> tuple[Result, Evaluated]:
    """Train one seed and fly it from fresh starts."""
    wall, cpu, steps = train(goal.recipe, seed, folder)
    evaluated = fly(goal, folder, starts=goal.starts, seed=EVALUATION_SEED + seed)
    more = fly(goal, folder, starts=MORE_STARTS, seed=EVALUATION_SEED + MORE_STARTS + seed).report
    report = evaluated.report
    times, more_times = (
        one.lap_time if goal.flying_lap else one.course_time for one in (report, more)
    )
    result = Result(
        task=goal.recipe,
        seed=seed,
        completion=report.completion,
        best_s=round(times.best, 3) if times else None,
        mean_s=round(times.mean, 3) if times else None,
        p95_s=round(times.p95, 3) if times else None,
        course_s=round(report.course_time.mean, 3) if report.course_time else None,
        gate_error_m=None if report.offset_mean_m is None else round(report.offset_mean_m, 3),
        crash_causes={cause: n for cause, n in report.crash_causes.items() if n},
        more_completion=round(more.completion, 4),
        more_mean_s=round(more_times.mean, 3) if more_times else None,
        train_s=round(wall, 1),
        train_cpu_s=round(cpu, 1),
        env_steps=steps,
    )
    return result, evaluated


def race(goal: Goal) -> bool:
    """Measure a goal with every seed, print and draw; whether it was reached."""
    results, flights = [], []
    with tempfile.TemporaryDirectory() as directory:
        for seed in SEEDS:
            result, evaluated = measure(goal, seed, Path(directory) / str(seed))
            print(json.dumps(dataclasses.asdict(result)), flush=True)
            results.append(result)
            flights.append(evaluated)
    verdict = judge(goal, results)
    print(json.dumps(dataclasses.asdict(verdict)), flush=True)
    slowest = int(np.argmax([result.mean_s or np.inf for result in results]))
    draw_flight(flights[slowest], PLOTS / f"{goal.recipe}.png")
    return not verdict.faults


def _children_cpu_s() -> float:
    """CPU seconds of all child processes that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def main(arguments: list[str]) -> int:
    """Measure the tasks named (or all that ship a recipe); exit code 1 if one misses its goal."""
    if unknown := set(arguments) - set(GOALS):
        print(f"Unknown task '{min(unknown)}'; known: {', '.join(GOALS)}.", file=sys.stderr)
        return 2
    shipped = recipes()
    reached = [race(GOALS[name]) for name in arguments or GOALS if arguments or name in shipped]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
