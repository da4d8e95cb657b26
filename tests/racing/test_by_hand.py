"""Attempts of a flight by hand: where they begin, what ends them, and what is passed when."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.flight.px4 import Vector
from racer.racing.by_hand import LONGEST_S, Trajectory, attempts, load, save
from racer.racing.config import RaceConfig, race_config
from racer.racing.flight import Flight
from racer.sim.airframe import load_airframe
from racer.sim.track import Track, load_track
from tests.flight.recorded import points

TEXT = """
name = "straight"
laps = 1
[start]
position = [0.0, 0.0, 2.5]
yaw_deg = 0.0
[bounds]
min = [-5.0, -8.0, 0.0]
max = [15.0, 8.0, 6.0]
[[gates]]
position = [4.0, 0.0, 2.5]
yaw_deg = 0.0
size_m = 1.5
[[gates]]
position = [8.0, 0.0, 2.5]
yaw_deg = 0.0
size_m = 1.5
[[obstacles]]
position = [6.0, 4.0, 0.0]
radius_m = 0.2
height_m = 5.0
"""
X500 = load_airframe("x500")
TRACK = load_track(TEXT)
START = (0.0, 0.0, 2.5)
HZ = 30.0
SPEED = 3.0


class Flown:
    """Samples of a flight, one after another."""

    def __init__(self, *, at: Vector = START) -> None:
        self.places: list[Vector] = []
        self.speeds: list[Vector] = []
        self._at = at

    def rest(self, seconds: float = 1.0) -> Flown:
        for _ in range(round(HZ * seconds)):
            self._add(self._at, (0.0, 0.0, 0.0))
        return self

    def to(self, *places: Vector, speed: float = SPEED) -> Flown:
        for place in points([self._at, *places], speed / HZ):
            way = np.subtract(place, self._at)
            east, north, up = (way * speed / np.linalg.norm(way)).tolist()
            self._add(place, (east, north, up))
            self._at = place
        return self

    def _add(self, place: Vector, velocity: Vector) -> None:
        self.places.append(place)
        self.speeds.append(velocity)

    def flown(self) -> Trajectory:
        count = len(self.places)
        level = np.tile([1.0, 0.0, 0.0, 0.0], (count, 1))
        time = 500.0 + np.arange(count) / HZ
        return Trajectory(time, np.array(self.places), np.array(self.speeds), level)


def judged(*paths: Flown, track: Track = TRACK) -> list[Flight]:
    return attempts([path.flown() for path in paths], track, X500)


def test_the_clock_begins_when_the_vehicle_leaves_its_rest_at_the_start() -> None:
    [flight] = judged(Flown().rest(2.0).to((12.0, 0.0, 2.5)))
    assert (flight.end, flight.cause, flight.start_s) == ("finished", None, 0.0)
    moving_s = 0.4 / SPEED / HZ  # of the one step in which it becomes fast
    expected = [4.0 / SPEED - moving_s, 8.0 / SPEED - moving_s]
    assert flight.passages == pytest.approx(expected, abs=1e-6)
    assert np.diff(flight.passages) == pytest.approx([4.0 / SPEED], abs=1e-6)
    assert flight.course_time_s == flight.passages[-1] == pytest.approx(flight.end_s)
    assert flight.position[0] == pytest.approx(START, abs=0.1)
    assert flight.position[-1] == pytest.approx((8.0, 0.0, 2.5), abs=1e-6)


def test_a_run_up_counts_and_who_never_rests_there_has_no_attempt() -> None:
    """Who hovers behind the start and comes through it fast began nowhere."""
    fast = Flown(at=(-3.0, 0.0, 2.5)).rest().to((12.0, 0.0, 2.5))
    assert judged(fast) == []
    behind = Flown(at=(-0.45, 0.0, 2.5)).rest().to((12.0, 0.0, 2.5))
    [flight] = judged(behind)
    assert flight.passages[0] == pytest.approx(4.45 / SPEED, abs=0.5 / HZ)
    # slow, but not at the start
    assert judged(Flown(at=(0.0, 0.0, 3.2)).rest().to((0.0, 0.0, 3.3), speed=0.1)) == []


def test_creeping_out_of_the_start_begins_an_attempt_at_its_edge() -> None:
    creeping = Flown().rest().to((0.8, 0.0, 2.5), speed=0.3).to((12.0, 0.0, 2.5))
    [flight] = judged(creeping)
    assert flight.position[0] == pytest.approx((0.5, 0.0, 2.5), abs=0.02)
    assert flight.passages[0] == pytest.approx(0.3 / 0.3 + 3.2 / SPEED, abs=0.1)


def test_each_return_to_rest_at_the_start_is_another_attempt() -> None:
    back = [(12.0, 0.0, 5.0), (0.0, 0.0, 5.0), START]
    path = Flown().rest().to((12.0, 0.0, 2.5), speed=2.0).to(*back).rest()
    path.to((5.0, 0.0, 2.5)).to((5.0, 0.0, 5.0), (0.0, 0.0, 5.0), START).rest()
    path.to((12.0, 0.0, 2.5), speed=4.0)
    slow, given_up, fast = judged(path)
    assert (slow.end, given_up.end, fast.end) == ("finished", "timed_out", "finished")
    assert [len(one.passages) for one in (slow, given_up, fast)] == [2, 1, 2]
    assert fast.course_time_s == pytest.approx(2.0, abs=0.1)
    assert given_up.position[-1] == pytest.approx(START, abs=0.6)


def test_attempts_without_a_gate_are_told_only_when_there_are_no_others() -> None:
    short = Flown().rest().to((2.0, 0.0, 2.5)).to(START).rest().to((3.0, 0.0, 2.5))
    [flight] = judged(short)
    assert flight.to_next_gate_m(TRACK) == pytest.approx(1.0, abs=0.01)
    [flight] = judged(short, Flown().rest().to((5.0, 0.0, 2.5)))
    assert len(flight.passages) == 1


@pytest.mark.parametrize(
    ("way", "cause", "passed"),
    [
        ([(4.0, 0.9, 2.5), (6.0, 0.9, 2.5)], "frame", 0),
        ([(3.5, 0.0, 2.5), (5.0, 0.0, 2.5), (7.0, 0.9, 2.5), (9.0, 0.9, 2.5)], "frame", 1),
        ([(0.0, 4.0, 2.5), (7.0, 4.0, 2.5)], "obstacle", 0),
        ([(2.0, 0.0, 0.2), (3.0, 0.0, 0.2)], "ground", 0),
        ([(5.0, 0.0, 2.5), (5.0, 9.0, 2.5)], "bounds", 1),
        ([(2.0, 0.0, 7.0)], "bounds", 0),
    ],
)
def test_a_crash_ends_an_attempt_and_nothing_counts_after_it(
    way: list[Vector], cause: str, passed: int
) -> None:
    [flight] = judged(Flown().rest().to(*way).to((-1.0, 0.0, 2.5), (12.0, 0.0, 2.5)))
    assert (flight.end, flight.cause, len(flight.passages)) == ("crashed", cause, passed)
    assert flight.course_time_s is None


def test_a_gate_at_which_the_course_ends_is_not_passed() -> None:
    """One step from before the gate to behind the bounds."""
    low = dataclasses.replace(TRACK, bounds_max=np.array([4.05, 8.0, 6.0]))
    [flight] = judged(Flown().rest().to((3.95, 0.0, 2.5)).to((5.0, 0.0, 2.5), speed=9.0), track=low)
    assert (flight.end, flight.cause, len(flight.passages)) == ("crashed", "bounds", 0)


def test_gates_count_in_their_order_and_direction() -> None:
    backwards = [(0.0, 3.0, 2.5), (5.0, 3.0, 2.5), (5.0, 0.0, 2.5), (3.0, 0.0, 2.5)]
    [flight] = judged(Flown().rest().to(*backwards))
    assert len(flight.passages) == 0
    second_first = [(0.0, 3.0, 2.5), (6.0, 2.0, 2.5), (6.0, 0.0, 2.5), (10.0, 0.0, 2.5)]
    [flight] = judged(Flown().rest().to(*second_first))
    assert len(flight.passages) == 0


def test_flying_laps_of_a_flight_by_hand() -> None:
    track = dataclasses.replace(TRACK, laps=4)
    lap = [(12.0, 0.0, 2.5), (12.0, 0.0, 5.0), (-2.0, 0.0, 5.0), (-2.0, 0.0, 2.5)]
    [flight] = judged(Flown().rest().to(*(4 * lap)), track=track)
    assert flight.end == "finished"
    assert flight.laps_s(track) == pytest.approx([33.0 / SPEED] * 3, abs=0.01)
    assert flight.best_three_s(track) == pytest.approx(3 * 33.0 / SPEED, abs=0.01)


def test_an_attempt_lasts_ten_minutes_at_most() -> None:
    out = Flown().rest().to((5.0, 0.0, 2.5)).rest(LONGEST_S + 60.0).to((12.0, 0.0, 2.5))
    [flight] = judged(out)
    assert (flight.end, len(flight.passages)) == ("timed_out", 1)
    assert flight.end_s == pytest.approx(LONGEST_S, abs=0.1)


def test_what_is_saved_is_loaded_and_what_is_no_flight_is_refused(tmp_path: Path) -> None:
    flown = [Flown().rest(0.5).flown(), Flown().rest().to((12.0, 0.0, 2.5)).flown()]
    save(tmp_path / "flight.npz", flown)
    for before, after in zip(flown, load(tmp_path / "flight.npz"), strict=True):
        for column in Trajectory._fields:
            assert np.array_equal(getattr(before, column), getattr(after, column))
    (tmp_path / "no.npz").write_bytes(b"not a flight")
    np.savez(tmp_path / "other.npz", time=np.zeros(3))
    for name in ("no.npz", "other.npz", "missing.npz"):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            load(tmp_path / name)


def config(**changes: Any) -> RaceConfig:
    race = {"format": "time_trial", "track": TEXT, "airframe": "x500", "seed": 1}
    entrants = [{"id": 1, "name": "ada: by hand", "flight": "race/entry"}]
    return race_config(race | {"entrants": entrants} | changes)


def test_an_entrant_has_a_policy_or_a_flight_and_flights_race_alone() -> None:
    config()
    one = {"id": 2, "name": "two", "policy": "p"}
    for wrong in (
        {"entrants": [one | {"flight": "f"}]},
        {"entrants": [{"id": 1, "name": "nothing"}]},
        {"format": "head_to_head", "entrants": [one, {"id": 1, "name": "a", "flight": "f"}]},
    ):
        with pytest.raises(InvalidInputError):
            config(**wrong)
