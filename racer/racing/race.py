"""One race, from its configuration to its ranking, in any of the formats.

    outcome = run_race(config)
    outcome.result["ranking"][0]["name"]

Everything random follows from the race's secret seed, a stream for each attempt and each heat. All
entrants have the same starts, wind and gusts in their first attempt, the same in their second …
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from racer.errors import InvalidInputError
from racer.learning.compile_cache import keep_compiled_programs
from racer.racing.bracket import Match, final_order, play_knockout
from racer.racing.by_hand import FLIGHT_FILE, attempts, load
from racer.racing.collisions import collide, hull_radius_m
from racer.racing.config import BY_HAND, Entry, Format, RaceConfig
from racer.racing.entrants import Entrant, Pilot, Refused, admit
from racer.racing.flight import Flight, Place
from racer.racing.flying import Stadium, key_of
from racer.racing.grid import grid, staggered
from racer.racing.replay import Recorded, Replay, record
from racer.racing.results import Merit, Standing, best_of, merit, ranks, refused_row, row
from racer.sim.airframe import load_airframe
from racer.sim.track import Track

Progress: TypeAlias = Callable[[float], None]  # 0 to 1
_Ranked: TypeAlias = list[tuple[Standing, Merit]]


class Outcome(NamedTuple):
    """What a race leaves."""

    result: dict[str, Any]  # JSON's types
    replay: Replay


class _Heat(NamedTuple):
    name: str
    standings: list[Standing]  # in the order of the entrants


class _Race:
    """What one race shares between its heats."""

    def __init__(self, config: RaceConfig, progress: Progress) -> None:
        self.config = config
        self.track: Track = config.load_track()
        self.airframe = load_airframe(config.airframe)
        self._stadium = Stadium(self.track, self.airframe, wind_speed_m_s=config.wind_speed_m_s)
        self._progress = progress
        self._flown = 0
        self.planned = 1

    def admitted(self, entry: Entry, folder: Path) -> Entrant | Pilot | Refused:
        """One that cannot fly this course is refused before anybody flies."""
        if entry.flight:
            return self._judged(entry, folder)
        entrant = admit(entry, self.airframe, folder)
        if isinstance(entrant, Refused) or (why := self._stadium.refusal(entrant)) is None:
            return entrant
        return Refused(entrant.id, entrant.name, why)

    def _judged(self, entry: Entry, folder: Path) -> Pilot | Refused:
        """Who flew by hand, before the race: now it is judged."""
        try:
            flown = load(folder / entry.flight / FLIGHT_FILE)
        except InvalidInputError as error:
            return Refused(entry.id, entry.name, error.message)
        flights = attempts(flown, self.track, self.airframe)
        if not flights:
            return Refused(entry.id, entry.name, "It never leaves the start from rest.")
        return Pilot(entry.id, entry.name, tuple(flights))

    def fly(self, entrant: Entrant, key: jax.Array, place: Place | None = None) -> Any:
        flight = self._stadium.fly(entrant, key, place)
        self._flown += 1
        self._progress(min(self._flown / self.planned, 1.0))
        return flight

    def merit(self, standing: Standing) -> Merit:
        return merit(standing.flight, self.track, self.config.format)

    def attempts(self, entrants: Sequence[Entrant | Pilot], form: Format) -> list[Standing]:
        """Everybody alone, several times; the best counts."""

        def flown(entrant: Entrant | Pilot) -> Sequence[Flight]:
            if isinstance(entrant, Pilot):
                return entrant.flights
            return [self.fly(entrant, key) for key in keys]

        keys = [key_of(self.config.seed, "attempt", n) for n in range(self.config.attempts)]
        return [best_of(entrant, flown(entrant), self.track, form) for entrant in entrants]

    def heat(self, entrants: Sequence[Entrant], *purpose: str | int) -> list[Standing]:
        """All in one world. Who starts where is drawn, or with intervals as they are given."""
        radius = hull_radius_m(self.airframe)
        seed = self.config.seed
        if self.config.start == "grid":
            places = grid(self.track, len(entrants), radius)
            words = jax.random.key_data(key_of(seed, *purpose, "lanes"))
            lanes = np.random.default_rng(np.asarray(words)).permutation(len(entrants))
            places = [places[lane] for lane in lanes]
        else:
            places = staggered(self.track, len(entrants), self.config.interval_s)
        key = key_of(seed, *purpose)
        alone = [self.fly(e, key, place) for e, place in zip(entrants, places, strict=True)]
        together = collide(alone, 2.0 * radius)
        return [
            Standing(
                entrant, flight, 1, (flight,), tuple(entrants[i].id for i in flight.collided_with)
            )
            for entrant, flight in zip(entrants, together, strict=True)
        ]


def run_race(
    config: RaceConfig,
    progress: Progress = lambda share: None,
    *,
    policies: Path = Path(),
    compile_cache: Path | None = None,
) -> Outcome:
    """Fly a whole race. Raises InvalidInputError when it cannot be flown or nobody may fly it.

    `policies`: the folder in which those of the entrants lie; `compile_cache`: one that keeps
    compiled programs for the next race.
    """
    if compile_cache is not None:
        keep_compiled_programs(compile_cache)
    race = _Race(config, progress)
    admitted = [race.admitted(entry, policies) for entry in config.entrants]
    flying = [entrant for entrant in admitted if not isinstance(entrant, Refused)]
    refused = [entrant for entrant in admitted if isinstance(entrant, Refused)]
    if not flying:
        raise InvalidInputError(f"Nobody can fly this race. {refused[0].reason}")
    if config.format in BY_HAND:
        ranked, heats = _alone(race, flying)
    else:
        policies_only = [entrant for entrant in flying if isinstance(entrant, Entrant)]
        ranked, heats = _IN_ONE_WORLD[config.format](race, policies_only)
    places = ranks([merit for _, merit in ranked])
    rows = [
        row(standing, rank, race.track, config.format)
        for (standing, _), rank in zip(ranked, places, strict=True)
    ]
    rows += [refused_row(entrant, len(ranked) + 1) for entrant in refused]
    result = {
        "format": config.format,
        "track": race.track.name,
        "laps": race.track.laps,
        "gates": len(race.track.gates),
        "airframe": race.airframe.name,
        "wind_speed_m_s": config.wind_speed_m_s,
        "ranking": sorted(rows, key=lambda entry: int(entry["rank"])),
        "heats": [_told(race, heat) for heat in heats],
    }
    return Outcome(result, record(race.track, race.airframe.name, _recorded(heats)))


def _alone(race: _Race, entrants: Sequence[Entrant | Pilot]) -> tuple[_Ranked, list[_Heat]]:
    policies = sum(isinstance(entrant, Entrant) for entrant in entrants)
    race.planned = max(policies * race.config.attempts, 1)
    standings = race.attempts(entrants, race.config.format)
    heat = _Heat("Time trial" if race.config.format == "time_trial" else "Fastest three", standings)
    return [(standing, race.merit(standing)) for standing in standings], [heat]


def _head_to_head(race: _Race, entrants: Sequence[Entrant]) -> tuple[_Ranked, list[_Heat]]:
    race.planned = len(entrants)
    standings = race.heat(entrants, "heat", 0)
    ranked = [(standing, race.merit(standing)) for standing in standings]
    return ranked, [_Heat("Race", standings)]


def _knockout(race: _Race, entrants: Sequence[Entrant]) -> tuple[_Ranked, list[_Heat]]:
    """Heats of two. Who goes out in the same round is ranked by the heat that was lost."""
    trial = race.config.seeding == "time_trial"
    race.planned = 2 * (len(entrants) - 1) + len(entrants) * race.config.attempts * trial
    race.planned = max(race.planned, 1)
    heats: list[_Heat] = []
    last: dict[int, Standing] = {}  # by seed: the heat that was flown last
    seeded = list(entrants)
    if trial or len(entrants) == 1:
        standings = race.attempts(entrants, "time_trial")
        standings.sort(key=lambda s: merit(s.flight, race.track, "time_trial"))
        seeded = [s.entrant for s in standings if isinstance(s.entrant, Entrant)]
        last = dict(enumerate(standings))
        heats.append(_Heat("Seeding", standings))
    rounds = (len(entrants) - 1).bit_length()

    def play(number_of_round: int, number: int, seeds: tuple[int, int]) -> int:
        pair = [seeded[seed] for seed in seeds]
        standings = race.heat(pair, "knockout", number_of_round, number)
        heats.append(_Heat(_round_name(rounds - number_of_round, number), standings))
        last.update(zip(seeds, standings, strict=True))
        # An exact tie goes to the better seed.
        return min(seeds, key=lambda seed: (race.merit(last[seed]), seed))

    matches: list[Match] = play_knockout(len(seeded), play)
    ranked: _Ranked = []
    for place, seeds in enumerate(final_order(len(seeded), matches)):
        ranked += [(last[seed], (float(place), *race.merit(last[seed]))) for seed in seeds]
    return ranked, heats


def _round_name(rounds_left: int, number: int) -> str:
    names = {1: "Final", 2: f"Semi-final {number + 1}", 3: f"Quarter-final {number + 1}"}
    return names.get(rounds_left, f"Round of {2**rounds_left}, heat {number + 1}")


_IN_ONE_WORLD: dict[Format, Callable[[_Race, Sequence[Entrant]], tuple[_Ranked, list[_Heat]]]] = {
    "head_to_head": _head_to_head,
    "knockout": _knockout,
}


def _told(race: _Race, heat: _Heat) -> dict[str, Any]:
    """A heat in a few words; its flights are in the replay under the same number."""
    form: Format = "time_trial" if heat.name == "Seeding" else race.config.format
    merits = [merit(standing.flight, race.track, form) for standing in heat.standings]
    places = [
        {
            "id": standing.entrant.id,
            "rank": rank,
            "status": standing.flight.end,
            "cause": standing.flight.cause,
            "gates_passed": len(standing.flight.passages),
            "end_s": round(standing.flight.end_s, 4),
        }
        for standing, rank in zip(heat.standings, ranks(merits), strict=True)
    ]
    return {"name": heat.name, "places": sorted(places, key=lambda place: int(place["rank"]))}


def _recorded(heats: Sequence[_Heat]) -> list[Recorded]:
    return [
        Recorded(standing.entrant.id, standing.entrant.name, number, standing.flight)
        for number, heat in enumerate(heats)
        for standing in heat.standings
    ]
