"""What one connection may take, and what a client hears when there is none to have."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import APIRouter
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

import database as spine_database
from database import Database, SessionDep
from racer.settings import Settings
from racer.web.app import assemble, spine


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    made = Database(postgres_url)
    made.upgrade()
    yield made
    made.dispose()


def test_every_connection_has_limits(database: Database) -> None:
    wanted = {
        "statement_timeout": "30s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "1min",
        "tcp_keepalives_idle": "10",
    }
    with database.engine.connect() as connection:
        for name, value in wanted.items():
            assert connection.scalar(text(f"SHOW {name}")) == value


def test_what_the_url_says_wins(postgres_url: str) -> None:
    made = Database(postgres_url + "?connect_timeout=9&options=-c%20statement_timeout%3D7s")
    with made.engine.connect() as connection:
        assert connection.scalar(text("SHOW statement_timeout")) == "7s"
        assert connection.scalar(text("SHOW lock_timeout")) == "10s"
    made.dispose()


def test_a_migration_may_take_as_long_as_it_takes(database: Database) -> None:
    with database.migration_connection() as connection:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert connection.scalar(text(f"SHOW {name}")) == "0"
    with database.engine.connect() as connection:  # the same one, out of the pool
        assert connection.scalar(text("SHOW statement_timeout")) == "30s"


@pytest.mark.parametrize(
    ("limit", "statement"),
    [("statement_timeout", "SELECT pg_sleep(60)"), ("lock_timeout", "LOCK TABLE users")],
)
def test_a_long_statement_and_a_long_wait_for_a_lock_end(
    database: Database, monkeypatch: pytest.MonkeyPatch, limit: str, statement: str
) -> None:
    monkeypatch.setattr(spine_database, "_LIMITS", {limit: "200ms"})
    hasty = Database(database.engine.url.render_as_string(hide_password=False))
    with database.session() as holder:
        holder.execute(text("LOCK TABLE users"))
        with (
            pytest.raises(OperationalError, match=limit.replace("_", " ")),
            hasty.session() as ours,
        ):
            ours.execute(text(statement))
    hasty.ping()  # and its connection is as good as before
    hasty.dispose()


def routes() -> APIRouter:
    router = APIRouter()

    @router.get("/row")
    def row(session: SessionDep) -> int:
        return int(session.scalar(text("SELECT 7")) or 0)

    return router


def test_who_finds_no_free_connection_is_told_to_come_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spine_database, "_POOL_WAIT_S", 0.2)
    app = assemble(settings, routers=[routes()], lifespan=spine)
    with TestClient(app, base_url="http://localhost") as client:
        engine = app.state.database.engine
        held = [engine.connect() for _ in range(50 if engine.dialect.name == "sqlite" else 40)]
        answer = client.get("/row")
        assert answer.status_code == 503
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert int(answer.headers["Retry-After"]) > 0
        assert "Try again" in answer.json()["detail"]
        for connection in held:
            connection.close()
        assert client.get("/row").json() == 7
