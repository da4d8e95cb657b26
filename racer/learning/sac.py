"""SAC as one compiled program per epoch: flying, replay and updates never leave the device.

Soft actor-critic (Haarnoja et al. 2018, "Soft actor-critic algorithms and applications") with twin
critics, a tanh-squashed Gaussian and an automatic temperature. Choices:
- Many drones, large batches, few updates: each iteration flies `rollout_steps` steps of all
  drones, then learns from `updates` batches of the buffer.
- What is evaluated, exported and flown is a slow copy of the policy: the newest one wanders from
  update to update between cutting a corner and clipping it (Polyak averaging).
- Like PPO's, flights that run out of time count as ended (racer.learning.ppo).

Its metrics: `critic_loss`, `policy_loss`, `entropy`, `temperature`, `value` (LossTerms).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from racer.errors import InvalidInputError
from racer.learning.algorithm import Algorithm, Metrics, World
from racer.learning.networks import (
    Normaliser,
    Parameters,
    initial_normaliser,
    learn_normaliser,
    normalise,
)
from racer.learning.replay import Batch, Buffer, Steps, draw, initial_buffer, write
from racer.learning.settings import AlgorithmSettings
from racer.learning.squashed import action_distribution, critic_values, initial_networks, squash
from racer.sim.environment import EnvironmentState, make_step, observe, reset
from racer.sim.interface import ACTION_SIZE
from racer.sim.task import Task

Array: TypeAlias = jax.Array
_MAX_SAMPLES = 2**22  # in the buffer: less than 0.6 GB


@dataclasses.dataclass(frozen=True)
class SacSettings(AlgorithmSettings):
    """Soft actor-critic; docs/decisions/0010-algorithms.md says how the defaults were found."""

    num_envs: int = 512  # drones flown at once
    rollout_steps: int = 16  # control steps of each between updates
    iterations_per_epoch: int = 20  # rollouts with their updates that make one epoch
    updates: int = 16  # gradient steps per iteration
    batch_size: int = 1024  # samples of one gradient step
    buffer_steps: int = 512  # control steps of every drone that are remembered
    n_step: int = 10  # rewards summed before the value behind them is trusted
    hidden: int = 64  # units in each of the two hidden layers, of policy and critics each
    learning_rate: float = 2e-3  # of Adam, policy and critics; falls linearly over the training
    final_learning_rate: float = 0.1  # share of it that is left at the end
    discount: float = 0.98  # per control step
    target_rate: float = 0.05  # share of the critics that their slow copies take on per update
    average_rate: float = 0.005  # likewise, of the slow copy of the policy that is handed out
    initial_temperature: float = 0.01  # worth of a nat of entropy, in rewards
    temperature_rate: float = 3e-3  # Adam's learning rate of its logarithm
    entropy_below: float = 3.0  # the entropy that is aimed at is minus this, nats
    initial_std: float = 0.4  # of the action noise before tanh
    max_gradient_norm: float = 10.0  # gradients longer than this are shortened
    along_course: float = 0.8  # share of training flights that start somewhere on the course

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rollout_steps <= self.n_step:
            raise InvalidInputError("Training: 'rollout_steps' must be more than 'n_step'.")
        if self.buffer_steps % self.rollout_steps:
            raise InvalidInputError("Training: 'rollout_steps' must divide 'buffer_steps'.")
        if self.num_envs * self.buffer_steps > _MAX_SAMPLES:
            raise InvalidInputError(
                f"Training: num_envs × buffer_steps must be {_MAX_SAMPLES:,} or less."
            )
        if self.batch_size * self.n_step > _MAX_SAMPLES:
            raise InvalidInputError(
                f"Training: batch_size × n_step must be {_MAX_SAMPLES:,} or less."
            )


SETTINGS = SacSettings


class Learner(NamedTuple):
    """What an update changes."""

    parameters: Parameters  # policy and critics
    target: Parameters  # slow copies of the critics
    average: Parameters  # slow copy of the policy: what is evaluated and exported
    log_temperature: Array  # ()
    optimiser: optax.OptState
    temperature_optimiser: optax.OptState


class TrainState(NamedTuple):
    """Everything that one epoch hands to the next."""

    learner: Learner
    normaliser: Normaliser
    environments: EnvironmentState  # (num_envs,)
    buffer: Buffer
    key: Array


class LossTerms(NamedTuple):
    """Of one update, () each; metrics hold an epoch's means."""

    critic_loss: Array  # squared error of both critics, halved
    policy_loss: Array  # temperature · log density − value
    entropy: Array  # of the policy's actions, nats
    temperature: Array  # worth of a nat
    value: Array  # mean of the critics' smaller estimate


_Update: TypeAlias = Callable[[Learner, Batch, Array, Array], tuple[Learner, LossTerms]]


def build(world: World, settings: AlgorithmSettings) -> Algorithm:
    """SAC for a world (racer.learning.algorithm); `settings` are SacSettings."""
    if not isinstance(settings, SacSettings):
        raise TypeError(f"SAC needs SacSettings, not {type(settings).__name__}.")
    size = world.simulation.observation_size

    def schedule(epoch: int, epochs: int) -> Any:
        """(iterations_per_epoch,) learning rates: a straight line down over the training."""
        per_epoch = settings.iterations_per_epoch
        shares = (np.arange(per_epoch) + (epoch - 1) * per_epoch) / (epochs * per_epoch)
        falling = 1.0 - (1.0 - settings.final_learning_rate) * shares
        return (settings.learning_rate * falling).astype(np.float32)

    return Algorithm(
        initial_parameters=lambda seed: initial_networks(
            seed,
            observation_size=size,
            action_size=ACTION_SIZE,
            hidden=settings.hidden,
            initial_std=settings.initial_std,
        ),
        initialise=partial(_initialise, world=world, settings=settings),
        epoch=_make_epoch(world, settings),
        policy=lambda state: (state.learner.average, state.normaliser),
        weights=lambda state: state.learner.parameters | state.learner.average,
        normalised_by=lambda state, normaliser: state._replace(normaliser=normaliser),
        schedule=schedule,
        output="tanh",
        steps_per_epoch=settings.num_envs * settings.rollout_steps * settings.iterations_per_epoch,
    )


def initial_learner(parameters: Parameters, settings: SacSettings) -> Learner:
    """Target critics equal to the critics, empty moments."""
    temperature = jnp.float32(math.log(settings.initial_temperature))
    return Learner(
        parameters=parameters,
        target=_part(parameters, "critic_"),
        average=_part(parameters, "policy_"),
        log_temperature=temperature,
        optimiser=_optimiser(settings).init(parameters),
        temperature_optimiser=optax.scale_by_adam().init(temperature),
    )


def _initialise(
    task: Task, parameters: Parameters, key: Array, *, world: World, settings: SacSettings
) -> TrainState:
    """Drones spread over the course, an empty buffer."""
    airframe, simulation, reward = world
    fly_key, key = jax.random.split(key)
    drones = settings.num_envs
    environments = reset(
        task,
        fly_key,
        (drones,),
        airframe=airframe,
        along_course=settings.along_course,
        reward=reward,
    )
    size = simulation.observation_size
    return TrainState(
        learner=initial_learner(parameters, settings),
        normaliser=learn_normaliser(
            initial_normaliser(size), observe(task, environments, simulation)
        ),
        environments=environments,
        buffer=initial_buffer(settings.buffer_steps, drones, size),
        key=key,
    )


def _make_epoch(
    world: World, settings: SacSettings
) -> Callable[[TrainState, Task, Array], tuple[TrainState, Metrics]]:
    rollout = _make_rollout(world, settings)
    update = make_update(settings)

    def iteration(state: TrainState, task: Task, rate: Array) -> tuple[TrainState, Metrics]:
        key, fly_key, learn_key = jax.random.split(state.key, 3)
        environments, steps = rollout(state, task, fly_key)
        buffer = write(state.buffer, steps)
        size = steps.observation.shape[-1]
        normaliser = learn_normaliser(state.normaliser, steps.observation.reshape(-1, size))

        def learn(learner: Learner, key: Array) -> tuple[Learner, LossTerms]:
            draw_key, noise_key = jax.random.split(key)
            batch = draw(
                buffer,
                normaliser,
                draw_key,
                size=settings.batch_size,
                n_step=settings.n_step,
                discount=settings.discount,
            )
            return update(learner, batch, noise_key, rate)

        learner, terms = jax.lax.scan(
            learn, state.learner, jax.random.split(learn_key, settings.updates)
        )
        means = {name: jnp.mean(term) for name, term in terms._asdict().items()}
        metrics = Metrics(
            loss=means["critic_loss"] + means["policy_loss"],
            reward=jnp.mean(steps.reward),
            crashes_per_flight=jnp.sum(steps.crashed) / jnp.maximum(jnp.sum(steps.done), 1),
            details=means,
        )
        return TrainState(learner, normaliser, environments, buffer, key), metrics

    def epoch(state: TrainState, task: Task, rates: Array) -> tuple[TrainState, Metrics]:
        state, metrics = jax.lax.scan(lambda s, rate: iteration(s, task, rate), state, rates)
        return state, jax.tree.map(jnp.mean, metrics)

    return epoch


def _make_rollout(
    world: World, settings: SacSettings
) -> Callable[[TrainState, Task, Array], tuple[EnvironmentState, Steps]]:
    airframe, simulation, reward = world
    step = make_step(airframe, simulation, reward)
    length, drones = settings.rollout_steps, settings.num_envs

    def rollout(state: TrainState, task: Task, key: Array) -> tuple[EnvironmentState, Steps]:
        """Fly every drone `rollout_steps` steps with actions drawn from the policy."""
        keys = jax.random.split(key, 3)
        spare = reset(
            task,
            keys[0],
            (drones,),
            airframe=airframe,
            along_course=settings.along_course,
            reward=reward,
        )
        noise = jax.random.normal(keys[1], (length, drones, ACTION_SIZE))
        gusts = jax.random.normal(keys[2], (length, drones, 3))

        def control_step(
            environments: EnvironmentState, random: tuple[Array, Array]
        ) -> tuple[EnvironmentState, Steps]:
            observation = observe(task, environments, simulation)
            seen = normalise(state.normaliser, observation)
            mean, log_std = action_distribution(state.learner.parameters, seen)
            action, _ = squash(mean, log_std, random[0])
            environments, outcome = step(task, environments, action, random[1], spare)
            return environments, Steps(
                observation, action, outcome.reward, outcome.done, outcome.crashed
            )

        return jax.lax.scan(control_step, state.environments, (noise, gusts))

    return rollout


def make_update(settings: SacSettings) -> _Update:
    """One gradient step of critics, policy and temperature on a batch.

    The update takes the learner, the batch, a key for action noise and the learning rate.
    """
    optimiser, temperature_optimiser = _optimiser(settings), optax.scale_by_adam()

    def loss(
        parameters: Parameters, learner: Learner, batch: Batch, noise: Array
    ) -> tuple[Array, LossTerms]:
        temperature = jnp.exp(learner.log_temperature)
        frozen = jax.lax.stop_gradient(parameters)
        after, density = squash(*action_distribution(frozen, batch.following), noise[0])
        worth = jnp.minimum(*critic_values(learner.target, batch.following, after))
        target = batch.reward + batch.discount * (worth - temperature * density)
        both = critic_values(parameters, batch.observation, batch.action)
        critic_loss = 0.5 * jnp.mean(jnp.square(jnp.stack(both) - target)) * len(both)
        action, density = squash(*action_distribution(parameters, batch.observation), noise[1])
        worth = jnp.minimum(*critic_values(frozen, batch.observation, action))
        policy_loss = jnp.mean(temperature * density - worth)
        return critic_loss + policy_loss, LossTerms(
            critic_loss, policy_loss, -jnp.mean(density), temperature, jnp.mean(worth)
        )

    def update(
        learner: Learner, batch: Batch, key: Array, rate: Array
    ) -> tuple[Learner, LossTerms]:
        noise = jax.random.normal(key, (2, *batch.action.shape))
        (_, terms), gradients = jax.value_and_grad(loss, has_aux=True)(
            learner.parameters, learner, batch, noise
        )
        steps, state = optimiser.update(gradients, learner.optimiser, learner.parameters)
        parameters = jax.tree.map(lambda p, s: p - rate * s, learner.parameters, steps)
        target = _follow(learner.target, parameters, settings.target_rate)
        average = _follow(learner.average, parameters, settings.average_rate)
        surplus = terms.entropy + settings.entropy_below  # too random: a nat is worth less
        step, temperature_state = temperature_optimiser.update(
            surplus, learner.temperature_optimiser
        )
        cooled = learner.log_temperature - settings.temperature_rate * step
        return Learner(parameters, target, average, cooled, state, temperature_state), terms

    return update


def _part(parameters: Parameters, prefix: str) -> Parameters:
    return {name: array for name, array in parameters.items() if name.startswith(prefix)}


def _follow(slow: Parameters, parameters: Parameters, rate: float) -> Parameters:
    """Slow copies, a share `rate` nearer to their originals."""
    return {name: old + rate * (parameters[name] - old) for name, old in slow.items()}


def _optimiser(settings: SacSettings) -> optax.GradientTransformation:
    """Adam's direction; critics and policy have gradients of their own, clipped apart."""

    def label(parameters: Parameters) -> dict[str, str]:
        return {name: name.partition("_")[0] for name in parameters}

    def one() -> optax.GradientTransformation:
        return optax.chain(
            optax.clip_by_global_norm(settings.max_gradient_norm), optax.scale_by_adam(eps=1e-5)
        )

    return optax.partition({"policy": one(), "critic": one()}, label)
