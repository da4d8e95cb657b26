"""A child's output in our log: structured lines stay structured, everything is bounded.

Children log JSON (LOG_FORMAT=json in their environment): event, level and fields are taken over.
Other lines (native libraries, tracebacks) come through as they are. A child that floods is cut to
`MAX_LINES_PER_S`, and the log says how many lines it left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Any

import structlog

log = structlog.get_logger(__name__)

MAX_LINE = 2000  # characters
MAX_LINES_PER_S = 100
_OURS = frozenset({"event", "level", "timestamp", "program"})  # said by us or implied


class ChildLog:
    """Forwards one child's lines and remembers its last one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._second = 0
        self._lines_this_second = 0
        self.last_words = ""

    async def forward(self, stream: asyncio.StreamReader) -> None:
        """Log each line of `stream` until it ends. An endless line is cut, not collected."""
        pending = b""
        while chunk := await stream.read(1 << 14):
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                self._take(line)
            if len(pending) > 4 * MAX_LINE:
                pending = pending[: 4 * MAX_LINE]
        if pending:
            self._take(pending)

    def _take(self, raw: bytes) -> None:
        line = raw[: 4 * MAX_LINE].decode(errors="replace").strip()[:MAX_LINE]
        if not line:
            return
        event, level, fields = _parse(line)
        self.last_words = event
        if self._admit():
            log.log(level, f"{self._name} | {event}", **fields)

    def _admit(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            left_out = self._lines_this_second - MAX_LINES_PER_S
            if left_out > 0:
                log.warning(f"{self._name} | {left_out} lines left out: it logs too much")
            self._second, self._lines_this_second = second, 0
        self._lines_this_second += 1
        return self._lines_this_second <= MAX_LINES_PER_S


def _parse(line: str) -> tuple[str, int, dict[str, Any]]:
    """Event, level and fields of a line; a line that is no JSON object is its own event."""
    try:
        entry = json.loads(line) if line.startswith("{") else None
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        return line, logging.INFO, {}
    level = logging.getLevelNamesMapping().get(str(entry.get("level", "")).upper(), logging.INFO)
    fields = {name: value for name, value in entry.items() if name not in _OURS}
    return str(entry.get("event", line)), level, fields
