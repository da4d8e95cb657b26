"""`/races`: make one, enter policies, start it. Results and boards: racer.races.result_routes.

Reading is free, as everywhere here. A race belongs to who organises it, an entry to the owner of
its policy; nobody can say how it ended but the job that flies it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy.exc import IntegrityError

from auth import OptionalUser, require_write_access
from database import SessionDep
from models import Policy, Race, RaceEntry, RaceStatus, User, new_uuid, utc_now
from racer.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RacerError,
)
from racer.jobs.service import JobService
from racer.policies.service import PolicyService
from racer.races import by_hand, pinned, queries, service, views
from racer.races.schemas import EntryIn, EntryOut, RaceFilter, RaceIn, RaceOut, RacePage
from racer.racing.config import MOST, race_config
from racer.racing.rules import check_manifest
from racer.sim.airframe import airframe_names, load_airframe
from racer.tracks.service import named
from racer.web.paging import place_of
from schemas import ErrorOut

router = APIRouter(prefix="/races", tags=["races"])
_Responses = dict[int | str, dict[str, Any]]
NOT_FOUND: _Responses = {404: {"model": ErrorOut, "description": "There is no such thing."}}
_WRITING: _Responses = NOT_FOUND | {
    401: {"model": ErrorOut, "description": "The account has a password: sign in first."},
    409: {"model": ErrorOut, "description": "The race is in a state that does not allow this."},
}


def _jobs(request: Request) -> JobService:
    service: JobService = request.app.state.jobs
    return service


def _policies(request: Request) -> PolicyService:
    service: PolicyService = request.app.state.policies
    return service


def _races_folder(request: Request) -> Path:
    return service.races_folder(request.app.state.settings)


Jobs = Annotated[JobService, Depends(_jobs)]
Policies = Annotated[PolicyService, Depends(_policies)]
RacesFolder = Annotated[Path, Depends(_races_folder)]


def _hangar(request: Request, races: RacesFolder) -> by_hand.Hangar:
    state = request.app.state
    return by_hand.Hangar(state.database, state.flights, races)


Hangar = Annotated[by_hand.Hangar, Depends(_hangar)]


@router.post("", summary="Make a race", status_code=201, responses=_WRITING)
def make_race(wanted: RaceIn, session: SessionDep, visitor: OptionalUser) -> RaceOut:
    """It takes entries until its organiser starts it."""
    organiser = by_hand.account(session, wanted.username, visitor)
    queries.require_room(session, organiser)
    if wanted.airframe not in airframe_names():
        raise InvalidInputError(
            f"There is no airframe '{wanted.airframe}'. Shipped ones: "
            f"{', '.join(airframe_names())}."
        )
    record = named(session, wanted.track, organiser.username)
    settings = wanted.model_dump(
        include={"wind_speed_m_s", "attempts", "start", "interval_s", "seeding"}
    )
    race = Race(
        user=organiser,
        username=organiser.username,
        name=wanted.name,
        format=wanted.format,
        track_name=record.full_name,
        track=record.content,
        track_sha256=record.sha256,
        laps=wanted.laps or record.laps,
        airframe=wanted.airframe,
        settings=settings,
        max_entrants=wanted.max_entrants or MOST[wanted.format],
        entries=[],
        job=None,
    )
    _check_flyable(race)
    session.add(race)
    session.flush()
    return views.whole(race)


@router.get("", summary="List races, the newest first")
def list_races(session: SessionDep, wanted: Annotated[RaceFilter, Query()]) -> RacePage:
    """A page of them; `next` is null on the last one."""
    found = queries.listed(session, wanted, limit=wanted.limit + 1)
    shown = found[: wanted.limit]
    last = shown[-1] if len(found) > wanted.limit else None
    place = place_of(last.created_at, last.id) if last else None
    return RacePage(races=[views.summary(race) for race in shown], next=place)


@router.get("/{race_id}", summary="Read a race", responses=NOT_FOUND)
def read_race(race_id: str, session: SessionDep) -> RaceOut:
    """Its state and who takes part."""
    return views.whole(queries.get(session, race_id))


@router.post(
    "/{race_id}/entries",
    summary="Enter a policy or a flight by hand",
    status_code=201,
    responses=_WRITING,
)
def enter(
    race_id: str,
    wanted: EntryIn,
    *,
    session: SessionDep,
    visitor: OptionalUser,
    policies: Policies,
    hangar: Hangar,
) -> EntryOut:
    """The policy as it is now, or the flight as it was recorded: its files are copied, so it may be
    deleted afterwards."""
    if wanted.flight is not None:
        visitor_id = None if visitor is None else visitor.id
        session.commit()  # nobody holds the database while the recording is read
        return by_hand.enter(
            hangar, race_id, wanted.flight, username=wanted.username, visitor_id=visitor_id
        )
    policy = queries.get_policy(session, wanted.policy_id or "")
    require_write_access(policy.user, visitor)
    race = queries.get_open(session, race_id)
    entry = _entry(race, policy)
    copy = hangar.races / race.id / entry.id
    manifest = pinned.pin(policies.folder_of(policy.id), copy, sha256=policy.sha256)
    try:
        check_manifest(manifest, race.airframe)
        session.add(entry)
        session.commit()
    except (RacerError, IntegrityError):  # of anything else nobody knows whether there is a row
        pinned.remove(copy)
        raise
    return views.entry_out(entry)


@router.delete(
    "/{race_id}/entries/{entry_id}",
    summary="Take an entry back",
    status_code=204,
    responses=_WRITING,
)
def withdraw(
    race_id: str,
    entry_id: str,
    session: SessionDep,
    visitor: OptionalUser,
    folder: RacesFolder,
) -> None:
    """Until the race is started; by the entry's owner, or by the organiser."""
    race = queries.get_open(session, race_id)
    entry = queries.entry_of(race, entry_id)
    if not (race.user is not None and visitor is not None and visitor.id == race.user_id):
        _require_owner(entry.user, visitor)
    session.delete(entry)
    session.commit()
    pinned.remove(folder / race.id / entry.id)


def _started(
    race_id: str, session: SessionDep, visitor: OptionalUser, folder: RacesFolder
) -> RaceOut:
    """The race under way, committed: whoever flies it looks at the database."""
    race = queries.get_open(session, race_id)
    _require_owner(race.user, visitor)
    service.start(session, race)
    session.commit()
    pinned.keep_only(folder / race.id, {entry.id for entry in race.entries})
    return views.whole(race)


@router.post("/{race_id}/start", summary="Start a race", status_code=202, responses=_WRITING)
async def start_race(
    started: Annotated[RaceOut, Depends(_started, scope="function")], jobs: Jobs
) -> RaceOut:
    """Its organiser closes the entries; the server draws a seed and flies it in its turn."""
    jobs.wake()
    return started


def _cancelled(
    race_id: str, session: SessionDep, visitor: OptionalUser, folder: RacesFolder
) -> str | None:
    """The job that flies the race; an open race has none and is cancelled here."""
    race = queries.get(session, race_id, lock=False)
    _require_owner(race.user, visitor)
    if race.status is RaceStatus.RUNNING:
        session.commit()
        return race.job_id
    race = queries.get_open(session, race_id)
    race.status, race.finished_at = RaceStatus.CANCELLED, utc_now()
    session.commit()
    pinned.keep_only(folder / race.id, set())
    return None


@router.post("/{race_id}/cancel", summary="Cancel a race", status_code=204, responses=_WRITING)
async def cancel_race(
    job_id: Annotated[str | None, Depends(_cancelled, scope="function")], jobs: Jobs
) -> None:
    """By its organiser, until it has finished."""
    if job_id is not None:
        await jobs.cancel(job_id)


def _require_owner(owner: User | None, visitor: User | None) -> None:
    """Of an account that is gone nobody is the owner."""
    if owner is None:
        raise NotFoundError("There is no such thing among yours.")
    require_write_access(owner, visitor)


def _check_flyable(race: Race) -> None:
    """InvalidInputError when no entry could fly it."""
    everybody = [{"id": 1, "name": "one", "policy": "one"}, {"id": 2, "name": "2", "policy": "2"}]
    config = race_config(
        {
            **{"format": race.format, "track": race.track, "laps": race.laps, "seed": 0},
            **{"airframe": race.airframe, "entrants": everybody, **race.settings},
        }
    )
    config.load_track().check_room(load_airframe(race.airframe).body.collision_radius_m)


def _entry(race: Race, policy: Policy) -> RaceEntry:
    """Raises ConflictError when the race is full or the policy is in it."""
    if len(race.entries) >= race.max_entrants:
        raise ConflictError(f"The race is full: it takes {race.max_entrants} entries.")
    if any(entry.policy_id == policy.id for entry in race.entries):
        raise ConflictError("That policy is in the race already.")
    service.check_grid(race, len(race.entries) + 1)
    return RaceEntry(
        id=new_uuid(),
        race_id=race.id,
        number=1 + max((entry.number for entry in race.entries), default=0),
        user=policy.user,
        policy_id=policy.id,
        username=policy.user.username,
        policy_name=policy.name,
        policy_version=policy.version,
        policy_sha256=policy.sha256,
    )
