"""What each of our processes does at its start: logging, and dying with its parent.

A child that outlives a killed parent would hold UDP ports and fly on; asking the kernel for a
signal at the parent's death works even after `kill -9`.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys

import structlog

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
PARENT_VARIABLE = "TOLEDO_PARENT_PID"


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


def configure_logging(level: str, *, program: str) -> None:
    """Structured lines on stderr: readable on a terminal, JSON when piped to a collector."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if os.environ.get("LOG_FORMAT", "console") != "json"
        else structlog.processors.JSONRenderer()
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    structlog.contextvars.bind_contextvars(program=program)
