"""Tracks as the rest of the product asks for them: by id, or by the name that a person wrote.

`toledo` is a shipped track, `ada/my course` is Ada's, a UUID is a user's too. A name never means a
file. Whoever uses a track keeps a copy of its text: it may change or go at any time.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy.orm import Session

from auth import Visitor, require_access, require_somebody
from models import UserTrack
from racer.errors import NotFoundError
from racer.sim.track import Track, load_track, track_names
from racer.tracks import queries
from racer.tracks.courses import TrackInfo, TrackRecord, canonical, shipped
from schemas import DroneDetails, clean_username

DEFAULT_TRACK = "toledo"
_NOT_SEEN = (
    "There is no track of that id that you may see. Sign in if it is your own; GET /tracks lists "
    "what there is."
)
_NOT_OWN = "There is no track of that id that you may change. Sign in if it is your own."


class Course(NamedTuple):
    """What a training flies."""

    text: str  # for racer.sim.track.load_track: a shipped name, or TOML
    altitude_m: float | None  # mean height of the gates; None: where the course has them
    track: Track  # that, read


def info_of(row: UserTrack) -> TrackInfo:
    """A user's track without its text."""
    return TrackInfo(
        id=row.id,
        name=row.name,
        username=row.user.username,
        shared=row.shared,
        sha256=row.sha256,
        gates=row.gates,
        laps=row.laps,
        length_m=row.length_m,
        mean_height_m=row.mean_height_m,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def record_of(row: UserTrack) -> TrackRecord:
    """A user's track."""
    return TrackRecord(**vars(info_of(row)), content=row.content)


def find(session: Session, track_id: str) -> TrackRecord:
    """The track of that id, whoever may see it; NotFoundError when there is none."""
    for record in shipped():
        if record.id == track_id:
            return record
    row = queries.find_track(session, track_id)
    if row is None:
        raise NotFoundError("There is no track of that id. GET /tracks lists what there is.")
    return record_of(row)


def visible(session: Session, track_id: str, visitor: Visitor) -> TrackRecord:
    """Like `find`, but only of what `visitor` may see: UnauthorizedError when nobody asks for what
    is protected, NotFoundError for another's."""
    if track_id in track_names():
        return find(session, track_id)
    row = queries.find_track(session, track_id)
    if row is not None and row.shared:
        return record_of(row)
    return record_of(_usable(row, visitor, missing=_NOT_SEEN))


def own_row(session: Session, track_id: str, visitor: Visitor) -> UserTrack:
    """A user's track that `visitor` may change, locked; raises likewise."""
    return _usable(queries.find_track(session, track_id, lock=True), visitor, missing=_NOT_OWN)


def _usable(row: UserTrack | None, visitor: Visitor, *, missing: str) -> UserTrack:
    require_somebody(visitor)
    if row is None:
        raise NotFoundError(missing)
    require_access(row.user, visitor, missing=missing)
    return row


def named(session: Session, name: str, username: str) -> TrackRecord:
    """The track that `username` means by `name`: a shipped one, or somebody's by `owner/name` or
    by its UUID, which must be theirs or shared. NotFoundError otherwise."""
    if name in track_names():
        return find(session, name)
    owner, slash, own_name = name.partition("/")
    if slash:
        row = queries.find_named(session, owner, own_name)
    else:
        row = queries.find_track(session, name)
    if row is not None and (row.shared or row.user.username == _spelt(username)):
        return record_of(row)
    shown = ascii(name[:140])
    if slash:
        raise NotFoundError(f"There is no track {shown}, or its owner has not shared it.")
    raise NotFoundError(
        f"There is no track {shown}. Shipped ones: {', '.join(track_names())}; a user's own is "
        "username/name."
    )


def _spelt(username: str) -> str:
    try:
        return clean_username(username)
    except ValueError:
        return ""  # nobody's


def content_of(session: Session, name: str, username: str) -> str:
    """The TOML text of the track that `username` means by `name`; NotFoundError as `named`."""
    return named(session, name, username).content


def course_of(session: Session, details: DroneDetails, username: str) -> Course:
    """The course of a drone model of `username`. A user's track is given as text, so that what
    keeps it depends on nobody any more.

    Raises NotFoundError as `named`, InvalidInputError when it cannot be flown at that altitude.
    """
    flight = details.flight_settings()
    if flight.track is None:
        text = DEFAULT_TRACK
    else:
        record = named(session, flight.track, username)
        text = record.name if record.shipped else canonical(load_track(record.content))
    return Course(text, flight.altitude_m, load_track(text, altitude_m=flight.altitude_m))
