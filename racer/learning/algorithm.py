"""What an algorithm is to the trainer: a few functions, built once for a world and its settings.

    algorithm = build("ppo", world, settings)
    parameters = algorithm.initial_parameters(seed)
    state = jax.jit(algorithm.initialise)(task, parameters, key)
    for epoch in range(1, epochs + 1):
        state, metrics = jax.jit(algorithm.epoch)(state, task, algorithm.schedule(epoch, epochs))
    parameters, normaliser = algorithm.policy(state)

racer.learning.training drives any of them; evaluation, export and flight see only the policy
(racer.learning.networks) and never ask who made it. An algorithm is a module of this package with
a `build` and a settings class (racer.learning.settings), named in `_MODULES`; only the chosen one
is imported.

Choices:
- The state belongs to the algorithm: any pytree of arrays, so that a whole epoch is one compiled
  program that owns (donates) it.
- What changes from epoch to epoch (learning rates, temperatures, horizons as masks) comes in as
  arrays, the schedule. The program is the same for every epoch, and for any number of them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, TypeAlias, cast

import jax

from racer.errors import InvalidInputError
from racer.learning.networks import Normaliser, Output, Parameters
from racer.learning.settings import AlgorithmSettings
from racer.sim.airframe import Airframe
from racer.sim.reward import Reward
from racer.sim.task import Settings, Task

Array: TypeAlias = jax.Array
State: TypeAlias = Any  # a pytree of arrays that only the algorithm looks into
Schedule: TypeAlias = Any  # a pytree of arrays, one epoch's

_MODULES = {
    "apg": "racer.learning.apg",
    "ppo": "racer.learning.ppo",
    "sac": "racer.learning.sac",
}


class World(NamedTuple):
    """What is learnt in; compiled into the programs."""

    airframe: Airframe
    simulation: Settings
    reward: Reward | None = None  # None: the built-in one


class Metrics(NamedTuple):
    """Means over an epoch, () each."""

    loss: Array  # what the optimiser brings down, in total
    reward: Array  # per control step of training flights
    crashes_per_flight: Array  # share of ended training flights that crashed
    details: dict[str, Array]  # the algorithm's own; its module says what each means


class Algorithm(NamedTuple):
    """Functions of one algorithm; `initialise`, `epoch` and `policy` are pure, for jax.jit."""

    initial_parameters: Callable[[int], Parameters]  # of a seed; not compiled
    initialise: Callable[[Task, Parameters, Array], State]  # task, parameters, PRNG key
    epoch: Callable[[State, Task, Schedule], tuple[State, Metrics]]
    policy: Callable[[State], tuple[Parameters, Normaliser]]
    weights: Callable[[State], Parameters]  # the policy's and the critics': all to begin with
    normalised_by: Callable[[State, Normaliser], State]  # a first state with other statistics
    schedule: Callable[[int, int], Schedule]  # of an epoch (1, 2, …) out of so many; not compiled
    output: Output  # what stands at the policy network's end
    steps_per_epoch: int  # control steps of training flights
    compiled_in: str | None = None  # settings that are constants of the programs; None: all are


def algorithms() -> list[str]:
    """Names that `build` knows."""
    return sorted(_MODULES)


def settings_class(name: str) -> type[AlgorithmSettings]:
    """The hyperparameters of an algorithm; InvalidInputError when there is none of that name."""
    return cast(type[AlgorithmSettings], _module(name).SETTINGS)


def build(name: str, world: World, settings: AlgorithmSettings) -> Algorithm:
    """The algorithm `name` for a world; `settings` must be of its settings class."""
    return cast(Algorithm, _module(name).build(world, settings))


def _module(name: str) -> Any:
    if name not in _MODULES:
        known = ", ".join(f"'{known}'" for known in algorithms())
        raise InvalidInputError(f"Unknown algorithm '{name}'. Choose one of {known}.")
    return import_module(_MODULES[name])
