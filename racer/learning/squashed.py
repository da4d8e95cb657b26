"""The networks of SAC: a Gaussian squashed by tanh, and critics that see the action.

The policy's mean has the layers and names of every other policy (racer.learning.networks), so
that it is evaluated, exported and flown by the same code with `output="tanh"`; the spread is one
more head on its last hidden layer. Critics normalise each hidden layer (Ba et al. 2016), which
keeps values of actions never tried from running away (Ball et al., "Efficient online
reinforcement learning with offline data", ICML 2023).
"""

from __future__ import annotations

import math
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from racer.learning.networks import Parameters, initial_parameters, policy_features

Array: TypeAlias = jax.Array
CRITICS = ("critic_a", "critic_b")
_LOG_STD_MIN, _LOG_STD_MAX = -5.0, 1.0


def initial_networks(
    seed: int, *, observation_size: int, action_size: int, hidden: int, initial_std: float
) -> Parameters:
    """Policy and two critics; orthogonal weights."""
    first = initial_parameters(
        seed,
        observation_size=observation_size,
        action_size=action_size,
        hidden=hidden,
        initial_std=initial_std,
    )
    policy = {
        name: array
        for name, array in first.items()
        if name.startswith("policy_") and name != "policy_log_std"
    }
    policy["policy_spread_weight"] = jnp.zeros((hidden, action_size), jnp.float32)
    policy["policy_spread_bias"] = jnp.full(action_size, math.log(initial_std), jnp.float32)
    for number, name in enumerate(CRITICS):
        drawn = initial_parameters(
            np.random.SeedSequence((seed, number + 1)).generate_state(1)[0],
            observation_size=observation_size + action_size,
            action_size=action_size,
            hidden=hidden,
            initial_std=initial_std,
        )
        policy |= {
            key.replace("value", name): array
            for key, array in drawn.items()
            if key.startswith("value_")
        }
    return policy


def action_distribution(parameters: Parameters, normalised: Array) -> tuple[Array, Array]:
    """Mean and log standard deviation (..., A) before tanh."""
    features = policy_features(parameters, normalised)
    mean = features @ parameters["policy_out_weight"] + parameters["policy_out_bias"]
    spread = features @ parameters["policy_spread_weight"] + parameters["policy_spread_bias"]
    return mean, jnp.clip(spread, _LOG_STD_MIN, _LOG_STD_MAX)


def squash(mean: Array, log_std: Array, noise: Array) -> tuple[Array, Array]:
    """Action tanh(u), u = mean + std · noise (..., A), and its log density (...).

    Haarnoja et al. 2018, appendix C: log π(a) = log N(u) − Σ log(1 − tanh² u), with
    1 − tanh² u = (2 / (eᵘ + e⁻ᵘ))² written so that it neither overflows nor cancels.
    """
    raw = mean + jnp.exp(log_std) * noise
    gaussian = -0.5 * noise * noise - log_std - 0.5 * math.log(2.0 * math.pi)
    shrink = 2.0 * (math.log(2.0) - raw - jax.nn.softplus(-2.0 * raw))
    return jnp.tanh(raw), jnp.sum(gaussian - shrink, axis=-1)


def critic_values(parameters: Parameters, normalised: Array, action: Array) -> tuple[Array, Array]:
    """Both critics' values (...) of actions (..., A) at normalised observations (..., O)."""
    both = jnp.concatenate([normalised, action], axis=-1)
    first, second = (_critic(parameters, name, both) for name in CRITICS)
    return first, second


def _critic(parameters: Parameters, name: str, x: Array) -> Array:
    for layer in ("1", "2"):
        x = x @ parameters[f"{name}_{layer}_weight"] + parameters[f"{name}_{layer}_bias"]
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        scale = jax.lax.rsqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + 1e-5)
        x = jax.nn.silu(centred * scale)
    out: Array = x @ parameters[f"{name}_out_weight"] + parameters[f"{name}_out_bias"]
    return out[..., 0]
