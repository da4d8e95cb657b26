"""A replay as an SVG picture: the course from above, and the line that everybody flew.

To scale, north up. Built as XML, never as text, so that no name can become markup. No JAX.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
from numpy.typing import NDArray

from racer.policy.tables import track_from_table
from racer.racing.flight import FloatArray
from racer.racing.replay import Path, Replay
from racer.racing.replay_header import Ghost
from racer.sim.track import Gate, Track

SCALE_PX = 24.0  # of a metre
_MARGIN_PX = 24.0
_MOST_POINTS = 2000  # of a line
_LINE_PX = 22.0  # of the legend
# Eight colours that people with colour-blindness tell apart (Okabe and Ito), without the black.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7a00", "#666666")
_ENDS = {"finished": "finished", "crashed": "crashed", "timed_out": "ran out of time"}


def draw(replay: Replay) -> str:
    """The picture as an XML document. Raises InvalidInputError when its course is none."""
    track = track_from_table(replay.header.track)
    low, high = track.bounds_min[:2], track.bounds_max[:2]
    width, depth = (SCALE_PX * (high - low) + 2.0 * _MARGIN_PX).tolist()
    height = depth + _LINE_PX * (len(replay.paths) + 1)
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}"}
    box = {"viewBox": f"0 0 {width:.1f} {height:.1f}", "role": "img"}
    root = ET.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", **box, **size})
    _add(root, "title").text = f"Flights on {track.name}"
    _add(root, "rect", width="100%", height="100%", fill="#ffffff")
    for pole in track.obstacles:
        x, y = _pixels(track, pole.position[None])[0]
        _add(root, "circle", cx=x, cy=y, r=SCALE_PX * pole.radius, fill="#888888")
    for number, gate in enumerate(track.gates, start=1):
        _gate(root, track, gate, number)
    for number, (ghost, path) in enumerate(zip(replay.header.drones, replay.paths, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        _flight(root, track, path, colour, ghost)
        _legend(root, depth + _LINE_PX * (number + 0.5), colour, ghost)
    return ET.tostring(root, encoding="unicode", xml_declaration=False)


def _pixels(track: Track, places: FloatArray) -> FloatArray:
    """(N, 2) in the picture, whose y points down, of (N, 2 or 3) m ENU."""
    x = _MARGIN_PX + SCALE_PX * (places[:, 0] - track.bounds_min[0])
    y = _MARGIN_PX + SCALE_PX * (track.bounds_max[1] - places[:, 1])
    return np.stack([x, y], axis=1)


def _gate(root: ET.Element, track: Track, gate: Gate, number: int) -> None:
    """Its opening as a line, with its number beside it."""
    half = 0.5 * gate.size * gate.axes[1]
    ends = _pixels(track, np.stack([gate.position - half, gate.position + half]))
    (x1, y1), (x2, y2) = ends
    line = {"stroke": "#222222", "stroke-width": 5, "stroke-linecap": "round"}
    _add(root, "line", **{"class": "gate", "x1": x1, "y1": y1, "x2": x2, "y2": y2}, **line)
    outwards = gate.axes[1, :2] * (1.0, -1.0) / np.linalg.norm(gate.axes[1, :2])
    x, y = ends[1] + 14.0 * outwards + (0.0, 5.0)
    text = {"font-family": "sans-serif", "font-size": 14, "text-anchor": "middle"}
    _add(root, "text", x=x, y=y, **text).text = str(number)


def _thinned(places: FloatArray) -> FloatArray:
    """At most some thousands of them, the last one among them: a picture shows no more."""
    step = -(-len(places) // _MOST_POINTS)
    return np.concatenate([places[:-1:step], places[-1:]])


def _flight(root: ET.Element, track: Track, path: Path, colour: str, ghost: Ghost) -> None:
    points = _pixels(track, _thinned(path.position))
    line = {"fill": "none", "stroke": colour, "stroke-width": 2, "stroke-opacity": 0.85}
    _add(root, "polyline", **{"class": "flight", "points": _text(points)}, **line)
    x, y = points[-1]
    if ghost.status == "crashed":  # a cross where it ended
        for dx, dy in ((5.0, 5.0), (5.0, -5.0)):
            ends = {"x1": x - dx, "y1": y - dy, "x2": x + dx, "y2": y + dy}
            _add(root, "line", **ends, **{"stroke": colour, "stroke-width": 3})


def _legend(root: ET.Element, y: float, colour: str, ghost: Ghost) -> None:
    _add(root, "rect", x=_MARGIN_PX, y=y, width=16.0, height=12.0, fill=colour)
    text = {"font-family": "sans-serif", "font-size": 14, "fill": "#222222"}
    told = f"{ghost.name}, {_ENDS[ghost.status]} after {ghost.end_s - ghost.start_s:.2f} s"
    _add(root, "text", x=_MARGIN_PX + 24.0, y=y + 11.0, **text).text = told


def _text(points: NDArray[np.float64]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)


def _add(parent: ET.Element, tag: str, **attributes: object) -> ET.Element:
    told = {
        name: f"{value:.2f}" if isinstance(value, float) else str(value)
        for name, value in attributes.items()
    }
    return ET.SubElement(parent, tag, told)
