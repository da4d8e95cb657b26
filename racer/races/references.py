"""Reference times: computed once for each track, airframe and kind of flight, by a job."""

from __future__ import annotations

import sys

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models import Job, JobStatus, Race, ReferenceTime
from racer.jobs.service import JobKind, submit

KIND = "reference"


def reference_kind() -> JobKind:
    """What the job service has to know of reference times."""
    program = (sys.executable, "-m", "racer.reference.job")
    wanted = select(ReferenceTime.job_id).where(ReferenceTime.job_id.is_not(None))
    return JobKind(KIND, program, ended, wanted=wanted)  # type: ignore[arg-type]  # none is null


def ask_for(session: Session, race: Race) -> None:
    """Let the references of a race's board be computed, unless they are there or under way.

    One that failed is tried again. Call JobService.wake() after the commit.
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
        if row.time_s is None and (row.job_id is None or row.error is not None):
            config = {"track": race.track, "airframe": race.airframe, "flying": flying}
            job = submit(session, KIND, config | {"laps": laps}, owner_id=race.user_id or 0)
            row.job_id, row.error = job.id, None


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
