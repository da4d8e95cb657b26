"""Below a drawing: what its signs mean, and how long a metre is."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np

from racer.sim.track import FloatArray, Track
from racer.tracks.ink import add, path
from racer.tracks.views import LEFT_PX, RIGHT_PX, WIDTH_PX, nice_step


def scale_bar(root: ET.Element, scale: float, y: float) -> None:
    metres = nice_step(80.0 / scale)
    right = WIDTH_PX - RIGHT_PX
    left = right - metres * scale
    group = add(root, "g", id="scale", data_metres=f"{metres:.10g}")
    ends = np.array([[left, y - 5.0], [left, y + 5.0], [left, y], [right, y], [right, y - 5.0]])
    bar = path(np.concatenate([ends, [[right, y + 5.0]]]), closed=False)
    add(group, "path", "bar", d=bar)
    text = add(group, "text", x=(left + right) / 2, y=y + 20.0, text_anchor="middle")
    text.text = f"{metres:.10g} m"


def legend(root: ET.Element, track: Track, y: float) -> None:
    """What the signs mean; those that the drawing has."""
    signs = {"start": "S start", "opening": "gate"}
    if any(gate.frame for gate in track.gates):
        signs["frame"] = "its frame"
    signs |= {"towards": "flown towards you", "away": "flown away from you"}
    signs["line"] = "centre line"
    if track.laps > 1:
        signs["return"] = "to the next lap"
    if track.obstacles:
        signs["pole"] = "pole"
    signs["bounds"] = "bounds"
    x = LEFT_PX
    for sign, words in signs.items():
        width = 48.0 + 6.9 * len(words)
        if x + width > WIDTH_PX - 250.0:  # where the scale bar may begin
            x, y = LEFT_PX, y + 24.0
        group = add(root, "g", transform=f"translate({x:.1f} {y:.1f})")
        _sign(group, sign)
        add(group, "text", x=30.0, y=4.5).text = words
        x += width


def _sign(group: ET.Element, sign: str) -> None:
    if sign == "start":
        add(group, "path", "start", d="M22 0 L4 8 L8 0 L4 -8 Z")
    elif sign == "pole":
        add(group, "circle", "pole", cx=13.0, cy=0.0, r=5.0)
    elif sign == "bounds":
        add(group, "rect", "inside", x=2.0, y=-7.0, width=22.0, height=14.0)
    elif sign in ("towards", "away"):
        end_on(group, np.array([13.0, 0.0]), towards=sign == "towards")
    elif sign in ("opening", "frame"):
        add(group, "path", f"{sign}-edge", d="M2 0 L24 0")
    else:
        kind = "line return" if sign == "return" else "line"
        add(group, "path", kind, d="M2 0 L24 0")


def end_on(group: ET.Element, centre: FloatArray, *, towards: bool) -> None:
    """An arrow that points at the reader, or away."""
    add(group, "circle", "ring", cx=centre[0], cy=centre[1], r=6.0)
    if towards:
        add(group, "circle", "head", cx=centre[0], cy=centre[1], r=2.4)
        return
    for slope in (1.0, -1.0):
        ends = centre + 4.2 * np.array([[-1.0, -slope], [1.0, slope]])
        add(group, "path", "arrow", d=path(ends, closed=False))
