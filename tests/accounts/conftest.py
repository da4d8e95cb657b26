"""The accounts API as the product assembles it, on each database, without vehicle and ROS.

One app runs for all tests of a database; each test finds it empty.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

from database import Database
from racer.accounts.limits import SignInLimits
from racer.accounts.routes import router
from racer.settings import Settings
from racer.web.app import assemble, spine
from tests.postgres import temporary_database


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """The running app."""
    directory = tmp_path_factory.mktemp("accounts")
    if request.param == "sqlite":
        yield from _run(
            Settings(_env_file=None, data_dir=directory, database_url="", secret_key="")
        )
        return
    with temporary_database(request.getfixturevalue("postgres")) as url:
        yield from _run(
            Settings(_env_file=None, data_dir=directory, database_url=url, secret_key="")
        )


def _run(settings: Settings) -> Iterator[TestClient]:
    with TestClient(
        assemble(settings, routers=[router], lifespan=spine), base_url="http://localhost"
    ) as client:
        yield client


@pytest.fixture
def client(running: TestClient, app: FastAPI) -> TestClient:
    """The running app, without any account."""
    database: Database = app.state.database
    with database.session() as session:
        if database.engine.dialect.name == "postgresql":
            session.execute(text("TRUNCATE audit_entries"))
            session.execute(text("TRUNCATE users RESTART IDENTITY CASCADE"))
            session.execute(text("ALTER SEQUENCE user_drone_models_id_seq RESTART"))
        else:
            session.execute(text("DELETE FROM audit_entries"))
            session.execute(text("DELETE FROM users"))
    app.state.sign_in_limits = SignInLimits()  # nobody has tried yet
    running.cookies.clear()
    return running


@pytest.fixture
def app(running: TestClient) -> FastAPI:
    """The app behind `client`."""
    assert isinstance(running.app, FastAPI)
    return running.app
