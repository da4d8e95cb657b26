"""How often somebody may write: WRITES_PER_MINUTE by account, by address for who is not signed in.

A bucket of tokens each, which fills steadily: a burst of a whole minute's writes is fine, more has
to wait. Kept in memory, of the accounts and addresses that wrote last; a restart forgives.
Sockets are not counted: who flies sends dozens of commands a second.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from auth import claims_of
from racer.errors import UnauthorizedError
from racer.web.callers import bearer_of, network
from racer.web.errors import Problem

log = structlog.get_logger(__name__)
_WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_MOST_BUCKETS = 10_000
_NOT_COUNTED = "/_nicegui"  # socket.io of the console, where browsers have no WebSocket


class Buckets:
    """Tokens of many; `take` one."""

    def __init__(self, *, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._most = float(per_minute)
        self._per_s = per_minute / 60.0
        self._now = now
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, when

    def __len__(self) -> int:
        return len(self._held)

    def take(self, whose: str) -> float:
        """0 when there was a token, else the seconds until there is one."""
        now = self._now()
        tokens, then = self._held.pop(whose, (self._most, now))
        tokens = min(self._most, tokens + (now - then) * self._per_s)
        wait = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._per_s
        self._held[whose] = (tokens if wait else tokens - 1.0, now)
        if len(self._held) > _MOST_BUCKETS:
            self._held.popitem(last=False)
        return wait


class WriteLimit:
    """ASGI middleware that answers 429 to who writes too often."""

    def __init__(self, app: ASGIApp, *, per_minute: int) -> None:
        """`per_minute` 0: as often as anybody likes."""
        self.app = app
        self._buckets = Buckets(per_minute=per_minute) if per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._buckets is None or not _is_counted(scope):
            await self.app(scope, receive, send)
            return
        who = _who(scope)
        wait = self._buckets.take(who)
        if wait == 0.0:
            await self.app(scope, receive, send)
            return
        log.warning("writes_too_often", who=who)
        seconds = math.ceil(wait)
        await Problem(
            f"You write too often. Try again in {seconds} s; WRITES_PER_MINUTE sets how often "
            "one may.",
            429,
            {"Retry-After": str(seconds)},
        )(scope, receive, send)


def _is_counted(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] in _WRITING
        and not scope["path"].startswith(_NOT_COUNTED)
    )


def _who(scope: Scope) -> str:
    """The account of a token that we signed, whether it is still good or not; else the address.

    A token that anybody could make up would be a new bucket each time.
    """
    token = bearer_of(scope)
    if token is None:
        return network(scope)
    try:
        claims = claims_of(token, scope["app"].state.secret_key, expired_too=True)
    except UnauthorizedError:  # the route will say what is wrong with it
        return network(scope)
    return f"user {claims.get('uid')}"
