"""`main.py` as a person starts it, without a vehicle, and its HTTP side."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx

from tests.support import REPOSITORY, claim_slot, wait_for


@contextmanager
def main_program(data_dir: Path) -> Iterator[httpx.Client]:
    """`python main.py` without a vehicle, until the block ends."""
    with claim_slot(data_dir) as environment, running(environment) as (client, _):
        yield client


@contextmanager
def running(
    environment: dict[str, str],
    *,
    program: Sequence[str] = (sys.executable, "main.py"),
    stack: str = "external",
    log: IO[str] | None = None,
) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes]]]:
    """The same in a slot that is claimed already; the process may be killed within the block.
    `log`: where it writes what it says."""
    process = subprocess.Popen(
        program,
        cwd=REPOSITORY,
        env=environment | {"STACK": stack},
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    try:
        url = f"http://127.0.0.1:{environment['PORT']}"
        with httpx.Client(base_url=url, timeout=60) as client:
            wait_for("the service", lambda: _is_ready(client, process), timeout_s=90)
            yield client, process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def _is_ready(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, f"main.py ended with {process.returncode}"
    try:
        return client.get("/livez", timeout=5).is_success
    except httpx.TransportError:
        return False


def said(answer: httpx.Response) -> Any:
    """Its JSON; fails with the answer's text."""
    assert answer.is_success, f"{answer.request.url}: {answer.status_code} {answer.text}"
    return answer.json()
