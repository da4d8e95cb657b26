"""The real-time loop: a tick at each absolute deadline, answers to messages in between.

Deadlines never drift: each is the last one plus the period. A short delay is caught up; what a
longer stall (a suspended laptop, a busy machine) took is dropped, so the loop never runs a burst of
old time. Lag is reported once when it begins and once when it is over.
"""

from __future__ import annotations

import select
import time
from typing import Final

import structlog

from racer.autopilot.plant import DT_S
from racer.autopilot.protocol import Protocol

_CATCH_UP_S: Final = 0.25
_LOAD_WINDOW_S: Final = 1.0
_CALM_WINDOWS: Final = 3  # seconds without lag before it counts as over
_log = structlog.get_logger(__name__)


class Loop:
    """Runs a vehicle behind its links until `stop` is called (from a signal handler, say)."""

    def __init__(self, protocol: Protocol, *, speed_factor: float = 1.0) -> None:
        self._protocol = protocol
        self._period = DT_S / speed_factor
        self._running = True
        self._dropped_s = 0.0
        self._calm = _CALM_WINDOWS

    def stop(self) -> None:
        """Return from `run` within a tick."""
        self._running = False

    def run(self) -> None:
        """Blocks."""
        ports = self._protocol.ports
        vehicle = self._protocol.vehicle
        now = time.monotonic()
        deadline, window_end, cpu = now, now + _LOAD_WINDOW_S, time.thread_time()
        while self._running:
            now = time.monotonic()
            readable, _, _ = select.select(
                [port.link for port in ports], [], [], max(deadline - now, 0.0)
            )
            for port in ports:
                if port.link in readable:
                    self._protocol.handle(port, port.link.receive(time.monotonic()))
            now = time.monotonic()
            if now < deadline:
                continue
            vehicle.tick()
            self._protocol.report()
            deadline = self._next(deadline, now)
            if now >= window_end:
                used, cpu = time.thread_time() - cpu, time.thread_time()
                vehicle.load = used / (now - window_end + _LOAD_WINDOW_S)
                window_end = now + _LOAD_WINDOW_S
                self._report_lag()

    def _next(self, deadline: float, now: float) -> float:
        """The next deadline; time that cannot be caught up is dropped and counted."""
        deadline += self._period
        behind = now - deadline
        if behind > _CATCH_UP_S:
            self._dropped_s += behind
            return now
        return deadline

    def _report_lag(self) -> None:
        """Once a second: say that we lag, and later that we do not any more."""
        if self._dropped_s > 0.0:
            if self._calm >= _CALM_WINDOWS:
                _log.warning("the vehicle lags behind real time", lost_s=round(self._dropped_s, 3))
            self._dropped_s, self._calm = 0.0, 0
            return
        self._calm += 1
        if self._calm == _CALM_WINDOWS:
            _log.info("the vehicle keeps up with real time again")
