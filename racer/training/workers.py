"""Executes runs: claims them under a lease, keeps a training process for each, writes its reports.

Every server process has one of these, and any number of them share a database
(racer.training.leases). A run whose training process was killed, or whose server was, goes on from
its last checkpoint with the next attempt, here or in another process.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import aclosing, suppress
from types import TracebackType
from typing import NamedTuple, Self
from uuid import uuid4

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models import Status
from racer.settings import Settings
from racer.training import leases
from racer.training.executors import Launch, executor_of
from racer.training.holders import is_dead, this_process
from racer.training.leases import LEASE_S, Attempt
from racer.training.store import Store
from racer.training.transcript import TrainingFailedError, TrainingInterruptedError

LOOK_S = 1.0  # between looks for what other processes did
_CHECKPOINTS = "checkpoint-*.bin"  # racer.learning.checkpoint writes them
_RELEASE_S = 0.3  # a server that stops takes a second altogether

log = structlog.get_logger(__name__)


class Workers:
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
        self._store, self._program, self._news = store, tuple(program), news
        self._executor = executor_of(settings)
        self._runs_dir = settings.data_dir.resolve() / "runs"
        self._compile_cache = settings.data_dir.resolve() / "jax_cache"
        self._most = settings.max_trainings
        self._name = f"{this_process()} {uuid4().hex}"
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._look = asyncio.Event()
        self._background: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        """Begin to look for runs; those that dead processes of this machine left come first."""
        await self._free_runs_of_the_dead()
        await self._tidy_up()
        self._background.append(asyncio.create_task(self._claim_for_ever()))
        if self._executor.outlives_us:
            self._background.append(asyncio.create_task(self._end_unwanted_for_ever()))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop every training process of ours within a second; the runs stay for whoever comes
        next, and what outlives us goes on meanwhile."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for task in (tasks := list(self._tasks.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._executor.close()

    def wake(self) -> None:
        """There may be something to claim."""
        self._look.set()

    def work_on(self, run_id: str) -> asyncio.Task[None] | None:
        """This process's work on a run, for `stop`."""
        return self._tasks.get(run_id)

    async def stop(self, work: asyncio.Task[None] | None) -> None:
        """End work on a run that was closed or paused."""
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)

    def executes(self, run_id: str) -> bool:
        """Whether the run is executed here."""
        return run_id in self._tasks

    async def _claim_for_ever(self) -> None:
        failing, looked_s = False, time.monotonic()
        while True:
            self._look.clear()
            try:
                if time.monotonic() - looked_s > LEASE_S / 3:
                    looked_s = time.monotonic()
                    await self._free_runs_of_the_dead()
                while len(self._tasks) < self._most and await self._claim():
                    pass
                failing = False
            except Exception as error:  # whatever it is, trainings must go on when it is over
                if not failing:
                    log.exception("trainings_not_claimed", error=str(error))
                failing = True
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._look.wait()

    async def _end_unwanted_for_ever(self) -> None:
        """End what goes on elsewhere for runs that were closed while nobody here followed them."""
        while True:
            try:
                await self._executor.end_unwanted(self._wanted)
            except Exception:  # the database is away, most likely; later, then
                log.exception("jobs_not_compared")
            await asyncio.sleep(LEASE_S)

    async def _wanted(self, run_ids: Collection[str]) -> Collection[str]:
        return await self._store.read(leases.wanted_among, run_ids)

    async def _free_runs_of_the_dead(self) -> None:
        if freed := await self._store.write_patiently(leases.free_runs_of_the_dead, is_dead):
            log.info("trainings_resumed", runs=len(freed))

    async def _tidy_up(self) -> None:
        """Delete checkpoints that nobody goes on with, of runs whose end went unheard."""
        folders = [path.parent.name for path in self._runs_dir.glob(f"*/{_CHECKPOINTS}")]
        for run_id in await self._store.read(leases.finished_among, folders):
            await asyncio.to_thread(self._clear_checkpoints, run_id)

    async def _claim(self) -> bool:
        executing = list(self._tasks)
        attempt = await self._store.write(leases.claim, self._name, executing=executing)
        if attempt is None:
            return False
        task = asyncio.create_task(self._execute(attempt), name=f"training {attempt.run_id}")
        self._tasks[attempt.run_id] = task
        task.add_done_callback(lambda task: self._forget(attempt.run_id, task))
        return True

    def _forget(self, run_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run_id) is task:
            del self._tasks[run_id]
        self._news(run_id)
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("training_not_executed", run_id=run_id, exc_info=error)

    async def _execute(self, attempt: Attempt) -> None:
        """One attempt of one run."""
        self._news(attempt.run_id)
        fields = {"run_id": attempt.run_id, "attempt": attempt.number}
        keeping = asyncio.create_task(self._keep(attempt, asyncio.current_task()))
        try:
            # Between the claim and here somebody may have paused it, or we may have been stopped.
            if not await self._store.write_patiently(leases.renew, attempt):
                return
            log.info("training_started", **fields, after_epoch=attempt.known_epochs)
            end = await self._end_of(attempt)
            keeping.cancel()  # a run that has ended is no lost lease
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
                if end.status is Status.FINISHED:
                    await asyncio.to_thread(self._clear_checkpoints, attempt.run_id)
        except asyncio.CancelledError:
            with suppress(TimeoutError, SQLAlchemyError):  # then the lease has to run out
                async with asyncio.timeout(_RELEASE_S):
                    await self._store.write(leases.release, attempt)
            raise
        finally:
            keeping.cancel()
            if self._executor.outlives_us:
                await self._end_if_unwanted(attempt.run_id)

    async def _end_if_unwanted(self, run_id: str) -> None:
        """The run was closed; not if it waits for whoever comes next, or somebody else has it."""
        wanted: Collection[str] = (run_id,)
        with suppress(TimeoutError, SQLAlchemyError):  # then it is compared later
            async with asyncio.timeout(_RELEASE_S):
                wanted = await self._wanted(wanted)
        if not wanted:
            await self._executor.end(run_id)

    async def _end_of(self, attempt: Attempt) -> _End:
        """Train, and say how that ended."""
        try:
            await self._train(attempt)
        except TrainingInterruptedError as interruption:
            return _End(None, _plain(interruption), interruption.blameless)
        except TrainingFailedError as failure:
            return _End(Status.PAUSED if failure.disk_full else Status.FAILED, _plain(failure))
        except OSError as failure:
            why = f"The training process could not be run: {failure}"
            if failure.errno in (errno.ENOSPC, errno.EDQUOT):
                return _End(Status.PAUSED, why)
            memory = failure.errno in (errno.EAGAIN, errno.ENOMEM)  # there may be some later
            return _End(None if memory else Status.FAILED, why)
        except SQLAlchemyError:
            raise  # the run is claimed again when the database is back
        except Exception as fault:  # or it would be tried for ever
            log.exception("training_not_executed", run_id=attempt.run_id)
            return _End(
                Status.FAILED, f"The server stumbled over {type(fault).__name__}; see its log."
            )
        return _End(Status.FINISHED)

    async def _keep(self, attempt: Attempt, work: asyncio.Task[None] | None) -> None:
        """Renew the lease, and end the work when it is lost: when the database says so, or when
        nobody can tell for so long that another process may have taken the run."""
        renewed_s, ours = time.monotonic(), True
        while ours and time.monotonic() - renewed_s < LEASE_S:
            await asyncio.sleep(LEASE_S / 5)
            with suppress(SQLAlchemyError, TimeoutError):
                async with asyncio.timeout(LEASE_S / 5):
                    ours = await self._store.write(leases.renew, attempt)
                renewed_s = time.monotonic()
        log.warning("training_lease_lost", run_id=attempt.run_id, attempt=attempt.number)
        if work is not None:
            work.cancel()

    async def _train(self, attempt: Attempt) -> None:
        epochs = self._executor.epochs_of(self._launch(attempt))
        async with aclosing(epochs):
            async for told in epochs:
                if "waiting" in told:
                    why = told["waiting"]
                    await self._store.write_patiently(leases.record_wait, attempt, why)
                elif "resolved" in told:
                    await self._store.write_patiently(leases.record_process, attempt, told)
                elif not await self._store.write_patiently(leases.record_epoch, attempt, told):
                    raise TrainingFailedError("The drone model or its training was deleted.")
                self._news(attempt.run_id)

    def _launch(self, attempt: Attempt) -> Launch:
        return Launch(
            run_id=attempt.run_id,
            attempt=attempt.number,
            program=self._program,
            config=attempt.config | {"compile_cache": str(self._compile_cache)},
            folder=self._runs_dir / attempt.run_id,
            after=attempt.known_epochs,
        )

    def _clear_checkpoints(self, run_id: str) -> None:
        """Nobody goes on with it: the last report and the end are on record."""
        for path in (self._runs_dir / run_id).glob(_CHECKPOINTS):
            path.unlink(missing_ok=True)


class _End(NamedTuple):
    """Of an attempt; without a status it was interrupted."""

    status: Status | None
    why: str = ""
    blameless: bool = False


def _plain(error: Exception) -> str:
    return str(error).replace("\0", "")  # PostgreSQL's text holds none
