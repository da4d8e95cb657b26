"""PPO as one compiled program per epoch: rollout, advantages and updates never leave the device.

Choices, as in CleanRL's continuous PPO unless said; docs/decisions/0007-learning.md has figures:
- Every device (a core is one) flies its share of the drones and learns from it; gradients are
  averaged in every update, so all hold the same weights. XLA's own threads gain little here, the
  kernels are too small.
- Hyperparameters that are numbers come in as arrays with the schedule: another learning rate or
  discount reuses the compiled program. Only shapes are compiled in.
- Advantages by GAE, normalised over the rollout; one shuffle per rollout whose minibatches every
  pass revisits; observation statistics stay fixed while a rollout is learnt from, so that the
  probability ratio starts at one.
- The policy that is evaluated and saved is a moving average of the weights: what a single update
  does to all flights at once (a gate missed by a hand) averages out.
- A time-out ends a flight like a finish does; `finish_value` says what lies behind both, which on
  a course of many laps is more of the same.

Its metrics: `policy_loss`, `value_loss`, `entropy`, `kl`, `clipped` (LossTerms).
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec

from racer.learning.algorithm import Algorithm, Metrics, World
from racer.learning.networks import (
    Normaliser,
    Parameters,
    entropy,
    initial_normaliser,
    initial_parameters,
    log_probability,
    merge_statistics,
    policy_mean,
    value,
)
from racer.learning.rollout import Batch, make_rollout, rate, shuffle, unpack
from racer.learning.settings import AlgorithmSettings, PpoSettings
from racer.learning.starts import Starts, learn_starts, no_starts, restart_some, spare_states
from racer.sim.environment import EnvironmentState, observe, reset
from racer.sim.interface import ACTION_SIZE
from racer.sim.reward import BuiltInReward
from racer.sim.task import Task

Array: TypeAlias = jax.Array
SETTINGS = PpoSettings
_Learnt: TypeAlias = tuple[Array, Array, Any]  # weights, their average, Adam's moments
_DRONES = "drones"  # the axis that devices share
_COMPILED_IN = (
    "good_starts",
    "restarts",
    "num_envs",
    "rollout_steps",
    "update_epochs",
    "minibatches",
    "hidden",
    "along_course",
)


class TrainState(NamedTuple):
    """Everything that one epoch hands to the next."""

    parameters: Parameters  # that fly and learn
    average: Parameters  # of the parameters over the last updates: the policy that is shown
    optimiser: Any  # Adam's, of the weights as one vector
    normaliser: Normaliser
    reward_square: Array  # () running mean of squared rewards
    flown: Array  # () control steps of all drones so far; the statistics may know more
    environments: EnvironmentState  # (num_envs,); those of the first epoch are not flown
    starts: Starts  # likewise
    key: Array


class Schedule(NamedTuple):
    """Numbers of one epoch of I iterations."""

    learning_rate: Any  # (I,)
    std_floor: Any  # (I,)
    averaging: Any  # ()
    discount: Any  # and so on: PpoSettings says what they are
    gae_lambda: Any
    clip: Any
    value_weight: Any
    entropy_weight: Any
    max_gradient_norm: Any
    finish_value: Any


class LossTerms(NamedTuple):
    """The loss of a minibatch and what it is made of, () each; metrics hold an epoch's means."""

    loss: Array  # total: policy + value_weight · value − entropy_weight · entropy
    policy_loss: Array  # clipped surrogate
    value_loss: Array  # squared error of the returns, halved
    entropy: Array  # of the action distribution, nats
    kl: Array  # how far the policy moved from the one that flew, nats
    clipped: Array  # share of samples whose ratio left the clip range


def build(world: World, settings: AlgorithmSettings) -> Algorithm:
    """PPO for a world (racer.learning.algorithm); `settings` are PpoSettings."""
    if not isinstance(settings, PpoSettings):
        raise TypeError(f"PPO needs PpoSettings, not {type(settings).__name__}.")

    def parameters(seed: int) -> Parameters:
        return initial_parameters(
            seed,
            observation_size=world.simulation.observation_size,
            action_size=ACTION_SIZE,
            hidden=settings.hidden,
            initial_std=settings.initial_std,
        )

    learner = _Learner(world, settings)
    return Algorithm(
        initial_parameters=parameters,
        initialise=learner.initialise,
        epoch=learner.epoch,
        policy=lambda state: (state.average, state.normaliser),
        weights=lambda state: state.average,
        normalised_by=lambda state, normaliser: state._replace(normaliser=normaliser),
        schedule=lambda epoch, epochs: schedule(settings, epoch=epoch, epochs=epochs),
        output="linear",
        steps_per_epoch=settings.steps_per_epoch,
        compiled_in=repr([getattr(settings, name) for name in _COMPILED_IN]),
    )


def schedule(settings: PpoSettings, *, epoch: int, epochs: int) -> Schedule:
    """Of one epoch (1, 2, …): what changes does so on a straight line over the training."""
    per_epoch = settings.iterations_per_epoch
    shares = (np.arange(per_epoch) + (epoch - 1) * per_epoch) / (epochs * per_epoch)
    falling = 1.0 - (1.0 - settings.final_learning_rate) * shares
    floors = settings.std_floor + (settings.final_std_floor - settings.std_floor) * shares
    numbers = {name: np.float32(getattr(settings, name)) for name in Schedule._fields[2:]}
    return Schedule(
        learning_rate=(settings.learning_rate * falling).astype(np.float32),
        std_floor=floors.astype(np.float32),
        **numbers,
    )


class _Learner:
    """The functions of PPO for one world, settings and machine."""

    def __init__(self, world: World, settings: PpoSettings) -> None:
        self._world, self._settings = world, settings
        self._mesh = _mesh(settings)
        self._rollout = make_rollout(world, length=settings.rollout_steps)

    def initialise(self, task: Task, parameters: Parameters, key: Array) -> TrainState:
        """Empty moments and statistics; the first epoch begins with its own spare drones."""
        shape = (self._settings.num_envs,)
        like = jax.eval_shape(
            lambda: reset(
                task, key, shape, airframe=self._world.airframe, reward=self._world.reward
            )
        )
        nobody = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), like)
        return TrainState(
            parameters=parameters,
            average=jax.tree.map(jnp.array, parameters),
            optimiser=optax.scale_by_adam(eps=1e-5).init(ravel_pytree(parameters)[0]),
            normaliser=initial_normaliser(self._world.simulation.observation_size),
            reward_square=jnp.float32(0.0),
            flown=jnp.float32(0.0),
            environments=nobody,
            starts=no_starts(nobody),
            key=key,
        )

    def epoch(
        self, state: TrainState, task: Task, schedule: Schedule
    ) -> tuple[TrainState, Metrics]:
        """All iterations of an epoch, on every device its share of the drones."""
        everywhere: Any = PartitionSpec()  # type: ignore[no-untyped-call]  # JAX leaves it untyped
        share: Any = PartitionSpec(_DRONES)  # type: ignore[no-untyped-call]  # likewise
        shared = TrainState(
            parameters=everywhere,
            average=everywhere,
            optimiser=everywhere,
            normaliser=everywhere,
            reward_square=everywhere,
            flown=everywhere,
            environments=share,
            starts=share,
            key=everywhere,
        )
        run = jax.shard_map(
            self._share_of_epoch,
            mesh=self._mesh,
            in_specs=(shared, everywhere, everywhere),
            out_specs=(shared, everywhere),
            check_vma=False,  # averages make the rest equal everywhere
        )
        return run(state, task, schedule)

    def _share_of_epoch(
        self, state: TrainState, task: Task, schedule: Schedule
    ) -> tuple[TrainState, Metrics]:
        state, metrics = jax.lax.scan(
            lambda now, line: self._iteration(
                now, task, schedule._replace(learning_rate=line[0], std_floor=line[1])
            ),
            state,
            (schedule.learning_rate, schedule.std_floor),
        )
        means: Metrics = jax.tree.map(lambda metric: _mean(jnp.mean(metric)), metrics)
        return state, means

    def _iteration(
        self, state: TrainState, task: Task, schedule: Schedule
    ) -> tuple[TrainState, Metrics]:
        """Fly a rollout and learn from it."""
        key, own = jax.random.split(state.key)
        keys = jax.random.split(jax.random.fold_in(own, jax.lax.axis_index(_DRONES)), 3)
        parameters, normaliser = state.parameters, state.normaliser
        simulation = self._world.simulation
        spare, start, first = self._begin(state, task, keys[0])
        seen = observe(task, spare, simulation)
        normaliser = jax.tree.map(
            lambda a, b: jnp.where(first, a, b), _learn(normaliser, seen), normaliser
        )
        environments, steps = self._rollout((parameters, normaliser), start, spare, task, keys[1])
        square, scale = self._reward_scale(state, steps.reward, schedule)
        batch = rate(
            parameters,
            normaliser,
            steps._replace(reward=scale * steps.reward),
            observe(task, environments, simulation),
            discount=schedule.discount,
            gae_lambda=schedule.gae_lambda,
            finish_value=schedule.finish_value,
        )
        batch = batch._replace(advantage=_standardised(batch.advantage))
        samples = shuffle(batch, keys[2], minibatches=self._settings.minibatches)
        parameters, average, optimiser, terms = self._learn(state, samples, schedule)
        means = {name: jnp.mean(term) for name, term in terms._asdict().items()}
        metrics = Metrics(
            loss=means.pop("loss"),
            reward=jnp.mean(steps.reward),
            crashes_per_flight=jnp.sum(steps.crashed) / jnp.maximum(jnp.sum(steps.done), 1),
            details=means,
        )
        observations = steps.observation.reshape(-1, steps.observation.shape[-1])
        normaliser = _learn(normaliser, observations)
        starts = learn_starts(start, steps.reward, steps.done)
        flown = state.flown + steps.reward.size * jax.lax.axis_size(_DRONES)
        state = TrainState(
            parameters, average, optimiser, normaliser, square, flown, environments, starts, key
        )
        return state, metrics

    def _reward_scale(
        self, state: TrainState, reward: Array, schedule: Schedule
    ) -> tuple[Array, Array]:
        """Mean square of all rewards so far, and a factor that brings values to a size of one.

        The built-in reward has that size already; people's may be of any.
        """
        if self._world.reward is None or isinstance(self._world.reward, BuiltInReward):
            return state.reward_square, jnp.float32(1.0)
        flown = state.flown
        new = reward.size * jax.lax.axis_size(_DRONES)
        square = (flown * state.reward_square + new * _mean(jnp.mean(reward**2))) / (flown + new)
        return square, (1.0 - schedule.discount) * jax.lax.rsqrt(square + 1e-12)

    def _begin(
        self, state: TrainState, task: Task, key: Array
    ) -> tuple[EnvironmentState, EnvironmentState, Array]:
        """Drones that ended flights go on from, those that fly now, and whether nobody flew yet."""
        world = self._world._asdict()
        del world["simulation"]
        spare = spare_states(task, state.starts, key, settings=self._settings, **world)
        flying = restart_some(task, state.environments, key, settings=self._settings, **world)
        first = state.flown == 0.0
        return spare, jax.tree.map(lambda a, b: jnp.where(first, a, b), spare, flying), first

    def _learn(
        self, state: TrainState, samples: Array, schedule: Schedule
    ) -> tuple[Parameters, Parameters, Any, LossTerms]:
        """Several passes over the minibatches (M, S, numbers)."""
        vector, restore = ravel_pytree(state.parameters)
        average, _ = ravel_pytree(state.average)
        optimiser = optax.chain(
            optax.clip_by_global_norm(schedule.max_gradient_norm), optax.scale_by_adam(eps=1e-5)
        )

        def update(carry: _Learnt, packed: Array) -> tuple[_Learnt, LossTerms]:
            vector, average, moments = carry
            (_, terms), gradient = jax.value_and_grad(
                lambda vector: _loss(restore(vector), unpack(packed), schedule), has_aux=True
            )(vector)
            gradient = _mean(gradient)
            step, (_, moments) = optimiser.update(gradient, (optax.EmptyState(), moments))
            moved = restore(vector - schedule.learning_rate * step)
            log_std = jnp.maximum(moved["policy_log_std"], jnp.log(schedule.std_floor))
            vector = ravel_pytree(moved | {"policy_log_std": log_std})[0]
            average += (1.0 - schedule.averaging) * (vector - average)
            return (vector, average, moments), terms

        def one_pass(carry: _Learnt, _: None) -> tuple[_Learnt, LossTerms]:
            return jax.lax.scan(update, carry, samples)

        (vector, average, moments), terms = jax.lax.scan(
            one_pass, (vector, average, state.optimiser), None, length=self._settings.update_epochs
        )
        return restore(vector), restore(average), moments, terms


def _mesh(settings: PpoSettings) -> Mesh:
    """As many of this machine's devices as share drones and minibatches without remainder."""
    devices = jax.local_devices()
    count = len(devices)
    while settings.num_envs % (count * settings.minibatches):
        count -= 1
    return Mesh(np.array(devices[:count]), (_DRONES,))


def _mean(value: Array) -> Array:
    """Of all devices, which hold equal numbers of drones."""
    mean: Array = jax.lax.pmean(value, _DRONES)  # type: ignore[no-untyped-call]  # JAX
    return mean


def _learn(normaliser: Normaliser, observations: Array) -> Normaliser:
    """Add all devices' observations."""
    mean = _mean(jnp.mean(observations, axis=0))
    square = _mean(jnp.mean((observations - mean) ** 2, axis=0))
    count = observations.shape[0] * jax.lax.axis_size(_DRONES)
    return merge_statistics(normaliser, mean, square, count)


def _standardised(advantage: Array) -> Array:
    mean = _mean(jnp.mean(advantage))
    variance = _mean(jnp.mean((advantage - mean) ** 2))
    return (advantage - mean) * jax.lax.rsqrt(variance + 1e-8)


def _loss(parameters: Parameters, batch: Batch, schedule: Schedule) -> tuple[Array, LossTerms]:
    """The total loss of a minibatch, and its terms."""
    log_std = parameters["policy_log_std"]
    noise = (batch.action - policy_mean(parameters, batch.observation)) * jnp.exp(-log_std)
    log_ratio = log_probability(noise, log_std) - batch.log_probability
    ratio = jnp.exp(log_ratio)
    clipped = jnp.clip(ratio, 1.0 - schedule.clip, 1.0 + schedule.clip)
    policy_loss = -jnp.mean(jnp.minimum(ratio * batch.advantage, clipped * batch.advantage))
    value_loss = 0.5 * jnp.mean((value(parameters, batch.observation) - batch.target) ** 2)
    uncertainty = entropy(log_std)
    loss = policy_loss + schedule.value_weight * value_loss - schedule.entropy_weight * uncertainty
    kl = jnp.mean(ratio - 1.0 - log_ratio)  # Schulman's low-variance estimator
    outside = jnp.mean(jnp.abs(ratio - 1.0) > schedule.clip)
    return loss, LossTerms(loss, policy_loss, value_loss, uncertainty, kl, outside)
