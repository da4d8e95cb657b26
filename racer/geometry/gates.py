"""Did a flown segment pass a gate, miss it or hit its frame?

Between two control steps a vehicle flies very nearly a straight segment. In the gate's own axes
(along the flight direction, left, up) the segment meets the gate's plane where the first
coordinate changes sign; the linear interpolation of the other two at that point is exact for the
segment. A square opening is then one comparison of the larger offset with half the size, a round
one compares the distance from the centre.

The vehicle is a sphere: its centre must stay a radius away from the frame, on both sides of it.
The array-agnostic operators serve NumPy and JAX arrays of any shape alike.
"""

from __future__ import annotations

from typing import NamedTuple

from racer.geometry.rotation import Real, Vector, dot

_SMALL = 1e-12  # m²: keeps the distance differentiable in the very centre


class GateFrame(NamedTuple):
    """Where a gate stands: unit axes and centre, components in world coordinates, m."""

    centre: Vector
    forward: Vector  # the direction of flight
    left: Vector
    up: Vector
    half_size: Real  # m, half of the square opening's edge, or the round one's radius
    frame: Real  # m, width of the frame around it
    round: Real  # 1.0 where opening and frame are round, 0.0 where they are square


class Crossing(NamedTuple):
    """What a segment did at a gate: booleans of the arrays' common shape."""

    passed: Real  # through the opening, in the direction of flight
    reverse: Real  # through the opening, against it: a miss
    hit: Real  # against the frame, from either side
    when: Real  # share of the segment flown at the plane, in [0, 1]; 0 without a crossing
    offset: Real  # m from the gate's centre at that moment; meaningful with a crossing


def in_gate_axes(gate: GateFrame, point: Vector) -> Vector:
    """A world point as (ahead, left, up) of the gate's centre, m."""
    offset = (point[0] - gate.centre[0], point[1] - gate.centre[1], point[2] - gate.centre[2])
    return dot(gate.forward, offset), dot(gate.left, offset), dot(gate.up, offset)


def cross_gate(gate: GateFrame, before: Vector, after: Vector, *, radius: float = 0.0) -> Crossing:
    """Judge the segment from `before` to `after` (m, ENU) flown by a sphere of `radius` m.

    A segment that ends exactly in the plane has not crossed it; the next one, which starts
    there, has. So a flight of many segments crosses exactly once.
    """
    x0, y0, z0 = in_gate_axes(gate, before)
    x1, y1, z1 = in_gate_axes(gate, after)
    forward = (x0 <= 0.0) & (x1 > 0.0)
    backward = (x0 > 0.0) & (x1 <= 0.0)
    crossing = forward | backward
    here = crossing * 1.0
    share = here * x0 / (here * (x0 - x1) + (1.0 - here))  # without a crossing it is not 0/0
    aside = abs(y0 + share * (y1 - y0))
    above = abs(z0 + share * (z1 - z0))
    square_offset = aside * aside + above * above
    circular = gate.round > 0.5

    def within(reach: Real) -> Real:
        square = (aside < reach) & (above < reach)
        disc = square_offset < reach * abs(reach)  # a reach below zero holds nothing
        return circular & disc | (circular ^ True) & square

    inside = within(gate.half_size - radius)
    near = within(gate.half_size + gate.frame + radius)
    return Crossing(
        passed=forward & inside,
        reverse=backward & inside,
        hit=crossing & near & (inside ^ True),
        when=share,
        offset=(square_offset + _SMALL) ** 0.5,
    )
