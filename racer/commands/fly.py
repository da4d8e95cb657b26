"""`python -m racer fly`: race a policy on a vehicle over MAVSDK."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from racer.commands.options import add_policy

if TYPE_CHECKING:
    from racer.flight.report import RaceReport

HELP = "race a policy on a vehicle: take off, race, hold, land"
EXAMPLES = """\
The vehicle is PX4 or the embedded one, heard on --url. Stop the service and the controller first:
a vehicle has one pilot. A safety envelope (bounds, speed, tilt, age of the telemetry) ends the race
and holds when something is wrong. Ctrl-C ends it too: the vehicle lands.

  .venv/bin/python -m racer.autopilot &                  # an embedded vehicle, if there is none
  python -m racer fly --policy data/runs/1b4e28ba-2fa1-4d2b-883f-0016d3cca427
  python -m racer fly --policy DIR --url udpin://0.0.0.0:14541 --flights 10

Exit code: 0 when every race finished, else 1.
"""
_MOST_FLIGHTS = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_policy(parser)
    parser.add_argument("--url", help="MAVSDK connection (default: AUTOPILOT_URL of the settings)")
    parser.add_argument(
        "--airframe", help="what the vehicle is (default: AIRFRAME of the settings)"
    )
    parser.add_argument(
        "--flights", type=_flights, default=1, metavar="N", help="races, one after another"
    )
    parser.add_argument("--no-land", action="store_true", help="hold in the air at the end")
    parser.add_argument("--json", action="store_true", help="one JSON object a race")


def _flights(text: str) -> int:
    count = int(text)
    if not 1 <= count <= _MOST_FLIGHTS:
        raise argparse.ArgumentTypeError(f"must be from 1 to {_MOST_FLIGHTS}")
    return count


def run(options: argparse.Namespace) -> int:
    """Fly and print each race's report."""
    from racer.flight.policy_flight import fly_policy_folder  # noqa: PLC0415
    from racer.policy.manifest import read_manifest  # noqa: PLC0415
    from racer.process import configure_logging  # noqa: PLC0415
    from racer.settings import get_settings  # noqa: PLC0415

    read_manifest(options.policy)  # the likeliest mistake, before anything is said or opened
    settings = get_settings()
    url = options.url or settings.effective_autopilot_url
    configure_logging("WARNING", program="fly")
    print(f"Looking for a vehicle on {url}, then flying. Ctrl-C lands it.", file=sys.stderr)
    reports = asyncio.run(
        fly_policy_folder(
            options.policy,
            url=url,
            airframe=options.airframe or settings.airframe,
            flights=options.flights,
            land=not options.no_land,
        )
    )
    return tell(reports, as_json=options.json)


def tell(reports: Sequence[RaceReport], *, as_json: bool) -> int:
    """Print the races; the exit code."""
    for report in reports:
        print(json.dumps(_object(report)) if as_json else report.summary())
    return 0 if all(report.finished for report in reports) else 1


def _object(report: RaceReport) -> dict[str, Any]:
    """What a program wants to know of a race; the recording is not in it."""
    return {
        "course": report.course,
        "finished": report.finished,
        "why": report.why,
        "gates_passed": len(report.passages),
        "gates": report.all_passages,
        "time_s": report.time_s,
        "splits_s": list(report.splits_s),
        "laps_s": list(report.laps_s),
    }
