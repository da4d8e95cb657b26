"""What a training process says, line by line, wherever it runs.

It speaks JSON lines: `{"resolved": …, "revision": …}`, an object an epoch, then `{"done": true}` or
`{"error": "text for a person"}`.
"""

from __future__ import annotations

import json
import math
import os
import signal
from pathlib import Path
from typing import Any

import structlog

LONGEST_LINE_BYTES = 1 << 20
TERMINATED = 128 + signal.SIGTERM  # how our training program ends when it is told to
_LOG_LINES_TOLD = 3
_LOG_BYTES_READ = 8_192

log = structlog.get_logger(__name__)


class TrainingFailedError(Exception):
    """The training ended without success; the text is for the person who started it."""

    def __init__(self, message: str, *, disk_full: bool = False) -> None:
        """`disk_full`: it can go on once there is room."""
        super().__init__(message)
        self.disk_full = disk_full


class TrainingInterruptedError(Exception):
    """Somebody killed the training process, which is no fault of the training."""

    def __init__(self, message: str, *, blameless: bool = False) -> None:
        """`blameless`: for certain; it may happen as often as it likes."""
        super().__init__(message)
        self.blameless = blameless


class Transcript:
    """The conversation so far: epochs in order, checked."""

    def __init__(self, *, after: int, replayed: bool = False) -> None:
        """Epochs up to `after` are known; `replayed`: and may be told again."""
        self._after, self._last, self._replayed = after, after, replayed
        self.done = False

    def take(self, line: bytes) -> dict[str, Any] | None:
        """What the line tells that is new: an epoch's scalars, or what the process says of itself.

        A library's stray print is logged and passed over. Raises TrainingFailedError for the
        worker's own error, and for what no epoch may be.
        """
        try:
            message = json.loads(line)
        except ValueError:  # also a UnicodeDecodeError
            message = None
        if not isinstance(message, dict):
            log.warning("training_stray_output", line=line[:200])
            return None
        if "error" in message:
            disk_full = message.get("disk_full") is True
            raise TrainingFailedError(str(message["error"]), disk_full=disk_full)
        if message.get("done") is True:
            self.done = True
            return None
        if isinstance(message.get("resolved"), dict):
            return message
        if self._is_known(message.get("epoch")):
            return None
        self._last = _check(message, previous=self._last)
        return message

    def _is_known(self, epoch: object) -> bool:
        return self._replayed and isinstance(epoch, int) and epoch <= self._after


def _check(message: dict[str, Any], *, previous: int) -> int:
    """The epoch's number, when the message is what an epoch must be."""
    if message.get("epoch") != previous + 1:
        raise TrainingFailedError(
            f"The training process reported epoch {message.get('epoch')!r} after {previous}."
        )
    for name, value in message.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise TrainingFailedError(
                f"The training diverged: {name} is {value} in epoch {previous + 1}. "
                "Start it again with a lower velocity limit or less wind."
            )
    for name in ("loss", "accuracy"):
        if isinstance(message.get(name), bool) or not isinstance(message.get(name), int | float):
            raise TrainingFailedError(f"The training process reported an epoch without {name}.")
    return previous + 1


def too_long_a_line() -> TrainingFailedError:
    """For a line that is no message of ours."""
    return TrainingFailedError(
        "The training process wrote a line longer than 1 MiB where metrics belong."
    )


def end_without_a_word(exit_code: int | None, log_file: Path) -> Exception:
    """The error to raise for a process that ended without its last word."""
    if exit_code is not None and (exit_code < 0 or exit_code == TERMINATED):
        return TrainingInterruptedError(_obituary(exit_code, log_file))
    return TrainingFailedError(_obituary(exit_code, log_file))


def _obituary(exit_code: int | None, log_file: Path) -> str:
    if exit_code == -signal.SIGKILL:
        return (
            "The training process was killed, most likely because memory ran out. "
            "Start the training again when there is more of it."
        )
    if exit_code is None:
        how = "stopped reporting"
    elif exit_code < 0:
        how = f"was ended by signal {-exit_code} ({signal.Signals(-exit_code).name})"
    else:
        how = f"ended early with exit code {exit_code}"
    return f"The training process {how}.{_last_words(log_file)}"


def _last_words(log_file: Path) -> str:
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES_READ))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:  # it never came so far
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" It said: {' | '.join(lines[-_LOG_LINES_TOLD:])}" if lines else ""
