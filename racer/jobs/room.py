"""Keeps the files of ended jobs, replays of races above all, within JOBS_MB.

What they take is measured on the disk, where several servers may share it. The jobs that ended
longest ago lose their folders first, as a whole; before that their rows say so, in words. The job
that ended last keeps its files whatever they take: a bound that removes what was just made is of no
use to anybody. Folders of jobs that the database does not know are neither counted nor removed.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from uuid import UUID

import structlog
from sqlalchemy.exc import SQLAlchemyError

from models import utc_now
from racer.folders import Folders, size_of
from racer.jobs import leases
from racer.jobs.store import Store

_BLOCK_BYTES = 4096  # that the smallest file takes on most disks
_AT_ONCE = 500  # ids of one statement

log = structlog.get_logger(__name__)


class Room:
    """What the jobs of one DATA_DIR take."""

    def __init__(self, store: Store, folders: Folders, most_bytes: int) -> None:
        self._store, self._folders, self._most_bytes = store, folders, most_bytes
        self._changed = True  # since it was measured

    def job_ended(self) -> None:
        """There may be too much."""
        self._changed = True

    async def keep(self) -> None:
        """Remove what is too much, if a job has ended since the last time."""
        if not self._changed:
            return
        self._changed = False
        try:
            await self._keep()
        except (OSError, SQLAlchemyError) as error:  # the end of the next job tries again
            log.warning("job_files_not_kept_in_bounds", error=str(error))

    async def _keep(self) -> None:
        sizes = await asyncio.to_thread(self._measure)
        if sum(sizes.values()) <= self._most_bytes:
            return
        ends = await self._ends(list(sizes))
        excess = sum(sizes[job_id] for job_id in ends) - self._most_bytes
        ended = sorted((end, job_id) for job_id, end in ends.items() if end is not None)
        why = (
            f"Its files were removed on {utc_now():%Y-%m-%d}, to make room for those of newer ones "
            "(JOBS_MB)."
        )
        for _, job_id in ended[:-1]:
            if excess <= 0:
                break
            excess -= sizes[job_id]
            if await self._store.write(leases.forget_files, job_id, why):
                await asyncio.to_thread(self._folders.discard, job_id)
                log.info("job_files_removed", id=job_id, size_bytes=sizes[job_id])

    async def _ends(self, job_ids: list[str]) -> dict[str, datetime | None]:
        """When those that are jobs ended."""
        found: dict[str, datetime | None] = {}
        for first in range(0, len(job_ids), _AT_ONCE):
            some = job_ids[first : first + _AT_ONCE]
            found |= dict(await self._store.read(leases.ends_among, some))
        return found

    def _measure(self) -> dict[str, int]:
        """Bytes on the disk, by job."""
        folders = [folder for folder in self._folders.root.glob("*/") if is_job_id(folder.name)]
        return {folder.name: size_of(folder, block_bytes=_BLOCK_BYTES) for folder in folders}


def is_job_id(text: str) -> bool:
    """Whether it is a UUID, as we write them."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
