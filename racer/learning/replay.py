"""What SAC remembers: a ring of control steps on the device, and samples drawn from it.

The ring is time slots × drones and holds every observation once. A sample is a drone at a slot
with its next n rewards, summed when drawn, so that looking n steps ahead costs no memory; the
value behind them is taken where the ring says the drone then was. Observations are stored raw and
normalised with the newest statistics when drawn.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from racer.learning.networks import Normaliser, normalise
from racer.sim.interface import ACTION_SIZE

Array: TypeAlias = jax.Array


class Buffer(NamedTuple):
    """The newest control steps, a ring along the first axis; L slots of N drones."""

    observation: Array  # (L, N, O), raw
    action: Array  # (L, N, A)
    reward: Array  # (L, N)
    done: Array  # (L, N) bool
    written: Array  # () int32: steps written since the beginning


class Steps(NamedTuple):
    """What a rollout records, (T, N, ...) each."""

    observation: Array
    action: Array
    reward: Array
    done: Array
    crashed: Array


class Batch(NamedTuple):
    """Drawn samples, (B, ...) each."""

    observation: Array  # (B, O), normalised
    action: Array  # (B, A)
    reward: Array  # (B,): discounted sum of up to n rewards
    following: Array  # (B, O), normalised: where the value is taken
    discount: Array  # (B,): of that value; 0 when the flight ended before


def initial_buffer(slots: int, drones: int, observation_size: int) -> Buffer:
    """An empty ring."""
    return Buffer(
        observation=jnp.zeros((slots, drones, observation_size)),
        action=jnp.zeros((slots, drones, ACTION_SIZE)),
        reward=jnp.zeros((slots, drones)),
        done=jnp.zeros((slots, drones), bool),
        written=jnp.int32(0),
    )


def write(buffer: Buffer, steps: Steps) -> Buffer:
    """Put a rollout (T, N) in the place of the oldest; T divides the buffer's length."""
    at = buffer.written % buffer.reward.shape[0]

    def put(ring: Array, new: Array) -> Array:
        return jax.lax.dynamic_update_slice_in_dim(ring, new, at, axis=0)

    return Buffer(
        observation=put(buffer.observation, steps.observation),
        action=put(buffer.action, steps.action),
        reward=put(buffer.reward, steps.reward),
        done=put(buffer.done, steps.done),
        written=buffer.written + steps.reward.shape[0],
    )


def draw(
    buffer: Buffer, normaliser: Normaliser, key: Array, *, size: int, n_step: int, discount: float
) -> Batch:
    """`size` samples, uniform over the buffer's steps that have `n_step` successors."""
    slots, drones = buffer.reward.shape
    slot_key, drone_key = jax.random.split(key)
    stored = jnp.minimum(buffer.written, slots)
    age = jax.random.randint(slot_key, (size,), n_step, stored)  # 0: the newest step
    first = (buffer.written - 1 - age) % slots
    drone = jax.random.randint(drone_key, (size,), 0, drones)
    rows = (first[:, None] + jnp.arange(n_step + 1)) % slots  # (B, n + 1)
    rewards = buffer.reward[rows[:, :-1], drone[:, None]]
    goes_on = jnp.cumprod(1.0 - buffer.done[rows[:, :-1], drone[:, None]], axis=1)
    factors = discount ** jnp.arange(n_step)
    before = jnp.concatenate([jnp.ones((size, 1)), goes_on[:, :-1]], axis=1)
    return Batch(
        observation=normalise(normaliser, buffer.observation[first, drone]),
        action=buffer.action[first, drone],
        reward=jnp.sum(rewards * before * factors, axis=1),
        following=normalise(normaliser, buffer.observation[rows[:, -1], drone]),
        discount=discount**n_step * goes_on[:, -1],
    )
