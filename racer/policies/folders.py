"""The folders of kept policies: `DATA_DIR/policies/<id>`, complete or not there.

A folder is filled beside, synced and renamed. Its row is written after that: until then a file in
it, `.unrecorded`, says that it may be nobody's, and so it does again before a row is deleted. Who
was killed in between leaves a marked folder, and the next start looks whether there is a row. A
folder without that mark is never removed, whatever the database says: it may be another one than
yesterday's.

Whoever works on folders holds a shared lock, who tidies up the exclusive one; the kernel frees
both when a process dies.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from tempfile import mkdtemp
from typing import IO

_MARK = ".unrecorded"
_LOCK = ".lock"
_STAGED = ".staged-"


class Staging:
    """A new empty folder of ours, gone at the end unless it was settled. All of it waits for the
    disk, so use it in threads."""

    def __init__(self, root: Path) -> None:
        """`open` makes it."""
        self._root = root
        self._lock: IO[bytes] | None = None
        self.folder = root

    def open(self) -> None:
        """Make the folder."""
        self._lock = _lock_file(self._root)
        fcntl.flock(self._lock, fcntl.LOCK_SH)  # waits for who tidies up
        self.folder = Path(mkdtemp(prefix=_STAGED, dir=self._root))

    def close(self) -> None:
        """Remove what was not settled."""
        if self.folder != self._root:
            shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def settle(self, policy_id: str) -> Path:
        """Give the folder its place, marked as one without a row."""
        (self.folder / _MARK).touch()
        sync_folder(self.folder)
        place = self._root / policy_id
        self.folder.rename(place)
        sync_folder(self._root)
        return place


def confirm(folder: Path) -> None:
    """There is a row: the folder stays."""
    (folder / _MARK).unlink(missing_ok=True)


def doubt(folder: Path) -> None:
    """The row is about to go. A folder that is gone already needs no mark."""
    if folder.is_dir():
        (folder / _MARK).touch()
        sync_folder(folder)


def discard(folder: Path) -> None:
    """There is no row."""
    if folder.is_dir():
        aside = folder.with_name(f"{_STAGED}{folder.name}")
        folder.rename(aside)  # nobody sees a half of it
        shutil.rmtree(aside, ignore_errors=True)


def copy_synced(source: Path, target: Path) -> None:
    """Copy a file's bytes, onto the disk."""
    with source.open("rb") as read, target.open("xb") as written:
        shutil.copyfileobj(read, written)
        written.flush()
        os.fsync(written.fileno())


def sync_folder(folder: Path) -> None:
    """Names in a folder, onto the disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def size_of(folder: Path) -> int:
    """Bytes of the files in it."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.name != _MARK)


def tidy_up(root: Path, recorded: Callable[[Collection[str]], Collection[str]]) -> int:
    """Remove what killed processes left, unless another one works here; how many folders.

    `recorded`: which of these ids have a row.
    """
    with _lock_file(root) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        staged = list(root.glob(f"{_STAGED}*"))
        marked = [mark.parent for mark in root.glob(f"*/{_MARK}") if mark.parent not in staged]
        known = recorded([folder.name for folder in marked])
        for folder in marked:
            if folder.name in known:
                confirm(folder)
        orphans = [folder for folder in marked if folder.name not in known]
        for folder in orphans:
            discard(folder)
        for folder in staged:
            shutil.rmtree(folder, ignore_errors=True)
        return len(orphans) + len(staged)


def _lock_file(root: Path) -> IO[bytes]:
    return (root / _LOCK).open("ab")
