"""`python -m racer backup`: one file with everything that the installation knows."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from racer.errors import ConflictError

HELP = "write accounts, runs, policies, races and flights to one file"
EXAMPLES = """\
The service may run meanwhile. The key that signs tokens is not in it, so that after a restore
everybody signs in again; compiled programs are not, either.

  python -m racer backup
  python -m racer backup --out /mnt/backups/monday.tar.gz
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="default: toledo-racer-<now>.tar.gz, here"
    )


def run(options: argparse.Namespace) -> int:
    """Write it and say where and how large."""
    from database import Database  # noqa: PLC0415 - SQLAlchemy
    from racer.settings import get_settings  # noqa: PLC0415
    from racer.upkeep.backup import back_up  # noqa: PLC0415

    target: Path = options.out or Path(f"toledo-racer-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}.tar.gz")
    if target.exists():
        raise ConflictError(f"{target} exists already. Name another file.")
    settings = get_settings()
    database = Database(settings.effective_database_url)
    try:
        size = back_up(database, settings.data_dir.resolve(), target)
    finally:
        database.dispose()
    print(f"{target}, {size / 1e6:.1f} MB")
    return 0
