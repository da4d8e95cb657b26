"""A course as an SVG drawing: from above and from the south, to one scale.

Gates have their real openings and frames, their number and an arrow that way in which they are
flown; seen along the direction of flight the arrow is a dot in a ring (towards the reader) or a
cross (away). The picture is built as XML, never as text, so that no name can become markup; it
holds no script, no link and no file, and follows the reader's light or dark colours.
"""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import numpy as np

from racer.sim.track import FloatArray, Gate, Track
from racer.tracks.courses import length_m
from racer.tracks.ink import STYLE, add, path
from racer.tracks.legend import end_on, legend, scale_bar
from racer.tracks.views import (
    LEFT_PX,
    WIDTH_PX,
    View,
    course_line,
    label_places,
    nice_step,
    outline,
    return_line,
    views,
)

_TOP_PX, _BETWEEN_PX, _FOOTER_PX = 104.0, 66.0, 108.0
_ARROW_PX = 24.0
_EDGE_ON_PX = 3.0  # a gate that looks thinner than this is drawn as a line
_END_ON = 0.35  # share of the direction's length below which an arrow says nothing


def draw(track: Track, *, title: str) -> str:
    """The drawing as an XML document in UTF-8's characters; `title` heads it."""
    above, side = views(track, top_px=_TOP_PX, between_px=_BETWEEN_PX)
    height = side.top + side.height + _FOOTER_PX
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH_PX:.0f} {height:.0f}",
            "width": f"{WIDTH_PX:.0f}",
            "height": f"{height:.0f}",
            "role": "img",
            "aria-labelledby": "title desc",
        },
    )
    add(root, "title", id="title").text = f"Track {title}"
    add(root, "desc", id="desc").text = _description(track)
    add(root, "style").text = STYLE
    add(root, "rect", "paper", width=WIDTH_PX, height=height)
    _heading(root, track, title)
    _view(root, track, above, "From above", ("x east, m", "y north, m"), name="above")
    _view(root, track, side, "From the south", ("x east, m", "z up, m"), name="side")
    _north(root, above)
    scale_bar(root, above.scale, side.top + side.height + 58.0)
    legend(root, track, side.top + side.height + 62.0)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _say(gate: Gate) -> str:
    x, y, z = gate.position
    opening = f"{gate.shape} opening of {gate.size:g} m"
    yaw, pitch = math.degrees(gate.yaw), math.degrees(gate.pitch)
    climb = f", pitch {pitch:.4g}°" if pitch else ""
    return f"at ({x:.4g}, {y:.4g}, {z:.4g}) m, {opening}, yaw {yaw:.4g}°{climb}"


def _summary(track: Track) -> str:
    parts = [_count(len(track.gates), "gate"), _count(track.laps, "lap")]
    if track.obstacles:
        parts.append(_count(len(track.obstacles), "pole"))
    parts.append(f"{length_m(track):.4g} m from start to finish")
    box = " × ".join(f"{round(float(edge), 1):g}" for edge in track.bounds_max - track.bounds_min)
    return " · ".join([*parts, f"bounds {box} m"])


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _description(track: Track) -> str:
    gates = [f"Gate {i} {_say(gate)}." for i, gate in enumerate(track.gates, start=1)]
    x, y, z = track.start_position
    return (
        f"Two views to one scale, from above and from the south. {_summary(track)}. Start at "
        f"({x:.4g}, {y:.4g}, {z:.4g}) m. {' '.join(gates)}"
    )


def _heading(root: ET.Element, track: Track, title: str) -> None:
    size = min(24.0, (WIDTH_PX - 2 * LEFT_PX) / (0.6 * max(len(title), 1)))
    style = f"font-size: {size:.1f}px; font-weight: 700"
    add(root, "text", x=LEFT_PX, y=38.0, style=style).text = title
    add(root, "text", "muted", x=LEFT_PX, y=61.0).text = _summary(track)


def _view(
    root: ET.Element, track: Track, view: View, heading: str, axes: tuple[str, str], *, name: str
) -> None:
    """A panel with everything in it."""
    add(root, "text", "heading", x=LEFT_PX, y=view.top - 11.0).text = heading
    frame = {"x": LEFT_PX, "y": view.top, "width": view.width, "height": view.height}
    add(add(root, "clipPath", id=f"clip-{name}"), "rect", "", **frame)
    add(root, "rect", "beyond", **frame)
    inner = add(root, "g", id=name, clip_path=f"url(#clip-{name})")
    corners = view.place(np.stack([track.bounds_min, track.bounds_max]))
    (left, bottom), (right, top) = corners
    box = {"x": left, "y": top, "width": right - left, "height": bottom - top}
    add(inner, "rect", "inside", **box)
    _grid(root, inner, view, axes)
    line = view.place(course_line(track))
    if track.laps > 1:
        again = path(view.place(return_line(track)), closed=False)
        add(inner, "path", "line return", d=again)
    add(inner, "path", "line", d=path(line, closed=False))
    for pole in track.obstacles:
        x, y = view.place(pole.position)
        width, tall = 2 * pole.radius * view.scale, pole.height * view.scale
        if view.up == 1:
            add(inner, "circle", "pole", cx=x, cy=y, r=max(0.5 * width, 2.0))
        else:
            add(inner, "rect", "pole", x=x - width / 2, y=y - tall, width=width, height=tall)
    _gates(inner, track, view)
    _start(inner, track, view)
    _labels(inner, track, view, line)
    add(root, "rect", "panel", **frame)


def _grid(root: ET.Element, inner: ET.Element, view: View, axes: tuple[str, str]) -> None:
    """Lines at round metres, with their numbers outside of the panel."""
    step = nice_step(64.0 / view.scale)
    right, bottom = LEFT_PX + view.width, view.top + view.height
    lines = add(inner, "g", "grid")
    for axis, (low, high) in enumerate(zip(view.low, view.high, strict=True)):
        for number in range(math.ceil(low / step), math.floor(high / step) + 1):
            metres, offset = number * step, (number * step - low) * view.scale
            if axis == 0:
                x = LEFT_PX + offset
                add(lines, "line", x1=x, y1=view.top, x2=x, y2=bottom)
                tick = add(root, "text", "tick", x=x, y=bottom + 16.0, text_anchor="middle")
            else:
                y = bottom - offset
                add(lines, "line", x1=LEFT_PX, y1=y, x2=right, y2=y)
                tick = add(root, "text", "tick", x=LEFT_PX - 7.0, y=y + 4.0, text_anchor="end")
            tick.text = f"{metres:.10g}".replace("-", "−")
    east = add(root, "text", "tick", x=right, y=bottom + 32.0, text_anchor="end")
    east.text = axes[0]
    up = add(root, "text", "tick", x=right, y=view.top - 11.0, text_anchor="end")
    up.text = f"upwards: {axes[1]}"


def _gates(inner: ET.Element, track: Track, view: View) -> None:
    """Farther ones first, as the nearer ones hide them."""
    depth = {1: 2, 2: 1}[view.up]  # the axis that is looked along: from above, or from the south
    towards = 1.0 if depth == 2 else -1.0
    order = sorted(enumerate(track.gates, 1), key=lambda one: towards * one[1].position[depth])
    for number, gate in order:
        group = add(inner, "g", "gate", data_gate=str(number))
        add(group, "title").text = f"Gate {number} {_say(gate)}"
        _opening(group, gate, view)
    for number, gate in order:
        group = add(inner, "g", "flight", data_gate=str(number))
        _arrow(group, gate, view, towards=towards * float(gate.axes[0][depth]))


def _opening(group: ET.Element, gate: Gate, view: View) -> None:
    """The opening and the frame around it; a line when they are seen edge-on."""
    inner = view.place(outline(gate, 0.5 * gate.size))
    outer = view.place(outline(gate, 0.5 * gate.size + gate.frame))
    if _thickness(inner) >= _EDGE_ON_PX:
        if gate.frame:
            both = f"{path(outer)} {path(inner)}"
            add(group, "path", "frame", d=both, fill_rule="evenodd")
        add(group, "path", "opening", d=path(inner))
        return
    for kind, corners in (("frame-edge", outer), ("opening-edge", inner)):
        middle = corners.mean(axis=0)
        _, _, axes = np.linalg.svd(corners - middle, full_matrices=False)
        along = (corners - middle) @ axes[0]
        ends = middle + np.array([along.min(), along.max()])[:, None] * axes[0]
        add(group, "path", kind, d=path(ends, closed=False))


def _thickness(corners: FloatArray) -> float:
    """The least width of a polygon (N, 2), px."""
    centred = corners - corners.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return float(np.ptp(centred @ axes[1]))


def _arrow(group: ET.Element, gate: Gate, view: View, *, towards: float) -> None:
    """The direction of flight through a gate; `towards` is its part towards the reader."""
    centre = view.place(gate.position)
    flat = view.place(gate.position + gate.axes[0]) - centre
    flat /= view.scale
    length = float(np.linalg.norm(flat))
    if length >= _END_ON:
        tip = centre + _ARROW_PX * flat / length * max(length, 0.6)
        along = flat / length
        across = np.array([-along[1], along[0]])
        neck = tip - 9.0 * along
        add(group, "path", "arrow", d=path(np.stack([centre, neck]), closed=False))
        head = np.stack([tip, neck + 5.0 * across, neck - 5.0 * across])
        add(group, "path", "head", d=path(head))
        return
    end_on(group, centre, towards=towards > 0.0)


def _start(inner: ET.Element, track: Track, view: View) -> None:
    """A dart whose point is the nose."""
    group = add(inner, "g", data_start="1")
    add(group, "title").text = "Start"
    place = view.place(track.start_position)
    nose = np.array([math.cos(track.start_yaw), math.sin(track.start_yaw), 0.0])
    flat = view.place(track.start_position + nose) - place
    length = float(np.linalg.norm(flat))
    if length < _END_ON * view.scale:
        add(group, "circle", "start", cx=place[0], cy=place[1], r=7.0)
        return
    along = flat / length
    across = np.array([-along[1], along[0]])
    dart = [11.0 * along, -8.0 * along + 8.0 * across, -4.0 * along, -8.0 * along - 8.0 * across]
    add(group, "path", "start", d=path(place + np.stack(dart)))


def _labels(inner: ET.Element, track: Track, view: View, line: FloatArray) -> None:
    """S and the gates' numbers, beside what they mean."""
    anchors = view.place(np.stack([track.start_position, *(g.position for g in track.gates)]))
    sides = [view.place(_sides(gate)) for gate in track.gates]
    ways = np.stack([np.zeros(2), *(_flat(gate, view) for gate in track.gates)])
    tips = [anchors + share * _ARROW_PX * ways for share in (0.4, 0.7, 1.0)]
    poles = [view.place(pole.position)[None, :] for pole in track.obstacles]
    drawn = np.concatenate([anchors, line[::4], *tips, *sides, *poles])
    places = label_places(anchors, ways, drawn, view)
    for number, (anchor, place) in enumerate(zip(anchors, places, strict=True)):
        group = add(inner, "g", data_label=str(number))
        gap = place - anchor
        edge = place - 11.0 * gap / np.linalg.norm(gap)
        add(group, "line", "leader", x1=anchor[0], y1=anchor[1], x2=edge[0], y2=edge[1])
        add(group, "circle", "label", cx=place[0], cy=place[1], r=11.0)
        text = add(group, "text", "number", x=place[0], y=place[1] + 4.2)
        text.text = str(number) if number else "S"


def _sides(gate: Gate) -> FloatArray:
    """(24, 3) m: points all around a gate's frame."""
    corners = outline(gate, 0.5 * gate.size + gate.frame)
    if gate.shape == "round":
        return corners[::2]
    steps = np.linspace(0.0, 1.0, 6, endpoint=False)[:, None, None]
    points: FloatArray = (corners + steps * (np.roll(corners, 1, axis=0) - corners)).reshape(-1, 3)
    return points


def _flat(gate: Gate, view: View) -> FloatArray:
    """(2,): the direction of flight as the view shows it."""
    flat: FloatArray = view.place(gate.position + gate.axes[0]) - view.place(gate.position)
    return flat / view.scale


def _north(root: ET.Element, view: View) -> None:
    x, y = LEFT_PX + view.width - 24.0, view.top + 18.0
    group = add(root, "g")
    add(group, "circle", "label", cx=x, cy=y + 12.0, r=19.0)
    needle = np.array([[x, y - 3.0], [x + 5.0, y + 11.0], [x, y + 8.0], [x - 5.0, y + 11.0]])
    add(group, "path", "head", d=path(needle))
    add(group, "text", "number", x=x, y=y + 25.0).text = "N"
