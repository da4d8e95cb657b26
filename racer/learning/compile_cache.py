"""Compiled programs on disk, so that the next process need not compile them again."""

from __future__ import annotations

from pathlib import Path

import jax

from racer.learning.files import private_folder


def keep_compiled_programs(folder: Path) -> None:
    """Let the next process skip compilation, whatever its numbers are; see private_folder."""
    if not private_folder(folder):
        return
    options = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in options.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]  # JAX leaves it untyped
