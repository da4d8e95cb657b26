"""What both environments fly: a course, an airframe and limits as two compiled functions.

Everything random is drawn inside the compiled step from a key that it carries along, so a step is
one call into the compiled program and one way back. Drones whose flight ended start again in the
same step; the observation of the end is kept beside the new one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from racer.errors import InvalidInputError
from racer.sim.airframe import Airframe, load_airframe
from racer.sim.environment import make_step, observe, reset
from racer.sim.interface import ACTION_SIZE, ActionSpace
from racer.sim.reward import Reward
from racer.sim.state import EnvironmentState
from racer.sim.task import Settings, Task, make_task, seen_obstacles
from racer.sim.track import MAX_LAPS, Track, load_track

OBSERVATION_BOUND = 100.0  # observations are of the order of one; beyond this they are clipped
_ACTION_BOUND = 1e6  # what float32 can still square; actions are of the order of one
_RATES: dict[ActionSpace, tuple[float, int]] = {"velocity": (25.0, 8), "ctbr": (50.0, 4)}


Box: TypeAlias = gymnasium.Space[NDArray[np.float32]]
Numbers: TypeAlias = Any  # a JAX array inside the compiled step, a NumPy array outside


class Flights(NamedTuple):
    """N drones in flight, and the key that their next randomness comes from."""

    drones: EnvironmentState  # every field (N,)
    key: jax.Array


class Advance(NamedTuple):
    """What one control step brought, for N drones."""

    observation: Numbers  # (N, O), of the new flight where one ended
    final: Numbers  # (N, O), of the end where one ended
    reward: Numbers  # (N,)
    terminated: Numbers  # (N,) bool: the last gate was passed, or a crash
    truncated: Numbers  # (N,) bool: out of time
    gates_passed: Numbers  # (N,) int32 since the start of the course
    steps: Numbers  # (N,) int32 control steps since the start of the flight
    cause: Numbers  # (N,) int32: a racer.sim.task.CrashCause
    when: Numbers  # (N,) share of this step flown: up to the gate that it passed, or all of it


Begin: TypeAlias = Callable[[Task, jax.Array, Numbers, Numbers], tuple[Flights, jax.Array]]
Go: TypeAlias = Callable[[Task, Flights, Numbers, Numbers], tuple[Flights, Advance]]


@dataclasses.dataclass(frozen=True)
class World:
    """A task and the compiled functions that fly it."""

    task: Task
    settings: Settings
    begin: Begin  # (task, key, share of starts along the course, (N,) of anything)
    go: Go  # (task, flights, (N, 4) actions, share of starts along the course)
    observation_space: Box
    action_space: Box


def make_world(
    *,
    track: str | Path | Track,
    airframe: str | Path | Airframe,
    action_space: ActionSpace,
    control_hz: float | None,
    substeps: int | None,
    velocity_limit_m_s: float,
    yaw_limit_deg_s: float,
    wind_speed_m_s: float,
    laps: int | None,
    randomise: bool,
    reward: Reward | None,
) -> World:
    """Load, check and (at the first step) compile. Arguments: docs/gymnasium.md.

    Raises InvalidInputError for numbers out of range or a wrong file, NotFoundError for a course or
    an airframe that is not there.
    """
    if action_space not in _RATES:
        raise InvalidInputError(f"action_space must be one of {', '.join(_RATES)}.")
    hz, steps = _RATES[action_space]
    course = track if isinstance(track, Track) else load_track(track)
    settings = Settings(
        action_space,
        hz if control_hz is None else control_hz,
        steps if substeps is None else substeps,
        randomise=randomise,
        seen_obstacles=seen_obstacles(course),
    )
    if not (1.0 <= settings.control_hz <= 1000.0 and 1 <= settings.substeps <= 100):
        raise InvalidInputError("control_hz must be from 1 to 1000 and substeps from 1 to 100.")
    if not (0.0 < velocity_limit_m_s <= 100.0 and 0.0 < yaw_limit_deg_s <= 3600.0):
        raise InvalidInputError("Limits must be above 0 and at most 100 m/s and 3600 °/s.")
    if not 0.0 <= wind_speed_m_s <= 50.0:
        raise InvalidInputError("The wind must be from 0 to 50 m/s.")
    if laps is not None:
        if not 1 <= laps <= MAX_LAPS:
            raise InvalidInputError(f"laps must be from 1 to {MAX_LAPS}.")
        course = dataclasses.replace(course, laps=laps)
    task = make_task(
        course,
        settings,
        velocity_limit_m_s=velocity_limit_m_s,
        yaw_limit_deg_s=yaw_limit_deg_s,
        wind_speed_m_s=wind_speed_m_s,
    )
    vehicle = airframe if isinstance(airframe, Airframe) else load_airframe(airframe)
    course.check_room(vehicle.body.collision_radius_m)
    begin, go = _compile(vehicle, settings, cast(Hashable, reward))
    return World(
        task=task,
        settings=settings,
        begin=begin,
        go=go,
        observation_space=_box(np.full(settings.observation_size, OBSERVATION_BOUND)),
        action_space=_action_space(task, action_space),
    )


def as_actions(actions: NDArray[np.floating], count: int) -> NDArray[np.float32]:
    """(N, 4) float32. Raises InvalidInputError for another shape, for NaN and for huge numbers."""
    given = np.asarray(actions)
    fine = given.shape == (count, ACTION_SIZE) and bool(np.all(np.abs(given) <= _ACTION_BOUND))
    if not fine:
        raise InvalidInputError(
            f"Actions must be {count} × {ACTION_SIZE} finite numbers within ±{_ACTION_BOUND:g}; "
            f"these have the shape {given.shape}."
        )
    return given.astype(np.float32)


def _box(high: NDArray[np.floating]) -> Box:
    """All float32 vectors between -high and high."""
    most = high.astype(np.float32)
    box = gymnasium.spaces.Box(-most, most, most.shape, np.float32)
    return cast(Box, box)  # Box says in its type that it may hold integers


def _action_space(task: Task, space: ActionSpace) -> Box:
    """What is possible, in the units of racer.sim.interface."""
    high = np.ones(ACTION_SIZE, np.float32)
    if space == "velocity":
        high[:3] = task.velocity_limit / task.velocity_unit
        high[3] = task.yaw_limit / task.yaw_unit
    return _box(high)


def _widen(flags: jax.Array, like: jax.Array) -> jax.Array:
    """(N,) as (N, 1, …): some fields have a value for each gate."""
    return jnp.reshape(flags, flags.shape + (1,) * (like.ndim - flags.ndim))


@lru_cache(maxsize=16)
def _compile(airframe: Airframe, settings: Settings, reward: Any) -> tuple[Begin, Go]:
    """One pair of programs per airframe, settings and reward; the task is data."""
    step = make_step(airframe, settings, reward)

    def see(task: Task, drones: EnvironmentState) -> jax.Array:
        return jnp.clip(observe(task, drones, settings), -OBSERVATION_BOUND, OBSERVATION_BOUND)

    def start(task: Task, key: jax.Array, share: Numbers, count: int) -> EnvironmentState:
        return reset(task, key, (count,), airframe=airframe, along_course=share, reward=reward)

    def begin(
        task: Task, key: jax.Array, share: Numbers, like: Numbers
    ) -> tuple[Flights, jax.Array]:
        key, first = jax.random.split(key)
        drones = start(task, first, share, like.shape[0])
        return Flights(drones, key), see(task, drones)

    def go(
        task: Task, flights: Flights, actions: Numbers, share: Numbers
    ) -> tuple[Flights, Advance]:
        count = actions.shape[0]
        before = flights.drones
        key, gust_key, start_key = jax.random.split(flights.key, 3)
        gusts = jax.random.normal(gust_key, (count, 3))
        after, outcome = step(task, before, actions, gusts, before)
        end = before._replace(
            vehicle=outcome.flown,
            action=(actions[:, 0], actions[:, 1], actions[:, 2], actions[:, 3]),
            passed=before.passed + outcome.passed,
        )
        final = see(task, end)

        def again() -> tuple[EnvironmentState, jax.Array]:
            spare = start(task, start_key, share, count)
            drones: EnvironmentState = jax.tree.map(
                lambda old, new: jnp.where(_widen(outcome.done, old), new, old), after, spare
            )
            return drones, see(task, drones)

        # starts are drawn only in steps in which a flight ends
        drones, seen = jax.lax.cond(jnp.any(outcome.done), again, lambda: (after, final))
        terminated = outcome.crashed | outcome.finished
        return Flights(drones, key), Advance(
            observation=seen,
            final=final,
            reward=outcome.reward,
            terminated=terminated,
            truncated=outcome.done & ~terminated,
            gates_passed=end.passed,
            steps=before.elapsed + 1,
            cause=outcome.cause,
            when=jnp.where(outcome.passed & (outcome.finished | ~outcome.done), outcome.when, 1.0),
        )

    return jax.jit(begin), jax.jit(go)
