"""The files of entered policies: copies in `DATA_DIR/races/<race>/<entry>`, so that a race flies
what was entered, whatever becomes of the policy.

A copy is made in the transaction that enters it. Who is killed in between leaves a folder without
an entry, which the start of the race removes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection
from pathlib import Path

import structlog

from racer.errors import ConflictError, UnavailableError
from racer.policy.manifest import (
    MANIFEST_FILE,
    MAX_MANIFEST_BYTES,
    MAX_POLICY_BYTES,
    POLICY_FILE,
    Manifest,
    parse_manifest,
    read_limited,
)

log = structlog.get_logger(__name__)


def pin(source: Path, target: Path, *, sha256: str) -> Manifest:
    """Copy a policy's two files onto the disk; what its manifest says.

    Raises NotFoundError or ConflictError when the files are not those of the row, UnavailableError
    when they cannot be written.
    """
    content = read_limited(source / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    network = read_limited(source / POLICY_FILE, MAX_POLICY_BYTES)
    manifest = parse_manifest(content)
    if manifest.policy.sha256 != sha256:
        raise ConflictError("The policy's files are not the ones it was kept with: upload it anew.")
    try:
        target.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in ((MANIFEST_FILE, content), (POLICY_FILE, network)):
            with (target / name).open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        remove(target)
        raise UnavailableError(
            f"The server cannot keep the entry: {error.strerror}. Make room in its DATA_DIR, then "
            "try again."
        ) from error
    return manifest


def remove(folder: Path) -> None:
    """Forget a copy; it need not be there."""
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # the start of the race tries again
        log.warning("entry_folder_not_deleted", folder=str(folder))


def keep_only(race_folder: Path, entry_ids: Collection[str]) -> None:
    """Remove what killed servers left beside the entries' copies."""
    for folder in race_folder.glob("*/"):
        if folder.name not in entry_ids:
            remove(folder)
