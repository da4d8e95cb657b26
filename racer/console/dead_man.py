"""A dead-man's switch for a pilot's page: motion that nobody confirms is stopped.

The browser says "alive" a few times a second while a key is held. When the tab freezes or the
network dies the key-up event never comes, and the socket's own time-out takes seconds; this
notices within `timeout_s`. It holds no thread and no task: one timer of the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class DeadMan:
    """Calls `on_expire` once if it is armed and not fed for `timeout_s`."""

    def __init__(self, on_expire: Callable[[], None], *, timeout_s: float) -> None:
        self._on_expire = on_expire
        self._timeout_s = self._now_s = timeout_s
        self._timer: asyncio.TimerHandle | None = None

    @property
    def armed(self) -> bool:
        """Whether somebody is holding."""
        return self._timer is not None

    def arm(self, timeout_s: float | None = None) -> None:
        """Something moves: expect `feed` from now on, `timeout_s` apart at most."""
        self._now_s = self._timeout_s if timeout_s is None else timeout_s
        self._start()

    def _start(self) -> None:
        self.disarm()
        self._timer = asyncio.get_running_loop().call_later(self._now_s, self._expire)

    def feed(self) -> None:
        """The pilot is still there. Nothing happens unless armed: a late beat arms nothing."""
        if self.armed:
            self._start()

    def disarm(self) -> None:
        """It was stopped properly."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self) -> None:
        self._timer = None
        self._on_expire()
