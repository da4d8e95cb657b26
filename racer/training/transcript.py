"""What a training process says, line by line, wherever it runs.

It speaks JSON lines: `{"resolved": …, "revision": …}`, an object an epoch, then `{"done": true}` or
`{"error": "text for a person"}`.
"""

from __future__ import annotations

import json
import math
from typing import Any

import structlog

from racer.jobs.child import ChildFailedError, failure_told

log = structlog.get_logger(__name__)


class Transcript:
    """The conversation so far: epochs in order, checked."""

    def __init__(self, *, after: int, replayed: bool = False) -> None:
        """Epochs up to `after` are known; `replayed`: and may be told again."""
        self._after, self._last, self._replayed = after, after, replayed
        self.done = False

    def take(self, line: bytes) -> dict[str, Any] | None:
        """What the line tells that is new: an epoch's scalars, or what the process says of itself.

        A library's stray print is logged and passed over. Raises ChildFailedError for the
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
            raise failure_told(message)
        if message.get("done") is True:
            self.done = True
            return None
        if isinstance(message.get("resolved"), dict):
            return message
        if self._is_known(message.get("epoch")):
            return None
        self._last = check_epoch(message, previous=self._last)
        return message

    def _is_known(self, epoch: object) -> bool:
        return self._replayed and isinstance(epoch, int) and epoch <= self._after


def check_epoch(message: dict[str, Any], *, previous: int) -> int:
    """The epoch's number, when the message is what an epoch must be."""
    if message.get("epoch") != previous + 1:
        raise ChildFailedError(
            f"The training process reported epoch {message.get('epoch')!r} after {previous}."
        )
    for name, value in message.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ChildFailedError(
                f"The training diverged: {name} is {value} in epoch {previous + 1}. "
                "Start it again with a lower velocity limit or less wind."
            )
    for name in ("loss", "accuracy"):
        if isinstance(message.get(name), bool) or not isinstance(message.get(name), int | float):
            raise ChildFailedError(f"The training process reported an epoch without {name}.")
    return previous + 1
