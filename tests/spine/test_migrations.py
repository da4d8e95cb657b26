"""Every step of the schema, up and down, with rows in every table, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy.orm import undefer
from starlette.testclient import TestClient

from database import Database, alembic_config
from models import Base, User
from racer.accounts.routes import router
from racer.settings import Settings
from racer.web.app import assemble, spine
from tests.spine.old_rows import Rows, add_rows, all_rows, shared

FULL, BARE, NEW_FULL, NEW_BARE = range(1, 5)
STEPS = sorted(
    (script.down_revision or "base", script.revision)
    for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()
)
# Rows of the newer schema that the older one cannot hold: by table, their numbers.
LOST: dict[str, dict[str, set[int]]] = {
    "0010": {"ratings": {BARE, NEW_BARE}},  # no finished entry tells of which network it was
    "0011": {"race_entries": {NEW_BARE}},  # flown by hand
}


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Empty."""
    made = Database(database_url)
    yield made
    made.dispose()


def downgrade(database: Database, revision: str) -> None:
    config = alembic_config()
    with database.migration_connection() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, revision)


def rows_of(database: Database) -> Rows:
    with database.engine.connect() as connection:
        return all_rows(connection)


def fill(database: Database, *rows: int) -> None:
    with database.engine.begin() as connection:
        for number in rows:
            add_rows(connection, number, full=number in (FULL, NEW_FULL))


def dangling(database: Database) -> list[Any]:
    """References to rows that are not there; PostgreSQL has none by itself."""
    if database.engine.dialect.name != "sqlite":
        return []
    with database.engine.connect() as connection:
        return list(connection.execute(sa.text("PRAGMA foreign_key_check")))


def assert_models_read_everything(database: Database) -> None:
    held = rows_of(database)
    with database.session(read_only=True) as session:
        for mapper in Base.registry.mappers:
            found = session.scalars(sa.select(mapper.class_).options(undefer("*"))).all()
            assert len(found) == len(held[mapper.local_table.name])
            moments = [v for row in found for v in vars(row).values() if isinstance(v, datetime)]
            assert all(moment.tzinfo is UTC for moment in moments)


@pytest.mark.parametrize(("below", "step"), STEPS, ids=[step for _, step in STEPS])
def test_a_step_keeps_the_rows_both_ways(database: Database, below: str, step: str) -> None:
    if below != "base":
        database.upgrade(below)
        fill(database, FULL, BARE)
    before = rows_of(database)

    database.upgrade(step)
    old, new = shared(before, rows_of(database))
    assert new == old
    assert all(len(rows) == 2 for rows in before.values())

    fill(database, *((NEW_FULL, NEW_BARE) if before else (FULL, BARE)))
    above = rows_of(database)
    downgrade(database, below)
    after = rows_of(database)
    assert set(after) == set(before)
    for table, rows in after.items():
        lost = LOST.get(step, {}).get(table, set())
        assert len(rows) == len({FULL, BARE, NEW_FULL, NEW_BARE} - lost), table
        remaining = [
            row for n, row in zip((FULL, BARE), before[table], strict=True) if n not in lost
        ]
        assert [row for row in rows if row in before[table]] == remaining, table
        wanted, got = shared({table: above[table]}, {table: rows})
        assert all(row in wanted[table] for row in got[table]), table
    assert dangling(database) == []

    database.upgrade()  # and nothing of it stands in the way of going on
    assert dangling(database) == []
    assert_models_read_everything(database)


def test_a_database_of_the_first_release_is_brought_up_and_served(
    empty_settings: Settings,
) -> None:
    settings = empty_settings
    database = Database(settings.effective_database_url)
    database.upgrade("0001")
    fill(database, FULL, BARE)
    before = rows_of(database)
    database.upgrade()
    old, new = shared(before, rows_of(database))
    assert new == old
    database.dispose()
    with TestClient(
        assemble(settings, routers=[router], lifespan=spine), base_url="http://localhost"
    ) as client:
        answer = client.get("/users/username-2")
        assert answer.status_code == 200, answer.text
        models = answer.json()["drone_models"]
        assert [model["title"] for model in models] == ["title-2"]
        again = client.post(
            "/users/username-2/drone-models/", json={"title": "next", "drone_details": {}}
        )
        assert again.status_code == 200, again.text  # the ids go on after those that are there


def test_a_waiting_run_of_the_first_release_goes_on_waiting(database: Database) -> None:
    """0002 counts attempts when they begin, no longer when they are queued."""
    database.upgrade("0001")
    fill(database, FULL)
    with database.engine.begin() as connection:
        connection.execute(sa.text("UPDATE training_runs SET status = 'initializing'"))
    database.upgrade("0002")
    assert rows_of(database)["training_runs"][0]["attempt"] == 0
    downgrade(database, "0001")
    assert rows_of(database)["training_runs"][0]["attempt"] == 1


@pytest.mark.parametrize("way", ["by the database", "by the mapper"])
def test_nothing_refers_to_a_user_who_was_deleted(database: Database, way: str) -> None:
    database.upgrade()
    fill(database, FULL, BARE)
    before = rows_of(database)
    with database.session() as session:
        if way == "by the mapper":
            session.delete(session.get_one(User, FULL))
        else:
            session.execute(sa.delete(User).where(User.id == FULL))
    after = rows_of(database)
    assert dangling(database) == []
    for table in Base.metadata.tables.values():
        for key in table.foreign_keys:
            left = {row[key.column.name] for row in after[key.column.table.name]} | {None}
            assert all(row[key.parent.name] in left for row in after[table.name]), key
        if len(before[table.name]) == 2:
            assert before[table.name][1] in after[table.name]  # the other one's
    gone = {table for table, rows in before.items() if len(after[table]) < len(rows)}
    assert gone >= {
        *("users", "user_drone_models", "training_runs", "training_epochs", "kept_runs"),
        *("policies", "evaluations", "user_tracks"),
    }
    assert {row["user_id"] for row in after["races"]} == {None}  # BARE's has no organiser
    assert [row["username"] for row in after["races"]] == ["username-1", "username-2"]
