"""Who is before whom, and the numbers that are told of it. No JAX."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from racer.racing.config import Format
from racer.racing.entrants import Entrant, Pilot, Refused
from racer.racing.flight import Flight
from racer.sim.track import Track

Merit: TypeAlias = tuple[float, ...]  # less is better
LAST: Merit = (2.0,)  # of who did not fly


@dataclasses.dataclass(frozen=True, eq=False)
class Standing:
    """An entrant's best flight of a race, and all of them."""

    entrant: Entrant | Pilot
    flight: Flight
    attempt: int  # 1, 2, …: which of the flights it is
    flights: tuple[Flight, ...]
    met: tuple[int, ...] = ()  # ids of those it collided with


def merit(flight: Flight, track: Track, form: Format) -> Merit:
    """By time where there is one, then by how far it got: gates, then metres to the next one.

    In one world the time is the race's own clock: the first to finish wins, and of two who finish
    at the same moment the one who flew for less time.
    """
    score = score_s(flight, track, form)
    if score is None:
        return (1.0, -float(len(flight.passages)), flight.to_next_gate_m(track))
    if form in ("head_to_head", "knockout"):
        return (0.0, flight.end_s, score)
    return (0.0, score)


def score_s(flight: Flight, track: Track, form: Format) -> float | None:
    """The time that counts, s: of the course, or of the best three laps; None without one."""
    if form == "fastest_three":
        return flight.best_three_s(track)
    return flight.course_time_s


def best_of(
    entrant: Entrant | Pilot, flights: Sequence[Flight], track: Track, form: Format
) -> Standing:
    """The best of an entrant's attempts; of equal ones the first."""
    merits = [merit(flight, track, form) for flight in flights]
    best = merits.index(min(merits))
    return Standing(entrant, flights[best], best + 1, tuple(flights))


def ranks(merits: Sequence[Merit]) -> list[int]:
    """1 for the best; who is exactly as good shares the rank, and the one after it stays empty."""
    return [1 + sum(other < own for other in merits) for own in merits]


def refused_row(entrant: Refused, rank: int) -> dict[str, Any]:
    """Of somebody who was not let fly."""
    return {
        "id": entrant.id,
        "name": entrant.name,
        "rank": rank,
        "status": "refused",
        "reason": entrant.reason,
    }


def row(standing: Standing, rank: int, track: Track, form: Format) -> dict[str, Any]:
    """Everything about an entrant's race, JSON's types; docs/races.md says what each is."""
    flight = standing.flight
    laps = flight.laps_s(track)
    return {
        "id": standing.entrant.id,
        "name": standing.entrant.name,
        "rank": rank,
        **_end(flight),
        "collided_with": list(standing.met),
        "score_s": _seconds(score_s(flight, track, form)),
        "course_time_s": _seconds(flight.course_time_s),
        "start_s": _seconds(flight.start_s),
        "laps_s": [_seconds(lap) for lap in laps.tolist()],
        "best_lap_s": _seconds(float(laps.min())) if laps.size else None,
        "best_three_s": _seconds(flight.best_three_s(track)),
        "gates_passed": len(flight.passages),
        "to_next_gate_m": round(flight.to_next_gate_m(track), 3),
        "distance_m": round(flight.distance_m, 2),
        "splits": _splits(flight, track),
        "attempt": standing.attempt,
        "attempts": [
            _end(one)
            | {
                "score_s": _seconds(score_s(one, track, form)),
                "gates_passed": len(one.passages),
            }
            for one in standing.flights
        ],
    }


def _end(flight: Flight) -> dict[str, Any]:
    return {"status": flight.end, "cause": flight.cause}


def _splits(flight: Flight, track: Track) -> list[dict[str, Any]]:
    """Of every passage: since the own start, and since the passage before it."""
    legs = np.diff(flight.passages, prepend=0.0)
    return [
        {
            "lap": 1 + number // len(track.gates),
            "gate": 1 + number % len(track.gates),
            "time_s": _seconds(moment),
            "split_s": _seconds(leg),
        }
        for number, (moment, leg) in enumerate(
            zip(flight.passages.tolist(), legs.tolist(), strict=True)
        )
    ]


def _seconds(value: float | None) -> float | None:
    """To a tenth of a millisecond: float32 holds no more of a flight of minutes."""
    return None if value is None else round(value, 4)
