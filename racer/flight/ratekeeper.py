"""A loop's clock: absolute deadlines, and an honest measure of how late it runs.

Each deadline is the last one plus the period, so a late tick does not move those after it. A loop
that fell behind by more than a period drops the ticks it missed: an old setpoint sent late is worth
nothing, and a burst of them is worse. After openpilot's Ratekeeper (common/realtime.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Ratekeeper:
    """`lag_s = await keeper.wait()` at the head of a loop on the running event loop."""

    def __init__(self, hz: float, clock: Callable[[], float]) -> None:
        """`clock`: monotonic seconds, the event loop's own `time`."""
        self._period_s = 1.0 / hz
        self._clock = clock
        self._deadline_s = clock()
        self.ticks = 0
        self.dropped = 0  # ticks that never came because the loop was late
        self.worst_lag_s = 0.0

    async def wait(self) -> float:
        """Sleep until the next deadline; how long after it we woke, s."""
        await asyncio.sleep(max(self._deadline_s - self._clock(), 0.0))
        lag_s = max(self._clock() - self._deadline_s, 0.0)
        missed = int(lag_s / self._period_s)
        self._deadline_s += (1 + missed) * self._period_s
        self.ticks += 1
        self.dropped += missed
        self.worst_lag_s = max(self.worst_lag_s, lag_s)
        return lag_s
