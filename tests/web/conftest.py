"""The product's users, drone models and tracks on each database, without vehicle and ROS.

One app runs for all tests of a database; each test finds it empty.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from sqlalchemy import delete
from starlette.testclient import TestClient

from database import Database
from models import KeptAnswer, User
from racer.accounts.routes import router as accounts
from racer.tracks.routes import router as tracks
from tests.served import lasting_app


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def running(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """The running app."""
    with lasting_app(
        request.param, [accounts, tracks], request=request, tmp_path_factory=tmp_path_factory
    ) as client:
        yield client


@pytest.fixture
def client(running: TestClient) -> TestClient:
    """The running app, without any account."""
    assert isinstance(running.app, FastAPI)
    database: Database = running.app.state.database
    with database.session() as session:
        session.execute(delete(User))
        session.execute(delete(KeptAnswer))
    running.cookies.clear()
    return running
