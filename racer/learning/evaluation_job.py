"""The evaluation process: `python -m racer.learning.evaluation_job --config FILE --output DIR`.

racer.program says how it speaks. The configuration names a policy among those in `--policies` and
how it is flown; what is null is flown as in its training. `track` is a course's TOML text. The
result:

    report      racer.learning.report.Report, field by field
    conditions  what was flown, every default filled in: two evaluations whose conditions are equal
                flew the same course from the same starts, through the same gusts. The policy's own
                among them: control_hz, physics_hz (steps of the simulation per second) and
                velocity_limit_m_s
    flights     start by start: finished, crashed, cause, gates_passed, course_time_s (null unless
                finished)
    sha256      of the policy

DIR gets `flights.npz`, the recorded flights one after the other: steps (F,) control steps of each,
then, for all T steps of all flights, t (T,) s from the flight's start, position (T, 3) m ENU,
quaternion (T, 4) scalar first, body FLU to world, gates_passed (T,).
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from racer.errors import InvalidInputError
from racer.learning.files import write_arrays
from racer.policy.manifest import read_manifest
from racer.policy.rates import check_rates
from racer.policy.tables import airframe_table, track_table
from racer.program import run_job, tell
from racer.sim.task import CrashCause

if TYPE_CHECKING:
    from racer.learning.policy_evaluation import Evaluated

FLIGHTS_FILE = "flights.npz"
_KEYS = {
    "policy_id",
    "starts",
    "seed",
    "track",
    "altitude_m",
    "laps",
    "wind_speed_m_s",
    "vary",
    "same_start",
    "recorded",
}


def main(arguments: list[str] | None = None) -> int:
    """Evaluate as told by the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m racer.learning.evaluation_job")
    parser.add_argument("--policies", type=Path, required=True, help="folder of policies' folders")
    parser.add_argument("--compile-cache", type=Path, help="folder that keeps compiled programs")
    return run_job("evaluation", _evaluate, parser, arguments)


def _evaluate(config: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    if unknown := set(config) - _KEYS:
        raise InvalidInputError(f"An evaluation has no key '{min(unknown)[:64]}'.")
    folder = options.policies / str(config["policy_id"])
    manifest = read_manifest(folder)
    check_rates(manifest.control_hz, manifest.substeps)
    tell({"progress": 0.0})
    # Only now: a wrong configuration is answered before JAX's second of loading.
    from racer.learning.policy_evaluation import evaluate_policy  # noqa: PLC0415

    evaluated = evaluate_policy(
        folder,
        starts=config["starts"],
        seed=config["seed"],
        track=config.get("track"),
        altitude_m=config.get("altitude_m"),
        laps=config.get("laps"),
        wind_speed_m_s=config.get("wind_speed_m_s"),
        variation=config.get("vary"),
        spread=not config.get("same_start", False),
        recorded=config.get("recorded", 1),
        compile_cache=options.compile_cache,
        progress=lambda share: tell({"progress": round(share, 4)}),
    )
    _write_flights(options.output / FLIGHTS_FILE, evaluated)
    return {
        "report": dataclasses.asdict(evaluated.report),
        "conditions": _conditions(evaluated, config),
        "flights": _flights(evaluated),
        "sha256": evaluated.policy.manifest.policy.sha256,
    }


def _conditions(evaluated: Evaluated, config: dict[str, Any]) -> dict[str, Any]:
    """All that starts, course, vehicle and wind depend on; of the policy what gusts and delays
    depend on."""
    track, policy, task = evaluated.track, evaluated.policy, evaluated.task
    manifest = policy.manifest
    return {
        "track": track.name,
        "track_sha256": _digest(track_table(track)),
        "laps": track.laps,
        "airframe_sha256": _digest(airframe_table(policy.airframe)),
        "wind_speed_m_s": _wind(config, manifest.wind_speed_m_s),
        "seed": config["seed"],
        "starts": config["starts"],
        "vary": evaluated.variation,
        "start_spread": [float(value) for value in task.start_spread],
        "control_hz": manifest.control_hz,  # gusts and delays are drawn for its steps
        "physics_hz": manifest.control_hz * manifest.substeps,
        "velocity_limit_m_s": manifest.limits.velocity_m_s,  # gusts pass by quicker the faster
    }


def _wind(config: dict[str, Any], trained: float) -> float:
    given = config.get("wind_speed_m_s")
    return float(trained if given is None else given)


def _digest(table: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def _flights(evaluated: Evaluated) -> dict[str, Any]:
    result = evaluated.result
    finished, passed = np.asarray(result.finished, bool), np.asarray(result.passed)
    last = np.asarray(result.times, np.float64)[:, evaluated.track.passages - 1]
    return {
        "finished": finished.tolist(),
        "crashed": np.asarray(result.crashed, bool).tolist(),
        "cause": [CrashCause(int(cause)).name.lower() for cause in np.asarray(result.cause)],
        "gates_passed": passed.tolist(),
        "course_time_s": [
            float(time) if done else None for time, done in zip(last, finished, strict=True)
        ],
    }


def _write_flights(path: Path, evaluated: Evaluated) -> None:
    flights = evaluated.recorded()
    joined = {name: np.concatenate([flight[name] for flight in flights]) for name in flights[0]}
    steps = np.array([len(flight["t"]) for flight in flights], np.int32)
    write_arrays(path, steps=steps, **joined)


if __name__ == "__main__":
    sys.exit(main())
