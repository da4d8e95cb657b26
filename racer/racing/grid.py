"""Where the drones of one world start: on a grid at once, or one after another. No JAX."""

from __future__ import annotations

import math

import numpy as np

from racer.errors import InvalidInputError
from racer.geometry.obstacles import touches
from racer.racing.flight import Place
from racer.sim.track import Track

SPACING_RADII = 5.0  # between columns, and in each: three radii of air between two hulls


def grid(track: Track, drones: int, radius_m: float) -> list[Place]:
    """Two columns about the start, each drone half a row behind the one before, as in a car race.

    So they find room when they all turn for the first gate. A single drone starts from the start.

    Raises InvalidInputError when a place lies outside the bounds or in a pole.
    """
    forward = np.array([math.cos(track.start_yaw), math.sin(track.start_yaw)])
    left = np.array([-forward[1], forward[0]])
    spacing = SPACING_RADII * radius_m
    places = []
    for lane in range(drones):
        aside = 0.0 if drones == 1 else (0.5 if lane % 2 == 0 else -0.5) * spacing
        x, y = track.start_position[:2] + aside * left - 0.5 * lane * spacing * forward
        place = float(x), float(y), float(track.start_position[2])
        _check_free(track, place, radius_m, drones)
        places.append(Place(place, 0.0))
    return places


def staggered(track: Track, drones: int, interval_s: float) -> list[Place]:
    """All from the start, each so long after the one before."""
    x, y, z = (float(part) for part in track.start_position)
    return [Place((x, y, z), lane * interval_s) for lane in range(drones)]


def _check_free(
    track: Track, place: tuple[float, float, float], radius: float, drones: int
) -> None:
    inside = all(
        low + radius <= at <= high - radius
        for at, low, high in list(zip(place, track.bounds_min, track.bounds_max, strict=True))[:2]
    )
    blocked = any(touches(pole.cylinder, place, place, radius=radius) for pole in track.obstacles)
    if not inside or blocked:
        raise InvalidInputError(
            f"A grid of {drones} drones does not fit around the start of '{track.name}': let fewer "
            "start, or one after another (start 'staggered')."
        )
