"""Races as jobs: made of a race's row and its entries, and what their end changes."""

from __future__ import annotations

import secrets
import sys
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.orm import Session

from models import Job, JobStatus, Race, RaceEntry, RaceStatus, utc_now
from racer.errors import ConflictError, InvalidInputError
from racer.jobs.service import JobKind, submit
from racer.races import ratings, references
from racer.races.pinned import Copies
from racer.races.references import reference_kind
from racer.racing.collisions import hull_radius_m
from racer.racing.config import FEWEST, RaceConfig, race_config
from racer.racing.grid import grid
from racer.racing.rules import time_limit_s
from racer.settings import Settings
from racer.sim.airframe import load_airframe
from racer.sim.track import load_track

__all__ = ["race_kind", "races_folder", "reference_kind", "start"]
KIND = "race"
_SEED_BITS = 63
# Of all flights alone of a race. They are simulated at some ten times real time, and a job has an
# hour.
MOST_FLOWN_S = 6 * 3600


def races_folder(settings: Settings) -> Path:
    """Where the copies of entered policies and flights lie: a folder a race, in it one an entry."""
    return settings.data_dir.resolve() / "races"


def race_kind(settings: Settings) -> JobKind:
    """What the job service has to know of races."""
    program = (
        *(sys.executable, "-m", "racer.racing.job"),
        *("--policies", str(races_folder(settings))),
        *("--compile-cache", str(settings.data_dir.resolve() / "jax_cache")),
    )
    wanted = select(Race.job_id).where(Race.job_id.is_not(None))
    told = partial(ended, copies=Copies(races_folder(settings)))
    return JobKind(KIND, program, told, wanted=wanted)  # type: ignore[arg-type]  # none is null


def start(session: Session, race: Race) -> None:
    """Close the entries, draw the seed and queue the race. The race must be locked and open.

    Raises ConflictError when too few entered, InvalidInputError when it cannot be flown. Call
    JobService.wake() after the commit.
    """
    least = FEWEST[race.format]  # type: ignore[index]  # a format, from RaceIn
    if len(race.entries) < least:
        raise ConflictError(
            f"A race of this format needs {least} entries and has {len(race.entries)}: wait for "
            "more, or cancel it."
        )
    check_grid(race, len(race.entries))
    race.seed = secrets.randbits(_SEED_BITS)
    config = _config(race)
    _check_length(race_config(config))
    race.job = submit(session, KIND, config, owner_id=race.user_id or 0)
    race.status, race.started_at = RaceStatus.RUNNING, utc_now()
    references.ask_for(session, race)


def _check_length(config: RaceConfig) -> None:
    """ConflictError when its flights may take longer than a job is given."""
    limit_s = time_limit_s(config.load_track())
    policies = sum(bool(entry.policy) for entry in config.entrants)
    flown_s = policies * config.attempts * limit_s
    if config.format != "head_to_head" and flown_s > MOST_FLOWN_S:
        raise ConflictError(
            f"{policies} policies with {config.attempts} attempts of up to {limit_s} s each may "
            f"fly for {flown_s / 3600:.0f} h and a race for {MOST_FLOWN_S / 3600:.0f} h in all: "
            "make a race with fewer attempts or laps, or with fewer entries."
        )


def check_grid(race: Race, entries: int) -> None:
    """ConflictError when so many do not fit around the start of a race that starts from a grid."""
    together = {"head_to_head": entries, "knockout": min(entries, 2)}.get(race.format, 0)
    if not together or race.settings["start"] != "grid":
        return
    try:
        radius = hull_radius_m(load_airframe(race.airframe))
        grid(load_track(race.track), together, radius)
    except InvalidInputError as error:
        raise ConflictError(error.message) from error


def ended(session: Session, job: Job, *, copies: Copies) -> None:
    """Keep the result, in the transaction that ends the job; after it the copies of a race without
    one go."""
    held = select(Race).where(Race.job_id == job.id).with_for_update()
    race = session.scalar(held.execution_options(populate_existing=True))
    if race is None or race.status is not RaceStatus.RUNNING:
        return
    race.finished_at = utc_now()
    if job.status is JobStatus.FINISHED and job.result is not None:
        _keep(session, race, job.result)
        race.status = RaceStatus.FINISHED
        job.result = None  # it is in the entries now, and long
        return
    cancelled = job.status is JobStatus.CANCELLED
    race.status = RaceStatus.CANCELLED if cancelled else RaceStatus.FAILED
    race.error, race.copies_bytes = job.error, 0
    event.listen(session, "after_commit", lambda _: copies.remove(race.id), once=True)


def _config(race: Race) -> dict[str, Any]:
    """What the race's process is given; nothing in it comes from a client but through checks."""
    return {
        "format": race.format,
        "track": race.track,
        "laps": race.laps,
        "airframe": race.airframe,
        "seed": race.seed,
        **race.settings,
        "entrants": [
            {"id": entry.number, **_entrant(entry, f"{race.id}/{entry.id}")}
            for entry in race.entries
        ],
    }


def _entrant(entry: RaceEntry, folder: str) -> dict[str, str]:
    if entry.flight is not None:
        return {"name": f"{entry.username}: by hand", "flight": folder}
    name = f"{entry.username}: {entry.policy_name} {entry.policy_version}"
    return {"name": name[:128], "policy": folder}


def _keep(session: Session, race: Race, result: dict[str, Any]) -> None:
    race.heats = result["heats"]
    rows = {row["id"]: row for row in result["ranking"]}
    flown: list[RaceEntry] = []
    for entry in race.entries:
        row = rows[entry.number]
        entry.result, entry.rank, entry.score_s = row, row["rank"], row.get("score_s")
        if row["status"] != "refused":
            flown.append(entry)
    ratings.rate(session, race, flown)
