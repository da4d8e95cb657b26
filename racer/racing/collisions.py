"""Who met whom in one world: drones are spheres, and both crash when two of them touch.

Between two samples of its path a drone flies straight (that is also how gates are judged). So the
place of one relative to another is a chain of straight segments between the merged moments of
both, and the first touch is the root of a quadratic: exact, whatever the control rates.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from racer.racing.flight import Flight, FloatArray
from racer.sim.airframe import Airframe


def hull_radius_m(airframe: Airframe) -> float:
    """Of the sphere; of an airframe that races as a point, out to its rotors' axes."""
    rotors = airframe.rotors
    return airframe.body.collision_radius_m or math.hypot(rotors.arm_x_m, rotors.arm_y_m)


def first_touch(a: Flight, b: Flight, distance_m: float) -> float | None:
    """The moment, s of the race, at which two drones in flight come nearer than that.

    None when they never do while both are flying.
    """
    begin, end = max(a.start_s, b.start_s), min(a.end_s, b.end_s)
    if begin >= end:
        return None
    moments = np.union1d(a.time, b.time)
    moments = np.concatenate([[begin], moments[(moments > begin) & (moments < end)], [end]])
    apart = _at(b, moments) - _at(a, moments)  # (M, 3) m
    share = _first_within(apart[:-1], np.diff(apart, axis=0), distance_m)
    hits = np.flatnonzero(np.isfinite(share))
    if not hits.size:
        return None
    i = int(hits[0])
    return float(moments[i] + share[i] * (moments[i + 1] - moments[i]))


def collide(flights: Sequence[Flight], distance_m: float) -> list[Flight]:
    """The same flights in one world: those who touch end there, and meet nobody afterwards.

    Who has finished, crashed or run out of time is no longer in the world.
    """
    pairs = combinations(range(len(flights)), 2)
    touches = sorted(
        (moment, a, b)
        for a, b in pairs
        if (moment := first_touch(flights[a], flights[b], distance_m)) is not None
    )
    ended: dict[int, float] = {}
    met: dict[int, list[int]] = {}
    for moment, a, b in touches:
        if all(ended.get(drone, moment) == moment for drone in (a, b)):  # three may touch at once
            for drone, other in ((a, b), (b, a)):
                ended[drone] = moment
                met.setdefault(drone, []).append(other)
    return [
        flight.ended(ended[i], end="crashed", cause="drone", collided_with=tuple(sorted(met[i])))
        if i in ended
        else flight
        for i, flight in enumerate(flights)
    ]


def _at(flight: Flight, moments: FloatArray) -> FloatArray:
    """(M, 3) m: where it is."""
    return np.stack([np.interp(moments, flight.time, axis) for axis in flight.position.T], axis=1)


def _first_within(start: FloatArray, way: FloatArray, distance_m: float) -> FloatArray:
    """(M,) share of each segment at which it comes within the distance of the origin, else NaN.

    |start + s·way|² = d²: the smaller root, where it lies in [0, 1]; 0 where it starts within.
    """
    a = np.einsum("ij,ij->i", way, way)
    b = np.einsum("ij,ij->i", start, way)
    c = np.einsum("ij,ij->i", start, start) - distance_m**2
    root = b * b - a * c
    approaching = (c > 0.0) & (b < 0.0) & (root >= 0.0)
    safe = np.where(approaching, a, 1.0)
    share = (-b - np.sqrt(np.where(approaching, root, 0.0))) / safe
    share = np.where(approaching & (share <= 1.0), share, np.nan)
    return np.where(c <= 0.0, 0.0, share)
