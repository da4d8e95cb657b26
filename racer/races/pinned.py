"""The files of entered policies: copies in `DATA_DIR/races/<race>/<entry>`, so that a race flies
what was entered, whatever becomes of the policy.

A copy is staged (racer.folders) and renamed in the transaction that enters it (racer.races.desk).
Who is killed on the way leaves a staged folder, or one without an entry, which the next start
removes. Folders of races that the database does not know are left alone: it may be another one than
yesterday's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from racer.errors import ConflictError, RacerError, UnavailableError
from racer.files import write_new
from racer.folders import Folders, size_of
from racer.policy.archive import read_network
from racer.policy.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    POLICY_FILE,
    Manifest,
    parse_manifest,
    read_limited,
)
from racer.web.ids import is_id


def read(source: Path, *, sha256: str) -> tuple[Manifest, dict[str, bytes]]:
    """A policy's manifest, and its two files by their names.

    Raises NotFoundError, UnavailableError or ConflictError when the files are not those of the row.
    """
    network = read_network(source, sha256=sha256)
    try:
        content = read_limited(source / MANIFEST_FILE, MAX_MANIFEST_BYTES)
        manifest = parse_manifest(content)
    except RacerError as error:  # whose words name a folder of the server's
        raise UnavailableError(
            "The policy's manifest is missing or damaged on the server's disk: put it back from a "
            "backup."
        ) from error
    if manifest.policy.sha256 != sha256:
        raise ConflictError("The policy's files are not the ones it was kept with: upload it anew.")
    return manifest, {MANIFEST_FILE: content, POLICY_FILE: network}


class Copies:
    """The folder of all races."""

    def __init__(self, root: Path) -> None:
        """Nothing is made until somebody enters."""
        self.root = root
        self._folders = Folders(root)

    @contextmanager
    def staged(self, files: Mapping[str, bytes]) -> Iterator[Path]:
        """A folder with these files, on the disk, removed at the end unless it was settled."""
        with self._folders.staging() as staging:
            for name, content in files.items():
                write_new(staging.folder / name, content)
            yield staging.folder

    def settle(self, staged: Path, race_id: str, entry_id: str) -> None:
        """Give a staged folder its place."""
        self._folders.settle(staged, race_id, entry_id)

    def remove(self, race_id: str, entry_id: str | None = None) -> bool:
        """Forget a race's copies, or one of them; whether there is nothing left. They need not be
        there."""
        return self._folders.discard(race_id, *([] if entry_id is None else [entry_id]))

    def keep_only(self, race_id: str, entry_ids: Collection[str]) -> None:
        """Remove what killed servers left beside the entries' copies."""
        for folder in (self.root / race_id).glob("*/"):
            if folder.name not in entry_ids:
                self._folders.discard(race_id, folder.name)

    def size_of(self, race_id: str, entry_ids: Collection[str]) -> int:
        """Bytes of these copies; of one that is not there none."""
        return sum(size_of(self.root / race_id / entry_id) for entry_id in entry_ids)

    @contextmanager
    def alone(self) -> Iterator[list[str] | None]:
        """The races that have folders, while nobody enters; None when somebody does. What was
        staged by processes that were killed is removed."""
        with self._folders.alone() as removed:
            if removed is None:
                yield None
            else:
                yield [folder.name for folder in self.root.glob("*/") if is_id(folder.name)]
