"""Jobs as slices see them: submit, wake, cancel, delete.

A job is a row; racer.jobs.workers executes rows in child processes. Nothing else holds state that
matters, so a server that is killed loses nothing: each job that it left is tried again, here or in
another server process.

    job = submit(session, "evaluation", {"starts": 64}, owner_id=user.id)
    session.commit()  # of the transaction that asks for it
    service.wake()
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.orm import Session, sessionmaker

from racer.errors import UnavailableError
from racer.jobs import leases
from racer.jobs.kinds import JobKind
from racer.jobs.leases import submit, why_no_files
from racer.jobs.store import Store
from racer.jobs.workers import Workers
from racer.settings import Settings

__all__ = ["JobKind", "JobService", "submit", "why_no_files"]
_LONGEST_NAME = 32

log = structlog.get_logger(__name__)


class JobService:
    """Executes jobs; an async context manager that lives as long as the server."""

    def __init__(
        self,
        settings: Settings,
        session_factory: sessionmaker[Session],
        kinds: Sequence[JobKind],
    ) -> None:
        """`kinds` are all that this server executes; jobs of others wait for another server."""
        self._kinds = {kind.name: kind for kind in kinds}
        if len(self._kinds) < len(kinds) or max(map(len, self._kinds), default=0) > _LONGEST_NAME:
            raise ValueError(f"Kinds of jobs need short names of their own: {list(self._kinds)}.")
        self._store = Store(session_factory)
        self._workers = Workers(settings, self._store, tuple(kinds))

    async def __aenter__(self) -> Self:
        """Begin with what an earlier server left unfinished."""
        await self._workers.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop every child process within a second; their jobs are tried again by the next one."""
        await self._workers.__aexit__(kind, error, traceback)

    def wake(self) -> None:
        """A job was submitted and committed."""
        self._workers.wake()

    def folder_of(self, job_id: str) -> Path:
        """Where the job's files are: those of its program, config.json and job.log.
        NotFoundError when that is no id."""
        return self._workers.folder_of(job_id)

    async def cancel(self, job_id: str) -> None:
        """End it now. Raises NotFoundError, or ConflictError when it has ended."""
        self.folder_of(job_id)  # for its check of the id
        await self._store.write(leases.cancel, job_id, self._kind)
        await self._workers.stop(self._workers.work_on(job_id))
        log.info("job_cancelled", id=job_id)

    async def delete(self, job_id: str) -> None:
        """Remove the job and its files, whatever it does; it need not exist. NotFoundError when
        that is no id."""
        self.folder_of(job_id)  # for its check of the id
        await self._workers.forget([job_id])
        self.wake()
        log.info("job_deleted", id=job_id)

    def _kind(self, name: str) -> JobKind:
        if name not in self._kinds:
            raise UnavailableError(f"This server knows no jobs of kind {name!r}: ask another one.")
        return self._kinds[name]
