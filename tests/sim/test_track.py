"""Courses: shipped ones fly, and wrong ones are refused by the key that is wrong."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from racer.errors import InvalidInputError, NotFoundError
from racer.sim.airframe import load_airframe
from racer.sim.track import FLOOR_CLEARANCE_M, load_track, parse_track, track_names
from racer.sim.track_keys import InvalidTrackError

GOOD = """
name = "mine"
[start]
position = [0, 0, 2]
yaw_deg = 0
[bounds]
min = [-5, -5, 0]
max = [25, 5, 6]
[[gates]]
position = [10, 0, 2]
yaw_deg = 0
size_m = 1.5
[[gates]]
position = [20, 1, 2.5]
yaw_deg = 20
pitch_deg = 10
size_m = 2
frame_m = 0.3
shape = "round"
[[obstacles]]
position = [5, 1, 0]
radius_m = 0.2
height_m = 3
[randomisation]
gate_position_m = [0.1, 0.2, 0.3]
mass_kg = 0.05
"""


def test_the_shipped_course_is_what_its_page_says() -> None:
    track = load_track("toledo")
    assert "toledo" in track_names()
    assert len(track.gates) == track.passages == 6
    assert track.start_position[:2].tolist() == [0.0, 0.0]
    assert math.degrees(track.start_yaw) == pytest.approx(90.0)
    assert {gate.size for gate in track.gates} == {1.5}
    line = track.centre_line()
    around = np.linalg.norm(np.diff(line, axis=0), axis=1).sum()
    assert 55.0 < around + np.linalg.norm(line[-1] - line[0]) < 65.0
    assert np.all(track.bounds_max - track.bounds_min <= 40.0)
    assert np.all(line > track.bounds_min)
    assert np.all(line < track.bounds_max)


@pytest.mark.parametrize(
    ("name", "counts", "size", "start", "last"),
    [
        ("split_s", (7, 3), 0.6, (-5.0, 4.5, 1.2), (-2.8, 6.8, 1.2)),
        ("swift", (7, 3), 1.5, (-5.0, 4.7, 0.61), (-1.95, 6.81, 1.05)),
        ("lsy_level0", (4, 1), 0.4, (-1.5, 0.75, 0.01), (0.0, -0.75, 1.2)),
        ("lsy_level2", (4, 1), 0.4, (-1.5, 0.75, 0.01), (0.0, -0.75, 1.2)),
        ("figure_eight", (8, 2), 1.5, (1.5, -2.5, 1.5), (0.0, -3.0, 1.5)),
    ],
)
def test_public_courses_are_as_published(
    name: str,
    counts: tuple[int, int],
    size: float,
    start: tuple[float, float, float],
    last: tuple[float, float, float],
) -> None:
    track = load_track(name)
    assert (track.name, (len(track.gates), track.laps)) == (name, counts)
    assert {gate.size for gate in track.gates} == {size}
    assert tuple(track.start_position) == start
    assert tuple(track.gates[-1].position) == last
    line = track.centre_line()
    assert np.all(line > track.bounds_min)
    assert np.all(line < track.bounds_max)


def test_every_shipped_course_is_in_the_list_and_flies_forward_through_its_gates() -> None:
    names = ["figure_eight", "lsy_level0", "lsy_level2", "split_s", "swift", "toledo"]
    assert track_names() == names
    for name in names:
        track = load_track(name)
        before = [track.start_position, *(gate.position for gate in track.gates)]
        for came_from, gate in zip(before, track.gates, strict=False):
            leg = gate.position - came_from
            if np.hypot(leg[0], leg[1]) > 0.1:  # gate 5 of two courses lies below gate 4
                assert leg @ gate.axes[0] > -0.55 * np.linalg.norm(leg), (name, gate.position)


def test_level_2_is_level_0_moved() -> None:
    still, moved = load_track("lsy_level0"), load_track("lsy_level2")
    assert still.on_ground
    assert moved.on_ground
    for one, other in zip(still.gates, moved.gates, strict=True):
        assert one.position.tolist() == other.position.tolist()
        assert one.yaw == other.yaw
    assert [pole.radius for pole in moved.obstacles] == [0.015] * 4
    assert not np.any(still.randomisation.gate_position)
    assert moved.randomisation.gate_position.tolist() == [0.15, 0.15, 0.1]
    assert moved.randomisation.gate_yaw == pytest.approx(0.2, abs=1e-5)
    assert moved.randomisation.mass == 0.005
    assert moved.randomisation.seen_within == 0.7


def test_split_s_asks_for_the_centre_within_30_centimetres() -> None:
    """The published protocol's radius, with the point-mass hull of its airframe."""
    track, radius = load_track("split_s"), load_airframe("cpc").body.collision_radius_m
    assert radius == 0.0
    assert {gate.shape for gate in track.gates} == {"round"}
    assert {gate.size / 2 - radius for gate in track.gates} == {0.3}
    assert {gate.frame for gate in track.gates} == {0.0}  # outside is a miss, not a crash


def test_the_page_shows_a_course_that_loads_and_names_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs" / "tracks.md").read_text(encoding="utf-8")
    found = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert found is not None
    track = parse_track(found.group(1))
    assert (len(track.gates), track.laps, len(track.obstacles)) == (2, 2, 1)
    for field in ("gate_position_m", "gate_yaw_deg", "obstacle_position_m", "seen_within_m"):
        assert field in page
    assert all(f"`{name}`" in page for name in track_names())


def test_the_centre_line_meets_every_gate_square_on() -> None:
    track = load_track("toledo")
    line = track.centre_line(points_per_gate=64)
    for index, gate in enumerate(track.gates, start=1):
        assert line[64 * index] == pytest.approx(gate.position)
        arriving = line[64 * index] - line[64 * index - 1]
        assert arriving @ gate.axes[0] / np.linalg.norm(arriving) > 0.99


@pytest.mark.parametrize("altitude", [1.5, 2.5, 10.0, 100.0])
def test_an_altitude_moves_the_whole_course_and_keeps_off_the_floor(altitude: float) -> None:
    plain, moved = load_track("toledo"), load_track("toledo", altitude_m=altitude)
    heights = [gate.position[2] for gate in moved.gates]
    assert np.mean(heights) == pytest.approx(altitude, abs=0.05 if altitude < 2.5 else 1e-9)
    for before, after in zip(plain.gates, moved.gates, strict=True):
        assert after.position[:2].tolist() == before.position[:2].tolist()
        assert after.position[2] - after.size / 2 >= FLOOR_CLEARANCE_M - 1e-9
        assert after.position[2] < moved.bounds_max[2]


def test_a_users_own_course_loads_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(GOOD)
    track = load_track(tmp_path / "mine.toml")
    assert track.laps == 1
    assert track.gates[0].frame == 0.15
    assert track.gates[1].frame == 0.3
    assert [gate.shape for gate in track.gates] == ["square", "round"]
    assert [(pole.radius, pole.height) for pole in track.obstacles] == [(0.2, 3.0)]
    assert track.obstacles[0].position.tolist() == [5.0, 1.0, 0.0]
    assert track.randomisation.gate_position.tolist() == [0.1, 0.2, 0.3]
    assert track.randomisation.obstacle_position.tolist() == [0.0, 0.0, 0.0]
    assert track.randomisation.mass == 0.05
    forward, left, up = track.gates[1].axes
    assert np.cross(forward, left) == pytest.approx(up)
    assert forward[2] == pytest.approx(math.sin(math.radians(10.0)))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('name = "mine"', "", "'name'"),
        ('name = "mine"', 'name = "../etc"', "'name'"),
        ('name = "mine"', 'name = "mine"\nlaps = 0', "'laps'"),
        ('name = "mine"', 'name = "mine"\nlaps = true', "'laps'"),
        ('name = "mine"', 'name = "mine"\nspeed = 3', "'speed'"),
        ("[start]", "[origin]", "'origin'"),
        ("yaw_deg = 20", "yaw_deg = nan", "'gates[1].yaw_deg'"),
        ("yaw_deg = 20", 'yaw_deg = "east"', "'gates[1].yaw_deg'"),
        ("size_m = 2", "size_m = -2", "'gates[1].size_m'"),
        ("size_m = 2", "", "'gates[1].size_m'"),
        ("[10, 0, 2]", "[10, 0]", "'gates[0].position'"),
        ("[10, 0, 2]", "[10, 1e9, 2]", "'gates[0].position.1'"),
        ("[10, 0, 2]", "[10, 0, 7]", "'gates[0].position' lies outside"),
        ("[0, 0, 2]", "[-6, 0, 2]", "'start.position' lies outside"),
        ("max = [25, 5, 6]", "max = [25, -5, 6]", "'bounds.max'"),
        ("[start]", "[start]\non_ground = 1", "'start.on_ground' must be true or false"),
        ("[start]", "[start]\non_ground = true", "0.3 m or less above the ground"),
        ("pitch_deg = 10", "roll_deg = 10", "'gates[1].roll_deg'"),
        ("[[gates]]", "[[rings]]", "'rings'"),
        ("[[gates]]", "[[gates", "not valid TOML"),
        ("size_m = 2", f"size_m = {'2' * 5000}", "longer than 1000 characters"),
        ("size_m = 2", f"size_m = {'2' * 500}", "'gates[1].size_m'"),
        ("size_m = 2", "size_m = " + "[\n" * 5000, "not valid TOML"),
        ('name = "mine"', 'name = "\ud800"', "'name'"),  # half a character pair
        ('shape = "round"', 'shape = "star"', "'gates[1].shape'"),
        ('shape = "round"', "shape = [1]", "'gates[1].shape'"),
        ("radius_m = 0.2", "radius_m = 0", "'obstacles[0].radius_m'"),
        ("height_m = 3", "height_m = inf", "'obstacles[0].height_m'"),
        ("height_m = 3", "size_m = 3", "'obstacles[0].size_m'"),
        ("[5, 1, 0]", "[0, 0.1, 0]", "'start.position' lies inside 'obstacles[0]'"),
        ("[5, 1, 0]", "[10, 0.1, 0]", "'gates[0].position' lies inside 'obstacles[0]'"),
        ("[[obstacles]]", "[obstacles]", "'obstacles' must be a list of 0 to 64"),
        ("[0.1, 0.2, 0.3]", "[0.1, 0.2]", "'randomisation.gate_position_m'"),
        ("[0.1, 0.2, 0.3]", "[0.1, 0.2, -0.3]", "'randomisation.gate_position_m.2'"),
        ("mass_kg = 0.05", "mass = 0.05", "'randomisation.mass'"),
    ],
)
def test_a_wrong_course_is_refused_by_name(old: str, new: str, named: str) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(named)):
        parse_track(GOOD.replace(old, new))


def test_an_author_hears_of_everything_at_once() -> None:
    wrong = GOOD.replace("yaw_deg = 20", 'yaw_deg = "east"').replace("size_m = 2", "size_m = 99")
    wrong = wrong.replace("[start]", "[begin]").replace("height_m = 3", "height_m = nan")
    with pytest.raises(InvalidTrackError) as refusal:
        parse_track(wrong.replace("[5, 1, 0]", "[5, 1]"))
    assert [(problem.key, problem.message) for problem in refusal.value.problems] == [
        (
            "begin",
            "is not known; known: bounds, gates, laps, name, obstacles, randomisation, start",
        ),
        ("start", "must be a table [start]"),
        ("gates[1].yaw_deg", "must be a number from -360 to 360"),
        ("gates[1].size_m", "must be from 0.2 to 10"),
        ("obstacles[0].position", "must be three numbers [x, y, z] in m"),
        ("obstacles[0].height_m", "must be from 0.01 to 200"),
    ]
    assert str(refusal.value).startswith("Track: 'begin' is not known")
    gate = "[[gates]]\nposition = [0, 0, 99]\nyaw_deg = 0\nsize_m = 1\n"
    with pytest.raises(InvalidTrackError, match="And 2 more") as refusal:
        parse_track(GOOD + gate * 10)
    assert {problem.message for problem in refusal.value.problems} == {"lies outside the bounds"}


LONG_KEY = ".".join("a" * 490)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (".".join("a" * 32_000) + " = 1", "line 1 is longer than 1000 characters"),
        (f"[{LONG_KEY}]\n" + f"{LONG_KEY}.b = 1\n" * 60, "line 1 has a key of too many parts"),
        (GOOD + "x = [\n" + f"{{ {LONG_KEY} = 1 }},\n" * 50 + "]", "key of too many parts"),
        (GOOD + " . ".join(['"a\\"."', "'b'"] * 60) + " = 1", "key of too many parts"),
        (GOOD + '"' + '\\"' * 400 + ("\n" + '"' + '\\"' * 400) * 60, "not valid TOML"),
        (GOOD + f"# {'no trouble. ' * 50}\n" + "x = 1.5", "'randomisation.x' is not known"),
    ],
)
def test_no_text_keeps_the_reader_busy(text: str, named: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidTrackError, match=re.escape(named)):
        parse_track(text)
    assert time.process_time() - began < 0.5


def test_a_text_of_several_lines_is_the_course_itself() -> None:
    assert load_track(GOOD).name == "mine"
    assert load_track(GOOD, altitude_m=4.0).start_position[2] != load_track(GOOD).start_position[2]


def test_sizes_are_bounded() -> None:
    gate = "[[gates]]\nposition = [9, 0, 2]\nyaw_deg = 0\nsize_m = 1\n"
    pole = "[[obstacles]]\nposition = [9, 4, 0]\nradius_m = 0.1\nheight_m = 1\n"
    assert len(parse_track(GOOD + pole * 63 + gate * 62).gates) == 64
    with pytest.raises(InvalidInputError, match="1 to 64"):
        parse_track(GOOD + gate * 63)
    with pytest.raises(InvalidInputError, match="0 to 64"):
        parse_track(GOOD + pole * 64)
    with pytest.raises(InvalidInputError, match="longer than"):
        parse_track(GOOD + "#" * 70_000)
    with pytest.raises(InvalidInputError, match="altitude"):
        parse_track(GOOD, altitude_m=math.nan)


def test_a_course_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(NotFoundError, match="toledo"):
        load_track("nowhere")


def test_tracks_and_airframes_load_without_jax() -> None:
    code = (
        "import sys; from racer.sim.track import load_track;"
        "from racer.sim.airframe import load_airframe;"
        "load_track('toledo'); load_airframe('x500'); assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
