"""A course's text as it comes in and what is told of it. No database, no HTTP."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from datetime import datetime
from functools import cache

import numpy as np

from racer.errors import InvalidInputError
from racer.policy.tables import to_toml, track_table
from racer.sim.airframe import airframe_names, load_airframe
from racer.sim.track import Track, parse_track, shipped_text, track_names
from racer.sim.track_keys import InvalidTrackError, Problem


@dataclasses.dataclass(frozen=True)
class TrackInfo:
    """What a list shows of a track."""

    id: str  # of a shipped one its name, of a user's a UUID
    name: str
    username: str | None  # None: it ships with the product
    shared: bool
    sha256: str  # of the text
    gates: int
    laps: int
    length_m: float  # of the smooth line from the start through all laps
    mean_height_m: float  # of the gates
    created_at: datetime | None
    updated_at: datetime | None

    @property
    def shipped(self) -> bool:
        """Whether everybody has it."""
        return self.username is None

    @property
    def full_name(self) -> str:
        """What a drone model's `track` calls it."""
        return self.name if self.username is None else f"{self.username}/{self.name}"


@dataclasses.dataclass(frozen=True)
class TrackRecord(TrackInfo):
    """A track with its TOML text."""

    content: str


def read_text(body: bytes, *, is_json: bool) -> str:
    """The TOML text that a request's body holds, or says as JSON of the same structure.

    Raises InvalidTrackError when it is neither UTF-8 nor such JSON.
    """
    try:
        text = body.decode("utf-8-sig")  # some editors begin a file with a byte order mark
    except UnicodeDecodeError as error:
        raise InvalidTrackError([Problem("", "the text is not UTF-8")]) from error
    if not is_json:
        return text
    try:  # a number of thousands of digits is a ValueError, too many brackets a RecursionError
        table = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidTrackError([Problem("", f"not valid JSON: {error}")]) from error
    if not isinstance(table, dict):
        raise InvalidTrackError([Problem("", "the JSON must be an object, as TOML would be")])
    try:
        return to_toml(table)
    except InvalidInputError as error:
        told = error.message.removeprefix("Track: ").removesuffix(".")
        raise InvalidTrackError([Problem("", told)]) from error


def read_course(content: str) -> Track:
    """Check a text that is to be somebody's track; InvalidTrackError names what is wrong."""
    track = parse_track(content)
    if track.name.endswith(" "):  # nobody could name it in a form
        raise InvalidTrackError([Problem("name", "must not end with a space")])
    return track


def canonical(track: Track) -> str:
    """The course as TOML without comments, everything where it stands."""
    return to_toml(track_table(track))


def length_m(track: Track) -> float:
    """Of the smooth line from the start through all gates of all laps."""
    line = dataclasses.replace(track, gates=track.gates * track.laps).centre_line()
    return round(float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()), 2)


def mean_height_m(track: Track) -> float:
    """Of the gates' centres above z = 0, which drone models' flight altitude means."""
    return round(float(np.mean([gate.position[2] for gate in track.gates])), 3)


def sha256(content: str) -> str:
    """Of the file that the text makes."""
    return hashlib.sha256(content.encode()).hexdigest()


def airframes_for(track: Track) -> list[str]:
    """The shipped airframes whose hull fits through every gate."""
    opening = min(gate.size for gate in track.gates)
    return [name for name, width in _hulls().items() if width < opening]


@cache
def _hulls() -> dict[str, float]:
    """Widths in m of the shipped airframes."""
    return {name: 2 * load_airframe(name).body.collision_radius_m for name in airframe_names()}


@cache
def shipped() -> tuple[TrackRecord, ...]:
    """Every course that ships with the product, by name; they do not change while it runs."""
    return tuple(_shipped(name) for name in track_names())


def _shipped(name: str) -> TrackRecord:
    content = shipped_text(name)
    track = parse_track(content)
    return TrackRecord(
        id=name,
        name=name,
        username=None,
        shared=True,
        sha256=sha256(content),
        gates=len(track.gates),
        laps=track.laps,
        length_m=length_m(track),
        mean_height_m=mean_height_m(track),
        created_at=None,
        updated_at=None,
        content=content,
    )
