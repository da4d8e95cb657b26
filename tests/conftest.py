"""Fixtures that several packages share: both databases, an app without vehicle and ROS.

Most tests want this release's tables, not the migrations that lead there: they get a copy of a
database that was migrated once.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from racer.settings import Settings
from tests.postgres import MISSING, find_binaries, running_postgres, temporary_database

# A shell that starts the tests in the background has SIGINT ignored, and so would their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Tests write as fast as they can; those of the limit set their own.
os.environ["WRITES_PER_MINUTE"] = "0"
# An example may take longer than Hypothesis's 0.2 s on cores that other tests have taken.
hypothesis.settings.register_profile(
    "noisy machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("noisy machine")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A new SQLite file, not there yet."""
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


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with this release's tables; for copies."""
    file = tmp_path_factory.mktemp("migrated") / "migrated.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def migrated_sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """A new SQLite file with this release's tables."""
    shutil.copy(migrated_sqlite, tmp_path / "test.db")
    return f"sqlite:///{tmp_path / 'test.db'}"


@pytest.fixture(scope="session")
def migrated_postgres(postgres: str) -> Iterator[str]:
    """A database with this release's tables on the session's server; for copies."""
    with temporary_database(postgres) as url:
        _migrate(url)
        yield url


@pytest.fixture
def migrated_postgres_url(postgres: str, migrated_postgres: str) -> Iterator[str]:
    """A new database with this release's tables on the session's server."""
    with temporary_database(postgres, like=migrated_postgres) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """A new database with this release's tables, once of each kind."""
    kind = "sqlite" if request.param == "sqlite" else "postgres"
    return str(request.getfixturevalue(f"migrated_{kind}_url"))


def _migrate(url: str) -> None:
    from database import Database  # the engines' tests do without

    database = Database(url)
    try:
        database.upgrade()
    finally:
        database.dispose()  # a copy needs all that was written, and nobody connected


@pytest.fixture
def settings(tmp_path: Path, migrated_url: str) -> Settings:
    """Settings that no environment variable and no .env of this machine reach into."""
    return settings_of(tmp_path, migrated_url)


@pytest.fixture
def empty_settings(tmp_path: Path, database_url: str) -> Settings:
    """The same with a database that holds nothing yet."""
    return settings_of(tmp_path, database_url)


def settings_of(tmp_path: Path, database_url: str) -> Settings:
    """Of a database, with everything else in that folder."""
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
