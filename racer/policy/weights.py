"""What a training may begin with: all networks of another one, its normalisation, a checksum.

The file is the `policy.safetensors` of the other training: policy and critics of its best epoch
(racer.learning.training writes it). No JAX here: the web process looks into it, too.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from racer.errors import InvalidInputError, NotFoundError

FloatArray: TypeAlias = NDArray[np.float32]

CHECKSUM = "sha256"  # key of the file's metadata
NORMALISATION = "observation_"  # begins the names of what is no network's
_LARGEST_BYTES = 2**26  # four networks of the widest layers there are take a quarter of this
MUST_AGREE = {"algorithm": "ppo", "action_space": "velocity"}  # keys and their defaults


@dataclass(frozen=True)
class Weights:
    """Networks as they were trained."""

    config: dict[str, Any]  # of the training that made them, defaults filled in
    parameters: dict[str, FloatArray]  # of policy and critics
    normalisation: dict[str, FloatArray]  # mean (O,), variance (O,), seen ()


def checksum(tensors: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names, types, shapes and numbers; their order does not matter."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype.str} {np.shape(tensor)}\n".encode())
        digest.update(tensor.tobytes())  # in C's order, whatever its own is
    return digest.hexdigest()


def read_initial(path: Path) -> Weights:
    """Raises NotFoundError without the file, InvalidInputError when it is damaged or no such one,
    OSError when it cannot be read."""
    if not path.is_file():
        raise NotFoundError(f"The weights to begin with are gone: there is no {path.name}.")
    if path.stat().st_size > _LARGEST_BYTES:
        raise InvalidInputError(f"{path.name} is too large for the weights of a training.")
    try:
        with safe_open(path, framework="numpy") as file:
            told = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config = json.loads(told["config"])
        expected = told[CHECKSUM]
    except KeyError as error:
        raise InvalidInputError(
            f"{path.name} does not tell its {error}: it was made by an older release. Train again."
        ) from error
    except (SafetensorError, ValueError) as error:
        raise InvalidInputError(f"{path.name} holds no weights of a training: {error}.") from error
    if checksum(tensors) != expected:
        raise InvalidInputError(f"{path.name} is damaged: its checksum is wrong.")
    networks = {n: t for n, t in tensors.items() if not n.startswith(NORMALISATION)}
    return Weights(
        config=config,
        parameters=networks,
        normalisation={
            name.removeprefix(NORMALISATION): tensor
            for name, tensor in tensors.items()
            if name not in networks
        },
    )


def refuse_others(weights: Weights, config: Mapping[str, Any]) -> None:
    """Raises InvalidInputError when a configuration's algorithm or action space is another one."""
    _refuse(
        f"{key} is '{weights.config.get(key)}' there and '{config.get(key, default)}' here"
        for key, default in MUST_AGREE.items()
        if weights.config.get(key) != config.get(key, default)
    )


def refuse_misfits(
    weights: Weights,
    *,
    parameters: Mapping[str, tuple[int, ...]],
    normalisation: Mapping[str, tuple[int, ...]],
) -> None:
    """Raises InvalidInputError when arrays lack or have other shapes than these."""
    pairs = (
        ("", _shapes(weights.parameters), parameters),
        (NORMALISATION, _shapes(weights.normalisation), normalisation),
    )
    _refuse(
        f"'{prefix}{name}' is {_words(found.get(name))} there and {_words(wanted.get(name))} here"
        for prefix, found, wanted in pairs
        for name in sorted({*found, *wanted})
        if found.get(name) != wanted.get(name)
    )


def _shapes(arrays: Mapping[str, FloatArray]) -> dict[str, tuple[int, ...]]:
    return {name: np.shape(array) for name, array in arrays.items()}


def _words(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else "×".join(map(str, shape)) or "a number"


def _refuse(differences: Iterable[str]) -> None:
    if found := list(differences):
        raise InvalidInputError(
            f"The weights to begin with are of another kind of training: {'; '.join(found)}."
        )
