"""Minimum time through gates for a point mass, written as quadratic conditions.

A leg ends in its gate and is flown in equal steps of unknown length h. Unknown are, at every
node, position p and velocity v; in every step the thrust f, as a share of full thrust; for every
leg h, and where its gate's opening is passed. From node to node, with a constant thrust T f,

    p' = p + h (v + v') / 2,    v' = v + h (T f − g ẑ − k m − r),    m = (v + v') / 2,

the midpoint rule: exact without drag, so that what is found can be flown as it is, and of second
order with it. r = q |m| m is quadratic drag, with |m| and r as further unknowns, for every
condition is at most quadratic (racer.reference.quadratic).
Conditions are |f| ≤ 1, each gate's plane met within its opening and not backwards, and
the world's box. Thrust may point anywhere at once.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from racer.reference.interior_point import Problem
from racer.reference.quadratic import FloatArray, IntArray, Rows
from racer.sim.airframe import GRAVITY_M_S2, Airframe
from racer.sim.track import Gate

_SHORTEST_STEP_S = 1e-5


@dataclasses.dataclass(frozen=True)
class PointMass:
    """The fastest point that an airframe could be."""

    thrust: float  # m/s², all rotors at full speed
    linear_drag: float  # 1/s
    quadratic_drag: float  # 1/m

    @classmethod
    def of(cls, airframe: Airframe) -> PointMass:
        """With the least drag against its motion that any attitude and rotor speed gives.

        Linear drag is least along the axis that has least. Quadratic drag of a motion along the
        unit vector n is Σ q_i |n_i|³, at least (Σ q_i⁻²)^(−1/2) (Lagrange); zero where a q_i is.
        """
        drag, mass = airframe.drag, airframe.body.mass_kg
        squares = (drag.quadratic_x, drag.quadratic_y, drag.quadratic_z)
        least = sum(q**-2 for q in squares) ** -0.5 if min(squares) > 0.0 else 0.0
        return cls(
            thrust=airframe.thrust_max_n / mass,
            linear_drag=min(drag.linear_x, drag.linear_y, drag.linear_z) / mass,
            quadratic_drag=least / mass,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Flight:
    """What is to be flown: a leg to each gate."""

    gates: tuple[Gate, ...]  # (L), in the order of flight
    start: FloatArray | None  # (3,) m, where it rests first; None: from the last gate, a closed lap
    reach: FloatArray  # (L,) m, from a gate's centre to where the vehicle's centre may pass
    low: FloatArray  # (3,) m, corners of the box for the vehicle's centre
    high: FloatArray  # (3,)


@dataclasses.dataclass(frozen=True, eq=False)
class Layout:
    """Where each unknown stands in the vector of them."""

    position: IntArray  # (K, 3) m; K nodes, one more than steps, or as many in a closed lap
    velocity: IntArray  # (K, 3) m/s
    thrust: IntArray  # (N, 3) of full thrust, during each step
    step: IntArray  # (L,) s, for each leg
    aside: IntArray  # (L, 2) left and up of the gate's centre, in units of `reach`
    speed: IntArray  # (N,) m/s, in the middle of each step; (0,) without quadratic drag
    resistance: IntArray  # (N, 3) m/s², of quadratic drag; (0, 3) without
    size: int

    @classmethod
    def make(cls, legs: int, steps_per_leg: int, *, closed: bool, quadratic: bool) -> Layout:
        """For a flight of so many legs."""
        steps = legs * steps_per_leg
        nodes, draggy = steps + (not closed), steps * quadratic
        shapes = ((nodes, 3), (nodes, 3), (steps, 3), (legs,), (legs, 2), (draggy,), (draggy, 3))
        ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes)])
        position, velocity, thrust, step, aside, speed, resistance = (
            np.arange(first, last).reshape(shape)
            for first, last, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
        )
        return cls(position, velocity, thrust, step, aside, speed, resistance, int(ends[-1]))

    @property
    def steps_per_leg(self) -> int:
        """How many."""
        return len(self.thrust) // len(self.step)

    @property
    def next_node(self) -> IntArray:
        """(N,) the node at the end of each step; it begins at the node of its own number."""
        return (np.arange(len(self.thrust)) + 1) % len(self.position)

    @property
    def gate_node(self) -> IntArray:
        """(L,) the node in each gate."""
        return (np.arange(len(self.step)) + 1) * self.steps_per_leg % len(self.position)

    @property
    def step_of(self) -> IntArray:
        """(N,) the unknown that is the length of each step."""
        return np.repeat(self.step, self.steps_per_leg)


def make_problem(flight: Flight, point: PointMass, layout: Layout) -> Problem:
    """Minimise the time of the flight."""
    equal, below = Rows(), Rows()
    _dynamics(equal, point, layout)
    if len(layout.speed):
        _quadratic_drag(equal, below, point, layout)
    _thrust(below, layout)
    _gates(equal, below, flight, layout)
    _box(below, flight, layout)
    if flight.start is not None:
        here, still = equal.new(3), equal.new(3)
        equal.linear(here, layout.position[0])
        equal.constant(here, -flight.start)
        equal.linear(still, layout.velocity[0])
    cost = np.zeros(layout.size)
    cost[layout.step] = layout.steps_per_leg
    return Problem(cost, equal.done(layout.size), below.done(layout.size))


def _dynamics(equal: Rows, point: PointMass, layout: Layout) -> None:
    h, after, before = layout.step_of[:, None], layout.next_node, np.arange(len(layout.thrust))
    path, speed = equal.new(len(h), 3), equal.new(len(h), 3)
    unit = 1.0 / point.thrust  # rows of the velocity in units of full thrust
    for node, sign in ((after, 1.0), (before, -1.0)):
        equal.linear(path, layout.position[node], sign)
        equal.product(path, h, layout.velocity[node], -0.5)
        equal.linear(speed, layout.velocity[node], sign * unit)
        equal.product(speed, h, layout.velocity[node], 0.5 * point.linear_drag * unit)
    equal.product(speed, h, layout.thrust, -1.0)
    equal.linear(speed[:, 2:], h, GRAVITY_M_S2 * unit)
    if len(layout.resistance):
        equal.product(speed, h, layout.resistance, unit)


def _quadratic_drag(equal: Rows, below: Rows, point: PointMass, layout: Layout) -> None:
    """speed² = |m|² with the mean velocity m of a step, resistance = q · speed · m."""
    first = layout.velocity[: len(layout.speed)]
    last = layout.velocity[layout.next_node]
    square, force = equal.new(len(first)), equal.new(len(first), 3)
    positive = below.new(len(first))
    equal.product(square, layout.speed, layout.speed)
    for one, other in ((first, first), (last, last), (first, last), (last, first)):
        equal.product(square[:, None], one, other, -0.25)
    equal.linear(force, layout.resistance)
    for end in (first, last):
        equal.product(force, layout.speed[:, None], end, -0.5 * point.quadratic_drag)
    below.linear(positive, layout.speed, -1.0)


def _thrust(below: Rows, layout: Layout) -> None:
    full = below.new(len(layout.thrust))
    below.product(full[:, None], layout.thrust, layout.thrust)
    below.constant(full, -1.0)
    forward = below.new(len(layout.step))
    below.linear(forward, layout.step, -1.0)
    below.constant(forward, _SHORTEST_STEP_S)


def _gates(equal: Rows, below: Rows, flight: Flight, layout: Layout) -> None:
    for leg, (gate, node) in enumerate(zip(flight.gates, layout.gate_node, strict=True)):
        forward, left, up = gate.axes
        aside, reach = layout.aside[leg], flight.reach[leg]
        there, onward = equal.new(3), below.new(1)
        equal.linear(there, layout.position[node])
        equal.constant(there, -gate.position)
        equal.linear(there, aside[:1], -reach * left)
        equal.linear(there, aside[1:], -reach * up)
        below.linear(onward, layout.velocity[node], -forward)
        if gate.shape == "round":
            within = below.new(1)
            below.product(within, aside, aside)
            below.constant(within, -1.0)
        for sign in (1.0, -1.0) if gate.shape == "square" else ():
            within = below.new(2)
            below.linear(within, aside, sign)
            below.constant(within, -1.0)


def _box(below: Rows, flight: Flight, layout: Layout) -> None:
    """Every node but the start, which is where it is."""
    nodes = layout.position[flight.start is not None :]
    floor, ceiling = below.new(len(nodes), 3), below.new(len(nodes), 3)
    below.linear(floor, nodes, -1.0)
    below.constant(floor, flight.low)
    below.linear(ceiling, nodes)
    below.constant(ceiling, -flight.high)
