"""Normalisation and the action distribution against their definitions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.learning.networks import (
    entropy,
    initial_normaliser,
    initial_parameters,
    learn_normaliser,
    log_probability,
    normalise,
    policy_mean,
    value,
)


def test_statistics_learnt_in_parts_equal_those_of_the_whole() -> None:
    samples = np.random.default_rng(0).normal(3.0, 2.0, (500, 4)).astype(np.float32)
    normaliser = initial_normaliser(4)
    for part in (samples[:50], samples[50:51], samples[51:]):
        normaliser = learn_normaliser(normaliser, jnp.asarray(part))
    assert np.asarray(normaliser.mean) == pytest.approx(samples.mean(axis=0), rel=1e-4)
    assert np.asarray(normaliser.variance) == pytest.approx(samples.var(axis=0), rel=1e-3)
    assert float(normaliser.seen) == 500
    seen = np.asarray(normalise(normaliser, jnp.asarray(samples)))
    assert seen.mean(axis=0) == pytest.approx(np.zeros(4), abs=1e-3)
    assert seen.std(axis=0) == pytest.approx(np.ones(4), abs=1e-2)


def test_an_outlier_is_clipped() -> None:
    normaliser = learn_normaliser(initial_normaliser(1), jnp.array([[0.0], [1.0]]))
    assert float(normalise(normaliser, jnp.array([1e9]))[0]) == 5.0


def test_the_density_integrates_to_one_and_its_log_averages_to_minus_the_entropy() -> None:
    log_std = jnp.array([-0.7])
    std = float(jnp.exp(log_std)[0])
    grid = jnp.linspace(-8.0, 8.0, 20_001)  # in standard deviations
    density = jnp.exp(log_probability(grid[:, None], log_std))
    width = std * float(grid[1] - grid[0])
    assert float(density.sum()) * width == pytest.approx(1.0, abs=1e-3)
    plogp = density * jnp.log(density)
    assert -float(plogp.sum()) * width == pytest.approx(float(entropy(log_std)), abs=1e-3)


def test_a_new_policy_flies_gently() -> None:
    parameters = initial_parameters(
        0, observation_size=23, action_size=4, hidden=64, initial_std=0.4
    )
    observations = jax.random.normal(jax.random.key(1), (100, 23))
    means = policy_mean(parameters, observations)
    assert means.shape == (100, 4)
    assert float(jnp.abs(means).max()) < 0.1
    assert value(parameters, observations).shape == (100,)
    assert np.asarray(jnp.exp(parameters["policy_log_std"])) == pytest.approx(np.full(4, 0.4))
