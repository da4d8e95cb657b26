"""The drawing against the course that it was made of, read back as XML."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from racer.sim.track import FloatArray, Gate, Track, load_track, parse_track, track_names
from racer.tracks import views
from racer.tracks.drawing import draw
from tests.tracks.texts import LOOP

SVG = "{http://www.w3.org/2000/svg}"
POLE = "[[obstacles]]\nposition = [{x}, 3, 0]\nradius_m = 0.1\nheight_m = 200\n"
FAR = """name = "far"
[start]
position = [0, 0, 2]
yaw_deg = 0
[bounds]
min = [-1000, -1000, -10]
max = [1000, 1000, 1000]
[[gates]]
position = {position}
yaw_deg = 0
pitch_deg = 80
size_m = 0.2
"""


def drawing_of(track: Track, title: str = "a title") -> ET.Element:
    return ET.fromstring(draw(track, title=title))  # noqa: S314 - our own


def numbers(element: ET.Element) -> FloatArray:
    """(N, 2) px: the corners of a path."""
    found = re.findall(r"-?\d+\.\d+", element.attrib["d"])
    return np.array([float(text) for text in found]).reshape(-1, 2)


def px_per_metre(root: ET.Element) -> float:
    """By the scale bar, as a reader measures."""
    scale = root.find(f".//{SVG}g[@id='scale']")
    assert scale is not None
    bar, text = scale.find(f"{SVG}path"), scale.findtext(f"{SVG}text")
    assert bar is not None
    assert text is not None
    assert text.endswith(" m")
    return float(np.ptp(numbers(bar)[:, 0])) / float(text.removesuffix(" m"))


def opening(root: ET.Element, view: str, number: int) -> FloatArray:
    group = root.find(f".//{SVG}g[@id='{view}']/{SVG}g[@class='gate'][@data-gate='{number}']")
    assert group is not None
    paths = {path.attrib["class"].removesuffix("-edge"): path for path in group.iter(f"{SVG}path")}
    return numbers(paths["opening"])


def shadow(gate: Gate, axis: np.ndarray) -> float:
    """m: the extent of a gate's opening along an axis."""
    _, left, up = gate.axes
    if gate.shape == "round":
        return gate.size * float(np.hypot(left @ axis, up @ axis))
    return gate.size * float(abs(left @ axis) + abs(up @ axis))


@pytest.mark.parametrize("name", track_names())
def test_every_gate_stands_where_it_stands_and_is_as_wide_as_it_is(name: str) -> None:
    track = load_track(name)
    root = drawing_of(track)
    scale = px_per_metre(root)
    for view, axes in (("above", (0, 1)), ("side", (0, 2))):
        drawn = [opening(root, view, i) for i in range(1, len(track.gates) + 1)]
        centres = [0.5 * (corners.min(axis=0) + corners.max(axis=0)) for corners in drawn]
        for gate, corners, centre in zip(track.gates, drawn, centres, strict=True):
            moved = (centre - centres[0]) / scale * np.array([1.0, -1.0])
            expected = (gate.position - track.gates[0].position)[list(axes)]
            assert moved == pytest.approx(expected, abs=0.02)
            extent = np.ptp(corners, axis=0) / scale
            wanted = [shadow(gate, np.eye(3)[axis]) for axis in axes]
            assert extent == pytest.approx(wanted, abs=0.05)  # edge-on ones are lines
        labels = [
            text.text for text in root.findall(f".//{SVG}g[@id='{view}']//{SVG}text") if text.text
        ]
        assert labels == ["S", *(str(i) for i in range(1, len(track.gates) + 1))]


def test_it_tells_in_words_what_it_shows() -> None:
    root = drawing_of(parse_track(LOOP), "ada/loop")
    assert root.attrib["role"] == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text == "Track ada/loop"
    assert root[1].tag == f"{SVG}desc"
    told = root[1].text or ""
    assert "2 gates · 2 laps · 1 pole · 35.97 m from start to finish" in told
    assert "Gate 2 at (6, 8, 4) m, round opening of 2 m, yaw 180°, pitch 30°." in told
    assert {root.attrib["aria-labelledby"]} == {"title desc"}
    style = root.findtext(f"{SVG}style") or ""
    assert "prefers-color-scheme: dark" in style
    legend = [text.text for text in root.findall(f"{SVG}g/{SVG}text")]
    assert {"pole", "to the next lap", "its frame", "bounds"} <= set(legend)


def test_arrows_point_the_way_that_is_flown() -> None:
    root = drawing_of(parse_track(LOOP))
    for number, way in ((1, 1.0), (2, -1.0)):
        flight = root.find(f".//{SVG}g[@id='above']/{SVG}g[@class='flight'][@data-gate='{number}']")
        assert flight is not None
        shaft = flight.find(f"{SVG}path[@class='arrow']")
        assert shaft is not None
        tail, tip = numbers(shaft)
        assert way * (tip - tail)[0] > 5.0
        assert (tip - tail)[1] == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize(("name", "west", "east"), [("split_s", 4, 5), ("swift", 4, 5)])
def test_two_gates_in_one_place_have_their_numbers_where_they_are_flown_to(
    name: str, west: int, east: int
) -> None:
    root = drawing_of(load_track(name))
    places = []
    for number in (west, east):
        label = root.find(f".//{SVG}g[@id='above']/{SVG}g[@data-label='{number}']/{SVG}circle")
        assert label is not None
        places.append(float(label.attrib["cx"]))
    assert places[0] < places[1]


def test_a_title_cannot_become_markup() -> None:
    title = "</text><script>alert('&')</script><a href=\"javascript:x\">]]>"
    root = drawing_of(parse_track(LOOP), title)
    assert root[0].text == f"Track {title}"
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    shapes = {"g", "rect", "circle", "line", "path", "text", "clipPath"}
    assert tags <= {"svg", "title", "desc", "style"} | shapes
    for element in root.iter():
        assert not [name for name in element.attrib if name.startswith("on") or "href" in name]


@pytest.mark.parametrize("position", ["[999, 999, 999]", "[1, 0, 2]", "[0, 0, 2]", "[0, 999, 2]"])
def test_odd_courses_are_drawn_too(position: str) -> None:
    poles = "".join(POLE.format(x=x) for x in range(-32, 32))
    track = parse_track(FAR.format(position=position) + poles)
    text = draw(track, title="x" * 129)
    root = ET.fromstring(text)  # noqa: S314
    assert "nan" not in text
    assert "inf" not in text
    _, _, width, height = (float(part) for part in root.attrib["viewBox"].split())
    assert width == 960
    assert 400 < height < 1400
    for view in ("above", "side"):
        corners = opening(root, view, 1)
        assert np.all((corners > 0) & (corners < [width, height]))


def test_the_largest_course_is_drawn_in_no_time() -> None:
    gates = "".join(
        f"[[gates]]\nposition = [{6 * np.cos(i):.3f}, {4 * np.sin(i):.3f}, {2 + i / 32}]\n"
        f"yaw_deg = {i}\nsize_m = 1\n"
        for i in range(64)
    )
    head = LOOP[: LOOP.index("[[gates]]")].replace("laps = 2", "laps = 20")
    picture = draw(parse_track(head + gates), title="full")
    assert len(picture) < 400_000
    assert picture.count('class="label"') == 2 * 65 + 1


def test_a_crowded_course_costs_no_more_than_its_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 gates in one place, each with a label that looks for room, took two seconds."""
    looked_at: list[int] = []
    crowding = views._crowding

    def counted(places: FloatArray, points: FloatArray, clearance: float) -> FloatArray:
        looked_at.append(len(points))
        return crowding(places, points, clearance)

    monkeypatch.setattr(views, "_crowding", counted)
    gate = "[[gates]]\nposition = [6.0, 0.0, 2.0]\nyaw_deg = 0.0\nsize_m = 1.5\n"
    head, gates = LOOP.split("[[gates]]", 1)
    root = drawing_of(parse_track(f"{head}{gate * 62}[[gates]]{gates}"))
    assert len(root.findall(f".//{SVG}text[@class='number']")) >= 64
    assert max(looked_at) < 1000
