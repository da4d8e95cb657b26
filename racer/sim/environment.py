"""Gate racing as pure functions over any number of drones at once.

    task = make_task(track, settings, velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
    state = reset(task, key, (1024,), airframe=airframe)
    step = make_step(airframe, settings)
    state, outcome = step(task, state, action, gust_noise, spare)

Choices:
- Physics runs at `control_hz × substeps` with the flight controller in the loop, as on a real
  vehicle, where a policy talks to PX4 at a lower rate than PX4 talks to the motors.
- Gates are judged on the exact segment between two control steps: the frames of all gates for
  hits, the target's opening for the pass. The vehicle is a sphere of the airframe's radius.
- A finished, crashed or timed-out drone goes on from its `spare` state inside the same step
  (auto-reset); reward and flags in `Outcome` still tell of the flight that ended.
- Randomness comes in as arrays, drawn for many steps in one call: a step itself is deterministic
  and cheap, and the same numbers give the same flight to the last bit.

Observation, 23 numbers, horizontal axes turned with the vehicle's heading (forward, left, up):

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
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from racer.geometry.gates import GateFrame, cross_gate, in_gate_axes
from racer.geometry.rotation import Vector, body_z_axis, dot
from racer.sim.airframe import Airframe
from racer.sim.cascade import ControlState, heading, initial_control, velocity_control
from racer.sim.dynamics import State, rest_state
from racer.sim.dynamics import step as fly
from racer.sim.task import Settings, Task

Array: TypeAlias = jax.Array
OBSERVATION_SIZE = 23
ACTION_SIZE = 4


class EnvironmentState(NamedTuple):
    """Drones in flight; every field has the batch's shape (...)."""

    vehicle: State
    control: ControlState
    passed: Array  # int32: gates passed since the start of the course
    elapsed: Array  # int32: control steps since the start of the flight
    wind_x: Array  # mean wind, m/s
    wind_y: Array
    gust_x: Array  # m/s
    gust_y: Array
    gust_z: Array


class Outcome(NamedTuple):
    """What one control step brought, shape (...); of the flight before any auto-reset."""

    reward: Array
    done: Array  # the flight ended, for any of the three reasons
    finished: Array  # the last gate was passed
    crashed: Array  # ground, bounds or a frame
    passed: Array  # bool: a gate was passed in this step


Step: TypeAlias = Callable[
    [Task, EnvironmentState, Array, Array, EnvironmentState], tuple[EnvironmentState, Outcome]
]


def reset(
    task: Task,
    key: Array,
    shape: tuple[int, ...],
    *,
    airframe: Airframe,
    along_course: float = 0.0,
) -> EnvironmentState:
    """Drones about to fly, in slightly different poses and wind.

    They hover around the start, up to 1.5 m away along each horizontal axis and 57° off heading,
    except a share `along_course` of them: these fly somewhere on the centre line, at up to 70 %
    of the speed limit, with any heading at all, since a policy with a low yaw limit will not
    turn its nose along the course.
    """
    keys = jax.random.split(key, 4)
    here = jax.random.uniform(keys[0], shape) < along_course
    index = jax.random.randint(keys[1], shape, 0, task.line.shape[0])
    normal = jnp.clip(jax.random.normal(keys[2], (8, *shape)), -2.0, 2.0)
    speed_share, turn, wind_from = jax.random.uniform(keys[3], (3, *shape))
    line = jnp.asarray(task.line)[index]
    scatter = jnp.where(here, 0.3, 0.75)
    tangent_yaw = jnp.arctan2(line[..., 4], line[..., 3])
    spread = jnp.where(turn < 0.5, 0.3, 1.5)
    yaw = jnp.where(here, tangent_yaw + spread * normal[3], task.start[3] + 0.5 * normal[3])
    speed = jnp.where(here, 0.7 * speed_share * jnp.minimum(task.velocity_limit, 8.0), 0.0)
    lowest = task.bounds_min[2] + 2.0 * airframe.body.collision_radius_m
    rest = rest_state(airframe, shape=shape, hovering=True)
    vehicle = rest._replace(
        px=jnp.where(here, line[..., 0], task.start[0]) + scatter * normal[0],
        py=jnp.where(here, line[..., 1], task.start[1]) + scatter * normal[1],
        pz=jnp.maximum(jnp.where(here, line[..., 2], task.start[2]) + 0.3 * normal[2], lowest),
        vx=speed * line[..., 3] + 0.1 * normal[4],
        vy=speed * line[..., 4] + 0.1 * normal[5],
        vz=0.1 * normal[6],
        qw=jnp.cos(0.5 * yaw),
        qz=jnp.sin(0.5 * yaw),
    )
    wind_angle = 2.0 * jnp.pi * wind_from
    zero = jnp.zeros(shape, jnp.float32)
    return EnvironmentState(
        vehicle=vehicle,
        control=initial_control(shape),
        passed=jnp.where(here, jnp.asarray(task.line_gate)[index], 0),
        elapsed=jnp.zeros(shape, jnp.int32),
        wind_x=task.wind_speed * jnp.cos(wind_angle),
        wind_y=task.wind_speed * jnp.sin(wind_angle),
        gust_x=zero,
        gust_y=zero,
        gust_z=zero,
    )


def observe(task: Task, state: EnvironmentState) -> Array:
    """Observations, (..., 23) float32; the module docstring says what each number is."""
    vehicle = state.vehicle
    nose = heading(vehicle)
    target = target_gate(task, state.passed)
    after = target_gate(task, jnp.minimum(state.passed + 1, task.passages - 1))
    to_target = _minus(target.centre, vehicle.position)
    between = _minus(after.centre, target.centre)
    place = (jnp.clip(0.2 * part, -2.0, 2.0) for part in in_gate_axes(target, vehicle.position))
    columns = (
        *(0.1 * part for part in _level(nose, to_target)),
        *_level(nose, target.forward),
        *(0.1 * part for part in _level(nose, between)),
        *_level(nose, after.forward),
        *place,
        *(0.2 * part for part in _level(nose, vehicle.velocity)),
        *_level(nose, body_z_axis(vehicle.attitude))[:2],
        *(0.2 * part for part in vehicle.rates),
    )
    return jnp.stack(columns, axis=-1)


def target_gate(task: Task, passed: Array) -> GateFrame:
    """The gate to fly through after `passed` passages, components of its shape."""
    leaves, structure = jax.tree.flatten(task.gates)
    table = jnp.stack([jnp.asarray(leaf) for leaf in leaves], axis=-1)  # (G, 14)
    rows = table[jnp.minimum(passed, task.passages - 1) % table.shape[0]]
    gate: GateFrame = jax.tree.unflatten(structure, [rows[..., i] for i in range(len(leaves))])
    return gate


def make_step(airframe: Airframe, settings: Settings) -> Step:
    """Build the step function for an airframe and an action space.

    The result takes the task, the states, actions (..., 4), standard normal gust noise (..., 3)
    and the spare states that ended flights go on from.

    Action `velocity`: forward, left, up and yaw rate (positive left), in the task's units: its
    limits, or 8 m/s and 90 °/s where those are lower, so that exploration at a high limit is not
    wilder than at a low one. The velocity's length is cut to its limit, and its vertical part
    to the airframe's climb rate.
    """
    dt = settings.dt / settings.substeps
    climb = airframe.control.velocity_max_z_m_s

    def setpoint(task: Task, vehicle: State, action: Array) -> tuple[Vector, Array]:
        forward, left, up = (task.velocity_unit * action[..., i] for i in range(3))
        size = jnp.sqrt(forward * forward + left * left + up * up + 1e-6)
        share = jnp.minimum(1.0, task.velocity_limit / size)
        cos_yaw, sin_yaw = heading(vehicle)
        east = share * (cos_yaw * forward - sin_yaw * left)
        north = share * (sin_yaw * forward + cos_yaw * left)
        rise: Array = jnp.clip(share * up, -climb, climb)
        turn = jnp.clip(task.yaw_unit * action[..., 3], -task.yaw_limit, task.yaw_limit)
        return (east, north, rise), turn

    def step(
        task: Task,
        state: EnvironmentState,
        action: Array,
        gust_noise: Array,
        spare: EnvironmentState,
    ) -> tuple[EnvironmentState, Outcome]:
        velocity, yaw_rate = setpoint(task, state.vehicle, action)
        wind = (state.wind_x + state.gust_x, state.wind_y + state.gust_y, state.gust_z)

        def substep(
            carry: tuple[State, ControlState], _: None
        ) -> tuple[tuple[State, ControlState], None]:
            vehicle, control = carry
            control, rotors = velocity_control(
                control, vehicle, velocity, yaw_rate, airframe=airframe, dt=dt
            )
            return (fly(vehicle, rotors, wind, airframe=airframe, dt=dt), control), None

        (vehicle, control), _ = jax.lax.scan(
            substep, (state.vehicle, state.control), None, length=settings.substeps
        )
        moved = state._replace(
            vehicle=vehicle,
            control=control,
            elapsed=state.elapsed + 1,
            **_next_gusts(task, state, gust_noise),
        )
        return _judge(task, state, moved, action, spare, airframe=airframe)

    return step


def _judge(
    task: Task,
    before: EnvironmentState,
    after: EnvironmentState,
    action: Array,
    spare: EnvironmentState,
    *,
    airframe: Airframe,
) -> tuple[EnvironmentState, Outcome]:
    """Gates, crashes, reward and auto-reset for one control step."""
    radius = airframe.body.collision_radius_m
    start, end = before.vehicle.position, after.vehicle.position
    target = target_gate(task, before.passed)
    crossed = cross_gate(target, start, end, radius=radius)
    every = jax.tree.map(  # (G, 1, ...): all gates against the whole batch
        lambda leaf: jnp.reshape(leaf, (-1, *(1,) * start[0].ndim)), task.gates
    )
    hit = jnp.any(cross_gate(every, start, end, radius=radius).hit, axis=0)
    low, high = task.bounds_min, task.bounds_max
    outside = (end[2] < low[2] + radius) | (end[2] > high[2])
    for axis in (0, 1):
        outside |= (end[axis] < low[axis]) | (end[axis] > high[axis])
    crashed = hit | outside
    gate = crossed.passed & ~crashed
    passed = before.passed + gate
    finished = passed >= task.passages
    done = crashed | finished | (after.elapsed >= task.time_limit)
    nearer = _length(_minus(target.centre, start)) - _length(_minus(target.centre, end))
    weights = task.rewards
    rates = dot(after.vehicle.rates, after.vehicle.rates)
    reward = (
        weights.progress * jnp.where(gate, 0.0, nearer)
        + weights.gate * gate
        + weights.crash * crashed
        + weights.rates * rates
        + weights.turn * jnp.clip(action[..., 3], -1.0, 1.0) ** 2
    )
    after = after._replace(passed=passed)
    state = jax.tree.map(lambda old, new: jnp.where(done, new, old), after, spare)
    return state, Outcome(reward, done, finished, crashed, gate)


def _next_gusts(task: Task, state: EnvironmentState, noise: Array) -> dict[str, Array]:
    gusts = task.gusts
    return {
        "gust_x": gusts.keep_horizontal * state.gust_x + gusts.drive_horizontal * noise[..., 0],
        "gust_y": gusts.keep_horizontal * state.gust_y + gusts.drive_horizontal * noise[..., 1],
        "gust_z": gusts.keep_vertical * state.gust_z + gusts.drive_vertical * noise[..., 2],
    }


def _level(nose: tuple[Array, Array], v: Vector) -> Vector:
    """A world vector in the frame that is level and points with the nose."""
    cos_yaw, sin_yaw = nose
    return cos_yaw * v[0] + sin_yaw * v[1], cos_yaw * v[1] - sin_yaw * v[0], v[2]


def _minus(a: Vector, b: Vector) -> Vector:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _length(v: Vector) -> Array:
    return jnp.sqrt(dot(v, v) + 1e-12)
