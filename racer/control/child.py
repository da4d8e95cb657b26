"""A child process that is kept alive: started, its words logged, started again when it dies.

One outage is told once when it begins and once when it is over, however many attempts lie between;
the attempts themselves are in `status()`. The child gets its own session (Ctrl-C in the terminal
reaches only us) and our pid, so that it can ask the kernel to end it when we are killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from racer.control.child_log import ChildLog
from racer.process import PARENT_VARIABLE

log = structlog.get_logger(__name__)

MIN_DELAY_S, MAX_DELAY_S = 0.2, 5.0
STABLE_S = 1.0  # a restarted child that lives this long is back
HEALTHY_S = 10.0  # one that lived this long starts over with the shortest delay
SETTLING_S = 30.0  # a vehicle with an empty compile cache, on two cores that train
STOP_GRACE_S = 1.0


@dataclass(frozen=True, slots=True)
class Program:
    """What to run with our interpreter. `environment` is added to ours."""

    name: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    directory: Path


class Child:
    """Keeps one program running from `start` until `stop`. Belongs to the event loop."""

    def __init__(self, program: Program, *, on_death: Callable[[], None]) -> None:
        """`on_death` is called each time the process has ended without being asked to."""
        self.name = program.name
        self._program = program
        self._on_death = on_death
        self._task: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._spawning = asyncio.Lock()
        self._stopping = False
        self._started_at = 0.0
        self._restarts = 0
        self._deaths_in_a_row = 0
        self._outage = False
        self._log = ChildLog(program.name)

    def start(self) -> None:
        """Begin. The process must be started from the main thread: see racer.process."""
        self._task = asyncio.create_task(self._keep_alive(), name=f"child {self.name}")
        self._task.add_done_callback(self._given_up)

    @property
    def patience_s(self) -> float:
        """How long it may still take to answer; none for one that dies again and again."""
        if self._deaths_in_a_row > 2:
            return 0.0
        age = time.monotonic() - self._started_at if self._process is not None else 0.0
        return max(0.0, SETTLING_S - age)

    def status(self) -> dict[str, Any]:
        """For `/readyz`: is it up, as which process, how often was it started again."""
        running = self._process is not None
        return {
            "state": "running" if running else "restarting" if self._outage else "starting",
            "pid": self._process.pid if self._process is not None else None,
            "restarts": self._restarts,
            "last_words": self._log.last_words,
        }

    async def stop(self) -> None:
        """SIGTERM, then SIGKILL after a second; the process is gone when this returns."""
        self._stopping = True
        if self._task is None:
            return
        async with self._spawning:  # never between the fork and the note of the pid
            process = self._process
        if process is not None:
            await _end(process)
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _keep_alive(self) -> None:
        while True:
            ending = await self._run_once()
            if self._stopping:
                return
            if time.monotonic() - self._started_at > HEALTHY_S:
                self._deaths_in_a_row = 0
            if not self._outage:
                self._outage = True
                log.error(
                    f"The {self.name} died and is started again",
                    ending=ending,
                    last_words=self._log.last_words,
                )
            self._on_death()
            await asyncio.sleep(min(MIN_DELAY_S * 2.0**self._deaths_in_a_row, MAX_DELAY_S))
            self._deaths_in_a_row += 1
            self._restarts += 1

    def _given_up(self, task: asyncio.Task[None]) -> None:
        """Nobody awaits this task while all is well; its failure must not go unnoticed."""
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(f"The {self.name} is not kept alive any more", exc_info=error)

    async def _run_once(self) -> str:
        """Run the program to its end; returns how it ended."""
        self._started_at = time.monotonic()
        try:
            process = await self._spawn()
        except OSError as error:  # out of processes or memory: try again later
            return f"could not be started: {error}"
        settled = asyncio.get_running_loop().call_later(STABLE_S, self._back)
        try:
            if process.stdout is not None:
                await self._log.forward(process.stdout)
            code = await process.wait()
        finally:
            settled.cancel()
            self._process = None
            if process.returncode is None:  # cancelled without `stop`: the loop is being torn down
                _signal(process, signal.SIGKILL)
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def _spawn(self) -> asyncio.subprocess.Process:
        own = {PARENT_VARIABLE: str(os.getpid()), "LOG_FORMAT": "json", "PYTHONUNBUFFERED": "1"}
        async with self._spawning:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                *self._program.arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                cwd=self._program.directory,
                env=os.environ | self._program.environment | own,
                start_new_session=True,
            )
        return self._process

    def _back(self) -> None:
        if self._outage:
            self._outage = False
            log.info(f"The {self.name} is back", **self.status())


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process, and whatever it started that is still in its process group.

    The leader gets SIGTERM and a second to end in good order; what is left of the group then, the
    leader or processes that outlived it, gets SIGKILL.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal(process, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """To the whole process group. Its number is not given to another process while a member is
    left; an empty group is a ProcessLookupError."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
