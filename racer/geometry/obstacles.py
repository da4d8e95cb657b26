"""Did a flown segment touch a pole?

An obstacle is an upright cylinder, the vehicle a sphere. A sphere touches the cylinder where its
centre enters the cylinder grown by the radius: sideways, and up and down. So the segment is cut to
the heights of the grown cylinder, and what is left of it is compared, at its nearest point to the
axis, with the grown radius: exact for the segment. Only around the rims at top and bottom, where
the sphere's own roundness would let it a little nearer, a touch counts up to 0.41 radii early:
the exact shape is a torus there and would need the roots of a quartic.

Operators only (and the functions of the array module where one is asked for), so NumPy and JAX
arrays of any shape are judged alike.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from racer.geometry.rotation import Real, Vector

_SMALL = 1e-6  # m², so that a distance of zero has a derivative


class Cylinder(NamedTuple):
    """An upright obstacle, components of one shape."""

    base: Vector  # m, ENU: centre of the lower end
    radius: Real  # m
    height: Real  # m


def touches(pole: Cylinder, before: Vector, after: Vector, *, radius: float = 0.0) -> Real:
    """Whether a sphere of `radius` m flown from `before` to `after` (m, ENU) touches the pole."""
    x, y, z = before[0] - pole.base[0], before[1] - pole.base[1], before[2] - pole.base[2]
    dx, dy, dz = after[0] - before[0], after[1] - before[1], after[2] - before[2]
    low, high = -radius, pole.height + radius
    level = (dz == 0.0) * 1.0  # then the whole segment is at one height
    slope = dz + level
    first, second = (low - z) / slope, (high - z) / slope
    enter = (1.0 - level) * _greater(_less(first, second), 0.0)
    leave = level + (1.0 - level) * _less(_greater(first, second), 1.0)
    at_height = (enter <= leave) & ((level == 0.0) | ((z > low) & (z < high)))
    upright = (dx * dx + dy * dy == 0.0) * 1.0
    nearest = -(x * dx + y * dy) / (dx * dx + dy * dy + upright)
    share = _less(_greater(nearest, enter), leave)
    aside_x, aside_y = x + share * dx, y + share * dy
    reach = pole.radius + radius
    return at_height & (aside_x * aside_x + aside_y * aside_y < reach * reach)


def nearest(
    poles: Cylinder, position: Vector, count: int, xp: Any
) -> tuple[tuple[Real, Cylinder], ...]:
    """The `count` poles whose axes are nearest on the map, or all if they are fewer.

    Nearest first, equally near ones in the order of the table: (m to the axis, pole (...)) each.
    `poles`: components (P, ...) or what broadcasts to it, P > 0; `position` (...), m ENU; `xp`:
    numpy or jax.numpy.
    """
    x, y = poles.base[0] - position[0], poles.base[1] - position[1]
    left = xp.sqrt(xp.maximum(x * x + y * y, _SMALL))
    total = left.shape[0]
    number = xp.reshape(xp.arange(total), (-1, *(1,) * (left.ndim - 1)))
    found = []
    for _ in range(min(count, total)):
        # two minima and a sum over the poles: far cheaper in XLA than argmin and a gather
        distance = xp.min(left, axis=0)
        first = xp.min(xp.where(left == distance, number, total), axis=0)
        chosen = number == first
        east, north, foot, radius, height = (
            xp.sum(xp.where(chosen, part, 0.0), axis=0)
            for part in (*poles.base, poles.radius, poles.height)
        )
        found.append((distance, Cylinder((east, north, foot), radius, height)))
        left = xp.where(chosen, math.inf, left)
    return tuple(found)


def _less(a: Real, b: Real) -> Real:
    first = (a < b) * 1.0
    return first * a + (1.0 - first) * b


def _greater(a: Real, b: Real) -> Real:
    first = (a > b) * 1.0
    return first * a + (1.0 - first) * b
