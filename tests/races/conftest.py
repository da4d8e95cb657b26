"""One folder of compiled programs for every race of a test run."""

from __future__ import annotations

from pathlib import Path

import pytest

from racer.settings import Settings


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the races' processes keep them."""
    return tmp_path_factory.mktemp("race_programs")


@pytest.fixture
def sqlite_settings(tmp_path: Path, sqlite_url: str) -> Settings:
    """For what SQL has no part in."""
    return Settings(_env_file=None, data_dir=tmp_path, database_url=sqlite_url)
