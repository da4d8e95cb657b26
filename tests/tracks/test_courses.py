"""What is told of a course."""

from __future__ import annotations

import pytest

from racer.policy.tables import track_table
from racer.sim.airframe import airframe_names
from racer.sim.track import load_track, parse_track, track_names
from racer.tracks.courses import airframes_for, canonical, length_m, mean_height_m, shipped
from tests.tracks.texts import LOOP

GATE = "[[gates]]\nposition = [{x}, 0, 2]\nyaw_deg = 0\nsize_m = {size}\n"


def straight(*places: float, size: float = 1.0) -> str:
    """Gates along the x axis, which is the way that the start looks."""
    head = LOOP[: LOOP.index("[[gates]]")].replace("laps = 2", "laps = 1")
    return head + "".join(GATE.format(x=x, size=size) for x in places)


def test_the_length_is_that_of_the_way_from_the_start_through_all_laps() -> None:
    assert length_m(parse_track(straight(4, 12))) == pytest.approx(12.0, abs=0.01)
    track = parse_track(LOOP)  # 6 m ahead, then back and forth between two gates 8.2 m apart
    assert 6.0 + 3 * 8.25 < length_m(track) < 6.0 + 3 * 12.0


def test_the_height_is_the_gates_mean() -> None:
    assert mean_height_m(parse_track(LOOP)) == 3.0


def test_airframes_are_those_whose_hull_fits() -> None:
    assert airframes_for(parse_track(straight(4, size=10.0))) == airframe_names()
    narrow = airframes_for(parse_track(straight(4, size=0.3)))
    assert "cf21b" in narrow
    assert "x500" not in narrow


@pytest.mark.parametrize("name", track_names())
def test_the_canonical_text_is_the_same_course(name: str) -> None:
    track = load_track(name)
    again = parse_track(canonical(track))
    assert track_table(again) == track_table(track)
    assert canonical(again) == canonical(track)
    assert "#" not in canonical(track)


def test_what_ships_is_told_like_any_other() -> None:
    assert [record.full_name for record in shipped()] == track_names()
    assert all(record.shipped and record.shared for record in shipped())
