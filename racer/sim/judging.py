"""Gates and crashes, judged on the straight segment of one control step."""

from __future__ import annotations

from typing import TypeVar

import jax
import jax.numpy as jnp

from racer.geometry.gates import GateFrame, cross_gate
from racer.geometry.obstacles import touches
from racer.geometry.rotation import body_z_axis
from racer.sim.airframe import Airframe
from racer.sim.state import Array, EnvironmentState, Judged
from racer.sim.task import CrashCause, Task
from racer.sim.variation import every_moved_gate, every_moved_obstacle, moved_gate
from racer.sim.vehicle import State

_GENTLE_M_S, _UPRIGHT = 1.0, 0.7  # faster down, or farther askew (45°), is no landing
_FEW = 32  # gates: up to here a product with a one-hot matrix is faster than a gather
_Table = TypeVar("_Table", bound=tuple[object, ...])


def nominal_gate(task: Task, passed: Array) -> GateFrame:
    """The gate to fly through after `passed` passages, where the course says, components (...)."""
    index = gate_index(task, passed)
    leaves, structure = jax.tree.flatten(task.gates)
    table = jnp.stack([jnp.asarray(leaf) for leaf in leaves])  # (15, G)
    count = table.shape[1]
    if count <= _FEW:  # drones stay side by side, and what is looked up is computed once
        number = jnp.reshape(jnp.arange(count), (-1, *(1,) * index.ndim))
        here = (index == number).astype(jnp.float32)
        found = jnp.tensordot(table, here, 1, precision=jax.lax.Precision.HIGHEST)
    else:
        found = table[:, index]
    gate: GateFrame = jax.tree.unflatten(structure, list(found))
    return gate


def gate_index(task: Task, passed: Array) -> Array:
    """Which gate is to be flown through after `passed` passages; (...) int32."""
    index: Array = jnp.minimum(passed, task.passages - 1) % task.gates.half_size.shape[0]
    return index


def real_gate(task: Task, state: EnvironmentState, passed: Array) -> GateFrame:
    """The gate to fly through after `passed` passages, where it stands in this flight."""
    gate = nominal_gate(task, passed)
    if state.variation is None:
        return gate
    return moved_gate(gate, state.variation, gate_index(task, passed))


def judge(
    task: Task, before: EnvironmentState, after: EnvironmentState, *, airframe: Airframe
) -> Judged:
    """What happened between the two ends of a control step; `after.passed` is not used."""
    radius = airframe.body.collision_radius_m
    start, end = before.vehicle.position, after.vehicle.position
    target = real_gate(task, before, before.passed)
    crossed = cross_gate(target, start, end, radius=radius)
    hit, touched = _collisions(task, before, after, radius=radius)
    low, high = task.bounds_min, task.bounds_max
    ground = _hits_ground(task, after, radius=radius)
    inside = end[2] <= high[2]
    for axis in (0, 1):
        inside &= (end[axis] >= low[axis]) & (end[axis] <= high[axis])
    outside = ~inside  # so is a vehicle that is nowhere: NaN compares with nothing
    crashed = hit | touched | outside | ground
    gate = crossed.passed & ~crashed
    finished = before.passed + gate >= task.passages
    late = after.elapsed >= task.time_limit
    return Judged(
        target=target,
        passed=gate,
        finished=finished,
        crashed=crashed,
        done=_settled(crashed | finished | late),
        cause=_first_cause(
            (hit, CrashCause.FRAME),
            (touched, CrashCause.OBSTACLE),
            (ground, CrashCause.GROUND),
            (outside, CrashCause.BOUNDS),
        ),
        when=crossed.when,
        offset=crossed.offset,
    )


def carried(task: Task, state: EnvironmentState) -> State:
    """The vehicle, which stands still on a ground that carries instead of sinking into it."""
    vehicle, floor = state.vehicle, task.bounds_min[2]
    if task.standing is None:
        return vehicle
    below = (state.elapsed <= task.standing) & (vehicle.pz < floor)
    moving = {name: jnp.where(below, 0.0, getattr(vehicle, name)) for name in ("vx", "vy", "vz")}
    return vehicle._replace(pz=jnp.where(below, floor, vehicle.pz), **moving)


def _hits_ground(task: Task, after: EnvironmentState, *, radius: float) -> Array:
    """With the hull; on a ground that carries, by sinking in too fast or too far askew."""
    vehicle, floor = after.vehicle, task.bounds_min[2]
    touched: Array = vehicle.pz < floor + radius
    if task.standing is None:
        return touched
    hard = (vehicle.vz < -_GENTLE_M_S) | (body_z_axis(vehicle.attitude)[2] < _UPRIGHT)
    return jnp.where(after.elapsed <= task.standing, (vehicle.pz < floor) & hard, touched)


def _collisions(
    task: Task, before: EnvironmentState, after: EnvironmentState, *, radius: float
) -> tuple[Array, Array]:
    """(any gate's frame hit, any obstacle touched): everything against the whole batch."""
    start, end = before.vehicle.position, after.vehicle.position
    gates, poles = against(task.gates, start[0].ndim), against(task.obstacles, start[0].ndim)
    if before.variation is not None:
        gates = every_moved_gate(gates, before.variation)
        poles = every_moved_obstacle(poles, before.variation)
    hit = jnp.any(cross_gate(gates, start, end, radius=radius).hit, axis=0)
    if task.obstacles.radius.shape[0] == 0:
        return hit, jnp.zeros_like(hit)
    return hit, jnp.any(touches(poles, start, end, radius=radius), axis=0)


def against(table: _Table, dimensions: int) -> _Table:
    """(G,) columns as (G, 1, ...), to meet a batch of that many dimensions."""
    shaped: _Table = jax.tree.map(lambda leaf: jnp.reshape(leaf, (-1, *(1,) * dimensions)), table)
    return shaped


def _settled(condition: Array) -> Array:
    """The same condition, computed once.

    XLA copies cheap producers into every consumer on a CPU: without the root, each of the forty
    arrays that the auto-reset selects would judge all gates again (a third of the whole step).
    """
    return jnp.sqrt(condition.astype(jnp.float32)) > 0.5


def _first_cause(*causes: tuple[Array, CrashCause]) -> Array:
    """int32: the first cause in the list that holds."""
    found = jnp.zeros(causes[0][0].shape, jnp.int32) + CrashCause.NONE
    for holds, cause in reversed(causes):
        found = jnp.where(holds, jnp.int32(cause), found)
    return found
