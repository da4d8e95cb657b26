"""The least time in which an airframe's physics lets anybody fly a course.

A point mass with all of the rotors' thrust in any direction at once, the least drag that the
airframe can have, no wind, through every gate at any place where the hull fits: docs/decisions/
0015-time-optimal-reference.md says in which sense nobody is faster. Frames and poles are no
obstacles to it, so that on courses where they bar the way the time is out of reach.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from racer.errors import InvalidInputError
from racer.reference.guess import make_guess
from racer.reference.interior_point import solve
from racer.reference.problem import Flight, Layout, PointMass, make_problem
from racer.reference.quadratic import FloatArray
from racer.sim.airframe import Airframe
from racer.sim.track import MAX_LAPS, Track

STEPS_PER_LEG = 32  # 16 are 0.04 % slower on the Split-S, 64 are 0.01 % faster
_MARGIN_M = 1e-6  # of an opening, so that rounding puts nobody outside


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """A time-optimal flight: K nodes, and K - 1 steps of constant thrust between them."""

    time_s: float  # from the start to the last gate, or once around
    splits_s: FloatArray  # (L,) to each gate from the one before it
    time: FloatArray  # (K,) s, from zero
    position: FloatArray  # (K, 3) m ENU
    velocity: FloatArray  # (K, 3) m/s
    thrust: FloatArray  # (K - 1, 3) m/s² ENU, of each step

    @property
    def top_speed_m_s(self) -> float:
        """The fastest node's."""
        return float(np.linalg.norm(self.velocity, axis=1).max())


def fastest(
    track: Track,
    airframe: Airframe,
    *,
    laps: int | None = None,
    flying: bool = False,
    steps_per_leg: int = STEPS_PER_LEG,
) -> Reference:
    """The time-optimal flight from rest at the start, or a flying lap, which repeats itself.

    `laps`: instead of the course's own number. A flying lap runs from the last gate to the last
    gate. Raises InvalidInputError where a gate is too small for the hull, or where a lap is through
    a single gate; RacerError where no flight is found.
    """
    laps = track.laps if laps is None else laps
    if not 1 <= laps <= MAX_LAPS:
        raise InvalidInputError(f"The laps must be from 1 to {MAX_LAPS}.")
    if len(track.gates) == 1 and (flying or laps > 1):
        raise InvalidInputError("There is no reference for laps through one gate: add a gate.")
    flight = _flight(track, airframe, 1 if flying else laps, flying=flying)
    point = PointMass.of(airframe)
    layout = Layout.make(
        len(flight.gates), steps_per_leg, closed=flying, quadratic=point.quadratic_drag > 0.0
    )
    problem = make_problem(flight, point, layout)
    guess = make_guess(flight, point, layout)
    # a tenth of the time is what all barriers together may cost at first
    mu = 0.1 * float(problem.cost @ guess) / len(problem.below.constant)
    return _reference(solve(problem, guess, mu=mu), layout, point)


def _flight(track: Track, airframe: Airframe, laps: int, *, flying: bool) -> Flight:
    radius = airframe.body.collision_radius_m
    track.check_room(radius)
    gates = track.gates * laps
    floor = 0.0 if track.on_ground else radius  # the ground carries at first
    return Flight(
        gates=gates,
        start=None if flying else track.start_position,
        reach=np.array([0.5 * gate.size - radius - _MARGIN_M for gate in gates]),
        low=track.bounds_min + np.array([0.0, 0.0, floor]),
        high=track.bounds_max,
    )


def _reference(x: FloatArray, layout: Layout, point: PointMass) -> Reference:
    around = np.append(np.arange(len(layout.thrust)), layout.next_node[-1])
    splits = x[layout.step] * layout.steps_per_leg
    return Reference(
        time_s=float(splits.sum()),
        splits_s=splits,
        time=np.append(0.0, np.cumsum(x[layout.step_of])),
        position=x[layout.position[around]],
        velocity=x[layout.velocity[around]],
        thrust=point.thrust * x[layout.thrust],
    )
