"""The accounts API as the product assembles it, on each database, without vehicle and ROS.

One app runs for all tests of a database; each test finds it empty.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import text
from starlette.testclient import TestClient

import auth
from database import Database
from racer.accounts.limits import SignInLimits
from racer.accounts.routes import router
from tests.served import lasting_app


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """The running app."""
    with lasting_app(
        request.param, [router], request=request, tmp_path_factory=tmp_path_factory
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


@pytest.fixture(autouse=True, scope="session")
def quick_hashes() -> Iterator[None]:
    """bcrypt at its lowest cost: the tests need many hashes, not slow ones."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "_passwords", auth._passwords.copy(bcrypt__rounds=4))
        yield


@pytest.fixture
def app(running: TestClient) -> FastAPI:
    """The app behind `client`."""
    assert isinstance(running.app, FastAPI)
    return running.app


@pytest.fixture
def required(app: FastAPI) -> Iterator[None]:
    """AUTH_MODE=required, until the end of the test."""
    settings = app.state.settings
    app.state.settings = settings.model_copy(update={"auth_mode": "required"})
    yield
    app.state.settings = settings
