"""Executes runs: keeps a training process for each that it claims, and writes its reports.

Every server process has one of these, and any number of them share a database
(racer.jobs.executor, racer.training.leases). A run whose training process was killed, or whose
server was, goes on from its last checkpoint with the next attempt, here or in another process.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models import ACTIVE, Status
from racer.folders import Folders
from racer.jobs.child import ChildFailedError, ChildInterruptedError
from racer.jobs.executor import LEASE_S, RELEASE_S, Executor, Held, Leases, plain
from racer.jobs.store import Store
from racer.settings import Settings
from racer.training import leases, run_files
from racer.training.executors import Launch, executor_of
from racer.training.leases import Attempt
from racer.training.memory import Budget, needed_mb

_LEASES = Leases(
    leases.leased, leases.claim, leases.free_runs_of_the_dead, leases.renew, leases.release
)
_TIDIED = 100  # runs at once

log = structlog.get_logger(__name__)


class _End(NamedTuple):
    """Of an attempt; without a status it was interrupted."""

    status: Status | None
    why: str = ""
    blameless: bool = False


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
        self._where = executor_of(settings)
        self._comparing: asyncio.Task[None] | None = None
        self._runs_dir = settings.data_dir.resolve() / "runs"
        self._compile_cache = settings.data_dir.resolve() / "jax_cache"
        self._budget = Budget(most_mb=settings.training_memory_mb)
        self.short_of_memory = False  # whether the next run waits for some
        self._needs_mb: dict[str, int] = {}  # of the runs that are executed here
        self._ended: set[str] = set()  # runs whose checkpoints may be too many
        self._left: set[str] = set()  # those of them that were executed here

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

    async def claim(self, executing: Collection[str], silent: Collection[Held]) -> Attempt | None:
        """The next run, when there is memory for it."""
        short = False
        running = {str(self._runs_dir / run): need for run, need in self._needs_mb.items()}

        def affordable(config: dict[str, Any]) -> bool:
            nonlocal short
            here = not self._where.outlives_us  # a cluster has memory of its own
            short = here and not self._budget.fits(needed_mb(config), running)
            return not short

        attempt = await self._store.write(
            leases.claim, self._name, executing=executing, silent=silent, affordable=affordable
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
        self._left.add(row_id)

    async def _forget_checkpoints(self) -> None:
        """Delete those that nobody goes on with: whoever ended the run, and wherever."""
        if not (ended := sorted(self._ended)[:_TIDIED]):
            return
        self._ended.difference_update(ended)  # first: one that ends meanwhile comes back
        try:
            statuses = await self._store.read(leases.statuses_of, ended)
        except SQLAlchemyError:
            self._ended.update(ended)
            raise
        executed, self._left = self._left & set(ended), self._left - set(ended)
        for run_id in executed - statuses.keys():
            # Another server deleted it, and our process may have made its folder anew since.
            await asyncio.to_thread(Folders(self._runs_dir).discard, run_id)
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
            return _End(None, plain(interruption), interruption.blameless)
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
            log.warning("training_interrupted", **fields, why=end.why)
            if end.blameless:
                await self._store.write_patiently(leases.release, attempt)
            else:
                await self._store.write_patiently(leases.interrupted, attempt, end.why)
        elif await self._store.write_patiently(
            leases.end_attempt, attempt, end.status, end.why or None
        ):
            log.info("training_ended", **fields, status=end.status.value, error=end.why)

    async def _train(self, attempt: Attempt) -> None:
        epochs = self._where.epochs_of(self._launch(attempt))
        async with aclosing(epochs):
            async for told in epochs:
                if "waiting" in told:
                    why = told["waiting"]
                    await self._store.write_patiently(leases.record_wait, attempt, why)
                elif "resolved" in told:
                    await self._store.write_patiently(leases.record_process, attempt, told)
                elif not await self._store.write_patiently(leases.record_epoch, attempt, told):
                    raise ChildFailedError("The drone model or its training was deleted.")
                self.news(attempt.id)

    def _launch(self, attempt: Attempt) -> Launch:
        return Launch(
            run_id=attempt.id,
            attempt=attempt.number,
            program=self._program,
            config=attempt.config | {"compile_cache": str(self._compile_cache)},
            folder=self._runs_dir / attempt.id,
            after=attempt.known_epochs,
        )

    # -- processes that outlive us

    async def __aenter__(self) -> Self:
        """As Executor says; and look for processes elsewhere that nobody wants."""
        await super().__aenter__()
        if self._where.outlives_us:
            self._comparing = asyncio.create_task(self._end_unwanted_for_ever())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """As Executor says; what outlives us goes on meanwhile."""
        if self._comparing is not None:
            self._comparing.cancel()
            await asyncio.gather(self._comparing, return_exceptions=True)
        await super().__aexit__(kind, error, traceback)
        await self._where.close()

    async def after(self, attempt: Attempt) -> None:
        """End what goes on elsewhere if the run was closed; not if it waits for whoever comes
        next, or somebody else has it."""
        if not self._where.outlives_us:
            return
        wanted: Collection[str] = (attempt.id,)
        with suppress(TimeoutError, SQLAlchemyError):  # then it is compared later
            async with asyncio.timeout(RELEASE_S):
                wanted = await self._wanted(wanted)
        if not wanted:
            await self._where.end(attempt.id)

    async def _end_unwanted_for_ever(self) -> None:
        """End what goes on elsewhere for runs that were closed while nobody here followed them."""
        while True:
            try:
                await self._where.end_unwanted(self._wanted)
            except Exception:  # the database is away, most likely; later, then
                log.exception("jobs_not_compared")
            await asyncio.sleep(LEASE_S)

    async def _wanted(self, run_ids: Collection[str]) -> Collection[str]:
        return await self._store.read(leases.wanted_among, run_ids)
