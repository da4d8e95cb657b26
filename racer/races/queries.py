"""Statements on races and entries. Who changes a race holds its row, so that entering, leaving and
starting are one after the other, with however many servers."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session, joinedload, selectinload, undefer

from auth import Visitor, require_access
from models import Policy, Race, RaceEntry, RaceStatus, User
from racer.errors import ConflictError, NotFoundError
from racer.races.schemas import RaceFilter
from racer.sim.track import parse_track
from racer.web.ids import is_id
from racer.web.paging import after

MOST_UNDER_WAY = 20  # races of one account
_NO_RACE = "There is no race of that id."
_NO_RACE_OF_YOURS = "There is no race of that id that you may change."
_NO_ENTRY = "The race has no entry of that id that you may take back."
_NO_POLICY = "There is no policy of that id."  # or not for who asks
_ROOM_LOCK = 0x701ED1  # key of PostgreSQL's advisory lock, ours by choice


def get(session: Session, race_id: str, *, lock: bool = False, heats: bool = False) -> Race:
    """The race with its entries; NotFoundError when there is none."""
    race = _find(session, race_id, lock=lock, heats=heats)
    if race is None:
        raise NotFoundError(_NO_RACE)
    return race


def get_own(session: Session, race_id: str, visitor: Visitor, *, lock: bool = True) -> Race:
    """A race that the visitor may change: everybody's to see, its organiser's to change. Raises
    NotFoundError, UnauthorizedError."""
    race = _find(session, race_id, lock=lock)
    if race is None:
        raise NotFoundError(_NO_RACE_OF_YOURS)
    require_owner(race.user, visitor, missing=_NO_RACE_OF_YOURS)
    return race


def _find(
    session: Session, race_id: str, *, lock: bool = False, heats: bool = False
) -> Race | None:
    if not is_id(race_id):
        return None
    if lock:
        session.execute(select(Race.id).where(Race.id == race_id).with_for_update())
    wanted = select(Race).where(Race.id == race_id)
    wanted = wanted.options(selectinload(Race.entries), joinedload(Race.job))
    if heats:
        results = selectinload(Race.entries).undefer(RaceEntry.result)
        wanted = wanted.options(undefer(Race.heats), results)
    return session.scalar(wanted.execution_options(populate_existing=True))


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


def require_open(race: Race) -> None:
    """ConflictError unless the race takes entries."""
    if race.status is not RaceStatus.OPEN:
        raise ConflictError(f"The race is {race.status}: it takes and gives back no entries.")


def require_place(race: Race) -> None:
    """ConflictError unless it is open and not full."""
    require_open(race)
    if len(race.entries) >= race.max_entrants:
        raise ConflictError(f"The race is full: it takes {race.max_entrants} entries.")


def next_number(race: Race) -> int:
    """Of an entry within the race."""
    return 1 + max((entry.number for entry in race.entries), default=0)


def require_owner(owner: User | None, visitor: Visitor, *, missing: str) -> None:
    """Raise unless `visitor` may change what is `owner`'s in a race: race directors may change
    everything there, also that of an account that is gone."""
    if not visitor.manages_races:
        require_access(owner, visitor, missing=missing)


def get_own_policy(session: Session, policy_id: str, visitor: Visitor) -> Policy:
    """A policy that the visitor may enter; raises NotFoundError, UnauthorizedError."""
    policy = get_policy(session, policy_id)
    require_access(policy.user, visitor, missing=_NO_POLICY)
    return policy


def get_policy(session: Session, policy_id: str) -> Policy:
    """The policy with its owner; NotFoundError when there is none."""
    wanted = select(Policy).options(joinedload(Policy.user)).where(Policy.id == policy_id)
    policy = session.scalar(wanted) if is_id(policy_id) else None
    if policy is None:
        raise NotFoundError(_NO_POLICY)
    return policy


def hold_policy(session: Session, seen: Policy) -> Policy:
    """The policy that was seen in another transaction, which with its owner stays until the end of
    this one. NotFoundError when it is gone, ConflictError when it is another one."""
    # The owner first, as who deletes an account does: in another order the two could deadlock.
    for kind, key in ((User, seen.user_id), (Policy, seen.id)):
        session.execute(
            select(kind.id).where(kind.id == key).with_for_update(read=True, key_share=True)
        )
    policy = get_policy(session, seen.id)
    if policy.sha256 != seen.sha256:
        raise ConflictError("The policy was changed meanwhile: enter it again.")
    return policy


def make_room(session: Session, size_bytes: int, quota_bytes: int) -> list[str]:
    """Count a new copy of that size in; the races whose copies go for it, those that finished
    longest ago first.

    ConflictError when those of open races and of races under way leave no room.
    """
    if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer anyway
        session.execute(select(func.pg_advisory_xact_lock(_ROOM_LOCK)))
    in_use = Race.status.in_((RaceStatus.OPEN, RaceStatus.RUNNING))
    needed = session.scalar(select(func.sum(Race.copies_bytes)).where(in_use)) or 0
    if needed + size_bytes > quota_bytes:
        raise ConflictError(
            f"A copy of {size_bytes / 1e6:.2f} MB does not fit beside the {needed / 1e6:.2f} MB of "
            f"races that are open or under way: all may take {quota_bytes // 10**6} MB (RACES_MB). "
            "Wait until some have ended, or ask the server's operator for more."
        )
    excess = (session.scalar(select(func.sum(Race.copies_bytes))) or 0) + size_bytes - quota_bytes
    oldest = select(Race).where(~in_use, Race.copies_bytes > 0)
    oldest = oldest.order_by(Race.finished_at, Race.id).limit(1).with_for_update(skip_locked=True)
    # Whose row somebody holds is passed over: to wait for it could deadlock. The next one makes up.
    gone: list[str] = []
    while excess > 0 and (race := session.scalar(oldest)) is not None:
        excess -= race.copies_bytes
        race.copies_bytes = 0
        gone.append(race.id)
        session.flush()
    return gone


def with_entries(session: Session, race_ids: Collection[str]) -> Sequence[Race]:
    """Those of the races that there are."""
    wanted = select(Race).options(selectinload(Race.entries), joinedload(Race.job))
    return session.scalars(wanted.where(Race.id.in_(race_ids))).all()


def get_own_entry(race: Race, entry_id: str, visitor: Visitor) -> RaceEntry:
    """One of the race's entries that the visitor may take back: its owner, or who organises the
    race. Raises NotFoundError, UnauthorizedError."""
    for entry in race.entries:
        if entry.id == entry_id:
            if visitor.id is None or visitor.id != race.user_id:
                require_owner(entry.user, visitor, missing=_NO_ENTRY)
            return entry
    raise NotFoundError(_NO_ENTRY)


def track_of(session: Session, sha256: str) -> tuple[str, str, int]:
    """(name, sha256, laps) of the track of that text, as the newest race on it calls it.

    NotFoundError when there was none.
    """
    wanted = select(Race.track_name, Race.track_sha256, Race.track)
    wanted = wanted.where(Race.track_sha256 == sha256).order_by(Race.created_at.desc())
    found = session.execute(wanted.limit(1)).one_or_none()
    if found is None:
        raise NotFoundError("There was no race on a track of that SHA-256.")
    return found[0], found[1], parse_track(found[2]).laps


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
