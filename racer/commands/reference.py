"""`python -m racer reference`: the best time that an airframe's physics allows on a course."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from racer.commands.options import shipped

if TYPE_CHECKING:
    from racer.reference.plan import Reference
    from racer.sim.track import Track

HELP = "compute the best time that an airframe's physics allows on a course"
EXAMPLES = f"""\
A time-optimal flight of a point mass with all of the airframe's thrust in any direction at once,
from rest at the start through all laps, or with --flying a lap that repeats itself. Frames and
poles are not in its way. docs/decisions/0015-time-optimal-reference.md says what it bounds.
Shipped tracks: {shipped("sim/tracks")}. Airframes: {shipped("sim/airframes")}.

  python -m racer reference --track split_s --airframe cpc --flying
  python -m racer reference --track my.toml --laps 3 --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--track", required=True, metavar="NAME", help="a shipped course or a file")
    parser.add_argument("--airframe", metavar="NAME", help="default: AIRFRAME of the settings")
    course = parser.add_mutually_exclusive_group()
    course.add_argument("--laps", type=int, metavar="N", help="instead of the course's own number")
    course.add_argument("--flying", action="store_true", help="a flying lap, not one from rest")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Compute and print."""
    from racer.reference.plan import fastest  # noqa: PLC0415 - SciPy
    from racer.settings import get_settings  # noqa: PLC0415
    from racer.sim.airframe import load_airframe  # noqa: PLC0415
    from racer.sim.track import load_track  # noqa: PLC0415

    track = load_track(options.track)
    airframe = load_airframe(options.airframe or get_settings().airframe)
    found = fastest(track, airframe, laps=options.laps, flying=options.flying)
    if options.json:
        print(json.dumps(_object(track, airframe.name, found, flying=options.flying)))
    else:
        print("\n".join(_table(track, airframe.name, found, flying=options.flying)))
    return 0


def _object(track: Track, airframe: str, found: Reference, *, flying: bool) -> dict[str, Any]:
    return {
        "track": track.name,
        "airframe": airframe,
        "flying": flying,
        "laps": len(found.splits_s) // len(track.gates),
        "time_s": round(found.time_s, 4),
        "top_speed_m_s": round(found.top_speed_m_s, 3),
        "splits_s": [round(split, 4) for split in found.splits_s.tolist()],
    }


def _table(track: Track, airframe: str, found: Reference, *, flying: bool) -> list[str]:
    """For a person, line by line."""
    laps = len(found.splits_s) // len(track.gates)
    what = "a flying lap" if flying else f"{laps} lap{'s' * (laps > 1)} from rest"
    total, lines = 0.0, []
    for passage, split in enumerate(found.splits_s):
        total += split
        lines.append(f"{passage % len(track.gates) + 1:4d}  {split:7.3f}  {total:7.3f}")
    head = f"{track.name} {airframe}: {what}, {found.time_s:.3f} s at best"
    return [f"{head}, up to {found.top_speed_m_s:.1f} m/s", "", "gate  split s  total s", *lines]
