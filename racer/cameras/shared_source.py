"""One picture source for any number of viewers.

Frames are made while somebody watches, once each, on an absolute schedule. A viewer always gets
the newest frame: one that is slow skips frames and never makes a queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

Shoot = Callable[[], Awaitable[bytes | None]]


class SharedSource:
    """Calls `shoot` `rate_hz` times a second while it has viewers; None means nothing new."""

    def __init__(self, shoot: Shoot, *, rate_hz: float) -> None:
        self._shoot = shoot
        self._period_s = 1.0 / rate_hz
        self._viewers = 0
        self._maker: asyncio.Task[None] | None = None
        self._bell = asyncio.Event()
        self._frame: bytes | None = None
        self._number = 0

    @property
    def viewers(self) -> int:
        """How many watch now."""
        return self._viewers

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """The newest frame at once, if there is one, then each newest one.

        Ends when the source is stopped; raises what making a frame raised.
        """
        self._viewers += 1
        if self._maker is None:
            self._maker = asyncio.create_task(self._make())
            self._maker.add_done_callback(self._on_end)
        maker, seen = self._maker, 0
        try:
            while True:
                bell = self._bell
                if self._number != seen and self._frame is not None:
                    seen = self._number
                    yield self._frame
                elif maker.done():
                    if not maker.cancelled():
                        maker.result()
                    return
                else:
                    await bell.wait()
        finally:
            self._viewers -= 1
            if self._viewers == 0:
                self.stop()

    def stop(self) -> None:
        """End every viewer's frames."""
        if self._maker is not None:
            self._maker.cancel()
            self._maker = None
            self._frame = None  # who comes back later shall not see the past

    async def _make(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time()
        while True:
            frame = await self._shoot()
            if frame is not None:
                self._frame = frame
                self._number += 1
                self._ring()
            deadline = max(deadline + self._period_s, loop.time())
            await asyncio.sleep(deadline - loop.time())

    def _ring(self) -> None:
        self._bell.set()
        self._bell = asyncio.Event()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._ring()
        if self._maker is task:
            self._maker = None
        if not task.cancelled():
            task.exception()  # each viewer raises it; nobody left to raise it is no news
