"""Weights that a training leaves, and those that another one begins with.

Choices: a training that continues another takes over networks and observation statistics, no
more. Optimiser, schedules, temperature and replay buffer begin anew, since course, limits and
reward may be other ones. So it compiles nothing of its own, and repeats as every training does.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

from racer.learning.algorithm import Algorithm, State
from racer.learning.config import TrainingConfig
from racer.learning.files import write_tensors
from racer.learning.networks import Normaliser, Parameters
from racer.policy.weights import (
    CHECKSUM,
    NORMALISATION,
    Weights,
    checksum,
    read_initial,
    refuse_misfits,
    refuse_others,
)
from racer.sim.task import Task


def write_weights(
    path: Path, parameters: Parameters, normaliser: Normaliser, *, metadata: Mapping[str, str]
) -> None:
    """A `policy.safetensors`: parameters, statistics, their checksum and further texts."""
    named = {f"{NORMALISATION}{name}": array for name, array in normaliser._asdict().items()}
    tensors = {name: np.asarray(array) for name, array in (parameters | named).items()}
    write_tensors(path, tensors, metadata={CHECKSUM: checksum(tensors), **metadata})


def known_weights(
    config: TrainingConfig, folder: Path, algorithm: Algorithm, *, observation_size: int
) -> Weights | None:
    """What `config.initial` names, None for random numbers.

    Raises InvalidInputError when it is damaged or of another kind, and says what differs;
    NotFoundError when it is not there.
    """
    if config.initial is None:
        return None
    weights = read_initial(folder / config.initial)
    refuse_others(weights, config.to_mapping())
    parameters = algorithm.initial_parameters(config.seed)
    refuse_misfits(
        weights,
        parameters={name: array.shape for name, array in parameters.items()},
        normalisation={"mean": (observation_size,), "variance": (observation_size,), "seen": ()},
    )
    return weights


def first_state(
    initialise: jax.stages.Compiled,
    algorithm: Algorithm,
    task: Task,
    *,
    seed: int,
    known: Weights | None,
) -> State:
    """Before the first epoch, on the host: cutting it into the devices' shares from there compiles
    nothing."""
    parameters = algorithm.initial_parameters(seed) if known is None else known.parameters
    state = jax.device_get(initialise(task, parameters, np.int32(seed)))
    if known is None:
        return state
    statistics = {name: jax.device_put(array) for name, array in known.normalisation.items()}
    return algorithm.normalised_by(state, Normaliser(**statistics))
