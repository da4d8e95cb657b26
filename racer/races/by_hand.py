"""Entering a flight by hand: its recording is read and judged by the server, never told by anybody.

Reading takes seconds, in a child process, and no transaction waits for it: the race is looked at
before, and again, locked, when the entry is made. racer.races.desk keeps the flight's file as it
keeps those of policies.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anyio import from_thread
from sqlalchemy.orm import Session

from auth import Visitor, get_account
from models import Race, RaceEntry, User
from racer.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    UnauthorizedError,
    UnavailableError,
)
from racer.flights.service import FlightService
from racer.races import queries
from racer.races.desk import RaceDesk
from racer.races.schemas import EntryOut
from racer.racing.by_hand import FLIGHT_FILE
from racer.racing.competitors import pilot_key
from racer.racing.config import BY_HAND
from racer.sim.track import load_track

_PROGRAM = "racer.racing.take_in"
_PATIENCE_S = 120.0  # half an hour of flight takes some ten seconds, on a machine that has time
_KINDS = {
    kind.__name__: kind
    for kind in (ConflictError, InvalidInputError, NotFoundError, UnavailableError)
}


def account(session: Session, username: str | None, visitor: Visitor) -> User:
    """Who is meant: an account that the visitor may write for, or the visitor."""
    if username is not None:
        return get_account(session, username, visitor)
    if visitor.user is None:
        raise UnauthorizedError(
            "Say who it is: sign in, or name an account without a password as 'username'."
        )
    return visitor.user


def enter(
    desk: RaceDesk,
    flights: FlightService,
    race_id: str,
    flight: str,
    *,
    username: str | None,
    visitor: Visitor,
) -> EntryOut:
    """Take a recording into a race. Call it in a worker thread of the web server, without a
    transaction.

    Raises NotFoundError for what is not there, ConflictError when the flight or the race does not
    allow it, UnavailableError when the recording cannot be read now.
    """

    def entry_of(session: Session) -> tuple[Race, RaceEntry]:
        pilot = account(session, username, visitor)
        race = queries.get(session, race_id, lock=True)
        return race, _entry(race, pilot, flight)

    with TemporaryDirectory(prefix="toledo-racer-") as output:
        with desk.database.session(read_only=True) as session:
            pilot = account(session, username, visitor)
            race = queries.get(session, race_id)
            _entry(race, pilot, flight)
            _check_course(race)
            wanted = _question(race, pilot, recordings=flights.folder, flight=flight)
        from_thread.run(_take_in, flights, wanted | {"output": output})
        content = (Path(output) / FLIGHT_FILE).read_bytes()
    return desk.keep({FLIGHT_FILE: content}, entry_of)


async def _take_in(flights: FlightService, wanted: dict[str, Any]) -> None:
    answer = await flights.ask(_PROGRAM, wanted, within_s=_PATIENCE_S)
    if "error" in answer:
        raise _KINDS.get(answer["kind"], ConflictError)(answer["error"])


def _question(race: Race, pilot: User, *, recordings: Path, flight: str) -> dict[str, Any]:
    """racer.racing.take_in.Wanted, without the folder of the answer."""
    return {
        "recordings": str(recordings),
        "flight": flight,
        "user_id": pilot.id,
        "username": pilot.username,
        "since_s": pilot.created_at.timestamp(),
        "track": race.track,
        "laps": race.laps,
        "airframe": race.airframe,
        "wind_speed_m_s": race.settings["wind_speed_m_s"],
    }


def _check_course(race: Race) -> None:
    if load_track(race.track).randomisation.displaces:
        raise ConflictError(
            "This course displaces its gates in each flight, so nobody flew it before the race."
        )


def _entry(race: Race, pilot: User, flight: str) -> RaceEntry:
    """Raises ConflictError when the race takes no such entry."""
    queries.require_place(race)
    if race.format not in BY_HAND:
        raise ConflictError(
            f"In a {race.format} all fly in one world, and a recorded flight meets nobody. Flights "
            f"by hand race in {' and '.join(BY_HAND)}."
        )
    if any(entry.flight is not None and entry.user_id == pilot.id for entry in race.entries):
        raise ConflictError(
            f"{pilot.username} has a flight in the race already: its best attempt counts. Take it "
            "back to enter another."
        )
    return RaceEntry(
        race_id=race.id,
        number=queries.next_number(race),
        user_id=pilot.id,
        username=pilot.username,
        flight=flight,
        competitor=pilot_key(pilot.id, pilot.created_at),
    )
