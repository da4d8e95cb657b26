"""The same policy in the training's simulation and on a vehicle over MAVLink, side by side.

    python -m benchmarks.flight                              # the embedded vehicle, 10 races
    python -m benchmarks.flight --url udpin://0.0.0.0:14540  # a vehicle that is there: PX4 SITL
    python -m benchmarks.flight --policy data/runs/… --flights 3 --record DIR

Without --policy it trains the default drone model first. Prints one line a race and a last one with
the ratios: the mean time around the course over that of the simulation's evaluation (fresh starts),
and the races that did not finish. Every recorded position is looked at again for frames and poles.
The exit code is 1 if a race crashed or the ratio is off by more than 10 %.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from benchmarks.training import train
from racer.flight.judge import Course, obstruction
from racer.flight.plan import load_plan
from racer.flight.policy_flight import fly_policy_folder
from racer.flight.report import RaceReport
from racer.process import configure_logging
from tests.support import REPOSITORY, claim_slot, ending

TOLERANCE = 0.10
STARTS = 256


def simulate(folder: Path) -> dict[str, Any]:
    """Times around the course in the training's simulation; a process of its own, for JAX."""
    command = [sys.executable, "-m", "racer", "evaluate", "--policy", str(folder), "--json"]
    out = subprocess.run(
        [*command, "--starts", str(STARTS)],
        cwd=REPOSITORY,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    evaluated: dict[str, Any] = json.loads(out.stdout)
    return evaluated


def fly(folder: Path, *, url: str | None, flights: int) -> list[RaceReport]:
    """Race on the vehicle at `url`, or on an embedded one of our own."""
    with ExitStack() as stack:
        if url is None:
            data = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            environment = stack.enter_context(claim_slot(data))
            instance = environment["VEHICLE_INSTANCE"]
            vehicle = [sys.executable, "-m", "racer.autopilot", "--instance", instance]
            command = [*vehicle, "--log-level", "WARNING"]
            stack.enter_context(ending(subprocess.Popen(command, cwd=REPOSITORY, env=environment)))
            url = f"udpin://127.0.0.1:{14540 + int(instance)}"
        return asyncio.run(fly_policy_folder(folder, url=url, flights=flights, patience_s=90.0))


def crashes(report: RaceReport, course: Course) -> list[str]:
    """What the recorded positions met, looked at again; empty for a clean race."""
    places = [sample.position for sample in report.recording.samples]
    met = (obstruction(course, before, after) for before, after in pairwise(places))
    return sorted({what for what in met if what})


def describe(report: RaceReport, course: Course) -> dict[str, Any]:
    """One race in numbers."""
    recording = report.recording
    found: dict[str, Any] = {
        "finished": report.finished,
        "why": report.why,
        "time_s": round(report.time_s, 3),
        "splits_s": [round(split, 3) for split in report.splits_s],
        "gate_errors_m": [round(float(passage.offset_m), 2) for passage in report.passages],
        "crashes": crashes(report, course),
    }
    if recording.actions:
        found |= {
            "telemetry_hz": round(recording.telemetry_hz, 1),
            "age_ms_p50_p99": np.round(1e3 * np.percentile(recording.ages_s, [50, 99]), 1).tolist(),
            "lag_ms_p50_p99": np.round(1e3 * np.percentile(recording.lags_s, [50, 99]), 1).tolist(),
            # Deadlines are 10 ms apart: periods differ from that as one lag does from the next.
            "period_off_ms_p99": round(
                1e3 * float(np.percentile(np.abs(np.diff(recording.lags_s)), 99)), 1
            ),
        }
    return found


def main() -> int:
    """Measure and print; see the module's description for the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flight")
    parser.add_argument("--policy", type=Path, help="a run's folder; default: train one")
    parser.add_argument("--url", help="a vehicle that is there; default: an embedded one")
    parser.add_argument("--flights", type=int, default=10)
    parser.add_argument("--record", type=Path, help="folder for each race's telemetry, .npz")
    options = parser.parse_args()
    configure_logging("WARNING", program="benchmark")
    with tempfile.TemporaryDirectory() as directory:
        folder = options.policy
        if folder is None:
            print(json.dumps(train(Path(directory), seed=0, cache=Path(directory) / "programs")))
            folder = Path(directory) / "run"
        simulated = simulate(folder)
        course = load_plan(folder, airframe="x500").course
        reports = fly(folder, url=options.url, flights=options.flights)
    if options.record:
        options.record.mkdir(parents=True, exist_ok=True)
        for number, report in enumerate(reports, start=1):
            report.recording.save(options.record / f"race_{number}.npz")
    return tell(simulated, [describe(report, course) for report in reports])


def tell(simulated: dict[str, Any], races: list[dict[str, Any]]) -> int:
    """Print every race and the ratios; the exit code."""
    for race in races:
        print(json.dumps(race))
    times = [race["time_s"] for race in races if race["finished"]]
    reference = simulated["course_time"]["mean"]
    ratio = mean(times) / reference if times else None
    print(
        json.dumps(
            {
                "simulation_mean_s": reference,
                "vehicle_mean_s": round(mean(times), 3) if times else None,
                "vehicle_median_s": round(median(times), 3) if times else None,
                "ratio": round(ratio, 3) if ratio else None,
                "finished": f"{len(times)} of {len(races)}",
            }
        )
    )
    clean = all(race["finished"] and not race["crashes"] for race in races)
    return 0 if clean and ratio and abs(ratio - 1.0) <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
