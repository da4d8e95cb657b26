"""One input under a watch: what a parser may answer, what is a fault, and how long it computed.

The limit is on processor time, not on the clock: the machines that this runs on are shared, and a
parser waits for nothing.
"""

from __future__ import annotations

import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

LIMIT_S = 1.0
Parse = Callable[[bytes], None]


class TooSlowError(BaseException):
    """Raised in the middle of a parser; no `except Exception` swallows it."""


@dataclass(frozen=True)
class Parser:
    """A parser and how it is fed.

    `parse` returns when an input is taken and raises one of `refusals` when it is refused; it also
    asserts what must hold of what was taken.
    """

    name: str
    parse: Parse
    refusals: tuple[type[BaseException], ...]
    corpus: tuple[bytes, ...]
    share: float  # of all inputs; cheap parsers get more


@dataclass
class Tally:
    """What became of some inputs."""

    inputs: int = 0
    taken: int = 0
    slowest_s: float = 0.0
    slowest: bytes = b""
    faults: dict[str, bytes] = field(default_factory=dict)  # what went wrong -> first input


@contextmanager
def limited(limit_s: float = LIMIT_S) -> Iterator[None]:
    """TooSlowError after so much processor time. In the main thread only."""

    def expired(_signal: int, _frame: FrameType | None) -> None:
        raise TooSlowError(f"more than {limit_s:g} s")

    previous = signal.signal(signal.SIGPROF, expired)
    signal.setitimer(signal.ITIMER_PROF, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, previous)


def fault_of(parser: Parser, data: bytes) -> str | None:
    """What goes wrong with an input, in a line that is the same for the same fault; None if it is
    taken or refused as it should be."""
    return _outcome(parser, data)[1]


def try_one(parser: Parser, data: bytes, tally: Tally) -> None:
    """Feed an input and count what became of it."""
    started = time.process_time()
    taken, fault = _outcome(parser, data)
    took = time.process_time() - started
    tally.inputs += 1
    tally.taken += taken
    if took > tally.slowest_s:
        tally.slowest_s, tally.slowest = took, data
    if fault is not None:
        tally.faults.setdefault(fault, data)


def _outcome(parser: Parser, data: bytes) -> tuple[bool, str | None]:
    try:
        with limited():
            parser.parse(data)
    except parser.refusals:
        return False, None
    except TooSlowError as error:
        return False, f"TooSlowError: {error}"  # where it stood differs from time to time
    except Exception as error:  # noqa: BLE001 - whatever else it is, it is what we look for
        return False, _told(error)
    return True, None


def _told(error: Exception) -> str:
    """Kind and place; not the message, which may quote the input."""
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.name != "_outcome"
    ]
    ours = [frame for frame in frames if "site-packages" not in frame.filename]
    last = (ours or frames)[-1]
    return (
        f"{type(error).__name__} in {last.name} ({last.filename.rpartition('/')[2]}:{last.lineno})"
    )


def smallest(parser: Parser, data: bytes, fault: str, *, tries: int = 3000) -> bytes:
    """The input with all taken out that the same fault does not need."""
    size = max(len(data) // 2, 1)
    while size and tries:
        at = 0
        while at < len(data) and tries:
            shorter = data[:at] + data[at + size :]
            tries -= 1
            if fault_of(parser, shorter) == fault:
                data = shorter
            else:
                at += size
        size //= 2
    return data
