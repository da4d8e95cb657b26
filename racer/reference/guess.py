"""A first flight for the solver: a smooth line through the middle of every gate, flown slowly.

Cubic Hermite curves, square to the gates, at one speed in all of them; the speed is lowered until
the thrust that the line takes leaves a margin. Such a flight violates little, so that the solver
begins inside of what is allowed.
"""

from __future__ import annotations

import numpy as np

from racer.reference.problem import Flight, Layout, PointMass
from racer.reference.quadratic import FloatArray
from racer.sim.airframe import GRAVITY_M_S2

_SHORTEST_LEG_M = 0.1  # two gates may stand in the same place


def make_guess(flight: Flight, point: PointMass, layout: Layout) -> FloatArray:
    """(layout.size,) unknowns."""
    first = flight.gates[-1].position if flight.start is None else flight.start
    through = np.array([first, *(gate.position for gate in flight.gates)])
    out = flight.gates[-1].axes[0] if flight.start is None else np.zeros(3)
    along = np.array([out, *(gate.axes[0] for gate in flight.gates)])
    lengths = np.maximum(np.linalg.norm(np.diff(through, axis=0), axis=1), _SHORTEST_LEG_M)
    most = 0.5 * (1.0 + GRAVITY_M_S2 / point.thrust)  # halfway from hovering to full thrust
    pace = float(np.sqrt(point.thrust * lengths.max()))  # m/s, more than can be flown
    while True:
        x = _fill(layout, point, through, along * pace, lengths / pace)
        if np.linalg.norm(x[layout.thrust], axis=1).max() <= most:
            return x
        pace *= 0.9


def _fill(
    layout: Layout, point: PointMass, through: FloatArray, pace: FloatArray, times: FloatArray
) -> FloatArray:
    """Unknowns of Hermite curves `through` (L + 1, 3) m with velocities `pace` in `times` (L,)."""
    count = layout.steps_per_leg
    u = np.arange(count + 1)[:, None] / count
    curves = [
        _hermite(u, through[i : i + 2], pace[i : i + 2] * times[i]) for i in range(len(times))
    ]
    nodes = len(layout.position)
    x = np.zeros(layout.size)
    position = np.concatenate([*(curve[0][:-1] for curve in curves), through[-1:]])
    velocity = np.concatenate(
        [*(curve[1][:-1] / t for curve, t in zip(curves, times, strict=True)), pace[-1:]]
    )
    x[layout.position], x[layout.velocity] = position[:nodes], velocity[:nodes]
    h = np.repeat(times / count, count)[:, None]
    mean = 0.5 * (velocity[1:] + velocity[:-1])
    speed = np.linalg.norm(mean, axis=1)
    resistance = point.quadratic_drag * speed[:, None] * mean
    push = np.diff(velocity, axis=0) / h + point.linear_drag * mean + resistance
    push[:, 2] += GRAVITY_M_S2
    x[layout.thrust] = push / point.thrust
    x[layout.step] = times / count
    if len(layout.speed):
        x[layout.speed], x[layout.resistance] = speed, resistance
    return x


def _hermite(u: FloatArray, ends: FloatArray, slopes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Points and derivatives by u (n, 1) from 0 to 1 of the cubic with these ends and slopes."""
    (a, b), (at_a, at_b) = ends, slopes
    point = a + (b - a) * (3 * u**2 - 2 * u**3) + at_a * (u**3 - 2 * u**2 + u)
    slope = (b - a) * (6 * u - 6 * u**2) + at_a * (3 * u**2 - 4 * u + 1)
    return point + at_b * (u**3 - u**2), slope + at_b * (3 * u**2 - 2 * u)
