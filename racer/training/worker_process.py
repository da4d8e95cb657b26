"""One training process: started politely, read line by line, never left behind.

The child speaks JSON lines on standard output: an object an epoch, then `{"done": true}` or
`{"error": "text for a person"}`. Its standard error goes to a file, so that no pipe can fill up
and the last lines are at hand when it dies without a word. It runs at low priority in a session
of its own (Ctrl-C reaches only the server) and dies with the server (racer.process).
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from racer.process import PARENT_VARIABLE
from racer.settings import REPOSITORY

_NICENESS = 10  # above our own, so that requests come first
_TERM_GRACE_S = 0.6  # stopping the server may take one second altogether
_EXIT_GRACE_S = 15.0  # from the last line to the exit: the runtime may close its threads
_LONGEST_LINE_BYTES = 1 << 20
_LOG_LINES_TOLD = 3
_LOG_BYTES_READ = 8_192
_LONGEST_LOG_BYTES = 1 << 20
_TERMINATED = 128 + signal.SIGTERM  # how our training program ends when it is told to
_SECRETS = frozenset({"SECRET_KEY", "DATABASE_URL"})

log = structlog.get_logger(__name__)


class TrainingFailedError(Exception):
    """The training ended without success; the text is for the person who started it."""

    def __init__(self, message: str, *, disk_full: bool = False) -> None:
        """`disk_full`: it can go on once there is room."""
        super().__init__(message)
        self.disk_full = disk_full


class TrainingInterruptedError(Exception):
    """Somebody killed the training process, which is no fault of the training."""


async def epochs_of(
    command: Sequence[str], *, log_file: Path, after: int = 0
) -> AsyncGenerator[dict[str, Any], None]:
    """Run the training process and yield the scalars of each epoch beyond `after`, checked and in
    order; before them `{"resolved": …, "revision": …}`, its configuration with every default
    and that of its code.

    Ends normally only after the worker said that it is done. Raises TrainingFailedError with the
    worker's own words, or with what is known of its end, TrainingInterruptedError when a signal
    ended it. However the caller leaves, the process and its children are gone afterwards.
    """
    async with _process(command, log_file) as child:
        last, done = after, False
        async with aclosing(_messages(child)) as messages:
            async for message in messages:
                if "error" in message:
                    disk_full = message.get("disk_full") is True
                    words = str(message["error"])
                    if "status" not in message and not disk_full:  # a fault, no refusal
                        words += await _words_after(child, log_file)
                    raise TrainingFailedError(words, disk_full=disk_full)
                if done := message.get("done") is True:
                    break
                if isinstance(message.get("resolved"), dict):
                    yield message
                    continue
                last = _check(message, previous=last)
                yield message
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_GRACE_S):
                await child.wait()
        if not done:
            obituary = await asyncio.to_thread(_obituary, child.returncode, log_file)
            if child.returncode == _TERMINATED or (child.returncode or 0) < 0:
                raise TrainingInterruptedError(obituary)
            raise TrainingFailedError(obituary)


@asynccontextmanager
async def _process(
    command: Sequence[str], log_file: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log_file.open("ab") as errors:  # after what an interrupted attempt said
        if errors.tell() > _LONGEST_LOG_BYTES:
            errors.truncate(0)
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=_LONGEST_LINE_BYTES,
            start_new_session=True,
            cwd=REPOSITORY,
            env=_environment(),
        )
    try:
        with suppress(ProcessLookupError):  # before it starts threads, which inherit this
            os.setpriority(os.PRIO_PROCESS, child.pid, min(os.nice(0) + _NICENESS, 19))
        yield child
    finally:
        await _stop(child)


def _environment() -> dict[str, str]:
    """Ours without what only the server needs to know. Settings reads names in either case."""
    inherited = {name: text for name, text in os.environ.items() if name.upper() not in _SECRETS}
    return inherited | {PARENT_VARIABLE: str(os.getpid()), "PYTHONUNBUFFERED": "1"}


async def _stop(child: asyncio.subprocess.Process) -> None:
    """Ask the process group to end, insist soon after, and wait until it has."""
    for sent, patience in ((signal.SIGTERM, _TERM_GRACE_S), (signal.SIGKILL, None)):
        with suppress(ProcessLookupError):
            os.killpg(child.pid, sent)
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await child.wait()
                return


async def _messages(child: asyncio.subprocess.Process) -> AsyncGenerator[dict[str, Any], None]:
    """The JSON objects among the lines; a library's stray print is logged and passed over."""
    assert child.stdout is not None  # noqa: S101 - we asked for a pipe
    while True:
        try:
            line = await child.stdout.readline()
        except ValueError as error:
            raise TrainingFailedError(
                "The training process wrote a line longer than 1 MiB where metrics belong."
            ) from error
        if not line:
            return
        try:
            message = json.loads(line)
        except ValueError:  # also a UnicodeDecodeError
            message = None
        if isinstance(message, dict):
            yield message
        else:
            log.warning("training_stray_output", line=line[:200])


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


def _obituary(returncode: int | None, log_file: Path) -> str:
    """What is known about a process that ended without its last word."""
    if returncode == -signal.SIGKILL:
        return (
            "The training process was killed, most likely because memory ran out. "
            "Start the training again when there is more of it."
        )
    if returncode is None:
        how = "stopped reporting"
    elif returncode < 0:
        how = f"was ended by signal {-returncode} ({signal.Signals(-returncode).name})"
    else:
        how = f"ended early with exit code {returncode}"
    return f"The training process {how}.{_last_words(log_file)}"


async def _words_after(child: asyncio.subprocess.Process, log_file: Path) -> str:
    """What stands in the log once the process has ended: its traceback."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_GRACE_S):
            await child.wait()
    return await asyncio.to_thread(_last_words, log_file)


def _last_words(log_file: Path) -> str:
    with log_file.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES_READ))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" It said: {' | '.join(lines[-_LOG_LINES_TOLD:])}" if lines else ""
