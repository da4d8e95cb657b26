"""Statements on users' tracks. They take the request's session and never commit."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, contains_eager, defer

import crud
from auth import Visitor
from database import lacks_parent
from models import User, UserTrack
from racer.errors import AlreadyExistsError, ConflictError, InvalidInputError, NotFoundError
from racer.sim.track import Track
from racer.tracks.courses import length_m, mean_height_m, sha256

MOST_TRACKS = 200  # of one account
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,63}")


def find_track(session: Session, track_id: str, *, lock: bool = False) -> UserTrack | None:
    """The track of that id with its owner; None when there is none."""
    if not _ID.fullmatch(track_id.lower()):
        return None
    statement = select(UserTrack).where(UserTrack.id == track_id.lower())
    return session.scalar(statement.with_for_update() if lock else statement)


def find_named(session: Session, owner: str, name: str) -> UserTrack | None:
    """The track that a user calls so; None when there is none."""
    user = crud.find_user(session, owner) if _NAME.fullmatch(name) else None
    if user is None:
        return None
    return session.scalar(
        select(UserTrack).where(UserTrack.user_id == user.id, UserTrack.name == name)
    )


def list_tracks(
    session: Session, *, owner: User | None, visitor: Visitor, before: str | None, limit: int
) -> Sequence[UserTrack]:
    """Those that `visitor` may see, the newest first, without their texts; of `owner` if given.

    `before`: only those after that place (`place_of`). InvalidInputError when it is none.
    """
    statement = (
        select(UserTrack)
        .join(UserTrack.user)
        .options(contains_eager(UserTrack.user), defer(UserTrack.content, raiseload=True))
        .order_by(UserTrack.created_at.desc(), UserTrack.id)
        .limit(limit)
    )
    if owner is not None:
        statement = statement.where(UserTrack.user_id == owner.id)
    if owner is None or not visitor.may_use(owner):
        own = UserTrack.user_id == visitor.id
        statement = statement.where(or_(UserTrack.shared, own))
    if before is not None:
        created_at, last_id = _place(before)
        same = (UserTrack.created_at == created_at) & (UserTrack.id > last_id)
        statement = statement.where(or_(UserTrack.created_at < created_at, same))
    return session.scalars(statement).all()


def place_of(track_id: str, created_at: datetime) -> str:
    """Where in the list a track stands; it stays a place when the track is gone."""
    return f"{(created_at - _EPOCH) // _MICROSECOND}-{track_id}"


def _place(text: str) -> tuple[datetime, str]:
    stamp, _, track_id = text.partition("-")
    digits = stamp.isascii() and stamp.isdecimal() and len(stamp) <= 17
    if not (digits and _ID.fullmatch(track_id)):
        raise InvalidInputError("`before` must be `next` of the page before.")
    return _EPOCH + int(stamp) * _MICROSECOND, track_id


def add_track(session: Session, user: User, content: str, track: Track) -> UserTrack:
    """Keep a text that was checked. AlreadyExistsError when the user has one of its name,
    ConflictError when they have too many."""
    held = session.scalar(select(func.count()).where(UserTrack.user_id == user.id)) or 0
    if held >= MOST_TRACKS:
        raise ConflictError(f"An account holds {MOST_TRACKS} tracks at most. Delete one first.")
    made = UserTrack(user=user)
    _fill(made, content, track)
    return _flushed(session, made)


def replace_track(session: Session, kept: UserTrack, content: str, track: Track) -> UserTrack:
    """Give a track another text, and the name that stands in it. AlreadyExistsError likewise."""
    _fill(kept, content, track)
    return _flushed(session, kept)


def _fill(row: UserTrack, content: str, track: Track) -> None:
    row.name, row.content, row.sha256 = track.name, content, sha256(content)
    row.gates, row.laps = len(track.gates), track.laps
    row.length_m, row.mean_height_m = length_m(track), mean_height_m(track)


def _flushed(session: Session, row: UserTrack) -> UserTrack:
    """The unique constraint decides between simultaneous writers."""
    name = row.name
    try:
        with session.begin_nested():
            session.add(row)
            session.flush()
    except IntegrityError as error:
        if lacks_parent(error):
            raise NotFoundError("The account was deleted meanwhile.") from error
        raise AlreadyExistsError(
            f"You have a track named '{name}' already. Choose another name, or replace that one."
        ) from error
    return row
