"""Databases and apps that many tests share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient

from database import Database
from racer.settings import Settings
from racer.web.app import assemble, spine
from tests.postgres import temporary_database


@contextmanager
def migrated(database_url: str) -> Iterator[Database]:
    """The database with all tables."""
    database = Database(Settings(_env_file=None, database_url=database_url).effective_database_url)
    try:
        database.upgrade()
        yield database
    finally:
        database.dispose()


@contextmanager
def lasting_app(
    kind: str,
    routers: Sequence[APIRouter],
    *,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TestClient]:
    """A client of an app that runs for all tests of a session, on a database of that kind, "sqlite"
    or "postgresql"."""
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("lasting"),
        database_url="",
        secret_key="",
    )
    if kind == "sqlite":
        with _running(settings, routers) as client:
            yield client
        return
    with (
        temporary_database(request.getfixturevalue("postgres")) as url,
        _running(settings.model_copy(update={"database_url": url}), routers) as client,
    ):
        yield client


def _running(settings: Settings, routers: Sequence[APIRouter]) -> TestClient:
    app = assemble(settings, routers=list(routers), lifespan=spine)
    return TestClient(app, base_url="http://localhost")
