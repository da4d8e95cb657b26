"""Domain randomisation: what every flight draws for itself, and what follows from it.

Drawn at each reset from `Task.ranges`, carried in `EnvironmentState.variation`. Displaced gates are
judged and rewarded where they stand; they are seen there only within `Task.sight_range` (on the
map, from where the course says, as in the LSY protocol), and where the course says beyond it.
Poles likewise.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from racer.geometry.gates import GateFrame
from racer.geometry.obstacles import Cylinder
from racer.geometry.rotation import Vector
from racer.sim.airframe import Airframe
from racer.sim.state import Array, Variation
from racer.sim.task import Ranges, Task
from racer.sim.vehicle import Scale

_MAX_MASS_SHARE = 0.5  # a course may ask for more kilograms than a small airframe weighs


def draw(
    task: Task, ranges: Ranges, key: Array, shape: tuple[int, ...], *, airframe: Airframe
) -> Variation:
    """New flights of batch `shape`, uniform within the ranges."""
    gates, poles = task.gates.half_size.shape[0], task.obstacles.radius.shape[0]
    keys = jax.random.split(key, 3)

    def spread(key: Array, shape: tuple[int, ...]) -> Array:
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)

    vehicle = spread(keys[0], (5, *shape))
    gate, pole = spread(keys[1], (4, *shape, gates)), spread(keys[2], (3, *shape, poles))
    mass = jnp.minimum(ranges.mass + ranges.mass_kg / airframe.body.mass_kg, _MAX_MASS_SHARE)
    return Variation(
        scale=Scale(
            mass=1.0 + mass * vehicle[0],
            inertia=1.0 + ranges.inertia * vehicle[1],
            thrust=1.0 + ranges.thrust * vehicle[2],
        ),
        delay=ranges.delay * 0.5 * (1.0 + vehicle[3]),
        wind=1.0 + ranges.wind * vehicle[4],
        gate_x=ranges.gate_position[0] * gate[0],
        gate_y=ranges.gate_position[1] * gate[1],
        gate_z=ranges.gate_position[2] * gate[2],
        gate_yaw=ranges.gate_yaw * gate[3],
        obstacle_x=ranges.obstacle_position[0] * pole[0],
        obstacle_y=ranges.obstacle_position[1] * pole[1],
        obstacle_z=ranges.obstacle_position[2] * pole[2],
    )


def moved_gate(gate: GateFrame, variation: Variation, index: Array) -> GateFrame:
    """Gate number `index` (...), displaced; `gate` is where the course says, components (...)."""
    shift = [
        jnp.take_along_axis(values, index[..., None], axis=-1)[..., 0]
        for values in (variation.gate_x, variation.gate_y, variation.gate_z, variation.gate_yaw)
    ]
    return _displaced(gate, (shift[0], shift[1], shift[2]), shift[3])


def every_moved_gate(gates: GateFrame, variation: Variation) -> GateFrame:
    """All gates, components (G, ...); `gates` likewise, (G, 1, ...)."""
    x, y, z, yaw = (
        jnp.moveaxis(values, -1, 0)
        for values in (variation.gate_x, variation.gate_y, variation.gate_z, variation.gate_yaw)
    )
    return _displaced(gates, (x, y, z), yaw)


def every_moved_obstacle(poles: Cylinder, variation: Variation) -> Cylinder:
    """All obstacles, components (P, ...); `poles` likewise, (P, 1, ...)."""
    x, y, z = (
        jnp.moveaxis(values, -1, 0)
        for values in (variation.obstacle_x, variation.obstacle_y, variation.obstacle_z)
    )
    base = (poles.base[0] + x, poles.base[1] + y, poles.base[2] + z)
    return Cylinder(base=base, radius=poles.radius, height=poles.height)


def seen_gate(
    nominal: GateFrame, real: GateFrame, position: Vector, sight_range: Array
) -> GateFrame:
    """`real` where it stands within the range on the map, `nominal` beyond it."""
    dx, dy = real.centre[0] - position[0], real.centre[1] - position[1]
    near = dx * dx + dy * dy < sight_range * sight_range
    seen: GateFrame = jax.tree.map(lambda a, b: jnp.where(near, a, b), real, nominal)
    return seen


def seen_obstacles(
    nominal: Cylinder, variation: Variation, position: Vector, sight_range: Array
) -> Cylinder:
    """All obstacles as they are seen from `position` (...): (P, ...) or (P, 1, ...) each."""
    real = every_moved_obstacle(nominal, variation)
    dx, dy = real.base[0] - position[0], real.base[1] - position[1]
    near = dx * dx + dy * dy < sight_range * sight_range
    seen: Cylinder = jax.tree.map(lambda a, b: jnp.where(near, a, b), real, nominal)
    return seen


def _displaced(gate: GateFrame, shift: Vector, yaw: Array) -> GateFrame:
    """Moved by `shift` and turned by `yaw` about the vertical."""
    cosine, sine = jnp.cos(yaw), jnp.sin(yaw)

    def turned(v: Vector) -> Vector:
        return cosine * v[0] - sine * v[1], sine * v[0] + cosine * v[1], v[2] + 0.0 * yaw

    centre = gate.centre
    return gate._replace(
        centre=(centre[0] + shift[0], centre[1] + shift[1], centre[2] + shift[2]),
        forward=turned(gate.forward),
        left=turned(gate.left),
        up=turned(gate.up),
    )
