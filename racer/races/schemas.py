"""Wire types of races and leaderboards."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from models import RaceStatus
from racer.racing.config import FEWEST, MAX_ATTEMPTS, MAX_WIND_M_S, MOST, Format
from racer.sim.track import MAX_LAPS
from racer.web.paging import PLACE_SCHEMA

_NO_NUL = r"^[^\x00]{1,140}$"  # PostgreSQL's text holds none


def _printable(value: str) -> str:
    value = value.strip()
    if not value or not value.isprintable():
        raise ValueError("must be a line of printable characters")
    return value


class RaceIn(BaseModel):
    """A race to be."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, AfterValidator(_printable)] = Field(
        max_length=200, examples=["Saturday cup"]
    )
    username: str | None = Field(
        None,
        pattern=_NO_NUL,
        description="Who organises it; null: who is signed in. An account without a password may "
        "be named by everybody.",
    )
    format: Format
    track: str = Field(
        pattern=_NO_NUL,
        description="A shipped track, `username/name` or the UUID of one that the organiser may "
        "see. The race keeps a copy, and its replay shows it to everybody.",
        examples=["toledo"],
    )
    laps: int | None = Field(None, ge=1, le=MAX_LAPS, description="Null: as the track says.")
    airframe: str = Field("x500", pattern=r"^[A-Za-z0-9_-]{1,64}$", description="Of everybody.")
    wind_speed_m_s: float = Field(0.0, ge=0.0, le=MAX_WIND_M_S, description="Gusts come with it.")
    attempts: int = Field(
        5, ge=1, le=MAX_ATTEMPTS, description="Of each, in formats where everybody flies alone."
    )
    start: Literal["grid", "staggered"] = Field(
        "grid", description="Of drones in one world: at once, or one after another."
    )
    interval_s: float = Field(2.0, ge=0.2, le=60.0, description="Of a staggered start.")
    seeding: Literal["time_trial", "given"] = Field(
        "time_trial", description="Of a knockout; given: in the order of the entries."
    )
    max_entrants: int | None = Field(None, ge=1, description="Null: as many as the format takes.")

    @model_validator(mode="after")
    def _fits_the_format(self) -> Self:
        least, most = FEWEST[self.format], MOST[self.format]
        if self.max_entrants is not None and not least <= self.max_entrants <= most:
            raise ValueError(f"a race of the format {self.format} has {least} to {most} entrants")
        return self


class EntryIn(BaseModel):
    """Who takes part."""

    model_config = ConfigDict(extra="forbid")

    policy_id: str | None = Field(None, max_length=100, description="A kept policy;")
    flight: str | None = Field(
        None, max_length=64, description="or a recording in which the account flew by hand."
    )
    username: str | None = Field(
        None,
        pattern=_NO_NUL,
        description="Who flew by hand; null: who is signed in. An account without a password may "
        "be named by everybody. A policy is its owner's.",
    )

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        if (self.policy_id is None) == (self.flight is None):
            raise ValueError("enter a policy_id or a flight")
        if self.policy_id is not None and self.username is not None:
            raise ValueError("a policy is entered by its owner: leave username out")
        return self


class EntryOut(BaseModel):
    """A policy in a race, or a flight by hand."""

    id: str
    number: int = Field(description="1, 2, … in the order in which they came.")
    username: str
    flown: Literal["policy", "hand"]
    policy_id: str | None = Field(description="Null: the policy was deleted, or there is none.")
    policy_name: str | None
    policy_version: int | None
    policy_sha256: str | None
    flight: str | None = Field(description="The recording of a flight by hand.")
    competitor: str = Field(
        description="Account, and network and how it is flown unless by hand: what is rated and "
        "has a row on a board."
    )
    rank: int | None = Field(description="Null until the race has finished; equals share one.")
    score_s: float | None = Field(description="The time that counts; null without one.")
    elo: float | None = Field(description="After the race; flights by hand are not rated.")
    elo_change: float | None


class RaceSummary(BaseModel):
    """A race as lists show it."""

    id: str
    name: str = Field(examples=["Saturday cup"])
    username: str = Field(description="The organiser.")
    format: Format
    track: str = Field(description="Its name when the race was made.")
    track_sha256: str = Field(description="Of its text; a leaderboard's address.")
    laps: int
    airframe: str
    settings: dict[str, Any] = Field(
        description="wind_speed_m_s, attempts, start, interval_s, seeding.",
        examples=[{"wind_speed_m_s": 0.0, "attempts": 5, "start": "grid"}],
    )
    entrants: int
    max_entrants: int
    status: RaceStatus
    progress: float | None = Field(description="0 to 1 while it is flown.")
    error: str | None = Field(description="Why it failed.")
    seed: str | None = Field(
        description="A whole number, as text since it may have 19 digits. Drawn at the start, told "
        "when the race has ended: starts, wind and lanes follow from it."
    )
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RaceOut(RaceSummary):
    """A race with its entries."""

    entries: list[EntryOut]


class RaceFilter(BaseModel):
    """Which races are listed."""

    status: list[RaceStatus] = Field([], description="Only these; may be repeated.")
    format: Format | None = None
    username: str | None = Field(None, pattern=_NO_NUL, description="Only this organiser's.")
    track_sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    before: str | None = Field(
        None,
        max_length=100,
        description="`next` of the page before.",
        json_schema_extra=PLACE_SCHEMA,
    )
    limit: int = Field(50, ge=1, le=200)


class RacePage(BaseModel):
    """Some races."""

    races: list[RaceSummary]
    next: str | None = Field(description="What `before` of the next page is; null on the last.")


class ResultRow(EntryOut):
    """An entry's place and how it flew; docs/races.md says what each number is."""

    result: dict[str, Any] = Field(
        examples=[{"status": "finished", "course_time_s": 21.4, "best_lap_s": 6.9}]
    )


class Results(BaseModel):
    """A finished race."""

    race: RaceSummary
    ranking: list[ResultRow]
    heats: list[dict[str, Any]] = Field(
        examples=[[{"name": "Seeding", "places": [{"rank": 1, "status": "finished"}]}]]
    )


class ReferenceOut(BaseModel):
    """The least times in which physics lets anybody fly; null while they are computed, or where
    there is none (a lap through a single gate)."""

    course_time_s: float | None = Field(description="From rest at the start, all laps.")
    flying_lap_s: float | None = Field(description="A lap that repeats itself.")


class LapOut(BaseModel):
    """One lap."""

    time_s: float
    ratio: float | None = Field(description="To the reference: 1.25 is a quarter slower.")


class BoardRow(BaseModel):
    """A competitor's best result."""

    rank: int
    username: str
    flown: Literal["policy", "hand"]
    policy_id: str | None
    policy_name: str | None
    policy_version: int | None
    policy_sha256: str | None
    competitor: str
    score_s: float
    ratio: float | None = Field(description="Of the score to its reference.")
    laps: list[LapOut]
    elo: float | None = Field(description="Now, on this track with this airframe.")
    games: int
    race_id: str
    finished_at: datetime


class Leaderboard(BaseModel):
    """The best result of every competitor that was raced on a track in that wind."""

    track: str
    track_sha256: str
    airframe: str
    format: Format
    laps: int
    wind_speed_m_s: float
    reference: ReferenceOut
    rows: list[BoardRow]
