"""Fixtures that several packages share: both databases, an app without vehicle and ROS."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from racer.settings import Settings
from tests.postgres import MISSING, find_binaries, running_postgres, temporary_database

# A shell that starts the tests in the background has SIGINT ignored, and so would their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Tests write as fast as they can; those of the limit set their own.
os.environ["WRITES_PER_MINUTE"] = "0"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A new SQLite file."""
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running PostgreSQL server of our own."""
    if find_binaries() is None:
        if os.environ.get("ALLOW_NO_POSTGRES") == "1":
            pytest.skip("ALLOW_NO_POSTGRES=1 and PostgreSQL is not installed")
        pytest.fail(MISSING, pytrace=False)
    with running_postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """A new database on the session's server."""
    with temporary_database(postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A new empty database, once of each kind."""
    fixture = "sqlite_url" if request.param == "sqlite" else "postgres_url"
    return str(request.getfixturevalue(fixture))


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings that no environment variable and no .env of this machine reach into."""
    return Settings(
        _env_file=None,
        data_dir=tmp_path,
        database_url=database_url,
        secret_key="",
        cors_origins=["https://racing.example"],
    )


@pytest.fixture
def compile_cache(request: pytest.FixtureRequest) -> Path:
    """Kept between runs, as an installation keeps its own."""
    return Path(request.config.cache.mkdir("jax_cache"))
