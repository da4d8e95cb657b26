"""APG as one compiled program per epoch: policies learnt by gradients through the flight itself.

Short-horizon actor-critic (Xu et al., "Accelerated policy learning with parallel differentiable
simulation", ICLR 2022): fly `horizon` steps, walk back through them (racer.learning.adjoint), let
a critic stand for what comes behind, fit it to TD(λ) returns. Choices:
- The simulation flies, a simple response model is differentiated (racer.learning.response).
- The walk back starts at the critic's slope at the horizon and nowhere else: mixing its slope in
  at every step, as TD(λ) mixes values, learnt much worse. Values are good long before slopes are.
- Exploration noise has a fixed size: it scatters flights, the gradient does the rest.
- Like PPO's, flights that run out of time count as ended (racer.learning.ppo).

Its metrics: `value_loss` (squared error of the critic, halved), `expected_return` (mean of its
targets), `action_slope` (root mean square of what a unit of action is worth), `gradient_norm` (of
the policy's weights, before clipping). The loss is `value_loss` minus `expected_return`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from racer.errors import InvalidInputError
from racer.learning.adjoint import Flown, Guide, action_gradients
from racer.learning.algorithm import Algorithm, Metrics, World
from racer.learning.networks import (
    Normaliser,
    Parameters,
    initial_normaliser,
    initial_parameters,
    learn_normaliser,
    normalise,
    policy_mean,
    value,
)
from racer.learning.rollout import advantages
from racer.learning.settings import AlgorithmSettings
from racer.sim.environment import EnvironmentState, make_step, observe, reset
from racer.sim.interface import ACTION_SIZE
from racer.sim.reward import BuiltInReward
from racer.sim.task import Task

Array: TypeAlias = jax.Array


@dataclasses.dataclass(frozen=True)
class ApgSettings(AlgorithmSettings):
    """Analytic policy gradients; docs/decisions/0010-algorithms.md has the numbers behind these."""

    num_envs: int = 256  # drones flown at once
    horizon: int = 32  # control steps that a gradient looks back through
    iterations_per_epoch: int = 20  # rollouts, with one policy update each, that make one epoch
    value_epochs: int = 4  # passes of the critic over a rollout
    value_minibatches: int = 4  # per pass
    hidden: int = 64  # units in each of the two hidden layers, of policy and critic each
    learning_rate: float = 4e-3  # of the policy's Adam; falls linearly over the training
    value_learning_rate: float = 4e-3  # of the critic's; falls likewise
    final_learning_rate: float = 0.1  # share of both that is left at the end
    discount: float = 0.98  # per control step
    gae_lambda: float = 0.95  # bias against variance of the critic's targets
    initial_std: float = 0.2  # of the action noise, in units of the limits; it stays
    guide: float = 1.0  # slope of the soft gate, in rewards (racer.learning.adjoint.Guide)
    guide_softness_m: float = 0.15  # width of its edge
    max_slope: float = 2.0  # of a drone's return in its state; longer ones are shortened
    max_gradient_norm: float = 1.0  # gradients longer than this are shortened
    along_course: float = 0.8  # share of training flights that start somewhere on the course

    def __post_init__(self) -> None:
        super().__post_init__()
        samples = self.num_envs * self.horizon
        if samples % self.value_minibatches:
            raise InvalidInputError(
                f"Training: 'value_minibatches' must divide num_envs × horizon = {samples}."
            )
        if samples > 2**20:
            raise InvalidInputError("Training: num_envs × horizon must be 1,048,576 or less.")


SETTINGS = ApgSettings


class TrainState(NamedTuple):
    """Everything that one epoch hands to the next."""

    policy: Parameters
    critic: Parameters
    policy_optimiser: optax.OptState
    critic_optimiser: optax.OptState
    normaliser: Normaliser
    environments: EnvironmentState  # (num_envs,)
    key: Array


class _Steps(NamedTuple):
    """What a rollout records beside Flown, (T, N, ...) each."""

    raw: Array  # observations before normalisation, (T, N, O)
    reward: Array
    done: Array
    crashed: Array


_Rollout: TypeAlias = Callable[
    [TrainState, Task, Array], tuple[EnvironmentState, tuple[Flown, _Steps]]
]


def build(world: World, settings: AlgorithmSettings) -> Algorithm:
    """APG for a world (racer.learning.algorithm); `settings` are ApgSettings."""
    if not isinstance(settings, ApgSettings):
        raise TypeError(f"APG needs ApgSettings, not {type(settings).__name__}.")

    def parameters(seed: int) -> Parameters:
        return initial_parameters(
            seed,
            observation_size=world.simulation.observation_size,
            action_size=ACTION_SIZE,
            hidden=settings.hidden,
            initial_std=settings.initial_std,
        )

    def schedule(epoch: int, epochs: int) -> Any:
        """(iterations_per_epoch,) shares of the learning rates: a straight line down."""
        per_epoch = settings.iterations_per_epoch
        shares = (np.arange(per_epoch) + (epoch - 1) * per_epoch) / (epochs * per_epoch)
        return (1.0 - (1.0 - settings.final_learning_rate) * shares).astype(np.float32)

    return Algorithm(
        initial_parameters=parameters,
        initialise=partial(_initialise, world=world, settings=settings),
        epoch=_make_epoch(world, settings),
        policy=lambda state: (state.policy, state.normaliser),
        weights=lambda state: state.policy | state.critic,
        normalised_by=lambda state, normaliser: state._replace(normaliser=normaliser),
        schedule=schedule,
        output="linear",
        steps_per_epoch=settings.num_envs * settings.horizon * settings.iterations_per_epoch,
    )


def _initialise(
    task: Task, parameters: Parameters, key: Array, *, world: World, settings: ApgSettings
) -> TrainState:
    """Drones spread over the course, observation statistics of those starts, empty moments."""
    airframe, simulation, reward = world
    fly_key, key = jax.random.split(key)
    environments = reset(
        task,
        fly_key,
        (settings.num_envs,),
        airframe=airframe,
        along_course=settings.along_course,
        reward=reward,
    )
    policy, critic = (
        {name: array for name, array in parameters.items() if name.startswith(part)}
        for part in ("policy_", "value_")
    )
    return TrainState(
        policy=policy,
        critic=critic,
        policy_optimiser=_policy_optimiser(settings).init(policy),
        critic_optimiser=_critic_optimiser(settings).init(critic),
        normaliser=learn_normaliser(
            initial_normaliser(simulation.observation_size),
            observe(task, environments, simulation),
        ),
        environments=environments,
        key=key,
    )


def _make_epoch(
    world: World, settings: ApgSettings
) -> Callable[[TrainState, Task, Array], tuple[TrainState, Metrics]]:
    rollout = _make_rollout(world, settings)
    optimiser = _policy_optimiser(settings)
    guide = Guide(
        radius_m=world.airframe.body.collision_radius_m,
        pull=settings.guide,
        softness_m=settings.guide_softness_m,
        inner=world.reward or BuiltInReward(space=world.simulation.action_space),
    )

    def iteration(state: TrainState, task: Task, share: Array) -> tuple[TrainState, Metrics]:
        key, fly_key, shuffle_key = jax.random.split(state.key, 3)
        end, (flown, steps) = rollout(state, task, fly_key)
        seen = observe(task, end, world.simulation)
        after = normalise(state.normaliser, seen)
        last, pull = jax.vjp(lambda seen: value(state.critic, seen), after)
        worth = action_gradients(
            flown,
            end,
            *pull(jnp.ones_like(last)),
            task=task,
            policy=state.policy,
            normaliser=state.normaliser,
            world=world,
            reward=guide,
            discount=settings.discount,
            max_slope=settings.max_slope,
        )
        _, pull = jax.vjp(lambda policy: policy_mean(policy, flown.observation), state.policy)
        (gradients,) = pull(-worth / steps.reward.size)
        changes, policy_optimiser = optimiser.update(gradients, state.policy_optimiser)
        rate = settings.learning_rate * share
        values = value(state.critic, flown.observation)
        targets = values + advantages(
            steps.reward,
            values,
            last,
            steps.done,
            discount=jnp.float32(settings.discount),
            gae_lambda=jnp.float32(settings.gae_lambda),
        )
        critic, critic_optimiser, value_loss = _fit(
            state, flown.observation, targets, shuffle_key, share, settings=settings
        )
        metrics = Metrics(
            loss=value_loss - jnp.mean(targets),
            reward=jnp.mean(steps.reward),
            crashes_per_flight=jnp.sum(steps.crashed) / jnp.maximum(jnp.sum(steps.done), 1),
            details={
                "value_loss": value_loss,
                "expected_return": jnp.mean(targets),
                "action_slope": jnp.sqrt(jnp.mean(worth * worth)),
                "gradient_norm": optax.tree.norm(gradients),
            },
        )
        return TrainState(
            policy=jax.tree.map(lambda p, c: p - rate * c, state.policy, changes),
            critic=critic,
            policy_optimiser=policy_optimiser,
            critic_optimiser=critic_optimiser,
            normaliser=learn_normaliser(
                state.normaliser, steps.raw.reshape(-1, world.simulation.observation_size)
            ),
            environments=end,
            key=key,
        ), metrics

    def epoch(state: TrainState, task: Task, shares: Array) -> tuple[TrainState, Metrics]:
        state, metrics = jax.lax.scan(lambda s, share: iteration(s, task, share), state, shares)
        return state, jax.tree.map(jnp.mean, metrics)

    return epoch


def _make_rollout(world: World, settings: ApgSettings) -> _Rollout:
    airframe, simulation, reward = world
    step = make_step(airframe, simulation, reward)
    length, drones = settings.horizon, settings.num_envs

    def rollout(
        state: TrainState, task: Task, key: Array
    ) -> tuple[EnvironmentState, tuple[Flown, _Steps]]:
        """Fly every drone `horizon` steps with exploration noise."""
        keys = jax.random.split(key, 3)
        spare = reset(
            task,
            keys[0],
            (drones,),
            airframe=airframe,
            along_course=settings.along_course,
            reward=reward,
        )
        noise = settings.initial_std * jax.random.normal(keys[1], (length, drones, ACTION_SIZE))
        gusts = jax.random.normal(keys[2], (length, drones, 3))

        def control_step(
            now: EnvironmentState, random: tuple[Array, Array]
        ) -> tuple[EnvironmentState, tuple[Flown, _Steps]]:
            raw = observe(task, now, simulation)
            observation = normalise(state.normaliser, raw)
            action = policy_mean(state.policy, observation) + random[0]
            following, outcome = step(task, now, action, random[1], spare)
            return following, (
                Flown(now, observation, action, outcome.flown),
                _Steps(raw, outcome.reward, outcome.done, outcome.crashed),
            )

        return jax.lax.scan(control_step, state.environments, (noise, gusts))

    return rollout


def _fit(
    state: TrainState,
    observations: Array,
    targets: Array,
    key: Array,
    share: Array,
    *,
    settings: ApgSettings,
) -> tuple[Parameters, optax.OptState, Array]:
    """The critic after `value_epochs` passes over (T, N) targets, its optimiser, its mean loss."""
    optimiser = _critic_optimiser(settings)
    order = jax.random.permutation(key, targets.size).reshape(settings.value_minibatches, -1)
    samples = observations.reshape(targets.size, -1)[order], targets.reshape(-1)[order]

    def loss(critic: Parameters, seen: Array, wanted: Array) -> Array:
        return 0.5 * jnp.mean((value(critic, seen) - wanted) ** 2)

    def update(
        carry: tuple[Parameters, optax.OptState], batch: tuple[Array, Array]
    ) -> tuple[tuple[Parameters, optax.OptState], Array]:
        critic, moments = carry
        error, gradients = jax.value_and_grad(loss)(critic, *batch)
        changes, moments = optimiser.update(gradients, moments)
        rate = settings.value_learning_rate * share
        return (jax.tree.map(lambda p, c: p - rate * c, critic, changes), moments), error

    (critic, moments), errors = jax.lax.scan(
        lambda carry, _: jax.lax.scan(update, carry, samples),
        (state.critic, state.critic_optimiser),
        None,
        length=settings.value_epochs,
    )
    return critic, moments, jnp.mean(errors)


def _policy_optimiser(settings: ApgSettings) -> optax.GradientTransformation:
    """Adam's direction with a short memory: the gradient changes fast and has little noise."""
    return optax.chain(
        optax.clip_by_global_norm(settings.max_gradient_norm),
        optax.scale_by_adam(b1=0.7, b2=0.95, eps=1e-8),
    )


def _critic_optimiser(settings: ApgSettings) -> optax.GradientTransformation:
    """Adam's direction with the usual memory, as in PPO."""
    return optax.chain(
        optax.clip_by_global_norm(settings.max_gradient_norm), optax.scale_by_adam(eps=1e-5)
    )
