"""Where training flights begin, beyond `reset`: from states that good flights were in.

A racer meets its hardest moments at full speed, where no reset puts it. So flights that end may go
on from where another drone was a rollout ago, if that drone has got along well since: the
curriculum follows the policy's own flights. A few flights begin anew at the start with every
rollout, or a policy that no longer crashes would never see the start again and forget it.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from racer.learning.settings import PpoSettings
from racer.sim.airframe import Airframe
from racer.sim.environment import EnvironmentState, reset
from racer.sim.reward import Reward
from racer.sim.state import choose
from racer.sim.task import Task

Array: TypeAlias = jax.Array
_STREAM = 0x57A27  # folded into keys, so that trainings without these starts stay as they were
_GOOD = 0.2  # of the mean reward: enough to have flown on, which a hovering drone does not


class Starts(NamedTuple):
    """Drones a rollout ago, N of them."""

    states: EnvironmentState  # (N,)
    good: Array  # (N,) bool: flew on ever since


def no_starts(environments: EnvironmentState) -> Starts:
    """Before the first rollout nobody has flown."""
    return Starts(environments, jnp.zeros_like(environments.passed, dtype=bool))


def learn_starts(environments: EnvironmentState, reward: Array, done: Array) -> Starts:
    """From the drones before a rollout and its rewards and ends, (T, N) each."""
    earned = jnp.sum(reward, axis=0)
    good = ~jnp.any(done, axis=0) & (earned > _GOOD * jnp.mean(earned)) & (earned > 0.0)
    return Starts(environments, good)


def spare_states(
    task: Task,
    starts: Starts,
    key: Array,
    *,
    airframe: Airframe,
    settings: PpoSettings,
    reward: Reward | None = None,
) -> EnvironmentState:
    """(N,) states that flights which end during a rollout go on from."""
    drones = starts.good.shape[0]
    along = settings.along_course
    anew = reset(task, key, (drones,), airframe=airframe, along_course=along, reward=reward)
    if settings.good_starts == 0.0:
        return anew
    keys = jax.random.split(jax.random.fold_in(key, _STREAM))
    weights = jnp.where(starts.good, 0.0, -jnp.inf)
    picked = jax.random.categorical(keys[0], weights, shape=(drones,))
    use = jax.random.uniform(keys[1], (drones,)) < settings.good_starts
    use &= jnp.any(starts.good)
    return choose(use, jax.tree.map(lambda leaf: leaf[picked], starts.states), anew)


def restart_some(
    task: Task,
    environments: EnvironmentState,
    key: Array,
    *,
    airframe: Airframe,
    settings: PpoSettings,
    reward: Reward | None = None,
) -> EnvironmentState:
    """Put the share `restarts` of the drones back to the start."""
    if settings.restarts == 0.0:
        return environments
    keys = jax.random.split(jax.random.fold_in(key, _STREAM + 1))
    drones = environments.passed.shape[0]
    anew = reset(task, keys[0], (drones,), airframe=airframe, reward=reward)
    use = jax.random.uniform(keys[1], (drones,)) < settings.restarts
    return choose(use, anew, environments)
