"""One child process that works: started politely, read line by line, never left behind.

The child speaks JSON lines on standard output: objects, of which one is the last, or
`{"error": "text for a person"}`. Its standard error goes to a file, so that no pipe can fill up
and the last lines are at hand when it dies without a word. It runs at low priority in a session
of its own (Ctrl-C reaches only the server) and dies with the server (racer.process).
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import structlog

from racer.process import PARENT_VARIABLE
from racer.settings import REPOSITORY

_NICENESS = 10  # above our own, so that requests come first
_TERM_GRACE_S = 0.6  # stopping the server may take one second altogether
_EXIT_GRACE_S = 15.0  # from the last line to the exit: the runtime may close its threads
LONGEST_LINE_BYTES = 1 << 20
_LOG_LINES_TOLD = 3
_LOG_BYTES_READ = 8_192
LONGEST_LOG_BYTES = 1 << 20
_TERMINATED = 128 + signal.SIGTERM  # how our programs end when they are told to
_SECRETS = frozenset({"SECRET_KEY", "DATABASE_URL", "METRICS_TOKEN", "RAY_AUTH_TOKEN"})

Message = dict[str, Any]
log = structlog.get_logger(__name__)


class ChildFailedError(Exception):
    """The work ended without success; the text is for the person who started it."""

    def __init__(self, message: str, *, disk_full: bool = False, logged: bool = False) -> None:
        """`disk_full`: it can be done once there is room. `logged`: the log says more."""
        super().__init__(message)
        self.disk_full, self.logged = disk_full, logged


class ChildInterruptedError(Exception):
    """Somebody killed the process, which is no fault of the work."""

    def __init__(self, message: str, *, blameless: bool = False) -> None:
        """`blameless`: for certain; it may happen as often as it likes."""
        super().__init__(message)
        self.blameless = blameless


async def messages_of(
    command: Sequence[str],
    *,
    log_file: Path,
    noun: str,
    is_last: Callable[[Message], bool],
    longest_line: int = LONGEST_LINE_BYTES,
) -> AsyncGenerator[Message, None]:
    """Run the process and yield its messages, up to the one that `is_last`.

    Ends normally only after that one. Raises ChildFailedError with the child's own words, or with
    what is known of its end (`noun` says what it did: training, job), ChildInterruptedError when a
    signal ended it. However the caller leaves, the process and its children are gone afterwards.
    """
    async with _process(command, log_file, longest_line) as child:
        done = False
        async with aclosing(_objects(child, noun, longest_line)) as objects:
            async for message in objects:
                if "error" in message:
                    failure = failure_told(message)
                    if failure.logged:
                        await _exit_of(child)
                    raise await asyncio.to_thread(with_log, failure, log_file)
                done = is_last(message)
                yield message
                if done:
                    break
        await _exit_of(child)
        if not done:
            raise await asyncio.to_thread(end_without_a_word, noun, child.returncode, log_file)


@asynccontextmanager
async def _process(
    command: Sequence[str], log_file: Path, longest_line: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    with log_file.open("ab") as errors:  # after what an interrupted attempt said
        if errors.tell() > LONGEST_LOG_BYTES:
            errors.truncate(0)
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            limit=longest_line,
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


async def _objects(
    child: asyncio.subprocess.Process, noun: str, longest_line: int
) -> AsyncGenerator[Message, None]:
    """The JSON objects among the lines; a library's stray print is logged and passed over."""
    assert child.stdout is not None  # noqa: S101 - we asked for a pipe
    while True:
        try:
            line = await child.stdout.readline()
        except ValueError as error:
            raise too_long_a_line(noun, longest_line) from error
        if not line:
            return
        try:
            message = json.loads(line)
        except ValueError:  # also a UnicodeDecodeError
            message = None
        if isinstance(message, dict):
            yield message
        else:
            log.warning(f"{noun}_stray_output", line=line[:200])


def too_long_a_line(noun: str, longest: int = LONGEST_LINE_BYTES) -> ChildFailedError:
    """For a line that is no message of ours."""
    return ChildFailedError(
        f"The {noun} process wrote a line longer than {longest >> 20} MiB where a message belongs."
    )


def failure_told(message: Message) -> ChildFailedError:
    """What a process says of its own failure."""
    disk_full = message.get("disk_full") is True
    a_fault = "status" not in message and not disk_full  # no refusal: its traceback comes next
    return ChildFailedError(str(message["error"]), disk_full=disk_full, logged=a_fault)


def with_log(failure: ChildFailedError, log_file: Path) -> ChildFailedError:
    """The failure with what stands in the log once the process has ended, where that says more."""
    return ChildFailedError(f"{failure}{_last_words(log_file)}") if failure.logged else failure


def end_without_a_word(noun: str, returncode: int | None, log_file: Path) -> Exception:
    """The error to raise for a process that ended without its last word."""
    obituary = _obituary(noun, returncode, log_file)
    if returncode is not None and (returncode < 0 or returncode == _TERMINATED):
        return ChildInterruptedError(obituary)
    return ChildFailedError(obituary)


def _obituary(noun: str, returncode: int | None, log_file: Path) -> str:
    if returncode == -signal.SIGKILL:
        return (
            f"The {noun} process was killed, most likely because memory ran out. "
            f"Start the {noun} again when there is more of it."
        )
    if returncode is None:
        how = "stopped reporting"
    elif returncode < 0:
        how = f"was ended by signal {-returncode} ({signal.Signals(-returncode).name})"
    else:
        how = f"ended early with exit code {returncode}"
    return f"The {noun} process {how}.{_last_words(log_file)}"


async def _exit_of(child: asyncio.subprocess.Process) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_GRACE_S):
            await child.wait()


def _last_words(log_file: Path) -> str:
    try:
        with log_file.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_BYTES_READ))
            text = file.read().decode(errors="replace")
    except FileNotFoundError:  # it never came so far
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" It said: {' | '.join(lines[-_LOG_LINES_TOLD:])}" if lines else ""
