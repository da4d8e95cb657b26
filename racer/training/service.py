"""Trainings as the rest of the product sees them: start, follow, cancel, look up.

A run is a row; this service executes rows. One asyncio task a run waits for a slot, keeps a child
process (worker_process) and writes what it reports. Nothing else holds state that matters, so a
server that is killed loses nothing: at the next start every run it left behind begins again from
its first epoch with a new attempt number. Runs are seeded, hence the curve is the same.

Followers read the database, always: the task only rings a bell. Whoever is late gets everything
from the first epoch, whoever is slow reads several at once, and nobody costs memory.
All SQL runs in threads; a session is never held across a wait.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from models import Status, UserDroneModel
from racer.errors import ConflictError, NotFoundError, UnavailableError
from racer.settings import Settings
from racer.training import queries
from racer.training.demonstration import demonstration_drone
from racer.training.queries import ACTIVE, Attempt, Progress
from racer.training.store import Store
from racer.training.worker_process import TrainingFailedError, epochs_of
from schemas import DroneDetails

Message = dict[str, Any]

WORKER: Sequence[str] = (sys.executable, "-m", "racer.learning.worker")
_SEED = 0
_ORPHAN_POLL_S = 1.0  # how often a follower looks at a run that no task here executes

log = structlog.get_logger(__name__)


class TrainingService:
    """Executes training runs; an async context manager that lives as long as the server."""

    def __init__(
        self,
        settings: Settings,
        session_factory: sessionmaker[Session],
        *,
        worker: Sequence[str] = WORKER,
    ) -> None:
        """`worker` is the training program, called with `--config FILE --output DIR`."""
        self._store = Store(session_factory)
        self._worker = tuple(worker)
        self._runs_dir = settings.data_dir.resolve() / "runs"
        self._compile_cache = settings.data_dir.resolve() / "jax_cache"
        self._slots = asyncio.Semaphore(settings.max_trainings)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._bells: dict[str, asyncio.Event] = {}
        self._reads: dict[tuple[str, int, asyncio.Event | None], asyncio.Task[Progress | None]] = {}
        self._starting = asyncio.Lock()  # one looks for a run's task and makes it, then the next
        self._closing = False

    async def __aenter__(self) -> Self:
        """Queue again what an earlier server left unfinished."""
        left = await self._store.write(queries.requeue_unfinished)
        for run_id, number in left.items():
            self._enqueue(run_id, number)
        if left:
            log.info("trainings_resumed", runs=len(left))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop every training process within a second; the runs stay for the next start."""
        self._closing = True
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
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
        """The id of the model's run, and whether a task was made for it just now."""
        async with self._starting:
            if self._closing:
                raise UnavailableError(
                    "The server is stopping. Start the training again afterwards."
                )
            run = await self._store.write(queries.start_or_join, drone_id, _configure, again=again)
            if run.status not in ACTIVE or run.id in self._tasks:
                return run.id, False
            number: int | None = run.attempt
            if run.status is Status.TRAINING:
                # Its task gave up on a database that was away for long: as after a server's death.
                number = await self._store.write(queries.requeue, run.id)
            if number is None or self._closing:  # cancelled, or left for the next start, meanwhile
                return run.id, False
            self._enqueue(run.id, number)
            return run.id, True

    async def cancel(self, drone_id: str) -> None:
        """End the model's training now. Raises NotFoundError, or ConflictError when none runs."""
        run_id = await self._store.write(queries.cancel, drone_id)
        log.info("training_cancelled", run_id=run_id, drone_id=drone_id)
        if task := self._tasks.get(run_id):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._ring(run_id)

    async def is_open(self, drone_id: str) -> bool:
        """Whether the model's account has no password, so that anybody may start its training."""
        return await self._store.read(queries.is_open, drone_id)

    async def follow(self, drone_id: str) -> AsyncGenerator[Message, None]:
        """The newest run's messages from its first epoch to its end; what `/ws/train` sends.

        Ends without a last message when the server stops. Raises NotFoundError for an unknown
        model, ConflictError for one that was never trained.
        """
        run = await self._store.read(queries.newest_run, drone_id)
        if run is None:
            raise ConflictError("This drone model has not been trained yet. Start its training.")
        last = 0
        while not self._closing:
            bell = self._bells.get(run.id)  # taken before reading: no ring falls in between
            progress = await self._progress(run.id, last, bell)
            if progress is None:
                yield _failure("The drone model was deleted, and its training with it.")
                return
            for message in progress.epochs:
                yield message
                last = message["epoch"]
            if progress.status is Status.FINISHED:
                yield {"done": True, "message": "Training completed!"}
                return
            if progress.status not in ACTIVE:
                yield _failure(progress.error or f"The training has {progress.status}.")
                return
            await self._news(bell)

    async def _progress(
        self, run_id: str, after: int, bell: asyncio.Event | None
    ) -> Progress | None:
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

    def _enqueue(self, run_id: str, number: int) -> None:
        self._bells[run_id] = asyncio.Event()
        task = asyncio.create_task(self._execute(run_id, number), name=f"training {run_id}")
        self._tasks[run_id] = task
        task.add_done_callback(lambda task: self._forget(run_id, task))

    def _forget(self, run_id: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(run_id) is task:
            del self._tasks[run_id]
            self._bells.pop(run_id).set()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("training_not_executed", run_id=run_id, exc_info=error)

    def _ring(self, run_id: str) -> None:
        """Wake every follower of the run; the next ones wait for the next ring."""
        if run_id in self._bells:
            self._bells[run_id].set()
            self._bells[run_id] = asyncio.Event()

    async def _news(self, bell: asyncio.Event | None) -> None:
        """Wait for a ring, or a moment when no task here rings for the run."""
        if bell is not None:
            await bell.wait()
        else:
            await asyncio.sleep(_ORPHAN_POLL_S)

    async def _execute(self, run_id: str, number: int) -> None:
        """One attempt of one run, from the queue to its end."""
        structlog.contextvars.unbind_contextvars("request_id")  # it outlives who asked for it
        async with self._slots:
            attempt = await self._store.write_patiently(queries.begin_attempt, run_id, number)
            if attempt is None:
                return
            self._ring(run_id)
            log.info("training_started", run_id=run_id, attempt=attempt.number)
            error = None
            try:
                await self._train(attempt)
            except TrainingFailedError as failure:
                error = str(failure).replace("\0", "")  # PostgreSQL's text holds none
            except OSError as failure:
                error = f"The training process could not be run: {failure}"
            status = Status.FAILED if error else Status.FINISHED
            if await self._store.write_patiently(queries.end_attempt, attempt, status, error):
                log.info("training_ended", run_id=run_id, status=status.value, error=error)

    async def _train(self, attempt: Attempt) -> None:
        command, log_file = await asyncio.to_thread(self._prepare, attempt)
        async with aclosing(epochs_of(command, log_file=log_file)) as epochs:
            async for metrics in epochs:
                if not await self._store.write_patiently(queries.record_epoch, attempt, metrics):
                    raise TrainingFailedError("The drone model or its training was deleted.")
                self._ring(attempt.run_id)

    def _prepare(self, attempt: Attempt) -> tuple[list[str], Path]:
        """An empty directory with the worker's configuration: nothing of an older attempt."""
        directory = self._runs_dir / attempt.run_id
        with suppress(FileNotFoundError):
            shutil.rmtree(directory)
        self._runs_dir.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(parents=True)
        config = directory / "config.json"
        given = attempt.config | {"compile_cache": str(self._compile_cache)}
        config.write_text(json.dumps(given, indent=2) + "\n", encoding="utf-8")
        command = [*self._worker, "--config", str(config), "--output", str(directory)]
        return command, directory / "worker.log"


def _failure(message: str) -> Message:
    return {"error": message, "done": True}


def _configure(model: UserDroneModel) -> dict[str, Any]:
    """The worker's configuration of a drone model; the strings in it were checked on entry."""
    flight = DroneDetails.model_validate(model.drone_details).flight_settings()
    return {
        "algorithm": flight.algorithm,
        "epochs": model.training_epochs,
        "seed": _SEED,
        "track": "toledo",
        "airframe": "x500",
        "altitude_m": flight.altitude_m,
        "velocity_limit_m_s": flight.velocity_limit_m_s,
        "yaw_limit_deg_s": flight.yaw_limit_deg_s,
        "wind_speed_m_s": flight.wind_speed_m_s,
    } | ({} if flight.reward is None else {"reward": flight.reward})
