"""Readiness names the missing part and depends on the required ones only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from database import Database
from racer.settings import Settings
from racer.web.app import assemble, spine
from racer.web.health import router

# The control service's part of the answer; tests/control has the real one.
STATUS: dict[str, object] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.control = SimpleNamespace(status=STATUS.copy)
    async with spine(app):
        yield


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    STATUS.clear()
    STATUS.update(ros=True, controller=True, vehicle=True)
    with TestClient(
        assemble(settings, routers=[router], lifespan=lifespan), base_url="http://localhost"
    ) as running:
        yield running


def test_alive_is_alive(client: TestClient) -> None:
    assert client.get("/livez").json() == {"alive": True}
    assert client.get("/livez/").status_code == 200


@pytest.mark.parametrize(
    ("part", "status"), [("ros", 503), ("controller", 200), ("vehicle", 200), (None, 200)]
)
def test_ready_needs_ros_but_no_vehicle(client: TestClient, part: str | None, status: int) -> None:
    if part is not None:
        STATUS[part] = False
    answer = client.get("/readyz")
    assert answer.status_code == status
    assert answer.json()["ready"] == (status == 200)
    expected = {"database": True, "ros": True, "controller": True, "vehicle": True}
    assert answer.json()["parts"] == expected | ({part: False} if part else {})


def test_a_database_that_went_away_is_a_503(postgres_url: str, settings: Settings) -> None:
    settings = settings.model_copy(update={"database_url": postgres_url})
    STATUS.update(ros=True)
    app = assemble(settings, routers=[router], lifespan=lifespan)
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/readyz").status_code == 200
        database: Database = app.state.database
        name = database.engine.url.database
        with Database(postgres_url.rpartition("/")[0] + "/postgres").engine.connect() as admin:
            admin.execution_options(isolation_level="AUTOCOMMIT")
            admin.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
            answer = client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["parts"]["database"] is False
            admin.execute(text(f"CREATE DATABASE {name}"))
        assert client.get("/readyz").status_code == 200  # by itself, when it is back
