"""Folders of what has a row in the database, `DATA_DIR/policies/<id>` and the like.

A folder is complete or not there: it is filled beside as `.staged-…`, synced and renamed, and it is
renamed away before it is removed.

A folder without a row may be another database's, or somebody's own work, and is left alone. Only
one that says of itself that it may be nobody's goes: it holds a file `.unrecorded`, which is there
before its row is and until its row is certain, and again before its row is deleted. Who was killed
in between leaves such a folder, and the next start looks whether there is a row (`tidy_up`).

Who makes folders holds a shared lock, who tidies up the exclusive one; the kernel frees both when a
process dies. All of it waits for the disk, so use it in threads.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex
from tempfile import mkdtemp
from types import TracebackType
from typing import IO, Self

import structlog

from racer.errors import UnavailableError
from racer.files import sync_folder

_MARK = ".unrecorded"
_LOCK = ".lock"
_STAGED = ".staged-"
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})

log = structlog.get_logger(__name__)


class Folders:
    """All folders of one kind."""

    def __init__(self, root: Path) -> None:
        """Nothing is made until somebody works here."""
        self.root = root

    def hold(self) -> IO[bytes]:
        """Nobody tidies up until this is closed; waits for who does."""
        lock = self._lock()
        fcntl.flock(lock, fcntl.LOCK_SH)
        return lock

    def staging(self) -> Staging:
        """A new folder to be filled and settled."""
        return Staging(self)

    def settle(self, staged: Path, *place: str, marked: bool = False) -> Path:
        """Give a staged folder its place below the root, which must be free."""
        if marked:
            (staged / _MARK).touch()
        sync_folder(staged)
        settled = self.root.joinpath(*place)
        if len(place) > 1:
            with suppress(FileExistsError):
                settled.parent.mkdir(mode=0o700)
                sync_folder(self.root)
        staged.rename(settled)
        sync_folder(settled.parent)
        return settled

    def discard(self, *place: str) -> bool:
        """Remove a folder, which need not be there; whether nothing is left of it. Nobody sees a
        half of it, and what cannot be removed now goes at the next start."""
        folder = self.root.joinpath(*place)
        aside = self.root / f"{_STAGED}{folder.name}-{token_hex(4)}"
        try:
            folder.rename(aside)
        except (FileNotFoundError, NotADirectoryError):
            return True
        except OSError as error:
            if error.errno in _FULL:  # no room for another name, and this makes some
                return _remove(folder)
            log.warning("folder_not_removed", folder=str(folder), error=str(error))
            return False
        return _remove(aside)

    @contextmanager
    def alone(self) -> Iterator[int | None]:
        """While nobody works here, how many folders were removed that killed processes had staged;
        None when somebody works here."""
        with self._lock() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield None
                return
            yield sum(_remove(folder) for folder in self.root.glob(f"{_STAGED}*"))

    def tidy_up(self, recorded: Callable[[Collection[str]], Collection[str]]) -> int:
        """Remove what killed processes left, unless somebody works here; how many folders.

        `recorded`: which of these names have a row.
        """
        with self.alone() as unstaged:
            if unstaged is None:
                return 0
            removed = unstaged
            marked = [mark.parent for mark in self.root.glob(f"[!.]*/{_MARK}")]
            known = set(recorded([folder.name for folder in marked]) if marked else ())
            for folder in marked:
                if folder.name in known:
                    confirm(folder)
                else:
                    removed += self.discard(folder.name)
            return removed

    def _lock(self) -> IO[bytes]:
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        return (self.root / _LOCK).open("ab")


class Staging:
    """A new empty folder, gone at the end unless it was settled."""

    def __init__(self, folders: Folders) -> None:
        """`open` makes it."""
        self._folders = folders
        self._lock: IO[bytes] | None = None
        self._made: Path | None = None

    @property
    def folder(self) -> Path:
        """Where to put the files."""
        if self._made is None:
            raise RuntimeError("The staging is not open.")
        return self._made

    def open(self) -> None:
        """Make the folder."""
        self._lock = self._folders.hold()
        self._made = Path(mkdtemp(prefix=_STAGED, dir=self._folders.root))

    def close(self) -> None:
        """Remove what was not settled."""
        if self._made is not None:
            _remove(self._made)
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def doubt(folder: Path) -> None:
    """There is no row yet, or it is about to go. A folder that is gone already needs no mark."""
    with suppress(FileNotFoundError):
        (folder / _MARK).touch()
        sync_folder(folder)


def doubt_if_possible(folder: Path) -> None:
    """The same before a row is deleted: on a full disk that has to work most of all."""
    with suppress(OSError):
        doubt(folder)


def confirm(folder: Path) -> None:
    """There is a row: the folder stays."""
    (folder / _MARK).unlink(missing_ok=True)


@contextmanager
def disk_in_words(what: str) -> Iterator[None]:
    """OSErrors become UnavailableErrors that say what the server cannot keep: policy, entry."""
    try:
        yield
    except OSError as error:
        log.warning("disk_refuses", what=what, error=str(error))
        raise UnavailableError(
            f"The server cannot keep the {what}: {error.strerror}. Make room in its DATA_DIR, then "
            "try again."
        ) from error


def size_of(folder: Path, *, block_bytes: int = 1) -> int:
    """Bytes of the files in it, each in whole blocks; of a folder that is not there none, nor
    of what cannot be looked at."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name != _MARK:
                with suppress(OSError):  # somebody removes it now
                    size += -(-Path(parent, name).stat().st_size // block_bytes) * block_bytes
    return size


def _remove(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    gone = not folder.exists()
    if not gone:  # the next start tries again
        log.warning("folder_not_removed", folder=str(folder))
    return gone
