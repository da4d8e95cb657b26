"""`python -m racer evaluate`: fly a policy from fresh starts in simulation."""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from racer.commands.options import add_policy, ends_at_once, shipped
from racer.errors import InvalidInputError

if TYPE_CHECKING:
    from racer.learning.policy_evaluation import Evaluated
    from racer.learning.report import Report, Times

HELP = "fly a policy from fresh starts in simulation and report times, errors and crashes"
EXAMPLES = f"""\
Starts and gusts are drawn from a stream that no training sees; the same seed gives the same
flights. Without --track, --laps, --wind and --vary it flies what it was trained on.
Shipped tracks: {shipped("sim/tracks")}.

  python -m racer evaluate --policy data/runs/1b4e28ba-2fa1-4d2b-883f-0016d3cca427
  python -m racer evaluate --policy DIR --starts 1000 --seed 7 --wind 3 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_policy(parser)
    parser.add_argument("--starts", type=int, default=64, metavar="N", help="flights (default 64)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="of starts and gusts")
    parser.add_argument("--track", metavar="NAME", help="another course: a shipped one or a file")
    parser.add_argument(
        "--altitude", type=float, metavar="M", help="mean height of that course's gates"
    )
    parser.add_argument("--laps", type=int, metavar="N", help="another number of laps")
    parser.add_argument("--wind", type=float, metavar="M_S", help="another mean wind, with gusts")
    parser.add_argument(
        "--vary",
        choices=("none", "course", "full"),
        help="how flights differ beyond their starts: not at all; as the course file's "
        "[randomisation] says; or vehicle, delay and wind as well (default: as in training)",
    )
    parser.add_argument(
        "--same-start", action="store_true", help="every flight begins exactly at the start"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--trajectory", type=Path, metavar="FILE", help="write the first flight as .npz"
    )


def run(options: argparse.Namespace) -> int:
    """Evaluate and print."""
    from racer.settings import get_settings  # noqa: PLC0415

    cache = get_settings().data_dir / "jax_cache"
    with ends_at_once():
        from racer.learning.policy_evaluation import evaluate_policy  # noqa: PLC0415 - JAX

        evaluated = evaluate_policy(
            options.policy,
            starts=options.starts,
            seed=options.seed,
            track=options.track,
            altitude_m=options.altitude,
            laps=options.laps,
            wind_speed_m_s=options.wind,
            variation=options.vary,
            spread=not options.same_start,
            compile_cache=cache,
        )
    if options.trajectory is not None:
        _write_trajectory(options.trajectory, evaluated)
    if options.json:
        print(json.dumps(_object(options, evaluated), allow_nan=False))
    else:
        print("\n".join(table(evaluated, seed=options.seed)))
    return 0


def _write_trajectory(path: Path, evaluated: Evaluated) -> None:
    from racer.learning.files import write_arrays  # noqa: PLC0415

    try:
        write_arrays(path, **evaluated.flight)
    except OSError as error:
        raise InvalidInputError(f"Cannot write {path}: {error.strerror}.") from error


def _object(options: argparse.Namespace, evaluated: Evaluated) -> dict[str, Any]:
    manifest = evaluated.policy.manifest
    return {
        "policy": str(options.policy),
        "sha256": manifest.policy.sha256,
        "track": evaluated.track.name,
        "seed": options.seed,
        "vary": evaluated.variation,
        **dataclasses.asdict(evaluated.report),
    }


def table(evaluated: Evaluated, *, seed: int) -> list[str]:
    """The report for a person, line by line."""
    report, manifest = evaluated.report, evaluated.policy.manifest
    laps = f"{report.laps} laps" if report.laps > 1 else "1 lap"
    varied = "" if evaluated.variation == "none" else f", varied: {evaluated.variation}"
    causes = ", ".join(f"{name} {n}" for name, n in report.crash_causes.items() if n)
    finished, crashed, late = (
        round(share * report.starts)
        for share in (report.completion, report.crashed, report.timed_out)
    )
    return [
        f"{manifest.name}: {manifest.action_space} at {manifest.control_hz:g} Hz on "
        f"{evaluated.track.name}, {laps}, {report.starts} starts, seed {seed}{varied}",
        "",
        f"completion    {100 * report.completion:.1f} %   {finished} finished, {crashed} crashed"
        + (f" ({causes})" if causes else "")
        + f", {late} out of time",
        *_times(report),
        f"gate error    mean {_metres(report.offset_mean_m)}, p95 {_metres(report.offset_p95_m)}",
        "",
        "gate  passes  split s  error m    p95 m  crashes on the way",
        *_gates(report),
    ]


def _times(report: Report) -> list[str]:
    lines = [f"lap time      {_row(report.lap_time)}"]
    if report.laps > 1:
        lines[0] += "   (flying laps)"
        lines.append(f"course time   {_row(report.course_time)}")
    return lines


def _row(times: Times | None) -> str:
    if times is None:
        return "none: no flight finished"
    return (
        f"best {times.best:.3f} s, median {times.median:.3f} s, p95 {times.p95:.3f} s, "
        f"mean {times.mean:.3f} s"
    )


def _gates(report: Report) -> list[str]:
    return [
        f"{gate.gate:4d}  {gate.passes:6d}  {_number(gate.split_s):>7}  "
        f"{_number(gate.offset_mean_m):>7}  {_number(gate.offset_p95_m):>7}  {gate.crashes:7d}"
        for gate in report.gates
    ]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _metres(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f} m"
