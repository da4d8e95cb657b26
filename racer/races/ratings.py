"""Elo of networks, one rating a track and airframe."""

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

    One network that was entered twice counts once, with its better rank. A race of one network
    changes nothing.
    """
    best: dict[str, int] = {}
    for entry in flown:
        if entry.rank is not None and (sha256 := entry.policy_sha256) is not None:
            best[sha256] = min(entry.rank, best.get(sha256, entry.rank))
    ratings = _locked(session, race, best)
    numbers = {sha256: number for number, sha256 in enumerate(best)}
    before = {numbers[sha256]: rating.elo for sha256, rating in ratings.items()}
    after = updated(before, {numbers[sha256]: rank for sha256, rank in best.items()})
    for sha256, rating in ratings.items():
        rating.elo = after[numbers[sha256]]
        rating.games += len(best) > 1
    for entry in flown:
        if entry.policy_sha256 is None:
            continue
        number = numbers[entry.policy_sha256]
        entry.elo, entry.elo_change = after[number], after[number] - before[number]


def _locked(session: Session, race: Race, networks: Mapping[str, int]) -> dict[str, Rating]:
    """A row for each, made if need be, all held: another race may end at this moment."""
    board = {"track_sha256": race.track_sha256, "airframe": race.airframe}
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    for sha256 in sorted(networks):  # one order for all, hence no deadlock
        row = board | {"policy_sha256": sha256, "elo": INITIAL, "games": 0}
        session.execute(insert(Rating).values(**row).on_conflict_do_nothing())
    wanted = select(Rating).filter_by(**board).where(Rating.policy_sha256.in_(networks))
    rows = session.scalars(wanted.order_by(Rating.policy_sha256).with_for_update())
    return {row.policy_sha256: row for row in rows}
