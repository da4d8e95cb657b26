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

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp

from racer.geometry.gates import GateFrame
from racer.geometry.obstacles import Cylinder
from racer.geometry.rotation import Vector
from racer.sim.airframe import Airframe
from racer.sim.cascade import ControlState, initial_control
from racer.sim.control_loop import Action, Flight, make_flight
from racer.sim.dynamics import State, rest_state
from racer.sim.interface import Sight, observation
from racer.sim.judging import against, carried, gate_index, judge, nominal_gate
from racer.sim.reward import BUILT_IN, BuiltInReward, Reward
from racer.sim.state import Array, EnvironmentState, Outcome, Variation, choose
from racer.sim.task import Settings, Task
from racer.sim.variation import draw, moved_gate, seen_gate, seen_obstacles
from racer.sim.wind import advance, blowing, settled

__all__ = [
    "ControlLoop",
    "EnvironmentState",
    "Outcome",
    "Step",
    "make_step",
    "observe",
    "reset",
]

# Folded into keys for what `randomise` draws. A small number would be one of `split`'s own keys:
# JAX's split(key, n)[i] is fold_in(key, i).
_STREAM = 0xC0425E

Step: TypeAlias = Callable[
    [Task, EnvironmentState, Array, Array, EnvironmentState], tuple[EnvironmentState, Outcome]
]

# Flight controller and physics of one control step: vehicle and its controller before and after.
ControlLoop: TypeAlias = Callable[
    [Task, State, ControlState, Action, Vector], tuple[State, ControlState]
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
    of the speed limit (or of 8 m/s), with any heading at all, since a policy with a low yaw limit
    will not turn its nose along the course. `task.start_spread` may say otherwise of all but the
    centre line. None begins outside the bounds. Where the course starts on the ground, they stand
    there instead of hovering, still and with motors off. A `reward` with memory must be named here
    too.
    """
    keys = jax.random.split(key, 5)
    spread = task.start_spread
    here = jax.random.uniform(keys[0], shape) < along_course
    index = jax.random.randint(keys[1], shape, 0, task.line.shape[0])
    normal = jnp.clip(jax.random.normal(keys[2], (7, *shape)), -2.0, 2.0)
    speed_share, turn, wind_from = jax.random.uniform(keys[3], (3, *shape))
    line = jnp.asarray(task.line)[index]
    scatter = jnp.where(here, 0.3, spread.horizontal)
    tangent_yaw = jnp.arctan2(line[..., 4], line[..., 3])
    astray = jnp.where(turn < 0.5, 0.3, 1.5) * normal[3]
    turned = here & (spread.turned > 0.0)
    yaw = jnp.where(turned, tangent_yaw + astray, task.start[3] + spread.yaw * normal[3])
    speed = jnp.where(here, 0.7 * speed_share * jnp.minimum(task.velocity_limit, 8.0), 0.0)
    rise, drift = jnp.where(here, 0.3, spread.vertical), jnp.where(here, 0.1, spread.speed)
    start, variation = _drawn_course(task, key, shape, airframe=airframe)
    wish = [
        jnp.where(here, line[..., i], start[i]) + room * normal[i]
        for i, room in enumerate((scatter, scatter, rise))
    ]
    px, py, pz = _inside(task, wish, radius=airframe.body.collision_radius_m)
    gusty = 1.0 if variation is None else variation.wind
    rest = rest_state(airframe, shape=shape, hovering=True)
    vehicle = rest._replace(
        px=px,
        py=py,
        pz=pz,
        vx=speed * line[..., 3] + drift * normal[4],
        vy=speed * line[..., 4] + drift * normal[5],
        vz=drift * normal[6],
        qw=jnp.cos(0.5 * yaw),
        qz=jnp.sin(0.5 * yaw),
    )
    if task.standing is not None:
        height = jnp.zeros(shape) + jnp.maximum(start[2], task.bounds_min[2])
        still = rest_state(airframe, shape=shape)
        still = still._replace(px=px, py=py, pz=height, qw=vehicle.qw, qz=vehicle.qz)
        vehicle = jax.tree.map(partial(jnp.where, here), vehicle, still)
    wind_angle = 2.0 * jnp.pi * wind_from
    zero = jnp.zeros(shape, jnp.float32)
    return EnvironmentState(
        vehicle=vehicle,
        control=initial_control(shape),
        action=(zero, zero, zero, zero),
        passed=jnp.where(here, jnp.asarray(task.line_gate)[index], 0),
        elapsed=jnp.zeros(shape, jnp.int32),
        wind_x=gusty * task.wind_speed * jnp.cos(wind_angle),
        wind_y=gusty * task.wind_speed * jnp.sin(wind_angle),
        # The air did not wait for the flight.
        gusts=settled(task.gusts, jax.random.normal(keys[4], (5, *shape))),
        memory=(BUILT_IN if reward is None else reward).initial(shape),
        variation=variation,
        drawn=None if airframe.battery is None else zero,
    )


def _inside(task: Task, position: list[Array], *, radius: float) -> list[Array]:
    """The nearest place within the bounds; two radii above the ground."""
    margin = (radius, radius, 2.0 * radius)
    return [
        jnp.clip(at, task.bounds_min[i] + margin[i], task.bounds_max[i] - radius)
        for i, at in enumerate(position)
    ]


def _drawn_course(
    task: Task, key: Array, shape: tuple[int, ...], *, airframe: Airframe
) -> tuple[Vector, Variation | None]:
    """The start, m ENU, and the variation of new flights."""
    start = (task.start[0], task.start[1], task.start[2])
    if task.ranges is None:
        return start, None
    keys = jax.random.split(jax.random.fold_in(key, _STREAM))
    shift = jax.random.uniform(keys[0], (3, *shape), minval=-1.0, maxval=1.0)
    x, y, z = (start[i] + task.ranges.start_position[i] * shift[i] for i in range(3))
    return (x, y, z), draw(task, task.ranges, keys[1], shape, airframe=airframe)


def observe(task: Task, state: EnvironmentState, settings: Settings, *, axis: int = -1) -> Array:
    """Observations, (..., O) float32; racer.sim.interface says what each number is.

    Of `settings` only the action space and the number of poles that are seen matter. `axis` is
    where the O numbers go: 0, (O, ...), costs a CPU least, since drones lie side by side.
    """
    space, poles = settings.action_space, settings.seen_obstacles
    vehicle = state.vehicle
    sight = Sight(
        position=vehicle.position,
        velocity=vehicle.velocity,
        attitude=vehicle.attitude,
        rates=vehicle.rates,
        target=_seen(task, state, state.passed),
        after=_seen(task, state, jnp.minimum(state.passed + 1, task.passages - 1)),
        action=state.action,
        ground=task.bounds_min[2],
        obstacles=_seen_obstacles(task, state) if poles else None,
    )
    numbers = observation(sight, space, jnp, seen_obstacles=poles)
    # Stacked in front and transposed: writing every number N apart costs 8 % of the whole step.
    return jnp.moveaxis(jnp.stack(numbers), 0, axis)


def _seen(task: Task, state: EnvironmentState, passed: Array) -> GateFrame:
    """The gate after `passed` passages as the vehicle knows it."""
    nominal = nominal_gate(task, passed)
    if state.variation is None:
        return nominal
    real = moved_gate(nominal, state.variation, gate_index(task, passed))
    return seen_gate(nominal, real, state.vehicle.position, task.sight_range)


def _seen_obstacles(task: Task, state: EnvironmentState) -> Cylinder | None:
    """All obstacles as the vehicle knows them, components (P, ...) or (P, 1, ...)."""
    if task.obstacles.radius.shape[0] == 0:
        return None
    position = state.vehicle.position
    nominal = against(task.obstacles, position[0].ndim)
    if state.variation is None:
        return nominal
    return seen_obstacles(nominal, state.variation, position, task.sight_range)


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

    racer.sim.interface says what the numbers of an action ask for. Raises InvalidInputError when
    the airframe's command delay is longer than a control step.
    """
    flight = make_flight(airframe, settings) if loop is None else _stand_in(loop)
    rating: Reward = BuiltInReward(space=settings.action_space) if reward is None else reward

    def step(
        task: Task,
        state: EnvironmentState,
        action: Array,
        gust_noise: Array,
        spare: EnvironmentState,
    ) -> tuple[EnvironmentState, Outcome]:
        parts = (action[..., 0], action[..., 1], action[..., 2], action[..., 3])
        vehicle, control, drawn = flight(task, state, parts, _wind(task, state))
        moved = state._replace(
            vehicle=vehicle,
            control=control,
            action=parts,
            elapsed=state.elapsed + 1,
            gusts=advance(task.gusts, state.gusts, gust_noise),
            drawn=drawn,
        )
        return _settle(task, state, moved, spare, airframe=airframe, reward=rating)

    return step


def _stand_in(loop: ControlLoop) -> Flight:
    def flight(
        task: Task, state: EnvironmentState, action: Action, wind: Vector
    ) -> tuple[State, ControlState, Array | None]:
        return *loop(task, state.vehicle, state.control, action, wind), state.drawn

    return flight


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
    judged = judge(task, before, after, airframe=airframe)
    after = after._replace(vehicle=carried(task, after), passed=before.passed + judged.passed)
    memory, earned = reward(task, before.memory, before, after, judged)
    after = after._replace(memory=memory)
    return choose(judged.done, spare, after), Outcome(
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


def _wind(task: Task, state: EnvironmentState) -> Vector:
    """m/s ENU: what blows now."""
    share = 1.0 if state.variation is None else state.variation.wind
    x, y, z = blowing(task.gusts, state.gusts, (state.wind_x, state.wind_y))
    return state.wind_x + share * x, state.wind_y + share * y, share * z
