"""What was raced before there were competitors goes on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command

from database import Database, alembic_config
from racer.racing.competitors import competitor, manner_of
from tests.racing.pilots import write_pilot

MADE = datetime(2026, 3, 1, 12, 0, 0, 120000, tzinfo=UTC)
NETWORK, OTHER, UNKNOWN = "a" * 64, "b" * 64, "c" * 64
TRACK = "d" * 64


def fill(connection: sa.Connection, manifest: dict[str, Any]) -> None:
    """At 0009: ada entered a network first, bob a copy of it later, cy's account is gone."""
    found = sa.MetaData()
    found.reflect(connection)

    def add(table: str, **values: Any) -> None:
        connection.execute(found.tables[table].insert().values(**values))

    for number, name in ((1, "ada"), (2, "bob")):
        add("users", id=number, username=name, created_at=MADE, updated_at=MADE)
        add(
            "policies",
            **{"id": f"policy-{name}", "user_id": number, "name": "p", "version": 1},
            **{"origin": "uploaded", "sha256": NETWORK, "size_bytes": 1, "track": "toledo"},
            **{"manifest": manifest, "metrics": {}, "created_at": MADE},
        )
    entered = {
        "first": ((1, "ada", "policy-ada", NETWORK), (None, "cy", None, OTHER)),
        "second": ((2, "bob", "policy-bob", NETWORK), (1, "ada", None, OTHER)),
    }
    for day, (race, entries) in enumerate(entered.items(), start=2):
        ended = MADE.replace(day=day)
        add(
            "races",
            **{"id": race, "username": "ada", "name": race, "format": "time_trial", "laps": 1},
            **{"track_name": "toledo", "track": "", "track_sha256": TRACK, "airframe": "x500"},
            **{"settings": {}, "max_entrants": 8, "status": "finished"},
            **{"created_at": MADE, "finished_at": ended},
        )
        for number, (user, name, policy, sha256) in enumerate(entries, start=1):
            add(
                "race_entries",
                **{"id": f"{race}-{number}", "race_id": race, "number": number, "user_id": user},
                **{"policy_id": policy, "username": name, "policy_name": "p"},
                **{"policy_version": 1, "policy_sha256": sha256, "created_at": MADE},
                **{"rank": number, "elo": 1500.0, "elo_change": 0.0},
            )
    for sha256, elo in ((NETWORK, 1555.0), (OTHER, 1444.0), (UNKNOWN, 1501.0)):
        told = {"track_sha256": TRACK, "airframe": "x500", "policy_sha256": sha256}
        add("ratings", **told, elo=elo, games=2)


def ratings(connection: sa.Connection, key: str) -> dict[str, tuple[float, int]]:
    rows = connection.execute(sa.text(f"SELECT {key}, elo, games FROM ratings"))  # noqa: S608
    return {row[0]: (row[1], row[2]) for row in rows}


def test_old_ratings_are_of_who_flew_last_and_both_ways_work(
    database_url: str, tmp_path: Path
) -> None:
    manifest = write_pilot(tmp_path / "pilot", 5.0)
    database = Database(database_url)
    database.upgrade("0009")
    with database.engine.begin() as connection:
        fill(connection, manifest.model_dump(mode="json"))
    database.upgrade("0010")
    with database.engine.begin() as connection:
        rows = connection.execute(sa.text("SELECT id, competitor FROM race_entries"))
        keys: dict[str, str] = {row[0]: row[1] for row in rows}
        found = ratings(connection, "competitor")
    # who enters the same policy again is who was rated
    ada, bob = (competitor(number, MADE, NETWORK, manner_of(manifest)) for number in (1, 2))
    assert (keys["first-1"], keys["second-1"]) == (ada, bob)
    assert len({*keys.values(), *found}) == 5
    assert all(len(key) == 64 for key in keys.values())
    assert found.pop(bob) == (1555.0, 2)
    assert found.pop(keys["second-2"]) == (1444.0, 2)  # ada's copy of what cy flew, too
    assert [*found.values()] == [(1501.0, 2)]  # of a network that no entry tells of

    config = alembic_config()
    with database.migration_connection() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
    with database.engine.begin() as connection:
        assert ratings(connection, "policy_sha256") == {NETWORK: (1555.0, 2), OTHER: (1444.0, 2)}
    database.upgrade()
    database.dispose()
