"""The product as a process, on each database."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.postgres import temporary_database
from tests.program import running
from tests.support import claim_slot


@dataclass(frozen=True)
class Service:
    """`main.py` while it runs."""

    http: httpx.Client
    process: subprocess.Popen[bytes]
    database_url: str
    port: int
    data_dir: Path

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One of a database, for all tests of a file."""
    folder = tmp_path_factory.mktemp("service")
    if request.param == "sqlite":
        yield from _serve(folder, "")
        return
    with temporary_database(request.getfixturevalue("postgres")) as url:
        yield from _serve(folder, url)


def _serve(folder: Path, database_url: str) -> Iterator[Service]:
    with (
        claim_slot(folder) as slot,
        running(slot | {"DATABASE_URL": database_url, "LOG_LEVEL": "WARNING"}) as (client, process),
    ):
        yield Service(client, process, database_url, int(slot["PORT"]), folder)
