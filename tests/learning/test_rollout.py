"""What lies behind the end of a flight, in the values that PPO learns."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from racer.learning.networks import initial_normaliser, initial_parameters, normalise, value
from racer.learning.rollout import Batch, Steps, rate

T, N, SIZE = 4, 3, 5
DISCOUNT = 0.9
PARAMETERS = initial_parameters(3, observation_size=SIZE, action_size=4, hidden=8, initial_std=0.5)
NORMALISER = initial_normaliser(SIZE)
OBSERVATIONS = np.random.default_rng(1).normal(size=(T, N, SIZE)).astype(np.float32)


def rated(*, finish_value: float) -> Batch:
    """Drone 0 flies on, drone 1 finishes in the third step, drone 2 crashes there."""
    done = np.zeros((T, N), bool)
    done[2, 1:] = True
    crashed = np.zeros((T, N), bool)
    crashed[2, 2] = True
    steps = Steps(
        observation=jnp.asarray(OBSERVATIONS),
        action=jnp.zeros((T, N, 4)),
        log_probability=jnp.zeros((T, N)),
        reward=jnp.ones((T, N)),
        done=jnp.asarray(done),
        crashed=jnp.asarray(crashed),
    )
    return rate(
        PARAMETERS,
        NORMALISER,
        steps,
        jnp.asarray(OBSERVATIONS[-1]),
        discount=jnp.float32(DISCOUNT),
        gae_lambda=jnp.float32(0.0),
        finish_value=jnp.float32(finish_value),
    )


def test_behind_a_finish_lies_the_mean_value_and_behind_a_crash_nothing() -> None:
    mean = float(jnp.mean(value(PARAMETERS, normalise(NORMALISER, jnp.asarray(OBSERVATIONS)))))
    assert abs(mean) > 1e-3
    plain, valued = rated(finish_value=0.0), rated(finish_value=1.0)
    assert plain.target[2, 1:] == pytest.approx(1.0, abs=1e-5)
    assert float(valued.target[2, 1]) == pytest.approx(1.0 + DISCOUNT * mean, abs=1e-5)
    assert float(valued.target[2, 2]) == pytest.approx(1.0, abs=1e-5)
    same = np.ones((T, N), bool)
    same[2, 1] = False
    assert np.array_equal(plain.target[same], valued.target[same])
