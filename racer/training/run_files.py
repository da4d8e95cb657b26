"""The files of a run, in DATA_DIR/runs/<run id>, as far as the service looks after them.

The training process makes them (docs/training.md lists them). The service copies the weights that
a run begins with, reads its log, and deletes what nobody goes on with.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

INITIAL = "initial.safetensors"  # what a run begins with, when it continues another one
WEIGHTS = "policy.safetensors"  # what a run leaves: racer.learning.initial
LOG = "worker.log"
_CHECKPOINTS = "checkpoint-*.bin"  # racer.learning.checkpoint writes them, behind a checksum
_DIGEST = 32  # bytes of SHA-256, as there
_SUBMISSIONS = ("ray_attempt", "messages-*.jsonl")  # racer.training.ray_submission: jobs in Ray
_RESULTS = (
    *_SUBMISSIONS,
    _CHECKPOINTS,
    "policy.*",
    "manifest.json",
    "flight.npz",
    "events.out.tfevents.*",
)
_LOG_BYTES = 1 << 18  # of which the last lines are shown
_CHUNK = 1 << 20
_GOING = ".deleting"  # holds a file for each run whose row is about to go, until its folder is gone


def lay_initial(folder: Path, source: Path) -> Path:
    """Copy weights to a new run's folder, on the disk when this returns; OSError when it is full.

    The source is only ever replaced as a whole, so the copy is one state of it.
    """
    copy = folder / INITIAL
    with source.open("rb") as given:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with copy.open("wb") as taken:
            shutil.copyfileobj(given, taken)
            taken.flush()
            os.fsync(taken.fileno())
    return copy


def doubt(runs: Path, run_id: str) -> None:
    """The run's row is about to go: if we are killed, the next start looks whether it has."""
    (runs / _GOING).mkdir(mode=0o700, parents=True, exist_ok=True)
    (runs / _GOING / run_id).touch()


def confirm(runs: Path, run_id: str) -> None:
    """The row stays."""
    (runs / _GOING / run_id).unlink(missing_ok=True)


def doubtful(runs: Path) -> list[str]:
    """The ids of runs whose rows were about to go; who deletes them may be at it."""
    return sorted(mark.name for mark in (runs / _GOING).glob("*"))


def discard(runs: Path, run_id: str) -> bool:
    """There is no row: remove the folder. False when that fails; the next start tries again."""
    shutil.rmtree(runs / run_id, ignore_errors=True)
    if (runs / run_id).exists():
        return False
    confirm(runs, run_id)
    return True


def with_checkpoints(runs: Path) -> list[str]:
    """The ids of the runs that have any."""
    return sorted({path.parent.name for path in runs.glob(f"*/{_CHECKPOINTS}")})


def forget_checkpoints(folder: Path) -> None:
    """Of a run that has finished."""
    for path in _checkpoints(folder):
        path.unlink(missing_ok=True)


def keep_newest_checkpoint(folder: Path) -> None:
    """Of a run that has ended otherwise and may be resumed: one good one is enough for that."""
    found = _checkpoints(folder)
    if len(found) < 2:
        return
    kept = next((path for path in found if _is_whole(path)), None)
    for path in found:
        if path != kept:
            path.unlink(missing_ok=True)


def forget_results(folder: Path) -> None:
    """Everything that an earlier try learnt; what the run begins with, and its log, stay."""
    for pattern in _RESULTS:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def last_log_lines(folder: Path, lines: int) -> str:
    """What the training process wrote to standard error last; "" when it wrote nothing."""
    try:
        with (folder / LOG).open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _LOG_BYTES))
            text = file.read(_LOG_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return ""
    found = text.splitlines()
    if size > _LOG_BYTES:
        found = found[1:]  # of which only the end was read
    return "".join(f"{line}\n" for line in found[-lines:])


def _checkpoints(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted(folder.glob(_CHECKPOINTS), reverse=True)


def _is_whole(path: Path) -> bool:
    """Whether the checksum at its begin is that of the rest."""
    try:
        with path.open("rb") as file:
            told, digest = file.read(_DIGEST), hashlib.sha256()
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return False
    return told == digest.digest()
