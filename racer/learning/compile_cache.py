"""Compiled programs on disk, so that the next process need not compile them again."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import jax

from racer.learning.files import private_folder

_MOST_BYTES = 500_000_000


def keep_compiled_programs(folder: Path) -> None:
    """Let the next process skip compilation, whatever its numbers are; see private_folder."""
    if not private_folder(folder):
        return
    make_room(folder, _MOST_BYTES)
    options = {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    for name, value in options.items():
        jax.config.update(name, value)  # type: ignore[no-untyped-call]  # JAX leaves it untyped


def make_room(folder: Path, most_bytes: int) -> None:
    """Delete those of JAX's files that were not used for longest, until the rest fits.

    JAX's own bound needs a lock that a frozen process would keep; a file that goes while another
    process wants it is compiled again.
    """
    files = []
    for path in folder.glob("*-cache"):
        with suppress(FileNotFoundError):  # another process makes room, too
            stat = path.stat()
            files.append((max(stat.st_atime, stat.st_mtime), stat.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= most_bytes:
            return
        path.unlink(missing_ok=True)
        total -= size
