"""`python -m racer init-db`: make the database, or bring it to this release's tables."""

from __future__ import annotations

import argparse

HELP = "make the database, or bring it to this release's tables"
EXAMPLES = """\
The service does the same whenever it starts. DATABASE_URL and DATA_DIR say which database.

  python -m racer init-db
"""


def add_arguments(_parser: argparse.ArgumentParser) -> None:
    """There are none."""


def run(_options: argparse.Namespace) -> int:
    """Migrate and say so."""
    from database import Database  # noqa: PLC0415 - SQLAlchemy
    from racer.settings import get_settings  # noqa: PLC0415

    database = Database(get_settings().effective_database_url)
    try:
        database.upgrade()
    finally:
        database.dispose()
    print(f"{database.place} is ready.")
    return 0
