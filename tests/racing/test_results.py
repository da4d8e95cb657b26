"""Who is before whom."""

from __future__ import annotations

import numpy as np
import pytest

from racer.racing.flight import Flight
from racer.racing.results import merit, ranks, score_s
from racer.sim.track import load_track
from tests.racing.paths import straight

TRACK = load_track("toledo")  # six gates, one lap


def finished(seconds: float, *, start_s: float = 0.0) -> Flight:
    passages = seconds * np.arange(1, 7) / 6
    there = straight((0.0, 0.0, 2.0), (1.0, 0.0, 0.0), seconds=seconds, start_s=start_s)
    return there.ended(start_s + seconds, passages=passages, end="finished")


def crashed(gates: int, short_of_the_next_m: float) -> Flight:
    end = TRACK.gates[gates].position - TRACK.gates[gates].axes[0] * short_of_the_next_m
    there = straight(tuple(end - [4.0, 0.0, 0.0]), (1.0, 0.0, 0.0))
    return there.ended(4.0, passages=np.arange(1.0, gates + 1), end="crashed", cause="frame")


def order(*flights: Flight) -> list[int]:
    return ranks([merit(one, TRACK, "head_to_head") for one in flights])


def test_the_first_to_finish_wins_and_who_crashes_comes_after_who_finishes() -> None:
    assert order(finished(9.0), finished(8.0), crashed(5, 0.1)) == [2, 1, 3]


def test_when_all_crash_the_furthest_wins_by_gates_and_then_by_metres() -> None:
    assert order(crashed(2, 0.5), crashed(3, 4.0), crashed(3, 3.0), crashed(0, 0.1)) == [3, 2, 1, 4]


def test_the_clock_decides_and_of_two_at_the_same_moment_the_shorter_flight() -> None:
    early, late = finished(9.0), finished(8.0, start_s=2.0)
    assert order(early, late) == [1, 2]
    assert order(finished(9.0), finished(7.0, start_s=2.0)) == [2, 1]


def test_exact_equals_share_a_rank_and_the_next_stays_empty() -> None:
    assert order(finished(9.0), finished(9.0), crashed(1, 1.0)) == [1, 1, 3]


def laps(*passages_of_gate_1: float, end: str = "crashed") -> Flight:
    """Flights of a course of two gates; the second is passed half a second after the first."""
    passages = np.sort([at + more for at in passages_of_gate_1 for more in (0.0, 0.5)])
    there = straight((0.0, 0.0, 2.0), (1.0, 0.0, 0.0), seconds=60.0)
    return there.ended(60.0, passages=passages, end=end, cause="frame")


def test_the_best_three_laps_are_consecutive_and_of_one_flight() -> None:
    from dataclasses import replace

    track = replace(TRACK, gates=TRACK.gates[:2], laps=6)
    flight = laps(2.0, 6.0, 9.0, 12.0, 15.0, 25.0)  # laps of 4, 3, 3, 3 and 10 s
    assert flight.laps_s(track).tolist() == [4.0, 3.0, 3.0, 3.0, 10.0]
    assert score_s(flight, track, "fastest_three") == pytest.approx(9.0)
    assert laps(2.0, 6.0, 9.0).best_three_s(track) is None  # two laps
    without, with_them = laps(2.0, 6.0, 9.0), laps(2.0, 9.0, 18.0, 30.0)
    merits = [merit(one, track, "fastest_three") for one in (without, with_them)]
    assert ranks(merits) == [2, 1]


def test_a_course_of_one_lap_has_its_own_time_for_a_lap() -> None:
    assert finished(8.0).laps_s(TRACK).tolist() == [8.0]
    assert crashed(3, 1.0).laps_s(TRACK).size == 0
    assert crashed(3, 1.0).to_next_gate_m(TRACK) == pytest.approx(1.0)
