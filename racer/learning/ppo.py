"""PPO as one compiled program per epoch: rollout, advantages and updates never leave the device.

Choices, as in CleanRL's continuous PPO unless said: advantages by GAE, normalised per minibatch;
one permutation per rollout whose minibatches every pass revisits (shuffling again costs more
than it brings); the value network looks at a rollout once, in one large batch, after it is
flown; observation statistics stay fixed while a rollout is learnt from, so that the probability
ratio starts at one. A time-out ends a flight like a finish does: time limits are generous, and
a drone that neither crashes nor finishes has nothing left to earn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from racer.learning.algorithm import Algorithm, Metrics, World
from racer.learning.networks import (
    Normaliser,
    Parameters,
    entropy,
    initial_normaliser,
    initial_parameters,
    learn_normaliser,
    log_probability,
    normalise,
    policy_mean,
    value,
)
from racer.learning.settings import AlgorithmSettings, PpoSettings
from racer.sim.airframe import Airframe
from racer.sim.environment import EnvironmentState, make_step, observe, reset
from racer.sim.interface import ACTION_SIZE
from racer.sim.task import Settings, Task

Array: TypeAlias = jax.Array
SETTINGS = PpoSettings


class TrainState(NamedTuple):
    """Everything that one epoch hands to the next."""

    parameters: Parameters
    optimiser: optax.OptState
    normaliser: Normaliser
    environments: EnvironmentState  # (num_envs,)
    key: Array


class LossTerms(NamedTuple):
    """The loss of a minibatch and what it is made of, () each; metrics hold an epoch's means."""

    loss: Array  # total: policy + value_weight · value − entropy_weight · entropy
    policy_loss: Array  # clipped surrogate
    value_loss: Array  # squared error of the returns, halved
    entropy: Array  # of the action distribution, nats
    kl: Array  # how far the policy moved from the one that flew, nats
    clipped: Array  # share of samples whose ratio left the clip range


class _Batch(NamedTuple):
    """Samples of a rollout, (..., ) each."""

    observation: Array  # normalised, (..., O)
    action: Array  # (..., A)
    log_probability: Array
    advantage: Array
    target: Array  # of the value


class _Steps(NamedTuple):
    """What a rollout records, (T, N) each."""

    observation: Array  # raw, (T, N, O)
    action: Array  # (T, N, A)
    log_probability: Array
    reward: Array
    done: Array
    crashed: Array


_Epoch: TypeAlias = Callable[[TrainState, Task, Array], tuple[TrainState, Metrics]]


def build(world: World, settings: AlgorithmSettings) -> Algorithm:
    """PPO for a world (racer.learning.algorithm); `settings` are PpoSettings."""
    if not isinstance(settings, PpoSettings):
        raise TypeError(f"PPO needs PpoSettings, not {type(settings).__name__}.")
    airframe, simulation = world

    def parameters(seed: int) -> Parameters:
        return initial_parameters(
            seed,
            observation_size=simulation.observation_size,
            action_size=ACTION_SIZE,
            hidden=settings.hidden,
            initial_std=settings.initial_std,
        )

    return Algorithm(
        initial_parameters=parameters,
        initialise=partial(
            initial_train_state, airframe=airframe, simulation=simulation, settings=settings
        ),
        epoch=_make_epoch(airframe, simulation, settings),
        policy=lambda state: (state.parameters, state.normaliser),
        schedule=lambda epoch, epochs: learning_rates(settings, epoch=epoch, epochs=epochs),
        output="linear",
        steps_per_epoch=settings.steps_per_epoch,
    )


def initial_train_state(
    task: Task,
    parameters: Parameters,
    key: Array,
    *,
    airframe: Airframe,
    simulation: Settings,
    settings: PpoSettings,
) -> TrainState:
    """Drones spread over the course, observation statistics of those starts, empty moments."""
    fly_key, key = jax.random.split(key)
    environments = reset(
        task, fly_key, (settings.num_envs,), airframe=airframe, along_course=settings.along_course
    )
    return TrainState(
        parameters=parameters,
        optimiser=_optimiser(settings).init(parameters),
        normaliser=learn_normaliser(
            initial_normaliser(simulation.observation_size),
            observe(task, environments, simulation.action_space),
        ),
        environments=environments,
        key=key,
    )


def learning_rates(settings: PpoSettings, *, epoch: int, epochs: int) -> Array:
    """(iterations_per_epoch,) of one epoch (1, 2, …): a straight line down over the training."""
    per_epoch = settings.iterations_per_epoch
    shares = (np.arange(per_epoch) + (epoch - 1) * per_epoch) / (epochs * per_epoch)
    falling = 1.0 - (1.0 - settings.final_learning_rate) * shares
    return jnp.asarray(settings.learning_rate * falling, jnp.float32)


def _make_epoch(airframe: Airframe, simulation: Settings, settings: PpoSettings) -> _Epoch:
    """The function of one epoch: takes the state, the task and each iteration's learning rate."""
    optimiser = _optimiser(settings)
    rollout = _make_rollout(airframe, simulation, settings)

    def update(
        carry: tuple[Parameters, optax.OptState], batch: _Batch, learning_rate: Array
    ) -> tuple[tuple[Parameters, optax.OptState], LossTerms]:
        parameters, optimiser_state = carry
        (_, parts), gradients = jax.value_and_grad(_loss, has_aux=True)(
            parameters, batch, settings=settings
        )
        steps, optimiser_state = optimiser.update(gradients, optimiser_state, parameters)
        parameters = jax.tree.map(lambda p, s: p - learning_rate * s, parameters, steps)
        return (parameters, optimiser_state), parts

    def iteration(
        state: TrainState, task: Task, learning_rate: Array
    ) -> tuple[TrainState, Metrics]:
        key, fly_key, shuffle_key = jax.random.split(state.key, 3)
        environments, steps = rollout(state, task, fly_key)
        batch = _to_batch(
            state, task, environments, steps, simulation=simulation, settings=settings
        )
        batch = _minibatches(batch, shuffle_key, settings=settings)

        def one_pass(
            carry: tuple[Parameters, optax.OptState], _: None
        ) -> tuple[tuple[Parameters, optax.OptState], LossTerms]:
            return jax.lax.scan(lambda c, b: update(c, b, learning_rate), carry, batch)

        (parameters, optimiser_state), parts = jax.lax.scan(
            one_pass, (state.parameters, state.optimiser), None, length=settings.update_epochs
        )
        ended = jnp.maximum(jnp.sum(steps.done), 1)
        means = {name: jnp.mean(part) for name, part in parts._asdict().items()}
        metrics = Metrics(
            loss=means.pop("loss"),
            reward=jnp.mean(steps.reward),
            crashes_per_flight=jnp.sum(steps.crashed) / ended,
            details=means,
        )
        observations = steps.observation.reshape(-1, simulation.observation_size)
        normaliser = learn_normaliser(state.normaliser, observations)
        return TrainState(parameters, optimiser_state, normaliser, environments, key), metrics

    def epoch(state: TrainState, task: Task, rates: Array) -> tuple[TrainState, Metrics]:
        state, metrics = jax.lax.scan(lambda s, rate: iteration(s, task, rate), state, rates)
        return state, jax.tree.map(jnp.mean, metrics)

    return epoch


def _make_rollout(
    airframe: Airframe, simulation: Settings, settings: PpoSettings
) -> Callable[[TrainState, Task, Array], tuple[EnvironmentState, _Steps]]:
    step = make_step(airframe, simulation)
    length, drones = settings.rollout_steps, settings.num_envs

    def rollout(state: TrainState, task: Task, key: Array) -> tuple[EnvironmentState, _Steps]:
        """Fly every drone `rollout_steps` steps with exploration noise."""
        keys = jax.random.split(key, 3)
        spare = reset(
            task, keys[0], (drones,), airframe=airframe, along_course=settings.along_course
        )
        noise = jax.random.normal(keys[1], (length, drones, ACTION_SIZE))
        gusts = jax.random.normal(keys[2], (length, drones, 3))
        log_std = state.parameters["policy_log_std"]

        def control_step(
            environments: EnvironmentState, random: tuple[Array, Array]
        ) -> tuple[EnvironmentState, _Steps]:
            action_noise, gust_noise = random
            observation = observe(task, environments, simulation.action_space)
            mean = policy_mean(state.parameters, normalise(state.normaliser, observation))
            action = mean + jnp.exp(log_std) * action_noise
            environments, outcome = step(task, environments, action, gust_noise, spare)
            return environments, _Steps(
                observation,
                action,
                log_probability(action_noise, log_std),
                outcome.reward,
                outcome.done,
                outcome.crashed,
            )

        return jax.lax.scan(control_step, state.environments, (noise, gusts))

    return rollout


def advantages(
    rewards: Array, values: Array, last: Array, done: Array, *, discount: float, gae_lambda: float
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


def _to_batch(
    state: TrainState,
    task: Task,
    environments: EnvironmentState,
    steps: _Steps,
    *,
    simulation: Settings,
    settings: PpoSettings,
) -> _Batch:
    """Look at a flown rollout with the value network; samples (T, N, ...)."""
    observations = normalise(state.normaliser, steps.observation)
    after = observe(task, environments, simulation.action_space)
    values = value(state.parameters, observations)
    gains = advantages(
        steps.reward,
        values,
        value(state.parameters, normalise(state.normaliser, after)),
        steps.done,
        discount=settings.discount,
        gae_lambda=settings.gae_lambda,
    )
    return _Batch(observations, steps.action, steps.log_probability, gains, gains + values)


def _minibatches(batch: _Batch, key: Array, *, settings: PpoSettings) -> _Batch:
    """Shuffle (T, N, ...) samples into (minibatches, size, ...)."""
    order = jax.random.permutation(key, settings.batch_size)

    def shuffle(samples: Array) -> Array:
        flat = samples.reshape(settings.batch_size, -1)[order]
        return flat.reshape(settings.minibatches, -1, *samples.shape[2:])

    return _Batch(*(shuffle(samples) for samples in batch))


def _loss(
    parameters: Parameters, batch: _Batch, *, settings: PpoSettings
) -> tuple[Array, LossTerms]:
    """The total loss of a minibatch, and its terms."""
    log_std = parameters["policy_log_std"]
    noise = (batch.action - policy_mean(parameters, batch.observation)) * jnp.exp(-log_std)
    log_ratio = log_probability(noise, log_std) - batch.log_probability
    ratio = jnp.exp(log_ratio)
    spread = jnp.std(batch.advantage) + 1e-8
    advantage = (batch.advantage - jnp.mean(batch.advantage)) / spread
    clipped = jnp.clip(ratio, 1.0 - settings.clip, 1.0 + settings.clip)
    policy_loss = -jnp.mean(jnp.minimum(ratio * advantage, clipped * advantage))
    value_loss = 0.5 * jnp.mean((value(parameters, batch.observation) - batch.target) ** 2)
    uncertainty = entropy(log_std)
    loss = policy_loss + settings.value_weight * value_loss - settings.entropy_weight * uncertainty
    kl = jnp.mean(ratio - 1.0 - log_ratio)  # Schulman's low-variance estimator
    outside = jnp.mean(jnp.abs(ratio - 1.0) > settings.clip)
    return loss, LossTerms(loss, policy_loss, value_loss, uncertainty, kl, outside)


def _optimiser(settings: PpoSettings) -> optax.GradientTransformation:
    """Adam's direction; the learning rate is applied outside, because it follows the progress."""
    return optax.chain(
        optax.clip_by_global_norm(settings.max_gradient_norm), optax.scale_by_adam(eps=1e-5)
    )
