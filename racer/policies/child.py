"""Runs racer.policy.tasks: what touches a policy's network happens in a short child process.

A hostile graph or archive can hang or crash only that. The child has limits of its own on
processor time, memory and files; here are those on waiting and on how many run at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from racer.errors import InvalidInputError, NotFoundError, NotInstalledError, UnavailableError
from racer.process import PARENT_VARIABLE
from racer.settings import REPOSITORY

_PATIENCE_S = 60.0  # a crowded machine takes a while to import; its own limit is 30 s of computing
_AT_ONCE = 2
_SECRETS = frozenset({"SECRET_KEY", "DATABASE_URL", "METRICS_TOKEN"})
_NICENESS = 5  # requests come first

_ERRORS = {
    kind.__name__: kind
    for kind in (InvalidInputError, NotFoundError, NotInstalledError, UnavailableError)
}

log = structlog.get_logger(__name__)


class Tasks:
    """Runs tasks, a few at a time."""

    def __init__(self) -> None:
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self, task: str, *paths: Path) -> dict[str, Any]:
        """Do one task of racer.policy.tasks and return what it found.

        Raises the task's own RacerError, InvalidInputError when the child died of its work,
        UnavailableError when it took too long.
        """
        async with self._turns:
            child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "racer.policy.tasks", task),
                *(str(path.resolve()) for path in paths),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                cwd=REPOSITORY,
                env=_environment(),
            )
            try:
                with suppress(ProcessLookupError):
                    os.setpriority(os.PRIO_PROCESS, child.pid, min(os.nice(0) + _NICENESS, 19))
                async with asyncio.timeout(_PATIENCE_S):
                    told, complaints = await child.communicate()
            except TimeoutError as error:
                raise UnavailableError(
                    f"The server took longer than {_PATIENCE_S:.0f} s over the policy. Try again "
                    "when it has less to do."
                ) from error
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                await child.wait()
        return _answer(task, child.returncode, told, complaints)


def _answer(task: str, code: int | None, told: bytes, complaints: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(told)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        said = complaints[-500:].decode(errors="replace")
        log.warning("policy_task_died", task=task, code=code, said=said)
        raise InvalidInputError(
            "The policy could not be read: the process that tried ended "
            f"{'by signal' if (code or 0) < 0 else 'with exit code'} {abs(code or 0)}."
        )
    if "error" in answer:
        raise _ERRORS.get(answer["kind"], InvalidInputError)(answer["error"])
    found: dict[str, Any] = answer["ok"]
    return found


def _environment() -> dict[str, str]:
    """Ours without what only the server needs to know. Settings reads names in either case."""
    inherited = {name: text for name, text in os.environ.items() if name.upper() not in _SECRETS}
    return inherited | {PARENT_VARIABLE: str(os.getpid())}
