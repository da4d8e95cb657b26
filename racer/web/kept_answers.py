"""The rows behind Idempotency-Key: who has claimed a key, and what was answered.

A row lasts a day. An account or an address has at most 500 of them and all together 20,000: beyond
that the oldest are forgotten, so that nobody fills the disk with keys.
"""

from __future__ import annotations

import zlib
from datetime import timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, delete, func, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from database import Database
from models import KeptAnswer, utc_now

LIFETIME = timedelta(hours=24)
LONGEST_WORK = timedelta(minutes=10)  # after which nobody works on a request any more
MOST_OF_ONE, MOST = 500, 20_000


class Name(NamedTuple):
    """What a key means: one request of somebody. Both are digests."""

    id: str
    owner: str


class Kept(NamedTuple):
    """What is known of the first request."""

    status: int | None  # None: nothing was answered yet
    fingerprint: str | None = None
    headers: dict[str, str] | None = None
    body: bytes | None = None
    lost: bool = False  # whoever worked on it was killed


def claim(session: Session, name: Name) -> Kept | None:
    """Take the name, None; or what is kept under it. One of several at once takes it."""
    now = utc_now()
    session.execute(delete(KeptAnswer).where(KeptAnswer.created_at < now - LIFETIME))
    _make_room(session, KeptAnswer.owner == name.owner, MOST_OF_ONE)
    _make_room(session, true(), MOST)
    try:
        with session.begin_nested():
            session.add(KeptAnswer(id=name.id, owner=name.owner))
    except IntegrityError:
        row = session.get(KeptAnswer, name.id, populate_existing=True)
        if row is None:  # it failed just now, and its key is free again
            return Kept(None)
        lost = row.status is None and row.created_at < now - LONGEST_WORK
        body = None if row.body is None else zlib.decompress(row.body)
        return Kept(row.status, row.fingerprint, row.headers, body, lost)
    return None


def _make_room(session: Session, whose: ColumnElement[bool], most: int) -> None:
    """Forget the oldest, so that another one fits."""
    held = session.scalar(select(func.count()).select_from(KeptAnswer).where(whose)) or 0
    if held < most:
        return
    oldest = select(KeptAnswer.id).where(whose, KeptAnswer.status.is_not(None))
    oldest = oldest.order_by(KeptAnswer.created_at).limit(held - most + 1)
    session.execute(delete(KeptAnswer).where(KeptAnswer.id.in_(oldest)))


def keep(database: Database, name: Name, kept: Kept) -> None:
    """Write down what was answered."""
    with database.session() as session:
        row = session.get(KeptAnswer, name.id)
        if row is None:  # forgotten meanwhile
            return
        row.status, row.fingerprint, row.headers = kept.status, kept.fingerprint, kept.headers
        row.body = None if kept.body is None else zlib.compress(kept.body)


def release(database: Database, name: Name) -> None:
    """Free a name that nothing was done under."""
    with database.session() as session:
        session.execute(delete(KeptAnswer).where(KeptAnswer.id == name.id))
