"""One training process: a child (racer.jobs.child) that tells of epochs, checked one by one.

It says an object an epoch, then `{"done": true}` or `{"error": "text for a person"}`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from racer.jobs.child import messages_of
from racer.training.transcript import check_epoch


async def epochs_of(
    command: Sequence[str], *, log_file: Path, after: int = 0
) -> AsyncGenerator[dict[str, Any], None]:
    """Run the training process and yield the scalars of each epoch beyond `after`, checked and in
    order; before them `{"resolved": …, "revision": …}`, its configuration with every default
    and that of its code.

    Ends normally only after the worker said that it is done. Raises ChildFailedError with the
    worker's own words, or with what is known of its end, ChildInterruptedError when a signal
    ended it. However the caller leaves, the process and its children are gone afterwards.
    """
    last = after
    told = messages_of(command, log_file=log_file, noun="training", is_last=_is_done)
    async with aclosing(told) as messages:
        async for message in messages:
            if _is_done(message):
                continue  # what follows is the process's exit
            if not isinstance(message.get("resolved"), dict):
                last = check_epoch(message, previous=last)
            yield message


def _is_done(message: dict[str, Any]) -> bool:
    return message.get("done") is True
