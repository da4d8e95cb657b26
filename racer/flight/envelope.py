"""The safety envelope of a flying policy: one pure function, asked before every setpoint.

A trained policy is flown only while everything that makes its answer meaningful holds: we steer
the vehicle, know where it is, and it is where the policy was trained. Whatever breaks that ends the
policy's flight at once; the vehicle is handed back to its own Hold, and the words say why.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import acos, degrees, hypot, inf, isfinite, sqrt
from typing import NamedTuple

from racer.flight.px4 import Quaternion, Vector
from racer.geometry.rotation import body_z_axis

MARGIN_M = 1.0  # around the course's bounds, sideways and up
SPEED_FACTOR = 1.3  # of the speed limit; gusts and overshoot stay below it
SPEED_SLACK_M_S = 0.5
_SMALL = 1e-6
TILT_SLACK_DEG = 25.0  # above the velocity loop's own limit
_BRAKE_M_S2 = 4.0  # twice what a braking vehicle does at least
MAX_BLIND_S = 0.5  # the newest telemetry's age, or how late our own loop is
MAX_BLIND_M = 1.5  # flown meanwhile: 0.19 s at 8 m/s, 0.08 s at 20 m/s
MAX_JUMP_M = 0.75  # of the position between two samples, beyond what its velocity explains
# On the way to the start PX4's own position control flies: two metres per second and level.
WAY_MARGIN_M = 2.0  # around the course and the way's places, sideways and up
WAY_SAG_M = 0.5  # below the way's lowest place
WAY_SPEED_M_S = 4.0
WAY_TILT_DEG = 70.0


@dataclass(frozen=True, slots=True)
class Envelope:
    """Where and how a policy may fly; made from its course and its limits."""

    bounds_min: Vector  # m ENU, margin and hull included; below it is the ground
    bounds_max: Vector
    speed_m_s: float
    tilt_deg: float  # 180: any attitude
    reach_m: float = inf  # from home, on the map
    blind_s: float = MAX_BLIND_S
    blind_m: float = MAX_BLIND_M
    jump_m: float = MAX_JUMP_M


class Facts(NamedTuple):
    """What is known at one tick of the policy's loop."""

    connected: bool
    mode: str  # of the vehicle, by its heartbeat
    flying: bool  # armed and not on the ground, as the vehicle sees itself
    critical: bool  # the vehicle is in a failsafe
    age_s: float  # of the newest telemetry
    lag_s: float  # of our loop behind its deadline
    jump_m: float  # the newest sample's distance from where the one before it led
    position: Vector
    velocity: Vector
    attitude: Quaternion


def link_breach(envelope: Envelope, facts: Facts) -> str | None:  # noqa: PLR0911 - a list of cases
    """Why a vehicle that we steer must not be steered on, wherever it is; None if it may."""
    if not facts.connected:
        return "the vehicle's heartbeat was lost"
    if facts.mode != "OFFBOARD":
        return f"the vehicle left Offboard for {facts.mode}"
    if facts.critical:
        return "the vehicle went into failsafe"
    if not facts.flying:
        return "the vehicle is on the ground or its motors are off"
    numbers = (*facts.position, *facts.velocity, *facts.attitude)
    if not all(map(isfinite, numbers)):
        return "the telemetry holds a value that is no finite number"
    limit_s = min(envelope.blind_s, envelope.blind_m / max(_speed(facts), _SMALL))
    if not facts.age_s <= limit_s:
        return f"the newest telemetry is {facts.age_s:.2f} s old (limit {limit_s:.2f} s)"
    if not facts.lag_s <= limit_s:
        return f"the control loop ran {facts.lag_s:.2f} s late (limit {limit_s:.2f} s)"
    if not facts.jump_m <= envelope.jump_m:
        return f"the position jumped by {facts.jump_m:.1f} m: the estimate was reset"
    return None


def breach(envelope: Envelope, facts: Facts, action: Sequence[float]) -> str | None:
    """Why the policy must not fly on, in words for the pilot; None if it may.

    `action`: what the policy wants, as it came from the network.
    """
    if why := link_breach(envelope, facts):
        return why
    if not all(map(isfinite, action)):
        return "the policy answered with a value that is no finite number"
    return motion_breach(envelope, facts)


def motion_breach(envelope: Envelope, facts: Facts) -> str | None:
    """Why the vehicle is not where, or does not move as, it should; None if it does."""
    for axis, name in enumerate(("east", "north", "height")):
        place = facts.position[axis]
        if not envelope.bounds_min[axis] <= place <= envelope.bounds_max[axis]:
            low, high = envelope.bounds_min[axis], envelope.bounds_max[axis]
            return f"{name} {place:.1f} m is outside the course ({low:.1f} to {high:.1f} m)"
    away = hypot(*facts.position[:2])
    if not away <= envelope.reach_m:
        return f"{away:.1f} m from home is outside the geofence ({envelope.reach_m:.0f} m)"
    speed = _speed(facts)
    if not speed <= envelope.speed_m_s:
        return f"the speed of {speed:.1f} m/s is above {envelope.speed_m_s:.1f} m/s"
    tilt = _tilt_deg(facts)
    if not tilt <= envelope.tilt_deg:
        return f"the tilt of {tilt:.0f}° is above {envelope.tilt_deg:.0f}°"
    return None


def way_envelope(course: Envelope, facts: Facts, way: Sequence[Vector]) -> Envelope:
    """Where the vehicle may be, and how it may move, on its way to the start.

    The course and the way's places with a margin. It may begin in fast flight and tilted, with a
    race or a movement that it pre-empts: never more of either than it begins with.
    """
    places = [facts.position, *way]
    low = [min(place[axis] for place in places) - WAY_MARGIN_M for axis in range(3)]
    high = [max(place[axis] for place in places) + WAY_MARGIN_M for axis in range(3)]
    braking_m = _speed(facts) ** 2 / _BRAKE_M_S2  # it still flies on while it turns round
    floor = min(course.bounds_min[2], min(place[2] for place in places) - WAY_SAG_M)
    return Envelope(
        bounds_min=(
            min(course.bounds_min[0], low[0] - braking_m),
            min(course.bounds_min[1], low[1] - braking_m),
            floor,
        ),
        bounds_max=(
            max(course.bounds_max[0], high[0] + braking_m),
            max(course.bounds_max[1], high[1] + braking_m),
            max(course.bounds_max[2], high[2] + braking_m),
        ),
        speed_m_s=max(WAY_SPEED_M_S, SPEED_FACTOR * _speed(facts) + SPEED_SLACK_M_S),
        tilt_deg=max(WAY_TILT_DEG, _tilt_deg(facts) + TILT_SLACK_DEG),
        reach_m=course.reach_m,
        blind_s=course.blind_s,
        blind_m=course.blind_m,
        jump_m=course.jump_m,
    )


def _tilt_deg(facts: Facts) -> float:
    return degrees(acos(min(max(body_z_axis(facts.attitude)[2], -1.0), 1.0)))


def _speed(facts: Facts) -> float:
    return sqrt(sum(part * part for part in facts.velocity))
