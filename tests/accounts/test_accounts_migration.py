"""Accounts that were made before there were roles and sessions go on."""

from __future__ import annotations

from datetime import UTC, datetime

from alembic import command
from sqlalchemy import inspect, text

import crud
from database import Database, alembic_config
from models import Role
from racer.accounts import audit, tokens

MADE = datetime(2026, 3, 1, tzinfo=UTC)


def names(database: Database) -> list[tuple[str, str]]:
    with database.session(read_only=True) as session:
        found = session.execute(text("SELECT username, password_hash FROM users ORDER BY id"))
        return [(row[0], row[1]) for row in found]


def test_everybody_is_a_pilot_and_both_ways_keep_the_accounts(database_url: str) -> None:
    database = Database(database_url)
    database.upgrade("0012")
    with database.session() as session:
        session.execute(
            text(
                "INSERT INTO users (id, username, password_hash, created_at, updated_at) "
                "VALUES (7, 'ada', 'theirs', :made, :made)"
            ),
            {"made": MADE},
        )
    database.upgrade()
    with database.session() as session:
        ada = crud.get_user(session, "ada")
        assert ada.role is Role.PILOT
        tokens.begin(session, ada, "k" * 32)
        audit.record(session, "account.sign_in", "ada", actor=ada)
    config = alembic_config()
    with database.migration_connection() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0012")
    assert names(database) == [("ada", "theirs")]
    left = set(inspect(database.engine).get_table_names())
    assert not left & {"sign_ins", "audit_entries"}
    database.upgrade()
    assert names(database) == [("ada", "theirs")]
    database.dispose()
