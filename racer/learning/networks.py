"""The policy and value networks, and the normalisation of what they see.

Two hidden layers of SiLU units each, separate for policy and value (sharing them couples the two
losses and learnt more slowly here). A diagonal Gaussian whose spread does not depend on the
observation; its mean flies alone in evaluation. Weights are a flat dictionary of arrays, which
is also the layout of the saved file.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

Array: TypeAlias = jax.Array
Parameters: TypeAlias = dict[str, Array]
Output: TypeAlias = Literal["linear", "tanh"]  # after the policy's last layer
_MAX_NORMALISED = 5.0


class Normaliser(NamedTuple):
    """Running mean and variance of observations."""

    mean: Array  # (O,)
    variance: Array  # (O,)
    seen: Array  # () observations so far


def initial_normaliser(size: int) -> Normaliser:
    """Knows nothing yet: passes observations through."""
    return Normaliser(jnp.zeros(size), jnp.ones(size), jnp.float32(0.0))


def learn_normaliser(normaliser: Normaliser, observations: Array) -> Normaliser:
    """Merge a batch (N, O) into the running statistics."""
    mean, variance = jnp.mean(observations, axis=0), jnp.var(observations, axis=0)
    return merge_statistics(normaliser, mean, variance, observations.shape[0])


def merge_statistics(
    normaliser: Normaliser, mean: Array, variance: Array, count: float
) -> Normaliser:
    """Merge `count` observations of a mean and a variance (O,) (Chan et al. 1983)."""
    total = normaliser.seen + count
    delta = mean - normaliser.mean
    share = count / total
    return Normaliser(
        mean=normaliser.mean + share * delta,
        variance=(1.0 - share) * normaliser.variance
        + share * variance
        + share * (1.0 - share) * delta**2,
        seen=total,
    )


def normalise(normaliser: Normaliser, observations: Array) -> Array:
    """Zero mean, unit variance, clipped to ±5."""
    scale = jax.lax.rsqrt(normaliser.variance + 1e-4)
    return jnp.clip((observations - normaliser.mean) * scale, -_MAX_NORMALISED, _MAX_NORMALISED)


def initial_parameters(
    seed: int, *, observation_size: int, action_size: int, hidden: int, initial_std: float
) -> Parameters:
    """Orthogonal weights; the policy's last layer is small, so that flying begins gently.

    Made by NumPy: compiling JAX's orthogonal initialiser takes longer than all of
    its use, and its first conversion of a float64 a fifth of a second.
    """
    layers = {
        "policy_1": (observation_size, hidden, math.sqrt(2.0)),
        "policy_2": (hidden, hidden, math.sqrt(2.0)),
        "policy_out": (hidden, action_size, 0.01),
        "value_1": (observation_size, hidden, math.sqrt(2.0)),
        "value_2": (hidden, hidden, math.sqrt(2.0)),
        "value_out": (hidden, 1, 1.0),
    }
    generator = np.random.default_rng(seed)
    arrays = {"policy_log_std": np.full(action_size, math.log(initial_std))}
    for name, (inputs, outputs, gain) in layers.items():
        square = generator.normal(size=(max(inputs, outputs), min(inputs, outputs)))
        q, r = np.linalg.qr(square)
        q = q * np.sign(np.diag(r))  # uniform over the orthogonal matrices
        arrays[f"{name}_weight"] = gain * (q if inputs >= outputs else q.T)
        arrays[f"{name}_bias"] = np.zeros(outputs)
    return {name: jax.device_put(array.astype(np.float32)) for name, array in arrays.items()}


def policy_mean(parameters: Parameters, normalised: Array, output: Output = "linear") -> Array:
    """The action (..., A) without exploration, for normalised observations (..., O)."""
    last = _perceptron(parameters, "policy", normalised)
    return jnp.tanh(last) if output == "tanh" else last


def value(parameters: Parameters, normalised: Array) -> Array:
    """Expected discounted reward (...) for normalised observations (..., O)."""
    return _perceptron(parameters, "value", normalised)[..., 0]


def log_probability(noise: Array, log_std: Array) -> Array:
    """Log density (...) of actions `noise` (..., A) standard deviations away from the mean."""
    constant = 0.5 * math.log(2.0 * math.pi)
    return -jnp.sum(0.5 * noise * noise + log_std + constant, axis=-1)


def entropy(log_std: Array) -> Array:
    """Differential entropy () of the action distribution, nats."""
    return jnp.sum(log_std + 0.5 * math.log(2.0 * math.pi * math.e))


def policy_features(parameters: Parameters, normalised: Array) -> Array:
    """The policy's last hidden layer (..., H), for algorithms that hang another head on it."""
    return _hidden(parameters, "policy", normalised)


def _perceptron(parameters: Parameters, name: str, x: Array) -> Array:
    x = _hidden(parameters, name, x)
    return x @ parameters[f"{name}_out_weight"] + parameters[f"{name}_out_bias"]


def _hidden(parameters: Parameters, name: str, x: Array) -> Array:
    for layer in ("1", "2"):
        weight, bias = parameters[f"{name}_{layer}_weight"], parameters[f"{name}_{layer}_bias"]
        x = jax.nn.silu(x @ weight + bias)
    return x
