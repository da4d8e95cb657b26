"""Statements on races and entries. Who changes a race holds its row, so that entering, leaving and
starting are one after the other, with however many servers."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload, undefer

from models import Policy, Race, RaceEntry, RaceStatus, User
from racer.errors import ConflictError, NotFoundError
from racer.races.schemas import RaceFilter
from racer.web.ids import is_id
from racer.web.paging import after

MOST_UNDER_WAY = 20  # races of one account


def get(session: Session, race_id: str, *, lock: bool = False, heats: bool = False) -> Race:
    """The race with its entries; NotFoundError when there is none."""
    race = None
    if is_id(race_id):
        if lock:
            session.execute(select(Race.id).where(Race.id == race_id).with_for_update())
        wanted = select(Race).where(Race.id == race_id)
        wanted = wanted.options(selectinload(Race.entries), joinedload(Race.job))
        if heats:
            results = selectinload(Race.entries).undefer(RaceEntry.result)
            wanted = wanted.options(undefer(Race.heats), results)
        race = session.scalar(wanted.execution_options(populate_existing=True))
    if race is None:
        raise NotFoundError("There is no race of that id.")
    return race


def require_room(session: Session, organiser: User) -> None:
    """ConflictError when too many races of the account are not over."""
    under_way = (
        select(func.count())
        .select_from(Race)
        .where(Race.user_id == organiser.id, Race.status.in_((RaceStatus.OPEN, RaceStatus.RUNNING)))
    )
    if (session.scalar(under_way) or 0) >= MOST_UNDER_WAY:
        raise ConflictError(
            f"{MOST_UNDER_WAY} races of this account are open or under way: start or cancel some."
        )


def get_open(session: Session, race_id: str) -> Race:
    """The race, locked; ConflictError unless it takes entries."""
    race = get(session, race_id, lock=True)
    require_open(race)
    return race


def require_open(race: Race) -> None:
    """ConflictError unless it takes entries."""
    if race.status is not RaceStatus.OPEN:
        raise ConflictError(f"The race is {race.status}: it takes and gives back no entries.")


def get_policy(session: Session, policy_id: str) -> Policy:
    """The policy, which nobody deletes meanwhile; NotFoundError when there is none."""
    held = {"read": True, "key_share": True}
    policy = session.get(Policy, policy_id, with_for_update=held) if is_id(policy_id) else None
    if policy is None:
        raise NotFoundError("There is no policy of that id.")
    return policy


def entry_of(race: Race, entry_id: str) -> RaceEntry:
    """One of the race's entries; NotFoundError when it is none."""
    for entry in race.entries:
        if entry.id == entry_id:
            return entry
    raise NotFoundError("The race has no entry of that id.")


def track_of(session: Session, sha256: str) -> tuple[str, str, int]:
    """(name, sha256, laps) of the newest race on that text; NotFoundError when there is none."""
    wanted = select(Race.track_name, Race.track_sha256, Race.laps)
    wanted = wanted.where(Race.track_sha256 == sha256).order_by(Race.created_at.desc())
    found = session.execute(wanted.limit(1)).one_or_none()
    if found is None:
        raise NotFoundError("There was no race on a track of that SHA-256.")
    return found[0], found[1], found[2]


def listed(session: Session, wanted: RaceFilter, *, limit: int) -> Sequence[Race]:
    """The newest first. InvalidInputError when `before` is no place in that order."""
    statement = select(Race).options(selectinload(Race.entries), joinedload(Race.job))
    statement = statement.order_by(Race.created_at.desc(), Race.id)
    if wanted.status:
        statement = statement.where(Race.status.in_(wanted.status))
    for column, value in (
        (Race.format, wanted.format),
        (Race.username, wanted.username),
        (Race.track_sha256, wanted.track_sha256),
    ):
        if value is not None:
            statement = statement.where(column == value)
    if wanted.before is not None:
        statement = statement.where(after(wanted.before, Race.created_at, Race.id))
    return session.scalars(statement.limit(limit)).all()
