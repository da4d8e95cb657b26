"""Executes jobs: keeps a child process for each that it claims, and records its end.

Every server process has one of these, and any number of them share a database
(racer.jobs.executor, racer.jobs.leases).
"""

from __future__ import annotations

import asyncio
import errno
import json
import time
from collections.abc import Collection
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from models import JobStatus
from racer.errors import NotFoundError
from racer.folders import Folders, confirm, doubt, doubt_if_possible
from racer.jobs import leases
from racer.jobs.child import ChildFailedError, ChildInterruptedError, Message, messages_of
from racer.jobs.executor import Executor, Leases, plain
from racer.jobs.kinds import JobKind
from racer.jobs.leases import Attempt, End
from racer.jobs.room import Room, is_job_id
from racer.jobs.store import Store
from racer.settings import Settings

_PROGRESS_S = 1.0  # between two writes of a job's progress
_LONGEST_RESULT_BYTES = 32 << 20  # 64 entrants, 64 gates, 20 laps: 6 MB

log = structlog.get_logger(__name__)


class Workers(Executor[Attempt, End]):
    """An async context manager that lives as long as the server."""

    def __init__(self, settings: Settings, store: Store, kinds: Collection[JobKind]) -> None:
        statements = Leases(
            leases.leased,
            partial(leases.claim, kinds=kinds),
            leases.free_jobs_of_the_dead,
            leases.renew,
            leases.release,
        )
        super().__init__(store, statements, noun="job", most=settings.max_jobs)
        self._kinds = kinds
        self._folders = Folders(settings.data_dir.resolve() / "jobs")
        self._room = Room(store, self._folders, settings.jobs_mb * 10**6)

    def folder_of(self, job_id: str) -> Path:
        """Where the job's files are. NotFoundError when that is no id."""
        if not is_job_id(job_id):
            raise NotFoundError("There is no job of that id.")
        return self._folders.root / job_id

    async def forget(self, job_ids: Collection[str]) -> None:
        """Delete jobs with their files, whatever they do."""

        def doubt_files(job_id: str) -> None:
            doubt_if_possible(self.folder_of(job_id))

        await self._store.write_patiently(leases.delete, job_ids, doubt=doubt_files)
        for job_id in job_ids:
            await self.stop(self.work_on(job_id))
            await asyncio.to_thread(self._folders.discard, job_id)

    async def tidy_up(self) -> None:
        """Delete the folders of jobs that are no more: one was killed while it deleted them."""
        try:
            if removed := await asyncio.to_thread(self._folders.tidy_up, self._known):
                log.info("job_folders_removed", folders=removed)
        except OSError as error:  # each job tells it, too
            log.warning("job_folders_not_tidied_up", error=str(error))

    def _known(self, job_ids: Collection[str]) -> Collection[str]:
        return self._store.read_here(leases.known_among, job_ids)

    async def look(self) -> None:
        """Before each look for something to claim."""
        await self._room.keep()

    async def sweep(self) -> None:
        """Delete jobs that nobody wants any more."""
        if found := await self._store.read(leases.unwanted, self._kinds):
            await self.forget(found)
            log.info("jobs_deleted", count=len(found))

    async def work(self, attempt: Attempt) -> End:
        """Run the job's program to its end; how that was. Meanwhile no server that starts, perhaps
        with another database, takes the job's folder for nobody's."""
        try:
            with await asyncio.to_thread(self._folders.hold):
                async with asyncio.timeout(attempt.kind.limit_s):
                    return await self._result(attempt)
        except TimeoutError:
            minutes = attempt.kind.limit_s / 60
            return End(
                JobStatus.FAILED, f"It was stopped after {minutes:.0f} minutes: ask for less."
            )
        except ChildInterruptedError as interruption:
            return End(None, plain(interruption))
        except ChildFailedError as failure:
            return End(JobStatus.FAILED, plain(failure))
        except OSError as failure:
            return _not_run(attempt.kind, failure)
        except SQLAlchemyError:
            raise  # the job is claimed again when the database is back
        except Exception as fault:  # or it would be tried for ever
            log.exception("job_not_executed", id=attempt.id)
            return _stumbled(fault)

    async def conclude(self, attempt: Attempt, end: End) -> None:
        """Record the end, and let its kind hear of it."""
        try:
            status = await self._store.write_patiently(leases.end, attempt, end)
        except (OperationalError, InterfaceError):
            raise  # the job is claimed again when the database is back
        except Exception as fault:  # the kind's `ended`: to call it again would change nothing
            log.exception("job_end_not_told", id=attempt.id)
            fallen = partial(leases.end, tell=False)
            status = await self._store.write_patiently(fallen, attempt, _stumbled(fault))
        if status is not None:
            with suppress(OSError):  # the next start does it, too
                await asyncio.to_thread(confirm, self.folder_of(attempt.id))
            self._room.job_ended()
            again = status is JobStatus.QUEUED
            log.info("job_interrupted" if again else "job_ended", id=attempt.id,
                     attempt=attempt.number, kind=attempt.kind.name, status=status.value,
                     error=end.error)  # fmt: skip

    async def _result(self, attempt: Attempt) -> End:
        command, log_file = await asyncio.to_thread(self._prepare, attempt)
        told = messages_of(
            command,
            log_file=log_file,
            noun=attempt.kind.name,
            is_last=_is_result,
            longest_line=_LONGEST_RESULT_BYTES,
        )
        result: dict[str, Any] | None = None
        written_s = -_PROGRESS_S
        async with aclosing(told) as messages:
            async for message in messages:
                if _is_result(message):
                    result = _finite(message["result"])
                elif "progress" in message:
                    progress = _share(message["progress"])
                    if time.monotonic() - written_s < _PROGRESS_S:
                        continue
                    written_s = time.monotonic()
                    if not await self._store.write_patiently(
                        leases.record_progress, attempt, progress
                    ):
                        raise ChildFailedError("It was deleted or cancelled.")
        return End(JobStatus.FINISHED, result=result)

    def _prepare(self, attempt: Attempt) -> tuple[list[str], Path]:
        """The job's folder with its program's configuration, marked until the job has ended."""
        folder = self.folder_of(attempt.id)
        self._folders.root.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        doubt(folder)  # another server may delete the job at any moment
        config = folder / "config.json"
        config.write_text(json.dumps(attempt.config, indent=2) + "\n", encoding="utf-8")
        command = [*attempt.kind.program, "--config", str(config), "--output", str(folder)]
        return command, folder / "job.log"


def _not_run(kind: JobKind, failure: OSError) -> End:
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return End(JobStatus.FAILED, "The disk is full. Make room and start it again.")
    why = f"The {kind.name} process could not be run: {failure}"
    memory = failure.errno in (errno.EAGAIN, errno.ENOMEM)  # there may be some later
    return End(None if memory else JobStatus.FAILED, plain(why))


def _is_result(message: Message) -> bool:
    return isinstance(message.get("result"), dict)


def _finite(result: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(result, allow_nan=False)
    except ValueError as error:
        raise ChildFailedError("The result holds NaN or infinity.") from error
    return result


def _share(progress: object) -> float:
    if isinstance(progress, int | float) and 0.0 <= progress <= 1.0:
        return float(progress)
    raise ChildFailedError(f"A job's progress goes from 0 to 1, not to {progress!r:.40}.")


def _stumbled(fault: Exception) -> End:
    return End(JobStatus.FAILED, f"The server stumbled over {type(fault).__name__}; see its log.")
