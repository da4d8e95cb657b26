"""The centre line as a reward function sees it: waypoints, the place beside them, obstacles.

`task.line` leads from the start through all gates. On a course of several laps the way from the
last gate to the first belongs to it, too: as many waypoints as any other leg has, on the same sort
of curve (cubic Hermite, square to both openings). Whether there are laps is data, not shape, so
that leg is always computed, and counted only where it is flown.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from racer.geometry.rotation import Vector, dot, minus
from racer.sim.state import Array
from racer.sim.task import Task

_SMALL = 1e-9  # so that a length of zero has a derivative


class Place(NamedTuple):
    """Where something is beside the centre line, (...) each."""

    distance: Array  # m
    segment: Array  # float: index of the waypoint behind
    across: Array  # positive to the left
    direction: tuple[Array, Array, Array]  # of the segment, not normalised


class CentreLine:
    """The line of a task; G gates, K = 16 G segments from the start to the last gate."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._gates = int(jnp.shape(task.gates.half_size)[0])
        self._flown_once = int(jnp.shape(task.line)[0])
        self._per_leg = self._flown_once // self._gates
        self.waypoints = self._waypoints()
        self._ahead = self.waypoints[1:] - self.waypoints[:-1]

    def _waypoints(self) -> Array:
        """(K + 17, 3) m: the start, …, the last gate, …, the first gate again."""
        task = self._task
        first, last = _corner(task.gates.centre, 0), _corner(task.gates.centre, -1)
        leaves, arrives = _corner(task.gates.forward, -1), _corner(task.gates.forward, 0)
        u = jnp.arange(self._per_leg + 1)[:, None] / self._per_leg
        length = jnp.sqrt(jnp.sum((first - last) ** 2) + _SMALL)
        h10, h11, h01 = u**3 - 2 * u**2 + u, u**3 - u**2, 3 * u**2 - 2 * u**3
        back = (1 - h01) * last + h01 * first + length * (h10 * leaves + h11 * arrives)
        return jnp.concatenate([jnp.asarray(task.line)[:, :3], back])

    @property
    def laps(self) -> Array:
        """() bool: whether there are several, and with them the way back to the first gate."""
        return jnp.asarray(self._task.passages > self._gates)

    @property
    def count(self) -> Array:
        """() int: waypoints that there are."""
        return self._flown_once + 1 + jnp.where(self.laps, self._per_leg, 0)

    @property
    def length(self) -> Array:
        """() m through all waypoints."""
        lengths = lengths_of(self.waypoints)
        once = jnp.sum(lengths[: self._flown_once])
        return once + jnp.where(self.laps, jnp.sum(lengths[self._flown_once :]), 0.0)

    def leg(self, passed: Array) -> Array:
        """int32: 0 to the first gate, 1 to the second, …; G from the last to the first."""
        now = jnp.minimum(passed, self._task.passages - 1)
        gate = now % self._gates
        return jnp.where((gate == 0) & (now > 0), self._gates, gate)

    def beside(self, position: Vector, passed: Array) -> Place:
        """The nearest segment of the leg that is flown; `position` (...) m ENU."""
        leg = self.leg(passed)
        segment = leg * self._per_leg + self._nearest(position, leg)
        behind, ahead = self._point(segment), self._point(segment + 1)
        way = minus(ahead, behind)
        gap = minus(position, behind)
        off = _off(gap, way, 1.0 / jnp.maximum(dot(way, way), _SMALL))
        across = way[0] * gap[1] - way[1] * gap[0]
        return Place(jnp.sqrt(off + _SMALL), segment.astype(jnp.float32), across, way)

    def _point(self, index: Array) -> Vector:
        """The waypoints of indices in range."""
        x, y, z = self.waypoints.T.at[:, index].get(mode="promise_in_bounds")
        return x, y, z

    def _nearest(self, position: Vector, leg: Array) -> Array:
        """int32: which of a leg's segments is nearest, the first of several.

        A conditional, since XLA's CPU compiler copies whatever else is cheap into everything that
        reads it: a function that looks five waypoints up searched the leg ten times. It has to ask
        for something that only the task knows, or the compiler decides it.
        """
        starts = self.waypoints[:-1].reshape(self._gates + 1, -1)
        last = self.waypoints[self._per_leg :: self._per_leg]
        inverse = 1.0 / jnp.maximum(jnp.sum(self._ahead**2, axis=1), _SMALL)
        table = jnp.concatenate([starts, last, inverse.reshape(self._gates + 1, -1)], axis=1)

        def search() -> Array:
            # A column a number, so that drones lie side by side; a leg is one of the table's.
            numbers = table.T.at[:, leg].get(mode="promise_in_bounds")
            corners = range(0, 3 * self._per_leg + 3, 3)
            points = [(numbers[i], numbers[i + 1], numbers[i + 2]) for i in corners]
            segments = zip(points, points[1:], numbers[3 * len(points) :], strict=False)
            least, nearest = jnp.full_like(position[0], jnp.inf), jnp.zeros_like(leg)
            for at, (behind, ahead, inverse) in enumerate(segments):
                off = _off(minus(position, behind), minus(ahead, behind), inverse)
                nearest = jnp.where(off < least, at, nearest)
                least = jnp.minimum(off, least)
            return nearest

        nearest: Array = jax.lax.cond(self._task.passages > 0, search, lambda: jnp.zeros_like(leg))
        return nearest

    def on_the_map(self, x: Array, y: Array) -> tuple[Array, Array]:
        """(m along the whole line, left of it) for the points (...) on the map, as bool."""
        start, ahead = self.waypoints[:-1], self._ahead
        ox, oy = x[..., None] - start[:, 0], y[..., None] - start[:, 1]
        square = jnp.maximum(ahead[:, 0] ** 2 + ahead[:, 1] ** 2, _SMALL)
        share = jnp.clip((ox * ahead[:, 0] + oy * ahead[:, 1]) / square, 0.0, 1.0)
        gap = (ox - share * ahead[:, 0]) ** 2 + (oy - share * ahead[:, 1]) ** 2
        there = (jnp.arange(ahead.shape[0]) < self._flown_once) | self.laps
        nearest = jnp.argmin(jnp.where(there, gap, jnp.inf), axis=-1)[..., None]
        lengths = lengths_of(self.waypoints)
        along = jnp.concatenate([jnp.zeros(1), jnp.cumsum(lengths)])[:-1] + share * lengths
        across = ahead[:, 0] * oy - ahead[:, 1] * ox

        def chosen(values: Array) -> Array:
            found: Array = jnp.take_along_axis(values, nearest, axis=-1)[..., 0]
            return found

        return chosen(along), chosen(across) > 0.0


def lengths_of(points: Array) -> Array:
    """(P - 1,) m between neighbours."""
    gaps = points[1:] - points[:-1]
    return jnp.sqrt(jnp.sum(gaps * gaps, axis=1) + _SMALL)


def _off(gap: Vector, way: Vector, inverse: Array) -> Array:
    """m², how far a segment is: `gap` from its start, `way` to its end, 1/m² of its length."""
    share = jnp.clip(dot(gap, way) * inverse, 0.0, 1.0)
    rest = minus(gap, (share * way[0], share * way[1], share * way[2]))
    square: Array = dot(rest, rest)
    return square


def _corner(vectors: Vector, gate: int) -> Array:
    """(3,) of one gate."""
    return jnp.stack([jnp.asarray(axis)[gate] for axis in vectors])
