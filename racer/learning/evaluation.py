"""Honest evaluation: deterministic flights from starts and winds that training never saw.

Its seeds come from a stream of their own (folded with a constant that training does not use) and
do not depend on the epoch, so that a curve over epochs compares like with like. The loop ends
when the last drone has finished, crashed or run out of time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from racer.learning.networks import Normaliser, Output, Parameters, normalise, policy_mean
from racer.sim.airframe import Airframe
from racer.sim.environment import EnvironmentState, make_step, observe, reset
from racer.sim.task import MAX_FLIGHT_STEPS, Settings, Task

Array: TypeAlias = jax.Array
_STREAM = 0x0E7A1  # folded into the seed: training never draws from this stream
RECORDED = 8  # numbers recorded per step: position, quaternion, gates passed


class Evaluation(NamedTuple):
    """Result of the flights; N starts."""

    finished: Array  # (N,) bool: every gate in order, no crash, in time
    crashed: Array  # (N,) bool
    passed: Array  # (N,) int32: gates passed
    steps: Array  # (N,) int32: control steps flown
    flight: Array  # (MAX_FLIGHT_STEPS, 8): the first start: x, y, z, w, x, y, z, gates passed


class _Loop(NamedTuple):
    step: Array
    environments: EnvironmentState
    running: Array
    result: Evaluation


Evaluate: TypeAlias = Callable[[Parameters, Normaliser, Task, Array], Evaluation]


def make_evaluate(
    airframe: Airframe, simulation: Settings, *, starts: int, output: Output = "linear"
) -> Evaluate:
    """Build the evaluation of a policy from `starts` starts; compile it with jax.jit.

    It takes weights, normaliser, task and the training's seed as a key.
    """
    step = make_step(airframe, simulation)

    def evaluate(
        parameters: Parameters, normaliser: Normaliser, task: Task, key: Array
    ) -> Evaluation:
        start_key, gust_key = jax.random.split(jax.random.fold_in(key, _STREAM))
        first = reset(task, start_key, (starts,), airframe=airframe)

        def advance(loop: _Loop) -> _Loop:
            result = loop.result._replace(
                flight=jax.lax.dynamic_update_index_in_dim(
                    loop.result.flight, _record(loop.environments), loop.step, axis=0
                )
            )
            gusts = jax.random.normal(jax.random.fold_in(gust_key, loop.step), (starts, 3))
            observation = observe(task, loop.environments, simulation.action_space)
            action = policy_mean(parameters, normalise(normaliser, observation), output)
            now = loop.environments
            environments, outcome = step(task, now, action, gusts, now)
            running = loop.running
            result = result._replace(
                finished=result.finished | (running & outcome.finished & ~outcome.crashed),
                crashed=result.crashed | (running & outcome.crashed),
                passed=result.passed + (running & outcome.passed),
                steps=result.steps + running,
            )
            return _Loop(loop.step + 1, environments, running & ~outcome.done, result)

        nothing = jnp.zeros(starts, jnp.int32)
        blank = Evaluation(
            nothing > 0,
            nothing > 0,
            nothing,
            nothing,
            jnp.zeros((MAX_FLIGHT_STEPS, RECORDED), jnp.float32),
        )
        loop = jax.lax.while_loop(
            lambda loop: jnp.any(loop.running) & (loop.step < MAX_FLIGHT_STEPS),
            advance,
            _Loop(jnp.int32(0), first, nothing == 0, blank),
        )
        return loop.result

    return evaluate


def _record(environments: EnvironmentState) -> Array:
    """(8,) of the first drone."""
    vehicle = environments.vehicle
    parts = (*vehicle.position, *vehicle.attitude, environments.passed.astype(jnp.float32))
    return jnp.stack([part[0] for part in parts])
