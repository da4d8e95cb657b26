"""Reference times: computed once for each track, airframe and kind of flight, by a job."""

from __future__ import annotations

import hashlib
import sys
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models import Job, JobStatus, Race, ReferenceTime
from racer.jobs.service import JobKind, submit
from racer.settings import REPOSITORY

KIND = "reference"
_FOLLOWS_FROM = ("reference", "sim", "geometry")  # packages: the planner, airframes, gates


def reference_kind() -> JobKind:
    """What the job service has to know of reference times."""
    program = (sys.executable, "-m", "racer.reference.job")
    wanted = select(ReferenceTime.job_id).where(ReferenceTime.job_id.is_not(None))
    return JobKind(KIND, program, ended, wanted=wanted)  # type: ignore[arg-type]  # none is null


def ask_for(session: Session, race: Race) -> None:
    """Let the references of a race's board be computed, unless they are there or under way.

    One that failed would fail again: it is tried once more when the program is another one than
    then. (Another text of the track is another row.) Call JobService.wake() after the commit.
    """
    for flying, laps in ((False, race.laps), (True, 1)):
        key = {
            "track_sha256": race.track_sha256,
            "airframe": race.airframe,
            "flying": flying,
            "laps": laps,
        }
        postgres = session.get_bind().dialect.name == "postgresql"
        insert = postgresql.insert if postgres else sqlite.insert
        session.execute(insert(ReferenceTime).values(**key).on_conflict_do_nothing())
        row = session.scalars(select(ReferenceTime).filter_by(**key).with_for_update()).one()
        asked = row.job_id is not None or row.error is not None
        outdated = row.error is not None and row.revision != revision()
        if row.time_s is None and (outdated or not asked):
            config = {"track": race.track, "airframe": race.airframe, "flying": flying}
            job = submit(session, KIND, config | {"laps": laps}, owner_id=race.user_id or 0)
            row.job_id, row.error = job.id, None
            row.revision = revision()


@lru_cache
def revision() -> str:
    """Of the program and the airframes: 64 hexadecimal digits, others when a file of them is."""
    digest = hashlib.sha256()
    for package in _FOLLOWS_FROM:
        for file in sorted((REPOSITORY / "racer" / package).rglob("*.*")):
            if file.suffix in (".py", ".toml"):
                digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def ended(session: Session, job: Job) -> None:
    """Keep what the job found, or why it found nothing."""
    row = session.scalar(select(ReferenceTime).where(ReferenceTime.job_id == job.id))
    if row is None:
        return
    if job.status is JobStatus.FINISHED and job.result is not None:
        row.time_s = float(job.result["time_s"])
    else:
        row.error = job.error or f"It was {job.status}."


def of_board(
    session: Session, track_sha256: str, airframe: str, laps: int
) -> tuple[float | None, float | None]:
    """(course time from rest, flying lap), s; None where there is none yet."""
    wanted = select(ReferenceTime).filter_by(track_sha256=track_sha256, airframe=airframe)
    rows = {(row.flying, row.laps): row.time_s for row in session.scalars(wanted)}
    return rows.get((False, laps)), rows.get((True, 1))
