"""What goes into a policy's folder and out of it: the files of a run, an upload, an archive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, cast

from racer.errors import ConflictError, InvalidInputError
from racer.files import copy_new
from racer.policy.archive import MAX_ARCHIVE_BYTES, write_archive
from racer.policy.manifest import MANIFEST_FILE, POLICY_FILE, WEIGHTS_FILE

_IN_MEMORY = 1 << 20  # of an archive that is sent; the rest goes to a file


def collect(run: Path, into: Path, *, finished: bool) -> str:
    """Copy what a run has of a policy; the task that makes it whole. While a run trains only its
    weights are sure to be of one epoch. ConflictError when it has none."""
    ready = [run / name for name in (POLICY_FILE, MANIFEST_FILE)]
    weights = run / WEIGHTS_FILE
    whole = all(path.is_file() for path in ready)
    if whole and (finished or not weights.is_file()):
        task, wanted = "check", [*ready, *([weights] if weights.is_file() else [])]
    elif weights.is_file():
        task, wanted = "export", [weights]
    else:
        raise ConflictError("The run has no policy yet: it has not finished an epoch.")
    try:
        for path in wanted:
            copy_new(path, into / path.name)
    except FileNotFoundError as error:
        raise ConflictError("The run was deleted meanwhile.") from error
    return task


async def spool(chunks: AsyncIterable[bytes], path: Path) -> None:
    """Write what comes to a new file. InvalidInputError when it is longer than a policy's archive
    may be."""
    size = 0
    with await asyncio.to_thread(path.open, "xb") as file:
        async for chunk in chunks:
            size += len(chunk)
            if size > MAX_ARCHIVE_BYTES:
                raise InvalidInputError(f"A policy's zip has at most {MAX_ARCHIVE_BYTES} bytes.")
            await asyncio.to_thread(file.write, chunk)
        await asyncio.to_thread(file.flush)  # closing would not tell that the disk is full


def archived(folder: Path, sha256: str) -> IO[bytes]:
    """The policy of a folder as a zip, from its beginning."""
    file = cast("IO[bytes]", SpooledTemporaryFile(_IN_MEMORY))  # noqa: SIM115 - who sends it closes
    try:
        write_archive(file, folder, sha256=sha256)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return file
