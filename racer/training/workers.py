"""Executes runs: keeps a training process for each that it claims, and writes its reports.

Every server process has one of these, and any number of them share a database
(racer.jobs.executor, racer.training.leases). A run whose training process was killed, or whose
server was, goes on from its last checkpoint with the next attempt, here or in another process.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models import Status
from racer.jobs.child import ChildFailedError, ChildInterruptedError
from racer.jobs.executor import Executor, Leases, plain
from racer.jobs.store import Store
from racer.settings import Settings
from racer.training import leases
from racer.training.leases import Attempt
from racer.training.worker_process import epochs_of

_CHECKPOINTS = "checkpoint-*.bin"  # racer.learning.checkpoint writes them

_LEASES = Leases(leases.claim, leases.free_runs_of_the_dead, leases.renew, leases.release)

log = structlog.get_logger(__name__)


class _End(NamedTuple):
    """Of an attempt; without a status it was interrupted."""

    status: Status | None
    why: str = ""


class Workers(Executor[Attempt, _End]):
    """An async context manager that lives as long as the server."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        program: Sequence[str],
        *,
        news: Callable[[str], None],
    ) -> None:
        """`program` is called with `--config FILE --output DIR`, and `--resume-after EPOCH` when
        it goes on. `news` is told the id of each run of which there is something new."""
        super().__init__(store, _LEASES, noun="training", most=settings.max_trainings)
        self._program, self._news = tuple(program), news
        self._runs_dir = settings.data_dir.resolve() / "runs"
        self._compile_cache = settings.data_dir.resolve() / "jax_cache"

    def news(self, row_id: str) -> None:
        """Tell whoever follows the run."""
        self._news(row_id)

    async def tidy_up(self) -> None:
        """Delete checkpoints that nobody goes on with, of runs whose end went unheard."""
        folders = [path.parent.name for path in self._runs_dir.glob(f"*/{_CHECKPOINTS}")]
        for run_id in await self._store.read(leases.finished_among, folders):
            await asyncio.to_thread(self._clear_checkpoints, run_id)

    async def work(self, attempt: Attempt) -> _End:
        """Train, and say how that ended."""
        try:
            await self._train(attempt)
        except ChildInterruptedError as interruption:
            return _End(None, plain(interruption))
        except ChildFailedError as failure:
            return _End(Status.PAUSED if failure.disk_full else Status.FAILED, plain(failure))
        except OSError as failure:
            why = f"The training process could not be run: {failure}"
            if failure.errno in (errno.ENOSPC, errno.EDQUOT):
                return _End(Status.PAUSED, why)
            memory = failure.errno in (errno.EAGAIN, errno.ENOMEM)  # there may be some later
            return _End(None if memory else Status.FAILED, why)
        except SQLAlchemyError:
            raise  # the run is claimed again when the database is back
        except Exception as fault:  # or it would be tried for ever
            log.exception("training_not_executed", id=attempt.id)
            return _End(
                Status.FAILED, f"The server stumbled over {type(fault).__name__}; see its log."
            )
        return _End(Status.FINISHED)

    async def conclude(self, attempt: Attempt, end: _End) -> None:
        """Close the run, or queue it again when its process was killed."""
        fields = {"id": attempt.id, "attempt": attempt.number}
        if end.status is None:
            again = await self._store.write_patiently(leases.interrupted, attempt, end.why)
            log.warning("training_interrupted", **fields, again=again, why=end.why)
        elif await self._store.write_patiently(
            leases.end_attempt, attempt, end.status, end.why or None
        ):
            log.info("training_ended", **fields, status=end.status.value, error=end.why)
            if end.status is Status.FINISHED:
                await asyncio.to_thread(self._clear_checkpoints, attempt.id)

    async def _train(self, attempt: Attempt) -> None:
        command, log_file = await asyncio.to_thread(self._prepare, attempt)
        epochs = epochs_of(command, log_file=log_file, after=attempt.known_epochs)
        async with aclosing(epochs):
            async for metrics in epochs:
                if "resolved" in metrics:
                    await self._store.write_patiently(leases.record_process, attempt, metrics)
                    continue
                if not await self._store.write_patiently(leases.record_epoch, attempt, metrics):
                    raise ChildFailedError("The drone model or its training was deleted.")
                self.news(attempt.id)

    def _prepare(self, attempt: Attempt) -> tuple[list[str], Path]:
        """The run's folder with the worker's configuration."""
        directory = self._runs_dir / attempt.id
        self._runs_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(parents=True, exist_ok=True)
        config = directory / "config.json"
        given = attempt.config | {"compile_cache": str(self._compile_cache)}
        config.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")
        command = [*self._program, "--config", str(config), "--output", str(directory)]
        command += ["--resume-after", str(attempt.known_epochs)]
        return command, directory / "worker.log"

    def _clear_checkpoints(self, run_id: str) -> None:
        """Nobody goes on with it: the last report and the end are on record."""
        for path in (self._runs_dir / run_id).glob(_CHECKPOINTS):
            path.unlink(missing_ok=True)
