"""Statements on jobs: submitted, claimed by lease, fenced by the attempt's number, ended once.

Each runs in a transaction of its own, except `submit`. A job is locked before anything else; a
claim skips what another transaction has locked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, aliased

from models import Job, JobStatus, utc_now
from racer.errors import ConflictError, NotFoundError
from racer.jobs.executor import TRIES, Claimed, Held, held, is_left, lease_end
from racer.jobs.kinds import JobKind
from racer.jobs.turns import by_turns, standings

ACTIVE = (JobStatus.QUEUED, JobStatus.RUNNING)
CANCELLED = "It was cancelled."
_NO_FILES = "no_files"  # key in the result of a job whose files were removed: why


@dataclass(frozen=True)
class Attempt(Claimed):
    """One attempt at one job."""

    kind: JobKind
    config: dict[str, Any]


@dataclass(frozen=True)
class End:
    """Of an attempt; without a status its process was killed."""

    status: JobStatus | None
    error: str | None = None
    result: dict[str, Any] | None = None


def submit(session: Session, kind_name: str, config: dict[str, Any], *, owner_id: int) -> Job:
    """Queue a job in the caller's transaction. Call JobService.wake() after its commit.

    `owner_id`: of the user whose turn it takes, who may be gone before the job; 0: nobody's.
    """
    job = Job(kind=kind_name, config=config, status=JobStatus.QUEUED, owner_id=owner_id)
    session.add(job)
    session.flush()
    return job


def leased(session: Session) -> list[Held]:
    """All leases."""
    return held(session, Job, running=JobStatus.RUNNING)


def claim(
    session: Session,
    worker: str,
    *,
    executing: Collection[str],
    silent: Collection[Held],
    kinds: Collection[JobKind],
) -> Attempt | None:
    """The next job that waits or that nobody executes any more, now leased to `worker`. Owners take
    turns (racer.jobs.turns)."""
    by_name = {kind.name: kind for kind in kinds}
    left = is_left(Job, worker, silent)
    free = or_(Job.status == JobStatus.QUEUED, and_(Job.status == JobStatus.RUNNING, left))
    wanted = select(Job).where(Job.kind.in_(by_name), Job.id.not_in(executing), free)
    other = aliased(Job)
    owners = standings(select(other), other, other.owner_id, running=JobStatus.RUNNING)
    wanted = wanted.join(owners, owners.c.owner == Job.owner_id).order_by(*by_turns(Job, owners))
    job = session.scalar(wanted.limit(1).with_for_update(of=Job, skip_locked=True))
    if job is None:
        return None
    job.status, job.progress = JobStatus.RUNNING, 0.0
    job.attempt += 1
    job.started_at = job.started_at or utc_now()
    job.lease_holder, job.lease_until = worker, lease_end()
    return Attempt(job.id, job.attempt, by_name[job.kind], dict(job.config))


def free_jobs_of_the_dead(session: Session, is_dead: Callable[[str], bool]) -> Sequence[str]:
    """Queue what was executed by processes that are known to be dead, and say which jobs."""
    running = select(Job.id, Job.lease_holder).where(Job.status == JobStatus.RUNNING)
    freed = []
    for job_id, holder in session.execute(running.order_by(Job.id)).all():
        if holder is not None and not is_dead(holder):
            continue
        job = _locked(session, job_id)
        if job is not None and job.status is JobStatus.RUNNING and job.lease_holder == holder:
            _queue(job)
            freed.append(job.id)
    return freed


def renew(session: Session, attempt: Attempt) -> bool:
    """Keep the lease; False when the job is ours no more."""
    job = _executed(session, attempt)
    if job is None:
        return False
    job.lease_until = lease_end()
    return True


def release(session: Session, attempt: Attempt) -> None:
    """Give a job back that is not at its end."""
    if (job := _executed(session, attempt)) is not None:
        _queue(job)


def record_progress(session: Session, attempt: Attempt, progress: float) -> bool:
    """How far it is, 0 to 1; False when the job is ours no more."""
    job = _executed(session, attempt)
    if job is None:
        return False
    job.progress = progress
    return True


def end(session: Session, attempt: Attempt, how: End, *, tell: bool = True) -> JobStatus | None:
    """End the job, or queue it again when its process was killed and that was not tried too often;
    what it is now, None when it is ours no more. `tell`: call the kind's `ended`."""
    job = _executed(session, attempt)
    if job is None:
        return None
    status = how.status
    if status is None:
        job.interruptions += 1
        if job.interruptions < TRIES:
            _queue(job)
            return job.status
        status = JobStatus.FAILED
    _close(session, job, status, how, attempt.kind if tell else None)
    return status


def cancel(session: Session, job_id: str, kind_of: Callable[[str], JobKind]) -> None:
    """End a job that waits or runs. Raises NotFoundError, ConflictError when it has ended."""
    job = _locked(session, job_id)
    if job is None:
        raise NotFoundError("There is no job of that id.")
    if job.status not in ACTIVE:
        raise ConflictError(f"It has {job.status}: there is nothing to cancel.")
    _close(session, job, JobStatus.CANCELLED, End(None, CANCELLED), kind_of(job.kind))


def delete(session: Session, job_ids: Collection[str], *, doubt: Callable[[str], None]) -> None:
    """Forget jobs, whatever they do. `doubt` says of a job's files that they may be nobody's."""
    for job_id in sorted(job_ids):  # one order for all, hence no deadlock
        if (job := _locked(session, job_id)) is not None:
            session.delete(job)
            session.flush()
            doubt(job_id)


def unwanted(session: Session, kinds: Collection[JobKind]) -> Sequence[str]:
    """Jobs whose owners are gone."""
    found: list[str] = []
    for kind in kinds:
        if kind.wanted is not None:
            mine = select(Job.id).where(Job.kind == kind.name, Job.id.not_in(kind.wanted))
            found += session.scalars(mine)
    return found


def known_among(session: Session, job_ids: Collection[str]) -> Collection[str]:
    """Those that are jobs."""
    return set(session.scalars(select(Job.id).where(Job.id.in_(job_ids))))


def ends_among(session: Session, job_ids: Collection[str]) -> Sequence[tuple[str, datetime | None]]:
    """(id, when it ended), of those that are jobs; None while they have not."""
    wanted = select(Job.id, Job.finished_at).where(Job.id.in_(job_ids))
    return [(row.id, row.finished_at) for row in session.execute(wanted)]


def forget_files(session: Session, job_id: str, why: str) -> bool:
    """Say of a job that has ended that its files were removed; False when there is none."""
    job = _locked(session, job_id)
    if job is None or job.status in ACTIVE:
        return False
    job.result = (job.result or {}) | {_NO_FILES: why}
    return True


def why_no_files(job: Job) -> str | None:
    """In words, when the server removed the job's files to make room."""
    why = (job.result or {}).get(_NO_FILES)
    return why if isinstance(why, str) else None


def _close(session: Session, job: Job, status: JobStatus, how: End, kind: JobKind | None) -> None:
    job.status, job.error, job.result = status, how.error, how.result
    if status is JobStatus.FINISHED:
        job.progress = 1.0
    job.lease_holder = job.lease_until = None
    job.finished_at = utc_now()
    session.flush()
    if kind is not None:
        kind.ended(session, job)


def _queue(job: Job) -> None:
    job.status, job.progress = JobStatus.QUEUED, 0.0
    job.lease_holder = job.lease_until = None


def _locked(session: Session, job_id: str) -> Job | None:
    return session.get(Job, job_id, with_for_update=True, populate_existing=True)


def _executed(session: Session, attempt: Attempt) -> Job | None:
    """The job, locked, if this attempt is still the one that executes it."""
    job = _locked(session, attempt.id)
    if job is None or job.attempt != attempt.number or job.status is not JobStatus.RUNNING:
        return None
    return job
