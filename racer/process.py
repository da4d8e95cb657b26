"""What each of our processes does at its start: logging, and dying with its parent.

A child that outlives a killed parent would hold UDP ports and fly on; asking the kernel for a
signal at the parent's death works even after `kill -9`.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import structlog

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # linux/prctl.h
PARENT_VARIABLE = "TOLEDO_PARENT_PID"
_SECRETS = frozenset({"SECRET_KEY", "DATABASE_URL", "METRICS_TOKEN", "RAY_AUTH_TOKEN"})
# What moves a terminal's cursor, ends a line or turns the direction of text.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_CONTROL_IN_BLOCK = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")
_BLOCKS = frozenset({"exception", "stack"})  # structlog's own keys of several lines


def child_environment() -> dict[str, str]:
    """Ours without what only the server needs to know, for a process that dies with us. Settings
    reads names in either case."""
    inherited = {name: text for name, text in os.environ.items() if name.upper() not in _SECRETS}
    return inherited | {PARENT_VARIABLE: str(os.getpid())}


def die_with_parent() -> None:
    """Ask for SIGTERM at the parent's death, if the parent put its pid in TOLEDO_PARENT_PID.

    The parent must have started us from its main thread: the signal follows that thread's life.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it died before the call
        sys.exit("The process that started this one is gone.")


def is_supervised() -> bool:
    """Whether our parent started us as its child process and keeps us running."""
    return PARENT_VARIABLE in os.environ


def fork_companion(name: str, keep_fd: int, work: Callable[[], None]) -> None:
    """Fork a process of that name which does `work` and ends. It must be forked before any thread
    or library starts, keeps no files but `keep_fd` and the standard ones, and is told to end by its
    peer alone: SIGINT and SIGTERM that a terminal or a supervisor sends to a group pass it by.
    """
    if os.fork() != 0:
        return
    status = 1
    try:
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())  # for whoever looks with ps
        os.closerange(3, keep_fd)
        os.closerange(max(keep_fd + 1, 3), os.sysconf("SC_OPEN_MAX"))
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        work()
        status = 0
    except Exception:  # the last edge: it must never go on as a second parent
        logging.getLogger(__name__).exception("the %s failed", name)
    finally:
        os._exit(status)


def leave(code: int) -> NoReturn:
    """End the process without taking the interpreter down, once everything of ours is closed.

    For a process that somebody waits for: freeing every module and library took the controller
    0.3 s on an idle machine and over a second on a busy one, and after one second it is killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def configure_logging(level: str, *, program: str, log_format: str | None = None) -> None:
    """Structured lines on stderr: readable on a terminal, JSON when piped to a collector.

    `log_format` is "console" or "json" (Settings.log_format); None takes LOG_FORMAT from the
    environment, which is how engines, who know no Settings, hear of it from their parent.
    """
    log_format = log_format or os.environ.get("LOG_FORMAT") or "console"
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer()]  # it escapes by itself
        if log_format == "json"
        else [escape_controls, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, *renderers],
        logger_factory=lambda *_: _Stderr(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)  # for what libraries log
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.contextvars.bind_contextvars(program=program)


class _Stderr(structlog.WriteLogger):
    """Writes lines without the detour through the standard library's records, which takes longer
    than all else about a line. As there, what cannot be written (a full disk, a reader who left, a
    closed file) is lost and fails nobody."""

    def __init__(self) -> None:
        super().__init__(sys.stderr or open(os.devnull, "w"))  # noqa: SIM115 - as long as we live

    def msg(self, message: str) -> None:
        """Write and flush it."""
        with suppress(OSError, ValueError):
            super().msg(message)

    log = debug = info = warn = warning = fatal = failure = err = error = critical = exception = msg


def escape_controls(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Show control characters as escapes: request paths and children's words are anybody's, and
    must neither forge a line nor steer the terminal. Tracebacks keep their lines."""
    return {_escaped(key): _escaped(value, block=key in _BLOCKS) for key, value in event.items()}


def _escaped(value: Any, *, block: bool = False) -> Any:
    if not isinstance(value, str):
        return value  # shown by its repr, which escapes
    pattern = _CONTROL_IN_BLOCK if block else _CONTROL
    return pattern.sub(lambda match: match[0].encode("unicode_escape").decode(), value)
