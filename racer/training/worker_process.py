"""One training process: started politely, read line by line, never left behind.

The child speaks JSON lines on standard output (racer.training.transcript). Its standard error goes
to a file, so that no pipe can fill up and the last lines are at hand when it dies without a word.
It runs at low priority in a session of its own (Ctrl-C reaches only the server) and dies with the
server (racer.process).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from racer.process import PARENT_VARIABLE
from racer.settings import REPOSITORY
from racer.training.transcript import (
    LONGEST_LINE_BYTES,
    Transcript,
    end_without_a_word,
    too_long_a_line,
)

_NICENESS = 10  # above our own, so that requests come first
_TERM_GRACE_S = 0.6  # stopping the server may take one second altogether
_EXIT_GRACE_S = 15.0  # from the last line to the exit: the runtime may close its threads
_LONGEST_LOG_BYTES = 1 << 20
_SECRETS = frozenset({"SECRET_KEY", "DATABASE_URL", "RAY_AUTH_TOKEN"})


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
    transcript = Transcript(after=after)
    async with _process(command, log_file) as child:
        async with aclosing(_lines(child)) as lines:
            async for line in lines:
                if (message := transcript.take(line)) is not None:
                    yield message
                if transcript.done:
                    break
        with suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_GRACE_S):
                await child.wait()
        if not transcript.done:
            raise await asyncio.to_thread(end_without_a_word, child.returncode, log_file)


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
            limit=LONGEST_LINE_BYTES,
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


async def _lines(child: asyncio.subprocess.Process) -> AsyncGenerator[bytes, None]:
    assert child.stdout is not None  # noqa: S101 - we asked for a pipe
    while True:
        try:
            line = await child.stdout.readline()
        except ValueError as error:
            raise too_long_a_line() from error
        if not line:
            return
        yield line
