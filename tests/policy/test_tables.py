"""Courses and airframes survive the way into a manifest and back."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.policy.tables import airframe_table, to_toml, track_from_table, track_table
from racer.sim.airframe import load_airframe, parse_airframe
from racer.sim.task import Settings, make_task
from racer.sim.track import Track, load_track, parse_track, track_names

EVERYTHING = """
name = "everything"
laps = 3
[start]
position = [0.0, 0.0, 1.0]
yaw_deg = -360.0
[bounds]
min = [-20.0, -20.0, 0.0]
max = [20.0, 20.0, 9.0]
[[gates]]
position = [5.0, 0.125, 2.0]
yaw_deg = 360.0
pitch_deg = 80.0
size_m = 1.5
frame_m = 0.0
shape = "round"
[[gates]]
position = [5.0, 7.3, 3.0]
yaw_deg = 123.456
pitch_deg = -80.0
size_m = 0.4
[[obstacles]]
position = [-3.0, 0.1, 0.0]
radius_m = 0.015
height_m = 1.55
[randomisation]
gate_position_m = [0.15, 0.15, 0.1]
gate_yaw_deg = 90.0
obstacle_position_m = [0.1, 0.2, 0.0]
start_position_m = [0.3, 0.2, 0.1]
mass_kg = 0.005
seen_within_m = 0.7
"""


def there_and_back(track: Track) -> Track:
    return track_from_table(json.loads(json.dumps(track_table(track))))


def flat(value: Any) -> list[Any]:
    """Every number and (as one) every text of a course, in order."""
    if hasattr(value, "__dataclass_fields__"):
        return [part for name in value.__dataclass_fields__ for part in flat(getattr(value, name))]
    if isinstance(value, tuple | np.ndarray) and getattr(value, "ndim", 1):
        return [part for item in value for part in flat(item)]
    return [sum(value.encode()) if isinstance(value, str) else value]


@pytest.mark.parametrize("name", track_names())
def test_a_shipped_course_at_another_height_comes_back(name: str) -> None:
    track = load_track(name, altitude_m=7.77)
    back = there_and_back(track)
    assert flat(back) == pytest.approx(flat(track), rel=1e-12, abs=1e-12)
    settings = Settings()
    first, second = (
        make_task(course, settings, velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
        for course in (track, back)
    )
    for given, again in zip(flat(tuple(first)), flat(tuple(second)), strict=True):
        assert again == pytest.approx(given, abs=1e-6)


def test_every_key_and_the_ends_of_every_range_come_back() -> None:
    track = parse_track(EVERYTHING)
    assert flat(there_and_back(track)) == pytest.approx(flat(track), rel=1e-12, abs=1e-12)


def test_an_airframe_comes_back_with_what_it_has() -> None:
    airframe = load_airframe("x500")
    assert parse_airframe(json.loads(json.dumps(airframe_table(airframe)))) == airframe


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": None},
        {"name": "x\ny", "start": "\u0000"},
        {"na me": 1},
        {"laps": 10**400},
        {"laps": float("nan")},
        {"gates": [[[1.0]]]},
        {"gates": [{"position": {"a": {"b": {"c": {"d": 1}}}}}]},
        {"start": {"]\nname = 'x'": 1}},
        {},
    ],
)
def test_what_is_no_course_is_refused_in_words(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="Track"):
        track_from_table(wrong)


def test_texts_cannot_break_out_of_their_quotes() -> None:
    with pytest.raises(InvalidInputError, match="'name'"):
        track_from_table({"name": 'a"\nlaps = 3\nx = "'})
    assert to_toml({"name": 'a"b\\'}) == 'name = "a\\"b\\\\"\n'
