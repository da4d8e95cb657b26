"""Where training processes run: beside the server, or on a Ray cluster.

An executor runs one attempt of a run and yields what its process says. Everything else (leases,
fencing, what is on record) is the business of racer.training.workers and the same everywhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

from racer.settings import Settings
from racer.training import run_files
from racer.training.worker_process import epochs_of

Wanted = Callable[[Collection[str]], Awaitable[Collection[str]]]


@dataclass(frozen=True)
class Launch:
    """One attempt of a run."""

    run_id: str
    attempt: int
    program: tuple[str, ...]
    config: dict[str, Any]
    folder: Path  # of the run
    after: int  # epochs up to this one are on record

    @property
    def config_file(self) -> Path:
        """What the process reads."""
        return self.folder / "config.json"

    @property
    def log_file(self) -> Path:
        """Its standard error."""
        return self.folder / run_files.LOG

    @property
    def command(self) -> list[str]:
        """The process's command line."""
        told = ["--config", str(self.config_file), "--output", str(self.folder)]
        return [*self.program, *told, "--resume-after", str(self.after)]

    def prepare(self) -> None:
        """Make the run's folder with the configuration in it."""
        self.folder.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        beside = self.folder / f".config.json.{uuid4().hex}.new"  # servers' process ids are alike
        try:
            beside.write_text(json.dumps(self.config, indent=2) + "\n", encoding="utf-8")
            beside.replace(self.config_file)
        finally:
            beside.unlink(missing_ok=True)


class Executor(Protocol):
    """Runs attempts. Nothing is known here of the database."""

    outlives_us: bool  # whether processes go on when the server ends

    def epochs_of(self, launch: Launch) -> AsyncGenerator[dict[str, Any], None]:
        """Run the attempt, or follow a process of that run which goes on from an earlier one.

        Yields and raises as racer.training.worker_process.epochs_of does, and yields
        `{"waiting": text}` when nothing goes on for a reason of the executor's, `{"waiting": None}`
        when that is over. When the caller leaves early, the process is gone, unless it outlives us.
        """
        ...

    async def end(self, run_id: str) -> None:
        """End what goes on for a run that nobody wants executed any more. Does not raise."""
        ...

    async def end_unwanted(self, wanted: Wanted) -> None:
        """End what goes on for runs that are not wanted. Does not raise for an executor's faults.

        `wanted` says which of some run ids are."""
        ...

    async def close(self) -> None:
        """Let go of connections; processes that outlive us go on."""
        ...


class LocalExecutor:
    """A child process of this one."""

    outlives_us = False

    async def epochs_of(self, launch: Launch) -> AsyncGenerator[dict[str, Any], None]:
        """As Executor says."""
        await asyncio.to_thread(launch.prepare)
        epochs = epochs_of(launch.command, log_file=launch.log_file, after=launch.after)
        async with aclosing(epochs):
            async for message in epochs:
                yield message

    async def end(self, run_id: str) -> None:
        """It ended with whoever followed it."""

    async def end_unwanted(self, wanted: Wanted) -> None:
        """Nothing goes on that nobody follows."""

    async def close(self) -> None:
        """There is nothing to let go of."""


def executor_of(settings: Settings) -> Executor:
    """What EXECUTOR names."""
    if settings.executor == "local":
        return LocalExecutor()
    # Only where it is wanted: it brings an HTTP client along.
    from racer.training.ray_executor import RayExecutor  # noqa: PLC0415

    return RayExecutor(settings)
