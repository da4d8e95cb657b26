"""What a policy sees and what its actions mean: one place for training and for flight.

The environment (JAX, thousands of drones) and the policy pilot of the drone controller (NumPy, one
drone) must agree to the last number, so both call these functions. They use operators and the few
functions of the array module `xp` that they are given; nothing here imports JAX.

Observation of the action space `velocity`, 23 numbers, horizontal axes turned with the vehicle's
heading (forward, left, up):

| index | what | unit |
|---|---|---|
| 0-2 | centre of the target gate, relative to the vehicle | 10 m |
| 3-5 | direction of flight through the target gate | 1 |
| 6-8 | centre of the gate after it, relative to the target's (0 at the last gate) | 10 m |
| 9-11 | direction of flight through the gate after it | 1 |
| 12-14 | vehicle's position in the target gate's axes: ahead, left, up | 5 m, clipped to ±2 |
| 15-17 | velocity over ground | 5 m/s |
| 18-19 | thrust direction's forward and left part: sine of the tilt | 1 |
| 20-22 | body rates | 5 rad/s |

Observation of the action space `ctbr`, 29 numbers, all vectors in body axes (forward, left, up),
which stay defined when the vehicle flies on its back:

| index | what | unit |
|---|---|---|
| 0-2 | centre of the target gate, relative to the vehicle | 10 m |
| 3-5 | direction of flight through the target gate | 1 |
| 6-8 | centre of the gate after it, relative to the target's (0 at the last gate) | 10 m |
| 9-11 | direction of flight through the gate after it | 1 |
| 12-14 | vehicle's position in the target gate's axes: ahead, left, up | 5 m, clipped to ±2 |
| 15-17 | velocity over ground | 10 m/s |
| 18-20 | the world's up | 1 |
| 21-23 | body rates | 10 rad/s |
| 24-27 | the action before this one, clipped to ±1 | 1 |
| 28 | height above the ground | 5 m, clipped to 1 |

With `Settings.seen_obstacles` = K > 0 (racer.sim.task.seen_obstacles: up to two on a course with
poles) the K poles nearest to the vehicle on the map follow, nearest first, where the vehicle knows
them to stand. Of each, `velocity` sees three numbers:

| index | what | unit |
|---|---|---|
| 23-24 | the pole's axis, relative to the vehicle on the map: forward, left | 2 m, clipped to ±2 |
| 25 | from the vehicle's centre to the pole's surface, 0 inside | 1 m, clipped to 2 |
| 26-28 | the second nearest likewise | |

and `ctbr` four, in body axes:

| index | what | unit |
|---|---|---|
| 29-31 | the nearest point of the pole's axis, relative to the vehicle | 2 m, clipped to ±2 |
| 32 | from the vehicle's centre to the pole's surface, 0 inside | 1 m, clipped to 2 |
| 33-36 | the second nearest likewise | |

Where a course has fewer poles than K, the missing ones are 0, …, 0 and a clearance of 2.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

from racer.geometry.gates import GateFrame, in_gate_axes
from racer.geometry.obstacles import Cylinder, nearest
from racer.geometry.rotation import (
    Quaternion,
    Real,
    Vector,
    body_x_axis,
    body_z_axis,
    conjugate,
    rotate_inverse,
)

ActionSpace: TypeAlias = Literal["velocity", "ctbr"]
ACTION_SIZE = 4
OBSERVATION_SIZES: dict[ActionSpace, int] = {"velocity": 23, "ctbr": 29}  # without poles
YAW_ACTION: dict[ActionSpace, int] = {"velocity": 3, "ctbr": 2}  # which number turns the nose
POLE_SIZES: dict[ActionSpace, int] = {"velocity": 3, "ctbr": 4}  # of each pole that is seen
_SMALL = 1e-6
_CLEAR = 2.0  # where clearances are cut


class Sight(NamedTuple):
    """What observations are made of; components share one shape (...)."""

    position: Vector  # m, ENU
    velocity: Vector  # m/s, ENU
    attitude: Quaternion  # body FLU to world ENU
    rates: Vector  # rad/s, FLU
    target: GateFrame  # the gate to fly through
    after: GateFrame  # the one after it; the target itself when that is the last
    action: tuple[Real, Real, Real, Real]  # the policy's action before this one
    ground: Real  # m, height of the floor
    obstacles: Cylinder | None = None  # P poles, components (P, ...); None when there are none


class Limits(NamedTuple):
    """What actions are measured in and cut to; () each."""

    velocity: Real  # m/s
    velocity_unit: Real  # m/s that an action of one asks for
    climb: Real  # m/s, of the vertical part
    descent: Real  # m/s, likewise, downwards; PX4 sinks at half its climb rate
    yaw: Real  # rad/s
    yaw_unit: Real  # rad/s that an action of one asks for


class RateLimits(NamedTuple):
    """Of the action space `ctbr`."""

    hover: float  # collective thrust that carries the weight, of full
    tilt_rate: float  # rad/s of roll and pitch rate that an action of ±1 asks for
    yaw_rate: float  # rad/s likewise


def observation_size(space: ActionSpace, seen_obstacles: int = 0) -> int:
    """Numbers in one observation."""
    return OBSERVATION_SIZES[space] + seen_obstacles * POLE_SIZES[space]


def observation(
    sight: Sight, space: ActionSpace, xp: Any, *, seen_obstacles: int = 0
) -> tuple[Real, ...]:
    """The numbers of the module docstring's tables, components (...) each.

    `xp`: numpy or jax.numpy, whichever the components belong to; `seen_obstacles`: K.
    """
    level = space == "velocity"
    numbers = _level_observation(sight, xp) if level else _body_observation(sight, xp)
    return (*numbers, *_poles(sight, space, seen_obstacles, xp))


def heading(attitude: Quaternion, xp: Any) -> tuple[Real, Real]:
    """(cos, sin) of the yaw: where the nose points on the map."""
    x, y, _ = body_x_axis(attitude)
    scale = 1.0 / xp.sqrt(xp.maximum(x * x + y * y, _SMALL))
    return x * scale, y * scale


def velocity_setpoint(
    action: tuple[Real, Real, Real, Real], attitude: Quaternion, limits: Limits, xp: Any
) -> tuple[Vector, Real]:
    """Velocity, m/s ENU, and yaw rate, rad/s (positive left), that a `velocity` action asks for.

    The action: forward, left, up and yaw rate in the limits' units. The velocity's length is cut
    to its limit, its vertical part to the rates of climb and descent.
    """
    forward, left, up = (limits.velocity_unit * part for part in action[:3])
    size = xp.sqrt(forward * forward + left * left + up * up + _SMALL)
    share = xp.minimum(1.0, limits.velocity / size)
    cos_yaw, sin_yaw = heading(attitude, xp)
    east = share * (cos_yaw * forward - sin_yaw * left)
    north = share * (sin_yaw * forward + cos_yaw * left)
    rise = xp.clip(share * up, -limits.descent, limits.climb)
    turn = xp.clip(limits.yaw_unit * action[3], -limits.yaw, limits.yaw)
    return (east, north, rise), turn


def rate_setpoint(
    action: tuple[Real, Real, Real, Real], limits: RateLimits, xp: Any
) -> tuple[Vector, Real]:
    """Body rates, rad/s FLU, and collective thrust in [0, 1] of full that a `ctbr` action asks for.

    The action: roll, pitch and yaw rate in the limits' units and thrust, each clipped to ±1. A
    thrust action of -1, 0 and 1 means none, hover and full: a straight line on either side.
    """
    roll, pitch, yaw, thrust = (xp.clip(part, -1.0, 1.0) for part in action)
    collective = limits.hover + thrust * xp.where(thrust > 0.0, 1.0 - limits.hover, limits.hover)
    return (
        limits.tilt_rate * roll,
        limits.tilt_rate * pitch,
        limits.yaw_rate * yaw,
    ), collective


def _level_observation(sight: Sight, xp: Any) -> tuple[Real, ...]:
    nose = heading(sight.attitude, xp)
    to_target, between, place = _course(sight, xp)
    return (
        *(0.1 * part for part in _level(nose, to_target)),
        *_level(nose, sight.target.forward),
        *(0.1 * part for part in _level(nose, between)),
        *_level(nose, sight.after.forward),
        *place,
        *(0.2 * part for part in _level(nose, sight.velocity)),
        *_level(nose, body_z_axis(sight.attitude))[:2],
        *(0.2 * part for part in sight.rates),
    )


def _body_observation(sight: Sight, xp: Any) -> tuple[Real, ...]:
    to_target, between, place = _course(sight, xp)
    q = sight.attitude
    return (
        *(0.1 * part for part in rotate_inverse(q, to_target)),
        *rotate_inverse(q, sight.target.forward),
        *(0.1 * part for part in rotate_inverse(q, between)),
        *rotate_inverse(q, sight.after.forward),
        *place,
        *(0.1 * part for part in rotate_inverse(q, sight.velocity)),
        *body_z_axis(conjugate(q)),
        *(0.1 * part for part in sight.rates),
        *(xp.clip(part, -1.0, 1.0) for part in sight.action),
        xp.minimum(0.2 * (sight.position[2] - sight.ground), 1.0),
    )


def _poles(sight: Sight, space: ActionSpace, count: int, xp: Any) -> tuple[Real, ...]:
    """The nearest poles; what a course lacks is far away on no side."""
    place, poles = sight.position, sight.obstacles
    numbers: list[Real] = []
    if count and poles is not None:
        for distance, pole in nearest(poles, place, count, xp):
            east, north = pole.base[0] - place[0], pole.base[1] - place[1]
            foot, top = pole.base[2] - place[2], pole.base[2] + pole.height - place[2]
            rise = xp.maximum(foot, 0.0) + xp.minimum(top, 0.0)
            aside = xp.maximum(distance - pole.radius, 0.0)
            clearance = xp.sqrt(xp.maximum(aside * aside + rise * rise, _SMALL))
            if space == "velocity":
                to_axis = _level(heading(sight.attitude, xp), (east, north, rise))
            else:
                to_axis = rotate_inverse(sight.attitude, (east, north, rise))
            told = to_axis[: POLE_SIZES[space] - 1]
            numbers += (xp.clip(0.5 * part, -2.0, 2.0) for part in told)
            numbers.append(xp.minimum(clearance, _CLEAR))
    nothing = 0.0 * place[0]
    while len(numbers) < count * POLE_SIZES[space]:
        numbers += [nothing] * (POLE_SIZES[space] - 1) + [nothing + _CLEAR]
    return tuple(numbers)


def _course(sight: Sight, xp: Any) -> tuple[Vector, Vector, tuple[Real, ...]]:
    """To the target, from the target to the gate after it (m, ENU), and the place before it."""
    to_target = _minus(sight.target.centre, sight.position)
    between = _minus(sight.after.centre, sight.target.centre)
    ahead = in_gate_axes(sight.target, sight.position)
    return to_target, between, tuple(xp.clip(0.2 * part, -2.0, 2.0) for part in ahead)


def _level(nose: tuple[Real, Real], v: Vector) -> Vector:
    """A world vector in the frame that is level and points with the nose."""
    cos_yaw, sin_yaw = nose
    return cos_yaw * v[0] + sin_yaw * v[1], cos_yaw * v[1] - sin_yaw * v[0], v[2]


def _minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]
