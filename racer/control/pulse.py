"""A signal that many tasks may wait for again and again: "something changed, look once more".

An `asyncio.Event` would have to be cleared by somebody, and a task that is late would miss it or
see it twice. Here each wait ends at the next `fire`, and the waiter looks at the state itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Pulse:
    """Belongs to one event loop; not thread-safe."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def fire(self) -> None:
        """Wake everyone who waits now, in the order they began to wait."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def wait(self, timeout_s: float) -> bool:
        """Return at the next `fire` (True) or after `timeout_s` (False)."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
        except TimeoutError:
            return False
        return True

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Return as soon as `condition()` holds (True), or False after `timeout_s`."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while not condition():
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0.0 or not await self.wait(left):
                return condition()
        return True
