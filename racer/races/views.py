"""Races as the API shows them."""

from __future__ import annotations

from typing import Any

from models import JobStatus, Race, RaceEntry, RaceStatus
from racer.races.schemas import EntryOut, RaceOut, RaceSummary, ResultRow

_OVER = (RaceStatus.FINISHED, RaceStatus.FAILED, RaceStatus.CANCELLED)


def status_of(race: Race) -> RaceStatus:
    """Of a race whose job's end could not be told to it, what the job says."""
    if race.status is RaceStatus.RUNNING and race.job is not None:
        if race.job.status is JobStatus.CANCELLED:
            return RaceStatus.CANCELLED
        if race.job.status in (JobStatus.FAILED, JobStatus.FINISHED):
            return RaceStatus.FAILED
    return race.status


def summary(race: Race) -> RaceSummary:
    """Without its entries."""
    return RaceSummary(**_numbers(race))


def whole(race: Race) -> RaceOut:
    """With its entries."""
    return RaceOut(**_numbers(race), entries=[EntryOut(**_entry(one)) for one in race.entries])


def entry_out(entry: RaceEntry) -> EntryOut:
    """One of them."""
    return EntryOut(**_entry(entry))


def ranked(race: Race) -> list[RaceEntry]:
    """The entries of a finished race, the best first."""
    return sorted(race.entries, key=lambda entry: (entry.rank or 0, entry.number))


def result_row(entry: RaceEntry) -> ResultRow:
    """An entry with all that is known of its flights."""
    result = {key: value for key, value in (entry.result or {}).items() if key != "rank"}
    return ResultRow(**_entry(entry), result=result)


def _numbers(race: Race) -> dict[str, Any]:
    status = status_of(race)
    job = race.job
    return {
        "id": race.id,
        "name": race.name,
        "username": race.username,
        "format": race.format,
        "track": race.track_name,
        "track_sha256": race.track_sha256,
        "laps": race.laps,
        "airframe": race.airframe,
        "settings": race.settings,
        "entrants": len(race.entries),
        "max_entrants": race.max_entrants,
        "status": status,
        "progress": job.progress if job is not None and status is RaceStatus.RUNNING else None,
        "error": race.error or (job.error if job is not None else None),
        "seed": str(race.seed) if race.seed is not None and status in _OVER else None,
        "created_at": race.created_at,
        "started_at": race.started_at,
        "finished_at": race.finished_at,
    }


def _entry(entry: RaceEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "number": entry.number,
        "username": entry.username,
        "flown": entry.flown,
        "flight": entry.flight,
        "policy_id": entry.policy_id,
        "policy_name": entry.policy_name,
        "policy_version": entry.policy_version,
        "policy_sha256": entry.policy_sha256,
        "competitor": entry.competitor,
        "rank": entry.rank,
        "score_s": entry.score_s,
        "elo": entry.elo,
        "elo_change": entry.elo_change,
    }
