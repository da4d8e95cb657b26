"""Trainings as the rest of the product sees them: start, follow, cancel, look up.

A run is a row; racer.training.workers executes rows. Nothing else holds state that matters, so a
server that is killed loses nothing: every run that it left behind goes on from its last checkpoint,
bit for bit.

Followers read the database, always: who executes a run only rings a bell. Whoever is late gets
everything from the first epoch, whoever is slow reads several at once, and nobody costs memory.
All SQL runs in threads; a session is never held across a wait.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from weakref import WeakValueDictionary

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from auth import Visitor
from models import ACTIVE, Status, new_uuid
from racer.errors import ConflictError, NotFoundError, RacerError, UnavailableError
from racer.folders import Folders, confirm, doubt_if_possible
from racer.jobs.executor import LOOK_S
from racer.jobs.store import Store
from racer.settings import Settings
from racer.training import queries, run_queries
from racer.training.demonstration import demonstration_drone
from racer.training.queries import Progress, Wanted
from racer.training.run_files import forget_results, last_log_lines
from racer.training.run_queries import RunView
from racer.training.schemas import Sweep
from racer.training.wanted import configure, lay_weights, runs_of, weights_not_copied
from racer.training.workers import Workers

Message = dict[str, Any]

WORKER: Sequence[str] = (sys.executable, "-m", "racer.learning.worker")

log = structlog.get_logger(__name__)


class TrainingService:
    """Executes training runs; an async context manager that lives as long as the server."""

    def __init__(
        self,
        settings: Settings,
        session_factory: sessionmaker[Session],
        *,
        worker: Sequence[str] = WORKER,
        heard: Callable[[str], None] | None = None,
    ) -> None:
        """`worker` is the training program, called with `--config FILE --output DIR`. `heard` is
        told the id of each run of which there is something new, its end too."""
        self._store = Store(session_factory)
        self._workers = Workers(settings, self._store, worker, news=self._ring)
        self._runs_dir = settings.data_dir.resolve() / "runs"
        self._folders = Folders(self._runs_dir)
        self._bells: WeakValueDictionary[str, asyncio.Event] = WeakValueDictionary()
        self._reads: dict[tuple[str, int, asyncio.Event], asyncio.Task[Progress | None]] = {}
        self._closing = False
        self._heard = heard

    async def __aenter__(self) -> Self:
        """Remove the files of runs that an earlier server deleted, or did not come to make, and go
        on with what it left unfinished."""
        try:
            if removed := await asyncio.to_thread(self._folders.tidy_up, self._known):
                log.info("run_folders_removed", folders=removed)
        except OSError as error:  # each training tells it, too
            log.warning("run_folders_not_tidied_up", error=str(error))
        await self._workers.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop every training process within a second; the runs stay for the next start."""
        self._closing = True
        await self._workers.__aexit__(kind, error, traceback)
        for run_id in list(self._bells):
            self._ring(run_id)

    async def start(self, drone_id: str, *, again: bool = False) -> str:
        """Start the model's training unless one runs or has finished; the run's id.

        `again` trains a finished model anew. A failed or cancelled training starts afresh, as a
        new run. Raises NotFoundError for an unknown model.
        """
        run_id, _ = await self._start_or_join(drone_id, again=again)
        return run_id

    async def start_again(self, drone_id: str) -> bool:
        """Train the model, a finished one anew; False when its training is under way already.

        Raises NotFoundError for an unknown model.
        """
        _, queued = await self._start_or_join(drone_id, again=True)
        return queued

    async def _start_or_join(self, drone_id: str, *, again: bool) -> tuple[str, bool]:
        """The id of the model's run, and whether it was made just now."""
        if self._closing:
            raise UnavailableError("The server is stopping. Start the training again afterwards.")
        run_id, is_new = await self._store.write(
            queries.start_or_join, drone_id, configure, again=again
        )
        self._workers.wake()
        return run_id, is_new

    async def sweep(self, drone_id: str, wanted: Sweep, visitor: Visitor) -> list[RunView]:
        """Queue a run of the model for each seed with each variant of its settings.

        Raises NotFoundError for an unknown model, run or policy to continue, InvalidInputError for
        a variant that means nothing, weights of another kind or a policy without any, ConflictError
        for a run without any.
        """

        planned = await self._store.read(runs_of, drone_id, wanted, visitor)
        runs = {new_uuid(): run for run in planned}

        def add(session: Session) -> None:
            model = queries.get_model(session, drone_id, lock=True)
            for run_id, run in runs.items():
                queries.add_run(session, model, run, run_id=run_id)

        with await asyncio.to_thread(self._hold, runs.values()):
            try:  # weights first: a run is claimed as soon as there is a row
                await asyncio.to_thread(lay_weights, self._runs_dir.parent, runs)
                await self._store.write(add)
            except RacerError:  # of anything else nobody knows whether the rows are there
                await asyncio.to_thread(self._delete_folders, runs)
                raise
            await asyncio.to_thread(self._confirm_folders, runs)
        self._workers.wake()
        return await self._views(runs)

    async def cancel(self, drone_id: str) -> None:
        """End the model's training now. Raises NotFoundError, or ConflictError when none runs."""
        run_id = await self._store.write(queries.cancel, drone_id)
        log.info("training_cancelled", run_id=run_id, drone_id=drone_id)
        await self._workers.stop(self._workers.work_on(run_id))
        self._workers.changed(run_id)
        self._ring(run_id)

    async def pause_run(self, run_id: str) -> RunView:
        """Let it rest. Raises NotFoundError, or ConflictError unless it waits or runs."""
        return await self._end(run_queries.pause_run, run_id)

    async def resume_run(self, run_id: str) -> RunView:
        """Queue it again; it goes on where it was. Raises NotFoundError or ConflictError."""
        ending = self._workers.work_on(run_id)  # what begins after the write is not meant
        await self._store.write(run_queries.resume_run, run_id)
        return await self._changed(run_id, ending)

    async def retry_run(self, run_id: str) -> RunView:
        """Queue it as if it had never begun. Raises NotFoundError or ConflictError."""
        ending = self._workers.work_on(run_id)

        def forget(run_id: str) -> None:
            forget_results(self._runs_dir / run_id)

        await self._store.write(run_queries.retry_run, run_id, forget=forget)
        return await self._changed(run_id, ending)

    async def log_of(self, run_id: str, *, lines: int) -> str:
        """The last lines of its processes' log. Raises NotFoundError."""
        run = await self._store.read(run_queries.get_run, run_id)
        return await asyncio.to_thread(last_log_lines, self._runs_dir / run.id, lines)

    @property
    def short_of_memory(self) -> bool:
        """Whether the next run waits until there is enough of it."""
        return self._workers.short_of_memory

    async def cancel_run(self, run_id: str) -> RunView:
        """End it now. Raises NotFoundError, or ConflictError when it has ended."""
        return await self._end(run_queries.cancel_run, run_id)

    async def delete_run(self, run_id: str) -> None:
        """Forget a run that has ended, with its files. Raises NotFoundError or ConflictError."""
        await self._store.write(run_queries.delete_run, run_id, doubt=self.doubt_files)
        await self.clear_away([run_id])
        log.info("run_deleted", run_id=run_id)

    async def clear_away(self, run_ids: Sequence[str]) -> None:
        """What is left of runs whose rows were deleted: processes, followers, files."""
        for run_id in run_ids:
            await self._workers.stop(self._workers.work_on(run_id))
            self._ring(run_id)
        await asyncio.to_thread(self._delete_folders, run_ids)

    def doubt_files(self, run_id: str) -> None:
        """Say of a run's files that they may be nobody's, in the transaction that deletes its row:
        if that is all that is done, the next start removes them."""
        doubt_if_possible(self._runs_dir / run_id)

    def _delete_folders(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            self._folders.discard(run_id)

    def _hold(self, runs: Iterable[Wanted]) -> AbstractContextManager[object]:
        """Until this is closed nobody takes new folders without a row to be left by a dead server.
        UnavailableError when the disk does not allow it."""
        if not any(run.config.get("initial") for run in runs):
            return nullcontext()  # folders come after their rows
        try:
            return self._folders.hold()
        except OSError as error:
            raise weights_not_copied(error) from error

    def _confirm_folders(self, run_ids: Iterable[str]) -> None:
        for run_id in run_ids:
            confirm(self._runs_dir / run_id)

    def _known(self, run_ids: Collection[str]) -> Collection[str]:
        return self._store.read_here(run_queries.known_among, run_ids)

    async def _end(self, change: Callable[[Session, str], None], run_id: str) -> RunView:
        await self._store.write(change, run_id)
        return await self._changed(run_id, self._workers.work_on(run_id))

    async def _changed(self, run_id: str, ending: asyncio.Task[None] | None) -> RunView:
        await self._workers.stop(ending)
        self._workers.changed(run_id)
        self._ring(run_id)
        [view] = await self._views([run_id])
        log.info("run_changed", run_id=run_id, status=view.run.status.value)
        return view

    async def _views(self, run_ids: Iterable[str]) -> list[RunView]:
        def read(session: Session) -> list[RunView]:
            runs = [run_queries.get_run(session, run_id) for run_id in run_ids]
            return run_queries.views(session, runs)

        return await self._store.read(read)

    async def follow(
        self, drone_id: str, *, run_id: str | None = None, after: int = 0
    ) -> AsyncGenerator[Message, None]:
        """The newest run's messages from its first epoch to its end; what `/ws/train` sends.

        `run_id` means that run of the model instead, `after` only its later epochs. Ends without a
        last message when the server stops. Raises NotFoundError for an unknown model or run,
        ConflictError for one that was never trained.
        """
        run = await self._store.read(queries.run_of, drone_id, run_id)
        if run is None:
            raise ConflictError("This drone model has not been trained yet. Start its training.")
        last = after
        while not self._closing:
            # Taken before reading, so that no ring falls in between.
            bell = self._bells.setdefault(run.id, asyncio.Event())
            progress = await self._progress(run.id, last, bell)
            if progress is None:
                yield _failure("The training was deleted.")
                return
            for message in progress.epochs:
                yield message
                last = message["epoch"]
            if progress.status is Status.FINISHED:
                yield {"done": True, "message": "Training completed!"}
                return
            if progress.status is Status.PAUSED or progress.status not in ACTIVE:
                yield _failure(progress.error or f"The training has {progress.status}.")
                return
            await self._news(run.id, bell)

    async def _progress(self, run_id: str, after: int, bell: asyncio.Event) -> Progress | None:
        """What is new beyond epoch `after`: read once for all who ask at the same ring.

        A read that began before the newest ring must not serve those who heard it.
        """
        key = (run_id, after, bell)
        read = self._reads.get(key)
        if read is None:
            coroutine = self._store.read(queries.progress, run_id, after=after)
            read = self._reads[key] = asyncio.create_task(coroutine)
            read.add_done_callback(lambda _: self._reads.pop(key))
        return await asyncio.shield(read)  # one follower's leaving is not the others'

    async def default_drone(self) -> str:
        """Which model `/ws/train` without a parameter means."""
        if newest := await self._store.read(queries.newest_open_drone):
            return newest
        try:
            drone_id = await self._store.write(demonstration_drone)
        except IntegrityError:  # two first visitors at once: the other one made it
            drone_id = await self._store.write(demonstration_drone)
        if drone_id is None:
            raise NotFoundError("No open account has a training. Name a model with ?drone_id=….")
        return drone_id

    def flight_path(self, drone_id: str) -> Path | None:
        """The newest recorded flight of the model; reads the database, so call it in a thread."""
        for run_id in self._store.read_here(queries.run_ids, drone_id):
            path = self._runs_dir / run_id / "flight.npz"
            if path.is_file():
                return path
        return None

    async def policy_run(self, name: str) -> str:
        """The id of the run whose policy is meant by `name`: a drone model's id stands for its
        newest finished run, any other text for itself. NotFoundError for an untrained model."""
        return await self._store.read(queries.policy_run, name)

    def _ring(self, run_id: str) -> None:
        """Wake every follower of the run; the next ones wait for the next ring."""
        if (bell := self._bells.pop(run_id, None)) is not None:
            bell.set()
        if self._heard is not None:
            self._heard(run_id)

    async def _news(self, run_id: str, bell: asyncio.Event) -> None:
        """Wait for a ring, or a moment when another process executes the run."""
        with suppress(TimeoutError):
            async with asyncio.timeout(None if self._workers.executes(run_id) else LOOK_S):
                await bell.wait()


def _failure(message: str) -> Message:
    return {"error": message, "done": True}
