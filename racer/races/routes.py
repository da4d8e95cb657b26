"""`/races`: make one, enter policies, start it. Results and boards: racer.races.result_routes.

Everybody may see races. One is changed by who organises it, an entry belongs to the owner of its
policy; nobody can say how it ended but the job that flies it.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from auth import VisitorDep
from database import SessionDep
from models import Race, RaceStatus, utc_now
from racer.errors import InvalidInputError
from racer.flights.service import FlightService
from racer.jobs.service import JobService
from racer.policies.service import PolicyService
from racer.races import by_hand, queries, service, views
from racer.races.desk import RaceDesk
from racer.races.schemas import EntryIn, EntryOut, RaceFilter, RaceIn, RaceOut, RacePage
from racer.racing.config import MOST, race_config
from racer.sim.airframe import airframe_names, load_airframe
from racer.tracks.service import named
from racer.web.conditional import ReadingDep, WritingDep
from racer.web.idempotency import CREATES
from racer.web.openapi import errors
from racer.web.paging import place_of

router = APIRouter(prefix="/races", tags=["races"])
NOT_FOUND = errors(s404="There is no such thing.")
_WRITING = NOT_FOUND | errors(
    s401="The account has a password: sign in first.",
    s409="The race is in a state that does not allow this.",
)


async def _jobs(request: Request) -> JobService:
    service: JobService = request.app.state.jobs
    return service


async def _policies(request: Request) -> PolicyService:
    service: PolicyService = request.app.state.policies
    return service


async def _desk(request: Request) -> RaceDesk:
    desk: RaceDesk = request.app.state.races
    return desk


async def _flights(request: Request) -> FlightService:
    service: FlightService = request.app.state.flights
    return service


Jobs = Annotated[JobService, Depends(_jobs)]
Policies = Annotated[PolicyService, Depends(_policies)]
Desk = Annotated[RaceDesk, Depends(_desk)]
Flights = Annotated[FlightService, Depends(_flights)]


@router.post("", summary="Make a race", status_code=201, responses=_WRITING, openapi_extra=CREATES)
def make_race(wanted: RaceIn, session: SessionDep, visitor: VisitorDep) -> RaceOut:
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


@router.get("/{race_id}", summary="Read a race", response_model=RaceOut, responses=NOT_FOUND)
def read_race(race_id: str, session: SessionDep, reading: ReadingDep) -> Response:
    """Its state and who takes part."""
    return reading.answer(views.whole(queries.get(session, race_id)))


@router.post(
    "/{race_id}/entries",
    summary="Enter a policy or a flight by hand",
    status_code=201,
    openapi_extra=CREATES,
    responses=_WRITING,
)
def enter(
    race_id: str,
    wanted: EntryIn,
    *,
    session: SessionDep,
    visitor: VisitorDep,
    policies: Policies,
    desk: Desk,
    flights: Flights,
) -> EntryOut:
    """The policy as it is now, or the flight as it was recorded: its files are copied, so it may be
    deleted afterwards."""
    session.commit()  # the desk has transactions of its own
    if wanted.flight is None:
        return desk.enter(race_id, wanted.policy_id or "", visitor=visitor, policies=policies)
    return by_hand.enter(
        desk, flights, race_id, wanted.flight, username=wanted.username, visitor=visitor
    )


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
    visitor: VisitorDep,
    desk: Desk,
) -> None:
    """Until the race is started; by the entry's owner, or by the organiser."""
    race = queries.get(session, race_id, lock=True)
    entry = queries.get_own_entry(race, entry_id, visitor)
    queries.require_open(race)
    race.copies_bytes = max(race.copies_bytes - desk.copies.size_of(race.id, [entry.id]), 0)
    session.delete(entry)
    session.commit()
    desk.copies.remove(race.id, entry.id)


def _started(
    race_id: str, session: SessionDep, visitor: VisitorDep, desk: Desk, writing: WritingDep
) -> RaceOut:
    """The race under way, committed: whoever flies it looks at the database."""
    race = queries.get_own(session, race_id, visitor)
    writing.require(lambda: views.whole(race))
    queries.require_open(race)
    service.start(session, race)
    session.commit()
    desk.copies.keep_only(race.id, {entry.id for entry in race.entries})
    return views.whole(race)


@router.post("/{race_id}/start", summary="Start a race", status_code=202, responses=_WRITING)
async def start_race(
    started: Annotated[RaceOut, Depends(_started, scope="function")], jobs: Jobs
) -> RaceOut:
    """Its organiser closes the entries; the server draws a seed and flies it in its turn."""
    jobs.wake()
    return started


def _cancelled(
    race_id: str, session: SessionDep, visitor: VisitorDep, desk: Desk, writing: WritingDep
) -> str | None:
    """The job that flies the race; an open race has none and is cancelled here."""
    race = queries.get_own(session, race_id, visitor, lock=False)
    if race.status is RaceStatus.RUNNING:
        writing.require(lambda: views.whole(race))
        session.commit()
        return race.job_id
    race = queries.get(session, race_id, lock=True)
    writing.require(lambda: views.whole(race))
    queries.require_open(race)
    race.status, race.finished_at, race.copies_bytes = RaceStatus.CANCELLED, utc_now(), 0
    session.commit()
    desk.copies.remove(race.id)
    return None


@router.post("/{race_id}/cancel", summary="Cancel a race", status_code=204, responses=_WRITING)
async def cancel_race(
    job_id: Annotated[str | None, Depends(_cancelled, scope="function")], jobs: Jobs
) -> None:
    """By its organiser, until it has finished."""
    if job_id is not None:
        await jobs.cancel(job_id)


def _deleted(
    race_id: str, session: SessionDep, visitor: VisitorDep, desk: Desk, writing: WritingDep
) -> str | None:
    """The job that flew the race."""
    session.commit()  # the desk has transactions of its own

    def as_seen(race: Race) -> None:
        writing.require(lambda: views.whole(race))

    return desk.delete(race_id, visitor=visitor, check=as_seen)


@router.delete("/{race_id}", summary="Delete a race", status_code=204, responses=_WRITING)
async def delete_race(
    job_id: Annotated[str | None, Depends(_deleted, scope="function")], jobs: Jobs
) -> None:
    """By its organiser, with its entries: one that is open, was cancelled or failed. What has
    finished is a public record and stays."""
    if job_id is not None:
        await jobs.delete(job_id)


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
