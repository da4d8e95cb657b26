"""What a training needs to go on where it was killed: after any epoch, and bit for bit on CPUs.

A checkpoint is one file: the SHA-256 of all the rest, then an `.npz` with the algorithm's whole
state, the reports of every epoch so far, and which policy is kept. It is written beside, synced
and renamed. The two newest stay, so a damaged one costs only the epochs since the one before it.
Writing takes a twentieth of the time at most: states with a replay buffer are large, and epochs
that are flown again are the same ones.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from racer.files import write_atomically
from racer.learning.algorithm import State
from racer.learning.config import TrainingConfig

_SHARE = 0.05  # of the time may go into checkpoints
_KEPT = 2
_DIGEST = 32  # bytes of SHA-256

log = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A training between two epochs."""

    epoch: int  # the last one that is in it
    state: State  # on the host
    kept: tuple[float, float]  # how good the policy in the files is: merit_of
    seconds: float  # of training so far
    reports: list[dict[str, Any]]  # of epochs 1 … epoch


class Checkpoints:
    """Those of one training, in its output folder."""

    def __init__(self, folder: Path, config: TrainingConfig) -> None:
        self._folder = folder
        self._config = config.to_mapping()
        self._due_s = 0.0  # when the next one may be written, monotonic

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() >= self._due_s

    def write(self, checkpoint: Checkpoint) -> None:
        """Raises OSError when the disk does not take it; those before it are still there then."""
        began_s = time.monotonic()
        told = checkpoint._asdict() | {"config": self._config}
        del told["state"]
        buffer = BytesIO()
        arrays = {f"leaf{n}": leaf for n, leaf in enumerate(_arrays(checkpoint.state))}
        np.savez(buffer, allow_pickle=False, told=np.array(json.dumps(told)), **arrays)
        content = buffer.getbuffer()
        path = self._folder / f"checkpoint-{checkpoint.epoch:06d}.bin"
        write_atomically(path, hashlib.sha256(content).digest(), content)
        for old in self._paths()[_KEPT:]:
            old.unlink(missing_ok=True)
        now_s = time.monotonic()
        self._due_s = now_s + (now_s - began_s) * (1.0 / _SHARE - 1.0)

    def newest(self, like: State) -> Checkpoint | None:
        """The newest good one of this configuration; `like`: a state of the same structure."""
        for path in self._paths():
            try:
                return self._read(path, like)
            except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
                log.warning("%s cannot be used, the one before it is: %s", path.name, error)
                path.unlink(missing_ok=True)  # or it would count as newer than those to come
        return None

    def clear(self) -> None:
        """Delete all."""
        for path in self._paths():
            path.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        """The newest first."""
        return sorted(self._folder.glob("checkpoint-*.bin"), reverse=True)

    def _read(self, path: Path, like: State) -> Checkpoint:
        content = path.read_bytes()
        digest, content = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError("its checksum is wrong")
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            told = json.loads(str(arrays["told"]))
            leaves = [arrays[f"leaf{n}"] for n in range(len(arrays.files) - 1)]
        if told.pop("config") != self._config:
            raise ValueError("it is of another configuration")
        told["kept"] = tuple(told["kept"])
        return Checkpoint(state=_filled(like, leaves), **told)


def _is_key(leaf: Any) -> bool:
    """Whether it is one of JAX's typed random keys, which are no plain arrays."""
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _arrays(state: State) -> list[NDArray[Any]]:
    leaves = jax.tree.leaves(state)
    return [np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf) for leaf in leaves]


def _filled(like: State, arrays: list[NDArray[Any]]) -> State:
    """A state of that structure. Raises ValueError if the arrays are of another one."""
    leaves, structure = jax.tree.flatten(like)
    if [(a.shape, a.dtype) for a in _arrays(like)] != [(a.shape, a.dtype) for a in arrays]:
        raise ValueError("it is of another version of this program")
    filled = [
        jax.random.wrap_key_data(jnp.asarray(array)) if _is_key(leaf) else array
        for leaf, array in zip(leaves, arrays, strict=True)
    ]
    return jax.tree.unflatten(structure, filled)
