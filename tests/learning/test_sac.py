"""SAC's parts against their definitions, a problem with a known best action, and a training."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.learning.algorithm import World, build
from racer.learning.networks import Normaliser
from racer.learning.replay import Batch, Buffer, Steps, draw, initial_buffer, write
from racer.learning.sac import Learner, SacSettings, initial_learner, make_update
from racer.learning.squashed import action_distribution, initial_networks, squash
from racer.sim.airframe import load_airframe
from racer.sim.interface import ACTION_SIZE
from racer.sim.task import Settings as Simulation
from racer.sim.task import make_task
from racer.sim.track import load_track
from tests.learning.conftest import quick_jit

SLOTS, DRONES, LENGTH = 8, 3, 4


@pytest.mark.parametrize(("mean", "std"), [(0.0, 0.4), (1.5, 0.7), (-0.5, 0.1)])
def test_the_squashed_density_integrates_to_one(mean: float, std: float) -> None:
    edges = np.tanh(np.linspace(mean - 7.0 * std, mean + 7.0 * std, 20_001))
    middle = 0.5 * (edges[1:] + edges[:-1])
    noise = (np.arctanh(middle) - mean) / std
    shape = (len(noise), 1)
    action, density = quick_jit(squash)(
        jnp.full(shape, mean), jnp.full(shape, math.log(std)), jnp.asarray(noise[:, None])
    )
    assert np.asarray(action[:, 0]) == pytest.approx(middle, abs=1e-4)
    total = float(np.sum(np.exp(np.asarray(density, np.float64)) * np.diff(edges)))
    assert total == pytest.approx(1.0, abs=2e-3)


def test_the_density_of_an_action_at_its_limit_is_a_number() -> None:
    far = jnp.array([[30.0], [-30.0]])
    density, slope = quick_jit(
        jax.value_and_grad(lambda m: squash(m, jnp.zeros_like(m), jnp.zeros_like(m))[1].sum())
    )(far)
    assert np.isfinite(float(density))
    assert np.asarray(slope) == pytest.approx(np.array([[2.0], [-2.0]]), abs=1e-5)


def steps(first: int) -> Steps:
    """Observations that say which step and drone they are; some flights end."""
    step = first + np.arange(LENGTH)[:, None]
    drone = np.arange(DRONES)[None]
    seen = np.stack(np.broadcast_arrays(step, drone), axis=-1).astype(np.float32)
    action = np.repeat(seen[..., :1], ACTION_SIZE, axis=-1)
    reward = (0.1 * step + drone).astype(np.float32)
    done = (step + drone) % 5 == 0
    return Steps(*(jnp.asarray(part) for part in (seen, action, reward, done, done)))


def test_the_ring_keeps_the_newest_and_draws_what_follows_each_step() -> None:
    buffer: Buffer = initial_buffer(SLOTS, DRONES, 2)
    put = quick_jit(write)
    for first in range(0, 5 * LENGTH, LENGTH):
        buffer = put(buffer, steps(first))
    assert int(buffer.written) == 20
    assert sorted(np.asarray(buffer.observation[:, 0, 0]).tolist()) == list(range(12, 20))
    plain = Normaliser(jnp.zeros(2), jnp.full(2, 1e2), jnp.float32(1.0))
    batch: Batch = quick_jit(
        lambda key: draw(buffer, plain, key, size=256, n_step=3, discount=0.5)
    )(jax.random.key(0))
    met = set()
    for row in range(256):
        step, drone = (round(float(x) * 10.0) for x in batch.observation[row])
        met.add(step)
        total, factor = 0.0, 1.0
        for now in range(step, step + 3):
            total += factor * (0.1 * now + drone)
            factor *= 0.0 if (now + drone) % 5 == 0 else 0.5
        assert float(batch.reward[row]) == pytest.approx(total, rel=1e-5)
        assert float(batch.discount[row]) == pytest.approx(factor)
        assert float(batch.action[row, 0]) == step
        if factor:
            following = np.asarray(batch.following[row]) * 10.0
            assert following == pytest.approx([min(step + 3, 50), drone], abs=0.1)
    assert met == set(range(12, 17))  # the last three have no three steps behind them yet


def test_the_update_finds_the_best_action_of_a_bandit() -> None:
    """Reward −4 Σ (a − best)², nothing behind it: the best action is known for every sight."""
    settings = SacSettings(hidden=32, learning_rate=5e-3, initial_temperature=0.05)
    update = make_update(settings)
    parameters = initial_networks(
        0, observation_size=2, action_size=ACTION_SIZE, hidden=32, initial_std=0.5
    )

    def best(seen: jax.Array) -> jax.Array:
        return jnp.stack([0.5 * seen[:, 0], -0.5 * seen[:, 1]] * 2, axis=-1)

    def learn(learner: Learner, key: jax.Array) -> tuple[Learner, jax.Array]:
        keys = jax.random.split(key, 3)
        seen = jax.random.uniform(keys[0], (256, 2), minval=-1.0, maxval=1.0)
        mean, log_std = action_distribution(learner.parameters, seen)
        action, _ = squash(mean, log_std, jax.random.normal(keys[1], mean.shape))
        reward = -4.0 * jnp.sum((action - best(seen)) ** 2, axis=-1)
        batch = Batch(seen, action, reward, seen, jnp.zeros(256))
        learner, terms = update(learner, batch, keys[2], jnp.float32(settings.learning_rate))
        return learner, terms.entropy

    learner, entropy = quick_jit(
        lambda: jax.lax.scan(
            learn, initial_learner(parameters, settings), jax.random.split(jax.random.key(1), 600)
        )
    )()
    grid = jnp.array([[x, y] for x in (-0.8, 0.0, 0.8) for y in (-0.8, 0.0, 0.8)])
    found = jnp.tanh(action_distribution(learner.parameters, grid)[0])
    assert np.asarray(found) == pytest.approx(np.asarray(best(grid)), abs=0.12)
    assert float(jnp.mean(entropy[-100:])) == pytest.approx(-settings.entropy_below, abs=0.5)
    apart = [jnp.abs(learner.average[n] - learner.parameters[n]).max() for n in learner.average]
    assert 0.0 < float(max(apart)) < 0.5  # what is handed out follows slowly


def test_a_small_training_improves_and_repeats_bit_for_bit() -> None:
    simulation = Simulation(substeps=4)
    settings = SacSettings(
        num_envs=32,
        rollout_steps=8,
        n_step=4,
        buffer_steps=64,
        iterations_per_epoch=16,
        updates=8,
        batch_size=256,
        hidden=16,
    )
    algorithm = build("sac", World(load_airframe("x500"), simulation), settings)
    task = make_task(load_track("toledo"), simulation, velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
    parameters, key = algorithm.initial_parameters(0), jax.random.key(0)
    initialise, epoch = quick_jit(algorithm.initialise), quick_jit(algorithm.epoch)

    def train() -> list[Any]:
        state, seen = initialise(task, parameters, key), []
        for number in (1, 2, 3):
            state, metrics = epoch(state, task, algorithm.schedule(number, 3))
            seen.append(jax.device_get(metrics))
        policy, _ = algorithm.policy(state)
        assert {f"policy_{layer}_weight" for layer in ("1", "2", "out")} <= set(policy)
        return [seen, jax.device_get(policy)]

    first, again = train(), train()
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, first, again)))
    assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(first[0]))
    begin, _, end = first[0]
    assert end.reward > begin.reward
    assert end.details["critic_loss"] < begin.details["critic_loss"]
    assert algorithm.steps_per_epoch == 32 * 8 * 16


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"n_step": 16}, "n_step"),
        ({"buffer_steps": 100}, "buffer_steps"),
        ({"num_envs": 2**20}, "num_envs"),
        ({"batch_size": 2**20}, "batch_size"),
        ({"target_rate": 1.5}, "target_rate"),
        ({"initial_temperature": 0.0}, "initial_temperature"),
        ({"updates": 0}, "updates"),
    ],
)
def test_wrong_hyperparameters_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        SacSettings(**wrong)
