"""A stranger's first minutes: a fresh copy, `make run`, the main job, Ctrl-C.

The copy holds the files that git would hand to a stranger, so a file that somebody forgot to
add is missing here as well. The virtual environment is made by `make run` itself.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.acceptance.main_job import main_job
from tests.postgres import running_postgres
from tests.support import REPOSITORY, claim_slot, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a stranger gets, with no virtual environment."""
    target = tmp_path_factory.mktemp("clone") / "toledo"
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.check_output(command, cwd=REPOSITORY, text=True).split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, target / name)
    return target


@contextmanager
def make_run(clone: Path, environment: dict[str, str]) -> Iterator[str]:
    """`make run` until it is ready, and Ctrl-C as a terminal sends it at the end."""
    # A terminal's Ctrl-C reaches the whole foreground group: make and everything under it.
    process = subprocess.Popen(["make", "run"], cwd=clone, env=environment, start_new_session=True)
    url = f"http://127.0.0.1:{environment['PORT']}"
    try:
        wait_for("the service to be ready", lambda: is_ready(url, process), timeout_s=600)
        yield url
        family = list(psutil.Process(process.pid).children(recursive=True))
        started = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=10)
        _, alive = psutil.wait_procs(family, timeout=max(0.0, 3 - (time.monotonic() - started)))
        assert not alive, f"Ctrl-C left behind: {alive}"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def is_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    """True when /readyz says so; fails at once when the service has ended."""
    assert process.poll() is None, f"make run ended with {process.returncode}"
    try:
        return httpx.get(f"{url}/readyz", timeout=5).is_success
    except httpx.TransportError:
        return False


def test_main_job_after_make_run_in_a_fresh_clone(clone: Path, tmp_path: Path) -> None:
    with claim_slot(tmp_path) as environment, make_run(clone, environment) as url:
        print(main_job(url))


def test_main_job_on_postgresql(clone: Path, tmp_path: Path) -> None:
    with (
        running_postgres(tmp_path / "postgres") as database_url,
        claim_slot(tmp_path / "data") as environment,
        make_run(clone, environment | {"DATABASE_URL": database_url}) as url,
    ):
        print(main_job(url))
