"""Leaderboards: the best result of every competitor on a track, and how far from physics it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session, contains_eager, undefer

from models import Race, RaceEntry, RaceStatus, Rating
from racer.races.references import of_board
from racer.races.schemas import BoardRow, LapOut, Leaderboard, ReferenceOut
from racer.racing.config import Format

MOST_ROWS = 200


def leaderboard(
    session: Session,
    *,
    track: str,
    track_sha256: str,
    airframe: str,
    form: Format,
    laps: int,
    wind_speed_m_s: float,
    limit: int,
) -> Leaderboard:
    """Best times first; of equal ones the earlier."""
    course_s, lap_s = of_board(session, track_sha256, airframe, laps)
    races = (
        Race.track_sha256 == track_sha256,
        Race.airframe == airframe,
        Race.format == form,
        Race.laps == laps,
        Race.settings["wind_speed_m_s"].as_float() == wind_speed_m_s,
    )
    found = _best(session, races, limit=limit)
    elos = _elos(session, track_sha256, airframe, [entry.competitor for entry in found])
    target = course_s
    if form == "fastest_three":
        target = None if lap_s is None else 3.0 * lap_s
    return Leaderboard(
        track=track,
        track_sha256=track_sha256,
        airframe=airframe,
        format=form,
        laps=laps,
        wind_speed_m_s=wind_speed_m_s,
        reference=ReferenceOut(course_time_s=course_s, flying_lap_s=lap_s),
        rows=[
            _row(entry, rank, target, course_s if laps == 1 else lap_s, elos)
            for rank, entry in enumerate(found, start=1)
        ],
    )


def _best(
    session: Session, races: Sequence[ColumnElement[bool]], *, limit: int
) -> Sequence[RaceEntry]:
    """One entry a competitor: its best in these races, with its race."""
    place = func.row_number().over(
        partition_by=RaceEntry.competitor,
        order_by=(RaceEntry.score_s, Race.finished_at, RaceEntry.id),
    )
    ranked = (
        select(RaceEntry.id, place.label("place"))
        .join(RaceEntry.race)
        .where(*races, Race.status == RaceStatus.FINISHED, RaceEntry.score_s.is_not(None))
        .subquery()
    )
    best = (
        select(RaceEntry)
        .join(RaceEntry.race)
        .join(ranked, ranked.c.id == RaceEntry.id)
        .where(ranked.c.place == 1)
        .options(contains_eager(RaceEntry.race), undefer(RaceEntry.result))
        .order_by(RaceEntry.score_s, Race.finished_at, RaceEntry.id)
    )
    return session.scalars(best.limit(limit)).all()


def _elos(
    session: Session, track_sha256: str, airframe: str, keys: Sequence[str]
) -> dict[str, Rating]:
    wanted = select(Rating).filter_by(track_sha256=track_sha256, airframe=airframe)
    rows = session.scalars(wanted.where(Rating.competitor.in_(keys)))
    return {row.competitor: row for row in rows}


def _row(
    entry: RaceEntry,
    rank: int,
    target_s: float | None,
    lap_s: float | None,
    elos: dict[str, Rating],
) -> BoardRow:
    result: dict[str, Any] = entry.result or {}
    rating = elos.get(entry.competitor)
    score = float(entry.score_s or 0.0)
    return BoardRow(
        rank=rank,
        username=entry.username,
        flown=entry.flown,
        policy_id=entry.policy_id,
        policy_name=entry.policy_name,
        policy_version=entry.policy_version,
        policy_sha256=entry.policy_sha256,
        competitor=entry.competitor,
        score_s=score,
        ratio=_ratio(score, target_s),
        laps=[LapOut(time_s=lap, ratio=_ratio(lap, lap_s)) for lap in result.get("laps_s", [])],
        elo=rating.elo if rating else None,
        games=rating.games if rating else 0,
        race_id=entry.race_id,
        finished_at=entry.race.finished_at or entry.race.created_at,
    )


def _ratio(time_s: float, reference_s: float | None) -> float | None:
    return None if not reference_s else round(time_s / reference_s, 4)
