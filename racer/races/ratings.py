"""Elo of competitors, one rating a track and airframe."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from models import Race, RaceEntry, Rating
from racer.racing.elo import INITIAL, updated


def rate(session: Session, race: Race, flown: list[RaceEntry]) -> None:
    """Change the ratings of all networks that flew, and note it in the entries. Flights by hand
    are not rated: they were flown before, as often as their pilot liked.

    One competitor that was entered twice counts once, with its better rank. Those of one account
    are not rated against each other, so a race of one account's changes nothing.
    """
    best: dict[str, int] = {}
    accounts: dict[str, int | str] = {}
    for entry in flown:
        if entry.rank is not None and entry.flight is None:
            best[entry.competitor] = min(entry.rank, best.get(entry.competitor, entry.rank))
            accounts[entry.competitor] = _account(entry)
    ratings = _locked(session, race, best)
    before = {key: rating.elo for key, rating in ratings.items()}
    after = updated(before, best, owners=accounts)
    for key, rating in ratings.items():
        rating.elo = after[key]
        rating.games += len(set(accounts.values())) > 1
    for entry in flown:
        if entry.flight is None:
            elo = after[entry.competitor]
            entry.elo, entry.elo_change = elo, elo - before[entry.competitor]


def _account(entry: RaceEntry) -> int | str:
    """Whose the entry is; of an account that was deleted meanwhile its name is left."""
    return entry.username if entry.user_id is None else entry.user_id


def _locked(session: Session, race: Race, keys: Mapping[str, int]) -> dict[str, Rating]:
    """A row for each, made if need be, all held: another race may end at this moment."""
    board = {"track_sha256": race.track_sha256, "airframe": race.airframe}
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for key in sorted(keys):  # one order for all, hence no deadlock
        row = board | {"competitor": key, "elo": INITIAL, "games": 0}
        session.execute(insert(Rating).values(**row).on_conflict_do_nothing())
    wanted = select(Rating).filter_by(**board).where(Rating.competitor.in_(keys))
    rows = session.scalars(wanted.order_by(Rating.competitor).with_for_update())
    return {row.competitor: row for row in rows}
