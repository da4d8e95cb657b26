"""Where things of a course come to lie on the sheet: two views to one scale, and free places for
labels. Lengths are metres (ENU) or pixels, as the names say.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from racer.sim.track import FloatArray, Gate, Track

WIDTH_PX = 960.0
LEFT_PX, RIGHT_PX = 58.0, 26.0  # beside the views; ticks are on the left
_ABOVE_PX = (170.0, 640.0)  # least and greatest height of the view from above
_SIDE_PX = (110.0, 420.0)  # and of the one from the south
_CORNERS = {
    "square": np.array([(1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (1.0, -1.0)]),
    "round": np.array([(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * np.pi, 49)[:-1]]),
}
_POINTS = 40  # of the centre line, from gate to gate
_LABEL_PX = 25.0  # between the centres of two labels
_REACHES_PX = (26.0, 36.0, 50.0, 70.0, 100.0)  # of a label from what it names
_FARTHEST_PX = max(_REACHES_PX)
_AHEAD = 6.0  # what it is worth that a label lies where its arrow goes; a px of crowding costs 1
_MOST_DRAWN = 800  # points that labels keep clear of; shipped courses have 300, a hostile one 2,500
_CLEAR_PX = 17.0  # between a label's centre and what is drawn


@dataclasses.dataclass(frozen=True, eq=False)
class View:
    """A rectangle of the sheet that shows two of the three axes."""

    across: int  # axis that points right
    up: int  # axis that points up
    low: FloatArray  # (2,) m at the lower left corner
    scale: float  # px/m
    top: float  # px
    width: float  # px
    height: float  # px

    @property
    def high(self) -> FloatArray:
        """(2,) m at the upper right corner."""
        return self.low + np.array([self.width, self.height]) / self.scale

    def place(self, points: FloatArray) -> FloatArray:
        """(..., 2) px of points (..., 3) m."""
        across = (points[..., self.across] - self.low[0]) * self.scale
        up = (points[..., self.up] - self.low[1]) * self.scale
        return np.stack([LEFT_PX + across, self.top + self.height - up], axis=-1)


def outline(gate: Gate, half: float) -> FloatArray:
    """(N, 3) m: corners of the gate's opening widened to `half` its width, m."""
    _, left, up = gate.axes
    across = _CORNERS[gate.shape] * half
    corners: FloatArray = gate.position + across[:, :1] * left + across[:, 1:] * up
    return corners


def views(track: Track, *, top_px: float, between_px: float) -> tuple[View, View]:
    """From above and from the south (x to the right in both), as large as the sheet allows."""
    low, high = _extent(track)
    size = high - low
    width = WIDTH_PX - LEFT_PX - RIGHT_PX
    scale = min(width / size[0], _ABOVE_PX[1] / size[1], _SIDE_PX[1] / size[2])
    above_px = max(size[1] * scale, _ABOVE_PX[0])
    side_px = max(size[2] * scale, _SIDE_PX[0])
    # the room that is left over goes to both sides, but never below the ground
    x = low[0] - 0.5 * (width / scale - size[0])
    y = low[1] - 0.5 * (above_px / scale - size[1])
    above = View(0, 1, np.array([x, y]), scale, top_px, width, above_px)
    side_top = top_px + above_px + between_px
    side = View(0, 2, np.array([x, low[2]]), scale, side_top, width, side_px)
    return above, side


def _extent(track: Track) -> tuple[FloatArray, FloatArray]:
    """(3,) m each: the corners of what must be seen, and of the bounds where they are near."""
    inside = [pole for pole in track.obstacles if _is_inside(pole.position, track)]
    seen = [
        track.start_position[None, :],
        course_line(track),
        *(outline(gate, 0.5 * gate.size + gate.frame) for gate in track.gates),
        *(pole.position + np.array([[0.0, 0.0, 0.0], [0.0, 0.0, pole.height]]) for pole in inside),
    ]
    points = np.concatenate(seen)
    low, high = points.min(axis=0), points.max(axis=0)
    low[2] = track.bounds_min[2]
    margin = max(1.0, 0.08 * float((high - low).max()))
    edge = 0.15 * margin
    low = np.maximum(low - margin, track.bounds_min - edge)
    return low, np.minimum(high + margin, track.bounds_max + edge)


def _is_inside(point: FloatArray, track: Track) -> bool:
    beyond = np.any(point < track.bounds_min) or np.any(point > track.bounds_max)
    return not beyond


def course_line(track: Track) -> FloatArray:
    """(N, 3) m: the smooth line from the start through every gate once."""
    return track.centre_line(_POINTS)


def return_line(track: Track) -> FloatArray:
    """(N, 3) m: on from the last gate to the first, where a further lap begins."""
    around = dataclasses.replace(track, gates=(*track.gates, track.gates[0]))
    return around.centre_line(_POINTS)[-_POINTS - 1 :]


def nice_step(at_least: float) -> float:
    """The least of …, 0.5, 1, 2, 5, 10, … that is not below."""
    power = 10.0 ** math.floor(math.log10(at_least))
    return next(power * part for part in (1, 2, 5, 10) if power * part >= at_least * (1 - 1e-9))


def label_places(
    anchors: FloatArray, ways: FloatArray, drawn: FloatArray, view: View
) -> FloatArray:
    """(N, 2) px: for each of the anchors (N, 2) px a near place where a label covers neither
    another one nor much of what is drawn (M, 2) px; rather towards where its arrow goes, `ways`
    (N, 2), so that two gates in one place are told apart."""
    low = np.array([LEFT_PX + 13.0, view.top + 13.0])
    high = np.array([LEFT_PX + view.width - 13.0, view.top + view.height - 13.0])
    angles = np.arange(20) * (2.0 * np.pi / 20) + 0.3
    rays = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    around = np.concatenate([reach * rays for reach in _REACHES_PX])
    placed: list[FloatArray] = []
    every = 1 + len(drawn) // _MOST_DRAWN
    far = np.linalg.norm(around, axis=-1)
    for anchor, way in zip(anchors, ways, strict=True):
        places = anchor + around
        cost = 0.02 * far**1.5 - _AHEAD * (around @ way) / far
        cost += every * _crowding(places, drawn[::every], _CLEAR_PX)
        if placed:
            cost += 100.0 * _crowding(places, np.stack(placed), _LABEL_PX)
        cost += 1e3 * np.any((places < low) | (places > high), axis=-1)
        placed.append(places[int(np.argmin(cost))])
    return np.stack(placed)


def _crowding(places: FloatArray, points: FloatArray, clearance: float) -> FloatArray:
    """(P,): how much the points (M, 2) come nearer than that to each of the places (P, 2)."""
    near = np.abs(points - places.mean(axis=0)).max(axis=-1) < _FARTHEST_PX + clearance
    across, up = (places[:, None, :] - points[None, near, :]).transpose(2, 0, 1)
    crowded: FloatArray = np.maximum(clearance - np.hypot(across, up), 0.0).sum(axis=-1)
    return crowded
