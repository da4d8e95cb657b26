"""A real PostgreSQL for tests: its own cluster, port and user, gone at the end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import psycopg2

from tests.support import free_tcp_port, wait_for

MISSING = (
    "PostgreSQL is not installed, and these tests run on it. Type:\n"
    "    apt-get install -y --no-install-recommends postgresql\n"
    "or set ALLOW_NO_POSTGRES=1 to skip them."
)
# Nobody needs a test's cluster after a power cut.
_OPTIONS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "max_connections=200")


def find_binaries() -> Path | None:
    """The directory of the newest installed server's programs, or None."""
    installed = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(installed, key=lambda path: float(path.parts[-3]), default=None)
    found = newest or shutil.which("initdb")
    return None if found is None else Path(found).resolve().parent


@contextmanager
def running_postgres(directory: Path) -> Iterator[str]:
    """The URL of an empty database on a new server; the server's log stays in `directory`."""
    with postgres_cluster(directory) as serve, serve() as url:
        yield url


@contextmanager
def postgres_cluster(directory: Path) -> Iterator[Callable[[], AbstractContextManager[str]]]:
    """A new cluster; what it yields runs its server, on the same port each time.

    PostgreSQL refuses to run as root, and another user may not enter root's test directories: the
    cluster lives in a temporary directory of its own, as the user `postgres` when we are root.
    """
    binaries = find_binaries()
    if binaries is None:
        raise RuntimeError(MISSING)
    directory.mkdir(parents=True, exist_ok=True)
    cluster = Path(tempfile.mkdtemp(prefix="toledo-racer-postgres-"))
    identity: dict[str, Any] = {"cwd": cluster}
    if os.getuid() == 0:
        identity |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        shutil.chown(cluster, "postgres", "postgres")
    try:
        with (directory / "postgres.log").open("w") as log:
            initdb = [binaries / "initdb", "--pgdata", cluster / "data", "--username", "toledo"]
            initdb += ["--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync"]
            subprocess.run(initdb, check=True, stdout=log, stderr=log, **identity)
            port = free_tcp_port()
            yield lambda: _server(binaries / "postgres", cluster, port, log, identity)
    finally:
        shutil.rmtree(cluster)


@contextmanager
def _server(
    program: Path, cluster: Path, port: int, log: IO[str], identity: dict[str, Any]
) -> Iterator[str]:
    # setpriv (util-linux): the server stops when the test process is killed.
    command = ["setpriv", "--pdeathsig", "INT", program, "-D", cluster / "data", "-k", cluster]
    command += ["-h", "127.0.0.1", "-p", str(port)]
    for option in _OPTIONS:
        command += ["-c", option]
    process = subprocess.Popen(command, stdout=log, stderr=log, **identity)
    url = f"postgresql://toledo@127.0.0.1:{port}/postgres"
    try:
        wait_for("PostgreSQL to answer", lambda: _answers(url, process), timeout_s=60)
        yield url
    finally:
        process.send_signal(signal.SIGINT)  # fast shutdown: does not wait for clients
        process.wait(timeout=30)


@contextmanager
def temporary_database(server_url: str, *, like: str | None = None) -> Iterator[str]:
    """The URL of a new database on a running server, empty or a copy of another one of its
    databases that nobody is connected to; dropped at the end."""
    name = f"test_{uuid4().hex}"
    template = "" if like is None else f" TEMPLATE {like.rpartition('/')[2]}"
    _execute(server_url, f"CREATE DATABASE {name}{template}")
    try:
        yield server_url.rpartition("/")[0] + "/" + name
    finally:
        _execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(url: str, statement: str) -> None:
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def _answers(url: str, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"PostgreSQL ended with {process.returncode}: see its log"
    try:
        psycopg2.connect(url, connect_timeout=2).close()
    except psycopg2.OperationalError:
        return False
    return True
