"""Flying with exploration noise, and how good what was flown turned out: PPO's samples.

The value network looks at a rollout once, in one large batch, after it is flown. Everything a
sample consists of lies in one array, so that shuffling moves few, large pieces: each minibatch
takes, of every time step, another block of neighbouring drones. Drones are independent of each
other, so that this is as random as single samples would be, at a tenth of the cost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from racer.learning.algorithm import World
from racer.learning.networks import (
    Normaliser,
    Parameters,
    log_probability,
    normalise,
    policy_mean,
    value,
)
from racer.sim.environment import EnvironmentState, make_step, observe
from racer.sim.interface import ACTION_SIZE
from racer.sim.task import Task

Array: TypeAlias = jax.Array


class Steps(NamedTuple):
    """What a rollout records of T steps of N drones, (T, N) each."""

    observation: Array  # raw, (T, N, O)
    action: Array  # (T, N, A)
    log_probability: Array
    reward: Array
    done: Array
    crashed: Array


class Batch(NamedTuple):
    """Samples to learn from, (...,) each."""

    observation: Array  # normalised, (..., O)
    action: Array  # (..., A)
    log_probability: Array
    advantage: Array
    target: Array  # of the value


Policy: TypeAlias = tuple[Parameters, Normaliser]
Rollout: TypeAlias = Callable[
    [Policy, EnvironmentState, EnvironmentState, Task, Array], tuple[EnvironmentState, Steps]
]


def make_rollout(world: World, *, length: int) -> Rollout:
    """Build the function that flies every drone `length` steps.

    It takes the policy, the drones, their spares, the task and a key.
    """
    step = make_step(world.airframe, world.simulation, world.reward)

    def rollout(
        policy: Policy,
        environments: EnvironmentState,
        spare: EnvironmentState,
        task: Task,
        key: Array,
    ) -> tuple[EnvironmentState, Steps]:
        parameters, normaliser = policy
        drones = environments.passed.shape[0]
        noise = jax.random.normal(key, (length, drones, ACTION_SIZE + 3))
        log_std = parameters["policy_log_std"]
        std = jnp.exp(log_std)

        def control_step(
            environments: EnvironmentState, noise: Array
        ) -> tuple[EnvironmentState, Steps]:
            action_noise, gust_noise = noise[:, :ACTION_SIZE], noise[:, ACTION_SIZE:]
            observation = observe(task, environments, world.simulation)
            action = policy_mean(parameters, normalise(normaliser, observation))
            action += std * action_noise
            environments, outcome = step(task, environments, action, gust_noise, spare)
            return environments, Steps(
                observation,
                action,
                log_probability(action_noise, log_std),
                outcome.reward,
                outcome.done,
                outcome.crashed,
            )

        return jax.lax.scan(control_step, environments, noise)

    return rollout


def advantages(
    rewards: Array, values: Array, last: Array, done: Array, *, discount: Array, gae_lambda: Array
) -> Array:
    """Generalised advantage estimation (Schulman et al. 2016) over (T, N) steps.

    `last`: (N,) values of what follows the last step; `done`: whether a flight ended in a step.
    """
    following = jnp.concatenate([values[1:], last[None]])
    goes_on = discount * (1.0 - done)
    errors = rewards + goes_on * following - values

    def back(advantage: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        error, keep = now
        advantage = error + gae_lambda * keep * advantage
        return advantage, advantage

    found: Array = jax.lax.scan(back, jnp.zeros_like(last), (errors, goes_on), reverse=True)[1]
    return found


def rate(
    parameters: Parameters,
    normaliser: Normaliser,
    steps: Steps,
    after: Array,
    *,
    discount: Array,
    gae_lambda: Array,
    finish_value: Array,
) -> Batch:
    """Samples (T, N, ...) of a rollout; `after`: (N, O) raw observations behind its last step.

    Behind a finish or a time-out lies the share `finish_value` of the mean value, as if the course
    went on. Not of the last state's own value: it would stand on both sides of its equation and
    grow to the last reward over (1 − discount), until nothing but arriving counts.
    """
    observations = normalise(normaliser, steps.observation)
    values = value(parameters, observations)
    over = steps.done & ~steps.crashed
    gains = advantages(
        steps.reward + discount * finish_value * over * jnp.mean(values),
        values,
        value(parameters, normalise(normaliser, after)),
        steps.done,
        discount=discount,
        gae_lambda=gae_lambda,
    )
    return Batch(observations, steps.action, steps.log_probability, gains, gains + values)


def shuffle(batch: Batch, key: Array, *, minibatches: int) -> Array:
    """(T, N, ...) samples as (minibatches, size, numbers of a sample); see `unpack`."""
    length, drones = batch.advantage.shape
    packed = jnp.concatenate(
        [
            batch.observation,
            batch.action,
            jnp.stack([batch.log_probability, batch.advantage, batch.target], axis=-1),
        ],
        axis=-1,
    )
    blocks = packed.reshape(length * minibatches, drones // minibatches, -1)
    order = jnp.argsort(jax.random.uniform(key, (length, minibatches)), axis=1)
    rows = (order + minibatches * jnp.arange(length)[:, None]).T  # (minibatches, T)
    return blocks[rows].reshape(minibatches, -1, packed.shape[-1])


def unpack(packed: Array) -> Batch:
    """Samples (..., numbers) by name."""
    return Batch(
        packed[..., : -ACTION_SIZE - 3],
        packed[..., -ACTION_SIZE - 3 : -3],
        packed[..., -3],
        packed[..., -2],
        packed[..., -1],
    )
