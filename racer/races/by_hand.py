"""Entering a flight by hand: its recording is read and judged by the server, never told by anybody.

Reading takes seconds, in a child process, and no transaction waits for it: the race is looked at
before, and again, locked, when the entry is made. The flight's file is written before its row, as
those of policies are (racer.races.pinned).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from anyio import from_thread
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

import crud
from auth import require_write_access
from database import Database
from models import Race, RaceEntry, User, new_uuid
from racer.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RacerError,
    UnauthorizedError,
    UnavailableError,
)
from racer.flights.service import FlightService
from racer.races import pinned, queries, views
from racer.races.schemas import EntryOut
from racer.racing.config import BY_HAND
from racer.sim.track import load_track

_PROGRAM = "racer.racing.take_in"
_PATIENCE_S = 120.0  # half an hour of flight takes some ten seconds, on a machine that has time
_KINDS = {
    kind.__name__: kind
    for kind in (ConflictError, InvalidInputError, NotFoundError, UnavailableError)
}


class Hangar(NamedTuple):
    """Where entries are made."""

    database: Database
    flights: FlightService
    races: Path  # folder of all races' folders


def account(session: Session, username: str | None, visitor: User | None) -> User:
    """Who is meant: an account that the visitor may write for, or the visitor."""
    if username is not None:
        named = crud.get_user(session, username)
        require_write_access(named, visitor)
        return named
    if visitor is None:
        raise UnauthorizedError(
            "Say who it is: sign in, or name an account without a password as 'username'."
        )
    return visitor


def enter(
    hangar: Hangar, race_id: str, flight: str, *, username: str | None, visitor_id: int | None
) -> EntryOut:
    """Take a recording into a race. Call it in a worker thread of the web server, without a
    transaction.

    Raises NotFoundError for what is not there, ConflictError when the flight or the race does not
    allow it, UnavailableError when the recording cannot be read now.
    """
    entry_id = new_uuid()
    with hangar.database.session(read_only=True) as session:
        pilot = _pilot(session, username, visitor_id)
        race = queries.get(session, race_id)
        queries.require_open(race)
        _entry(race, pilot, flight, entry_id)
        _check_course(race)
        folder = hangar.races / race.id / entry_id
        wanted = _question(hangar, race, pilot, flight=flight, folder=folder)
    try:
        from_thread.run(_take_in, hangar.flights, wanted)
        with hangar.database.session() as session:
            pilot = _pilot(session, username, visitor_id)
            race = queries.get_open(session, race_id)
            entry = _entry(race, pilot, flight, entry_id)
            session.add(entry)
            session.flush()
            told = views.entry_out(entry)
    except (RacerError, IntegrityError):  # of anything else nobody knows whether there is a row
        pinned.remove(folder)
        raise
    return told


async def _take_in(flights: FlightService, wanted: dict[str, Any]) -> None:
    answer = await flights.ask(_PROGRAM, wanted, within_s=_PATIENCE_S)
    if "error" in answer:
        raise _KINDS.get(answer["kind"], ConflictError)(answer["error"])


def _pilot(session: Session, username: str | None, visitor_id: int | None) -> User:
    visitor = None if visitor_id is None else session.get(User, visitor_id)
    return account(session, username, visitor)


def _question(
    hangar: Hangar, race: Race, pilot: User, *, flight: str, folder: Path
) -> dict[str, Any]:
    """racer.racing.take_in.Wanted."""
    return {
        "recordings": str(hangar.flights.folder),
        "flight": flight,
        "user_id": pilot.id,
        "username": pilot.username,
        "since_s": pilot.created_at.timestamp(),
        "track": race.track,
        "laps": race.laps,
        "airframe": race.airframe,
        "wind_speed_m_s": race.settings["wind_speed_m_s"],
        "output": str(folder),
    }


def _check_course(race: Race) -> None:
    if load_track(race.track).randomisation.displaces:
        raise ConflictError(
            "This course displaces its gates in each flight, so nobody flew it before the race."
        )


def _entry(race: Race, pilot: User, flight: str, entry_id: str) -> RaceEntry:
    """Raises ConflictError when the race takes no such entry."""
    if race.format not in BY_HAND:
        raise ConflictError(
            f"In a {race.format} all fly in one world, and a recorded flight meets nobody. Flights "
            f"by hand race in {' and '.join(BY_HAND)}."
        )
    if len(race.entries) >= race.max_entrants:
        raise ConflictError(f"The race is full: it takes {race.max_entrants} entries.")
    if any(entry.flight is not None and entry.user_id == pilot.id for entry in race.entries):
        raise ConflictError(
            f"{pilot.username} has a flight in the race already: its best attempt counts. Take it "
            "back to enter another."
        )
    return RaceEntry(
        id=entry_id,
        race_id=race.id,
        number=1 + max((entry.number for entry in race.entries), default=0),
        user_id=pilot.id,
        username=pilot.username,
        flight=flight,
    )
