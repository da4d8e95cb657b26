"""PPO's parts against plain-Python definitions, and a tiny training that repeats."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.learning.rollout import Batch, advantages, shuffle, unpack
from racer.learning.settings import MAX_HIDDEN, PpoSettings
from racer.policy.loading import MAX_WIDTH


def test_advantages_equal_their_definition() -> None:
    rng = np.random.default_rng(2)
    length, drones, discount, weight = 12, 3, 0.97, 0.9
    rewards, values = rng.normal(size=(2, length, drones)).astype(np.float32)
    last = rng.normal(size=drones).astype(np.float32)
    done = rng.uniform(size=(length, drones)) < 0.2
    found = advantages(
        jnp.asarray(rewards),
        jnp.asarray(values),
        jnp.asarray(last),
        jnp.asarray(done),
        discount=jnp.float32(discount),
        gae_lambda=jnp.float32(weight),
    )
    following = np.concatenate([values[1:], last[None]])
    for drone in range(drones):
        for start in range(length):
            total, factor = 0.0, 1.0
            for step in range(start, length):
                alive = 0.0 if done[step, drone] else 1.0
                bootstrap = discount * alive * following[step, drone]
                total += factor * (rewards[step, drone] + bootstrap - values[step, drone])
                factor *= discount * weight * alive
            assert float(found[start, drone]) == pytest.approx(total, abs=1e-4)


def test_a_shuffle_keeps_every_sample_whole_and_takes_each_once() -> None:
    length, drones, minibatches = 5, 12, 3
    number = np.arange(length * drones, dtype=np.float32).reshape(length, drones)
    wide = jnp.asarray(number[..., None] + 0.1 * np.arange(7, dtype=np.float32))
    batch = Batch(wide, wide[..., :4], *(jnp.asarray(number + share) for share in (0.1, 0.2, 0.3)))
    found = unpack(shuffle(batch, jax.random.key(0), minibatches=minibatches))
    again = unpack(shuffle(batch, jax.random.key(1), minibatches=minibatches))
    assert found.observation.shape == (minibatches, length * drones // minibatches, 7)
    first = np.asarray(found.observation[..., 0])
    assert sorted(first.ravel()) == list(range(length * drones))
    assert not np.array_equal(first, np.asarray(again.observation[..., 0]))
    assert np.asarray(found.action[..., 3]) == pytest.approx(first + 0.3)
    for share, column in zip((0.1, 0.2, 0.3), found[2:], strict=True):
        assert np.asarray(column) == pytest.approx(first + share)
    steps = first.reshape(minibatches, length, -1) // drones
    assert (steps == np.arange(length)[None, :, None]).all()  # of every step an equal share


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"num_envs": 0}, "num_envs"),
        ({"num_envs": 2.5}, "num_envs"),
        ({"learning_rate": "fast"}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"minibatches": 7}, "minibatches"),
        ({"averaging": 1.0}, "averaging"),
        ({"num_envs": 2**20}, "num_envs"),
        ({"num_envs": 10**400}, "num_envs"),
        ({"hidden": 1025}, "hidden"),
        ({"hidden": 1024, "num_envs": 2**13}, "hidden"),
        ({"initial_std": 0.0}, "initial_std"),
        ({"discount": 1.01}, "discount"),
        ({"along_course": 2.0}, "along_course"),
        ({"finish_value": 1.5}, "finish_value"),
        ({"learning_rate": 1e300}, "learning_rate"),
        ({"std_floor": float("inf")}, "std_floor"),
    ],
)
def test_wrong_hyperparameters_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        PpoSettings(**wrong)


def test_every_policy_that_may_be_trained_may_be_exported() -> None:
    assert MAX_HIDDEN == MAX_WIDTH
