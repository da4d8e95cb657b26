"""Honest evaluation: deterministic flights from starts and winds that training never saw.

Its random numbers come from streams of their own: one that a training's epochs share, so that a
curve over epochs compares like with like, and another for evaluations that are asked for
afterwards, which no training has ever drawn from. The loop ends when the last drone has finished,
crashed or run out of time. racer.learning.report turns the arrays into numbers for people.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from racer.learning.networks import Normaliser, Output, Parameters, normalise, policy_mean
from racer.sim.airframe import Airframe
from racer.sim.environment import EnvironmentState, Outcome, make_step, observe, reset
from racer.sim.task import MAX_FLIGHT_STEPS, Settings, Task
from racer.sim.track import MAX_LAPS

Array: TypeAlias = jax.Array
_STREAM = 0x0E7A1  # folded into a training's seed: its flights never draw from this stream
_FRESH_STREAM = 0x0F4E5  # of evaluations that are asked for: no training draws from it
_LEG = 64  # control steps
RECORDED = 8  # numbers recorded per step: position, quaternion, gates passed


class Evaluation(NamedTuple):
    """Result of the flights: N starts; P passages are as many as any number of laps has."""

    finished: Array  # (N,) bool: every gate in order, no crash, in time
    crashed: Array  # (N,) bool
    cause: Array  # (N,) int32: racer.sim.task.CrashCause, NONE unless crashed
    passed: Array  # (N,) int32: gates passed
    steps: Array  # (N,) int32: control steps flown
    times: Array  # (N, P) s since the start, of every passage; 0 where there was none
    offsets: Array  # (N, P) m from the gate's centre at that moment; likewise
    place: Array  # (N, 3) m ENU: where the flight ended
    flights: Array  # (S, R, 8) of the first R starts, S steps: x, y, z, w, x, y, z, passed


class _Loop(NamedTuple):
    step: Array
    environments: EnvironmentState
    running: Array
    result: Evaluation


Evaluate: TypeAlias = Callable[[Parameters, Normaliser, Task, Array], Evaluation]
Act: TypeAlias = Callable[[Any, Array], Array]  # weights, raw observations (N, O) -> (N, A)
Fly: TypeAlias = Callable[[Any, Task, Array], Evaluation]  # weights, task, key
Progress: TypeAlias = Callable[[float], None]  # 0 to 1


def make_evaluate(
    airframe: Airframe, simulation: Settings, *, starts: int, output: Output = "linear"
) -> Evaluate:
    """Build the evaluation that a training makes after every epoch; compile it with jax.jit.

    It takes weights, normaliser, task and the training's seed as a key, and flies `starts` starts.
    """

    def act(policy: tuple[Parameters, Normaliser], observation: Array) -> Array:
        parameters, normaliser = policy
        return policy_mean(parameters, normalise(normaliser, observation), output)

    fly = make_flights(airframe, simulation, act, starts=starts)

    def evaluate(
        parameters: Parameters, normaliser: Normaliser, task: Task, key: Array
    ) -> Evaluation:
        return fly((parameters, normaliser), task, jax.random.fold_in(key, _STREAM))

    return evaluate


def fresh_key(seed: int) -> Array:
    """Of an evaluation that is asked for: the starts of `seed`, which no training has seen."""
    return jax.random.fold_in(jax.random.key(seed), _FRESH_STREAM)


def make_flights(
    airframe: Airframe,
    simulation: Settings,
    act: Act,
    *,
    starts: int,
    recorded: int = 1,
    most_steps: int = MAX_FLIGHT_STEPS,
) -> Fly:
    """Build the function that flies any policy from `starts` starts; compile it with jax.jit.

    The flights of the first `recorded` starts are kept, step by step. `most_steps` must be enough
    for the task's time limit.
    """
    kept = most_steps, recorded
    begin, go_on = _legs(airframe, simulation, act, starts=starts, kept=kept)

    def fly(weights: Any, task: Task, key: Array) -> Evaluation:
        loop, _ = go_on(weights, task, key, begin(task, key), jnp.int32(most_steps))
        return loop.result

    return fly


def make_told_flights(
    airframe: Airframe, simulation: Settings, act: Act, *, starts: int, recorded: int = 1
) -> Callable[[Any, Task, Array, Progress], Evaluation]:
    """Like make_flights, compiled already, and it tells on the way how far the flights are: they
    are flown in legs of `_LEG` control steps, by one program.
    """
    kept = MAX_FLIGHT_STEPS, recorded
    legs = _legs(airframe, simulation, act, starts=starts, kept=kept)
    begin, go_on = (jax.jit(part) for part in legs)

    def fly(weights: Any, task: Task, key: Array, progress: Progress) -> Evaluation:
        loop, share = begin(task, key), 0.0
        while share < 1.0:
            loop, told = go_on(weights, task, key, loop, loop.step + _LEG)
            share = float(told)
            progress(share)
        result: Evaluation = jax.device_get(loop.result)
        return result

    return fly


def _legs(
    airframe: Airframe, simulation: Settings, act: Act, *, starts: int, kept: tuple[int, int]
) -> tuple[Callable[[Task, Array], _Loop], Callable[..., tuple[_Loop, Array]]]:
    """(all flights at their start, some control steps of all of them). `kept`: the most steps
    that a flight has, and how many flights are recorded.

    The latter takes weights, task, key, where the flights are, and the step to go on to; with it
    comes the share of the flights' work that is done then, 1 when all have ended.
    """
    step = make_step(airframe, simulation)

    def begin(task: Task, key: Array) -> _Loop:
        start_key, _ = jax.random.split(key)
        first = reset(task, start_key, (starts,), airframe=airframe)
        running = jnp.ones(starts, bool)
        return _Loop(jnp.int32(0), first, running, _blank(task, starts, kept))

    def go_on(
        weights: Any, task: Task, key: Array, loop: _Loop, until: Array
    ) -> tuple[_Loop, Array]:
        _, gust_key = jax.random.split(key)

        def advance(loop: _Loop) -> _Loop:
            gusts = jax.random.normal(jax.random.fold_in(gust_key, loop.step), (starts, 3))
            now = loop.environments
            action = act(weights, observe(task, now, simulation))
            environments, outcome = step(task, now, action, gusts, now)
            result = _note(loop, outcome, dt=simulation.dt)
            return _Loop(loop.step + 1, environments, loop.running & ~outcome.done, result)

        end = jnp.minimum(until, kept[0])
        loop = jax.lax.while_loop(
            lambda loop: jnp.any(loop.running) & (loop.step < end), advance, loop
        )
        over = ~jnp.any(loop.running) | (loop.step >= kept[0])
        return loop, jnp.where(over, 1.0, _share_done(task, loop))

    return begin, go_on


def _share_done(task: Task, loop: _Loop) -> Array:
    """Of the flights' gates, those of ended flights all, or of the time limit: what is more, and
    never all of it."""
    passed = jnp.minimum(loop.result.passed / task.passages, 0.99)
    gates = jnp.mean(jnp.where(loop.running, passed, 1.0))
    return jnp.clip(jnp.maximum(gates, loop.step / task.time_limit), 0.0, 0.99)


def first_flight(result: Evaluation, *, dt: float) -> dict[str, NDArray[Any]]:
    """The first start's flight: T control steps, as `flight.npz` holds it."""
    return recorded_flight(result, 0, dt=dt)


def recorded_flight(result: Evaluation, start: int, *, dt: float) -> dict[str, NDArray[Any]]:
    """One recorded start's flight of T control steps: t (T,) s, position (T, 3) m ENU, quaternion
    (T, 4) wxyz, body FLU to world, gates_passed (T,)."""
    flown = int(result.steps[start])
    flight = np.asarray(result.flights)[:flown, start]
    passed = flight[:, 7].astype(np.int32)
    passed[-1:] = result.passed[start]  # the last step's passage comes after its record
    return {
        "t": np.arange(flown) * dt,
        "position": flight[:, 0:3],
        "quaternion": flight[:, 3:7],
        "gates_passed": passed,
    }


def _blank(task: Task, starts: int, kept: tuple[int, int]) -> Evaluation:
    """`kept`: steps and starts of the recorded flights."""
    passages = task.gates.half_size.shape[0] * MAX_LAPS  # laps are data, shapes are not
    none, count = jnp.zeros(starts, bool), jnp.zeros(starts, jnp.int32)
    return Evaluation(
        finished=none,
        crashed=none,
        cause=count,
        passed=count,
        steps=count,
        times=jnp.zeros((starts, passages), jnp.float32),
        offsets=jnp.zeros((starts, passages), jnp.float32),
        place=jnp.zeros((starts, 3), jnp.float32),
        flights=jnp.zeros((*kept, RECORDED), jnp.float32),
    )


def _note(loop: _Loop, outcome: Outcome, *, dt: float) -> Evaluation:
    """Add what one control step brought to the flights that were still under way before it."""
    result, running = loop.result, loop.running
    passed = running & outcome.passed
    rows = jnp.arange(running.shape[0])
    column = jnp.where(passed, result.passed, result.times.shape[1])  # beyond the end: dropped
    moment = dt * (result.steps + outcome.when)
    place = jnp.stack(outcome.flown.position, axis=-1)
    return Evaluation(
        finished=result.finished | (running & outcome.finished & ~outcome.crashed),
        crashed=result.crashed | (running & outcome.crashed),
        cause=jnp.where(running & outcome.crashed, outcome.cause, result.cause),
        passed=result.passed + passed,
        steps=result.steps + running,
        times=result.times.at[rows, column].set(moment, mode="drop"),
        offsets=result.offsets.at[rows, column].set(outcome.offset, mode="drop"),
        place=jnp.where(running[:, None], place, result.place),
        flights=jax.lax.dynamic_update_index_in_dim(
            result.flights,
            _record(loop.environments, result.flights.shape[1]),
            loop.step,
            axis=0,
        ),
    )


def _record(environments: EnvironmentState, recorded: int) -> Array:
    """(R, 8) of the first drones."""
    vehicle = environments.vehicle
    parts = (*vehicle.position, *vehicle.attitude, environments.passed.astype(jnp.float32))
    return jnp.stack([part[:recorded] for part in parts], axis=-1)
