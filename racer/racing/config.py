"""What one race is told: a JSON object, checked once. No JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from racer.errors import InvalidInputError
from racer.sim.track import MAX_LAPS, Track, parse_track
from racer.sim.track_keys import MAX_TEXT_BYTES

Format: TypeAlias = Literal["time_trial", "fastest_three", "head_to_head", "knockout"]

MAX_WIND_M_S = 15.0  # as trainings may have it
MAX_ATTEMPTS = 20
MAX_SEED = 2**63 - 1
LAPS_OF_THREE = 4  # a flight begins from rest: three laps from gate 1 to gate 1 need a fourth
FEWEST: Final[dict[Format, int]] = {
    "time_trial": 1,
    "fastest_three": 1,
    "head_to_head": 2,
    "knockout": 2,
}
BY_HAND: Final[tuple[Format, ...]] = ("time_trial", "fastest_three")  # take flights by hand
MOST: Final[dict[Format, int]] = {
    "time_trial": 64,
    "fastest_three": 64,
    "head_to_head": 8,
    "knockout": 32,
}


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Entry(_Table):
    """Who takes part."""

    id: int
    name: str = Field(min_length=1, max_length=128)
    policy: str = Field("", max_length=4096)  # its folder, within that of all policies
    flight: str = Field("", max_length=4096)  # or the folder of a flight by hand, likewise

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Entry:
        if bool(self.policy) == bool(self.flight):
            raise ValueError("an entrant has a policy or a flight by hand")
        return self


class RaceConfig(_Table):
    """One race. `seed` is the secret: starts, gusts and lanes follow from it."""

    format: Format
    track: str = Field(max_length=MAX_TEXT_BYTES)  # TOML text
    airframe: str = Field(min_length=1, max_length=4096)  # one for all
    seed: int = Field(ge=0, le=MAX_SEED)
    entrants: Annotated[tuple[Entry, ...], Field(strict=False)]
    laps: int | None = Field(default=None, ge=1, le=MAX_LAPS)  # None: as many as the course says
    wind_speed_m_s: float = Field(default=0.0, ge=0.0, le=MAX_WIND_M_S)
    attempts: int = Field(default=5, ge=1, le=MAX_ATTEMPTS)  # of each, where everybody flies alone
    start: Literal["grid", "staggered"] = "grid"  # of drones in one world
    interval_s: float = Field(default=2.0, ge=0.2, le=60.0)  # of a staggered start
    seeding: Literal["time_trial", "given"] = "time_trial"  # of a knockout

    @model_validator(mode="after")
    def _fits_the_format(self) -> RaceConfig:
        least, most = FEWEST[self.format], MOST[self.format]
        if not least <= len(self.entrants) <= most:
            raise ValueError(f"a race of this format has {least} to {most} entrants")
        if len({entry.id for entry in self.entrants}) < len(self.entrants):
            raise ValueError("two entrants have the same id")
        if self.format not in BY_HAND and any(entry.flight for entry in self.entrants):
            raise ValueError("who flew before the race is in no world with others")
        return self

    def load_track(self) -> Track:
        """The course with the race's laps; InvalidInputError when there is no such race on it."""
        track = parse_track(self.track)
        if self.laps is not None:
            track = dataclasses.replace(track, laps=self.laps)
        if self.format == "fastest_three" and track.laps < LAPS_OF_THREE:
            raise InvalidInputError(
                f"Three laps from the first gate to the first gate need a race of {LAPS_OF_THREE} "
                f"laps or more, because it starts from rest; this one has {track.laps}."
            )
        return track


def race_config(given: Mapping[str, Any]) -> RaceConfig:
    """Read a race's JSON object; InvalidInputError names the key that is wrong."""
    try:
        return RaceConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the race"
        raise InvalidInputError(f"Race: '{where}': {first['msg']}.") from error
