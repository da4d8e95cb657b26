"""`python -m racer doctor`: what this machine lacks, and how to get it."""

from __future__ import annotations

import argparse
import json

HELP = "say what is missing on this machine and how to get it"
EXAMPLES = """\
Looks at Python, packages, disk, memory, database, ports, ROS 2 and accelerators with the settings
of .env and the environment, and changes nothing. Exit code 1 when something keeps the service from
running.

  python -m racer doctor
"""
_MARKS = {"ok": "ok     ", "note": "note   ", "missing": "MISSING"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--json", action="store_true", help="print an object a line")


def run(options: argparse.Namespace) -> int:
    """Print every finding as soon as it is known."""
    from racer.settings import get_settings  # noqa: PLC0415 - pydantic
    from racer.upkeep.doctor import examine  # noqa: PLC0415 - SQLAlchemy and more

    fine = True
    for finding in examine(get_settings()):
        fine = fine and finding.mark != "missing"
        if options.json:
            print(json.dumps(finding.as_dict), flush=True)
            continue
        print(f"{_MARKS[finding.mark]} {finding.part}: {finding.said}", flush=True)
        if finding.advice:
            print(f"        {finding.advice}", flush=True)
    return 0 if fine else 1
