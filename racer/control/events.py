"""Broadcasts to every open control socket: bounded for each, so that a hung one harms nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any, Self
from weakref import WeakSet

MAX_WAITING = 64  # events kept for one subscriber; the oldest are dropped first


class Subscription:
    """Events from its creation on: `async for event in subscription`.

    It ends by being dropped, or as a context manager.
    """

    def __init__(self, subscribers: WeakSet[Subscription]) -> None:
        self._waiting: deque[dict[str, Any]] = deque(maxlen=MAX_WAITING)
        self._arrived = asyncio.Event()
        self._subscribers = subscribers
        subscribers.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._subscribers.discard(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> dict[str, Any]:
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    def deliver(self, event: dict[str, Any]) -> None:
        """Queue one event; never blocks."""
        self._waiting.append(event)
        self._arrived.set()


class Events:
    """The broadcaster. Belongs to one event loop."""

    def __init__(self) -> None:
        self._subscribers: WeakSet[Subscription] = WeakSet()

    def broadcast(self, event: Mapping[str, Any]) -> None:
        """Hand one JSON-able event to everyone who is subscribed now."""
        for subscriber in list(self._subscribers):
            subscriber.deliver(dict(event))

    def subscribe(self) -> Subscription:
        """Start to listen, from now on."""
        return Subscription(self._subscribers)
