"""Files that are whole or not there, whoever is killed and whenever the power fails.

A new file is written beside its place, synced and renamed; then its folder is synced, because that
is where names are. What a process leaves that was killed on the way is called
`.<name>.<random>.tmp`: racer.program removes those in the folder that it works in, backups leave
them out.

This imports nothing of ours; everything may import it.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import BinaryIO


@contextmanager
def becoming(path: Path, *, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A file that takes the name `path`, which may be another file's, when all of it is on the
    disk. After an error nothing of it is left, and what was there stays."""
    beside = path.with_name(f".{path.name}.{token_hex(4)}.tmp")
    try:
        with open(beside, "xb", opener=partial(os.open, mode=mode)) as file:
            yield file
            sync(file)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomically(path: Path, *parts: bytes | memoryview) -> None:
    """A reader sees the old file or the new one, never a part, even after a power cut."""
    with becoming(path) as file:
        file.writelines(parts)


def write_new(path: Path, content: bytes) -> None:
    """Onto the disk; FileExistsError when there is such a file. For folders that nobody sees yet,
    which want `sync_folder` at the end."""
    with path.open("xb") as file:
        file.write(content)
        sync(file)


def copy_new(source: Path, target: Path) -> None:
    """The bytes of a file, as `write_new` does."""
    with source.open("rb") as read, target.open("xb") as written:
        shutil.copyfileobj(read, written)
        sync(written)


def sync(file: BinaryIO) -> None:
    """What was written to it, onto the disk; OSError when that is full."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """The names in a folder, onto the disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno != errno.EINVAL:  # file systems that cannot do it, as some over a network
            raise
    finally:
        os.close(file)
