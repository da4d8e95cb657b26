"""Executes runs: keeps a training process for each that it claims, and writes its reports.

Every server process has one of these, and any number of them share a database
(racer.jobs.executor, racer.training.leases). A run whose training process was killed, or whose
server was, goes on from its last checkpoint with the next attempt, here or in another process.
"""

from __future__ import annotations

import asyncio
import errno
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models import Status
from racer.jobs.child import ChildFailedError, ChildInterruptedError
from racer.jobs.executor import Executor, Leases, plain
from racer.jobs.store import Store
from racer.settings import Settings
from racer.training import leases, run_files
from racer.training.leases import Attempt
from racer.training.memory import Budget, needed_mb
from racer.training.queries import ACTIVE
from racer.training.worker_process import epochs_of

_LEASES = Leases(leases.claim, leases.free_runs_of_the_dead, leases.renew, leases.release)
_TIDIED = 100  # runs at once

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
        self._budget = Budget(most_mb=settings.training_memory_mb)
        self.short_of_memory = False  # whether the next run waits for some
        self._needs_mb: dict[str, int] = {}  # of the runs that are executed here
        self._ended: set[str] = set()  # runs whose checkpoints may be too many

    def changed(self, run_id: str) -> None:
        """The run was queued, or ended without this process."""
        self._ended.add(run_id)
        self.wake()

    def news(self, row_id: str) -> None:
        """Tell whoever follows the run."""
        self._news(row_id)

    async def tidy_up(self) -> None:
        """What earlier processes left."""
        self._ended |= set(await asyncio.to_thread(run_files.with_checkpoints, self._runs_dir))
        await self._forget_checkpoints()

    async def look(self) -> None:
        """Before each look for something to claim."""
        self.short_of_memory &= len(self._tasks) < self._most
        await self._forget_checkpoints()

    async def claim(self, executing: Collection[str]) -> Attempt | None:
        """The next run, when there is memory for it."""
        short = False
        running = {str(self._runs_dir / run): need for run, need in self._needs_mb.items()}

        def affordable(config: dict[str, Any]) -> bool:
            nonlocal short
            short = not self._budget.fits(needed_mb(config), running)
            return not short

        attempt = await self._store.write(
            leases.claim, self._name, executing=executing, affordable=affordable
        )
        if short and not self.short_of_memory:
            log.info("training_waits_for_memory", running=len(executing))
        self.short_of_memory = short
        if attempt is not None:
            self._needs_mb[attempt.id] = needed_mb(attempt.config)
        return attempt

    def left(self, row_id: str) -> None:
        """The run is executed here no more."""
        del self._needs_mb[row_id]
        self._ended.add(row_id)

    async def _forget_checkpoints(self) -> None:
        """Delete those that nobody goes on with: whoever ended the run, and wherever."""
        if not (ended := sorted(self._ended)[:_TIDIED]):
            return
        statuses = await self._store.read(leases.statuses_of, ended)
        self._ended.difference_update(ended)
        for run_id, status in statuses.items():
            if status in ACTIVE:
                continue
            finished = status is Status.FINISHED
            tidy = run_files.forget_checkpoints if finished else run_files.keep_newest_checkpoint
            try:
                await asyncio.to_thread(tidy, self._runs_dir / run_id)
            except OSError as error:
                log.warning("checkpoints_not_deleted", run_id=run_id, error=str(error))

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
        return command, directory / run_files.LOG
