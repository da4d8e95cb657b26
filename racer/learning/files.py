"""Folders for code of our own, and arrays as files that are whole at any moment (racer.files)."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from racer.files import write_atomically

log = logging.getLogger(__name__)


def private_folder(folder: Path) -> bool:
    """Make a folder that nobody else can read or write; False when it cannot be had.

    For files that are code. A folder of another user is not used, one of ours is closed.
    """
    try:
        for made in (folder.parent, folder):  # DATA_DIR too, when it is not there yet
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if found.st_uid != os.geteuid():
            log.warning("%s belongs to another user: nothing is kept there.", folder)
            return False
        if found.st_mode & 0o077:
            folder.chmod(0o700)
    except OSError as error:
        log.warning("%s cannot be used, nothing is kept there: %s", folder, error)
        return False
    return True


def write_tensors(
    path: Path, tensors: Mapping[str, NDArray[Any]], *, metadata: dict[str, str]
) -> None:
    """A safetensors file with text metadata."""
    contiguous = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    write_atomically(path, save(contiguous, metadata=metadata))


def write_arrays(path: Path, **arrays: NDArray[Any]) -> None:
    """An `.npz` file."""
    buffer = BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    write_atomically(path, buffer.getvalue())
