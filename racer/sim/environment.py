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

Observations and the meaning of actions: racer.sim.interface.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from racer.geometry.gates import GateFrame, cross_gate, in_gate_axes
from racer.geometry.rotation import Vector
from racer.sim.airframe import Airframe
from racer.sim.cascade import ControlState, initial_control, rate_control, velocity_control
from racer.sim.dynamics import RotorCommand, State, rest_state
from racer.sim.dynamics import step as fly
from racer.sim.interface import (
    ActionSpace,
    Limits,
    RateLimits,
    Sight,
    observation,
    rate_setpoint,
    velocity_setpoint,
)
from racer.sim.reward import BUILT_IN, Reward
from racer.sim.state import Array, EnvironmentState, Judged, Outcome
from racer.sim.task import CrashCause, Settings, Task

__all__ = ["EnvironmentState", "Outcome", "Step", "make_step", "observe", "reset", "target_gate"]

_SMALL = 1e-6

Step: TypeAlias = Callable[
    [Task, EnvironmentState, Array, Array, EnvironmentState], tuple[EnvironmentState, Outcome]
]

_Action: TypeAlias = tuple[Array, Array, Array, Array]
# Flight controller and physics of one control step: vehicle and its controller before and after.
ControlLoop: TypeAlias = Callable[
    [Task, State, ControlState, _Action, Vector], tuple[State, ControlState]
]


def reset(
    task: Task,
    key: Array,
    shape: tuple[int, ...],
    *,
    airframe: Airframe,
    along_course: float = 0.0,
    reward: Reward | None = None,
) -> EnvironmentState:
    """Drones about to fly, in slightly different poses and wind.

    They hover around the start, up to 1.5 m away along each horizontal axis and 57° off heading,
    except a share `along_course` of them: these fly somewhere on the centre line, at up to 70 %
    of the speed limit, with any heading at all, since a policy with a low yaw limit will not
    turn its nose along the course. A `reward` with memory must be named here too.
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
        action=(zero, zero, zero, zero),
        passed=jnp.where(here, jnp.asarray(task.line_gate)[index], 0),
        elapsed=jnp.zeros(shape, jnp.int32),
        wind_x=task.wind_speed * jnp.cos(wind_angle),
        wind_y=task.wind_speed * jnp.sin(wind_angle),
        gust_x=zero,
        gust_y=zero,
        gust_z=zero,
        memory=(BUILT_IN if reward is None else reward).initial(shape),
    )


def observe(task: Task, state: EnvironmentState, space: ActionSpace) -> Array:
    """Observations, (..., O) float32; racer.sim.interface says what each number is."""
    vehicle = state.vehicle
    sight = Sight(
        position=vehicle.position,
        velocity=vehicle.velocity,
        attitude=vehicle.attitude,
        rates=vehicle.rates,
        target=target_gate(task, state.passed),
        after=target_gate(task, jnp.minimum(state.passed + 1, task.passages - 1)),
        action=state.action,
        ground=task.bounds_min[2],
    )
    return jnp.stack(observation(sight, space, jnp), axis=-1)


def target_gate(task: Task, passed: Array) -> GateFrame:
    """The gate to fly through after `passed` passages, components of its shape."""
    leaves, structure = jax.tree.flatten(task.gates)
    table = jnp.stack([jnp.asarray(leaf) for leaf in leaves], axis=-1)  # (G, 14)
    rows = table[jnp.minimum(passed, task.passages - 1) % table.shape[0]]
    gate: GateFrame = jax.tree.unflatten(structure, [rows[..., i] for i in range(len(leaves))])
    return gate


def make_step(
    airframe: Airframe,
    settings: Settings,
    reward: Reward | None = None,
    *,
    loop: ControlLoop | None = None,
) -> Step:
    """Build the step function for an airframe, an action space and a reward (or the built-in one).

    `loop` takes the place of the flight controller and the physics, for those who know already
    where the step ends (racer.learning.apg).

    The result takes the task, the states, actions (..., 4), standard normal gust noise (..., 3)
    and the spare states that ended flights go on from. States and spares must come from `reset`
    with the same reward, whose memory they carry.

    racer.sim.interface says what the numbers of an action ask for.
    """
    control_loop = loop or _make_control_loop(airframe, settings)
    rating: Reward = BUILT_IN if reward is None else reward

    def step(
        task: Task,
        state: EnvironmentState,
        action: Array,
        gust_noise: Array,
        spare: EnvironmentState,
    ) -> tuple[EnvironmentState, Outcome]:
        parts = (action[..., 0], action[..., 1], action[..., 2], action[..., 3])
        wind = (state.wind_x + state.gust_x, state.wind_y + state.gust_y, state.gust_z)

        vehicle, control = control_loop(task, state.vehicle, state.control, parts, wind)
        moved = state._replace(
            vehicle=vehicle,
            control=control,
            action=parts,
            elapsed=state.elapsed + 1,
            **_next_gusts(task, state, gust_noise),
        )
        return _settle(task, state, moved, spare, airframe=airframe, reward=rating)

    return step


def _make_control_loop(airframe: Airframe, settings: Settings) -> ControlLoop:
    """Flight controller and physics between two actions."""
    dt = settings.dt / settings.substeps
    climb = airframe.control.velocity_max_z_m_s
    rate_limits = RateLimits(
        hover=airframe.hover_thrust,
        tilt_rate=math.radians(airframe.control.rate_max_xy_deg_s),
        yaw_rate=math.radians(airframe.control.rate_max_z_deg_s),
    )

    def controller(
        task: Task, vehicle: State, action: _Action
    ) -> Callable[[ControlState, State], tuple[ControlState, RotorCommand]]:
        """The setpoint stays what it was when the action came; the loops below follow it."""
        if settings.action_space == "ctbr":
            rates, collective = rate_setpoint(action, rate_limits, jnp)
            return lambda control, now: rate_control(
                control, now, rates, collective, airframe=airframe, dt=dt
            )
        limits = Limits(
            velocity=task.velocity_limit,
            velocity_unit=task.velocity_unit,
            climb=climb,
            yaw=task.yaw_limit,
            yaw_unit=task.yaw_unit,
        )
        velocity, yaw_rate = velocity_setpoint(action, vehicle.attitude, limits, jnp)
        return lambda control, now: velocity_control(
            control, now, velocity, yaw_rate, airframe=airframe, dt=dt
        )

    def loop(
        task: Task, vehicle: State, control: ControlState, action: _Action, wind: Vector
    ) -> tuple[State, ControlState]:
        follow = controller(task, vehicle, action)

        def substep(
            carry: tuple[State, ControlState], _: None
        ) -> tuple[tuple[State, ControlState], None]:
            vehicle, control = carry
            control, rotors = follow(control, vehicle)
            return (fly(vehicle, rotors, wind, airframe=airframe, dt=dt), control), None

        flown, _ = jax.lax.scan(substep, (vehicle, control), None, length=settings.substeps)
        return flown

    return loop


def _settle(
    task: Task,
    before: EnvironmentState,
    after: EnvironmentState,
    spare: EnvironmentState,
    *,
    airframe: Airframe,
    reward: Reward,
) -> tuple[EnvironmentState, Outcome]:
    """Judgement, reward and auto-reset for one control step."""
    judged = _judge(task, before, after, airframe=airframe)
    after = after._replace(passed=before.passed + judged.passed)
    memory, earned = reward(task, before.memory, before, after, judged)
    after = after._replace(memory=memory)
    state = jax.tree.map(lambda old, new: jnp.where(judged.done, new, old), after, spare)
    return state, Outcome(
        reward=earned,
        done=judged.done,
        finished=judged.finished,
        crashed=judged.crashed,
        passed=judged.passed,
        cause=judged.cause,
        when=judged.when,
        offset=judged.offset,
        flown=after.vehicle,
    )


def _judge(
    task: Task, before: EnvironmentState, after: EnvironmentState, *, airframe: Airframe
) -> Judged:
    """Gates and crashes on the segment of one control step."""
    radius = airframe.body.collision_radius_m
    start, end = before.vehicle.position, after.vehicle.position
    target = target_gate(task, before.passed)
    crossed = cross_gate(target, start, end, radius=radius)
    every = jax.tree.map(  # (G, 1, ...): all gates against the whole batch
        lambda leaf: jnp.reshape(leaf, (-1, *(1,) * start[0].ndim)), task.gates
    )
    hit = jnp.any(cross_gate(every, start, end, radius=radius).hit, axis=0)
    low, high = task.bounds_min, task.bounds_max
    ground = end[2] < low[2] + radius
    outside = end[2] > high[2]
    for axis in (0, 1):
        outside |= (end[axis] < low[axis]) | (end[axis] > high[axis])
    crashed = hit | outside | ground
    gate = crossed.passed & ~crashed
    finished = before.passed + gate >= task.passages
    when, offset = _crossing_point(target, start, end)
    return Judged(
        target=target,
        passed=gate,
        finished=finished,
        crashed=crashed,
        done=crashed | finished | (after.elapsed >= task.time_limit),
        cause=_first_cause(
            (hit, CrashCause.FRAME), (ground, CrashCause.GROUND), (outside, CrashCause.BOUNDS)
        ),
        when=when,
        offset=offset,
    )


def _first_cause(*causes: tuple[Array, CrashCause]) -> Array:
    """int32: the first cause in the list that holds."""
    found = jnp.zeros(causes[0][0].shape, jnp.int32) + CrashCause.NONE
    for holds, cause in reversed(causes):
        found = jnp.where(holds, jnp.int32(cause), found)
    return found


def _crossing_point(gate: GateFrame, start: Vector, end: Vector) -> tuple[Array, Array]:
    """Share of the segment at which it meets the gate's plane, and how far from the centre, m."""
    x0, y0, z0 = in_gate_axes(gate, start)
    x1, y1, z1 = in_gate_axes(gate, end)
    ahead = x1 - x0
    share = jnp.clip(-x0 / jnp.where(jnp.abs(ahead) > _SMALL, ahead, 1.0), _SMALL, 1.0)
    aside, above = y0 + share * (y1 - y0), z0 + share * (z1 - z0)
    distance: Array = jnp.sqrt(aside * aside + above * above + _SMALL * _SMALL)
    return share, distance


def _next_gusts(task: Task, state: EnvironmentState, noise: Array) -> dict[str, Array]:
    gusts = task.gusts
    return {
        "gust_x": gusts.keep_horizontal * state.gust_x + gusts.drive_horizontal * noise[..., 0],
        "gust_y": gusts.keep_horizontal * state.gust_y + gusts.drive_horizontal * noise[..., 1],
        "gust_z": gusts.keep_vertical * state.gust_z + gusts.drive_vertical * noise[..., 2],
    }
