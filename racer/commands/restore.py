"""`python -m racer restore`: a backup becomes an installation again."""

from __future__ import annotations

import argparse
from pathlib import Path

from racer.errors import NotFoundError

HELP = "put a backup into an empty installation"
EXAMPLES = """\
DATABASE_URL and DATA_DIR say where to; both must be empty, and the service must not run. The
backup may be an older release's, and come from the other kind of database.

  DATA_DIR=/srv/racer python -m racer restore monday.tar.gz
  DATABASE_URL=postgresql://… DATA_DIR=/srv/racer python -m racer restore monday.tar.gz
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("backup", type=Path, metavar="FILE", help="what `backup` wrote")


def run(options: argparse.Namespace) -> int:
    """Restore and say what."""
    from database import Database  # noqa: PLC0415 - SQLAlchemy
    from racer.settings import get_settings  # noqa: PLC0415
    from racer.upkeep.restore import restore  # noqa: PLC0415

    source: Path = options.backup
    if not source.is_file():
        raise NotFoundError(f"There is no file {source}.")
    settings = get_settings()
    database = Database(settings.effective_database_url)
    try:
        head = restore(source, database, settings.data_dir.resolve())
    finally:
        database.dispose()
    print(f"The backup of {head.made_at} is in {database.place} and {settings.data_dir}.")
    return 0
