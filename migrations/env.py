"""How Alembic reaches our database, from the command line and from `Database.upgrade()`.

Both run the whole upgrade in one transaction under one lock (`Database.migration_connection`), so
two processes that start at once take turns and a failed migration leaves nothing behind. Batch
mode is on everywhere: SQLite alters a table by copying it, PostgreSQL gets plain ALTERs.
"""

from __future__ import annotations

from typing import Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from database import Database
from models import Base, UTCDateTime
from racer.settings import get_settings


def render_plain(kind: str, item: object, _context: AutogenContext) -> str | Literal[False]:
    """Write our own types as what the database sees: a migration outlives the model code."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def run_on(connection: Connection) -> None:
    """Run the asked-for migrations inside the connection's open transaction."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
        render_item=render_plain,
    )
    context.run_migrations()


def run_offline() -> None:
    """Print the SQL (`alembic upgrade head --sql`) for the configured database."""
    context.configure(
        url=get_settings().effective_database_url,
        target_metadata=Base.metadata,
        literal_binds=True,
        render_as_batch=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run_from_command_line() -> None:
    """Open the configured database ourselves."""
    database = Database(get_settings().effective_database_url)
    try:
        with database.migration_connection() as connection:
            run_on(connection)
    finally:
        database.dispose()


given = context.config.attributes.get("connection")
if context.is_offline_mode():
    run_offline()
elif given is not None:
    run_on(given)
else:
    run_from_command_line()
