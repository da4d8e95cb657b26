"""The console's own sockets, among those that an address may have open (MAX_SOCKETS_PER_USER).

They count from the engine's first word to its last, whether it speaks by WebSocket or by polling:
a session that polls costs as much as one that does not. By address, also for who signs in: that
happens on the page, when its socket is open already.
"""

from __future__ import annotations

from typing import Any

from socketio import AsyncServer

from racer.errors import TooManyRequestsError
from racer.web.sockets import Sockets

PARENT = "console_parent"  # in the request's scope: the app whose state holds the services


def count_sessions(server: AsyncServer) -> None:
    """From now on; the server is NiceGUI's, of which there is one in a process."""
    handler = server.eio.handlers["connect"]
    if not isinstance(getattr(handler, "__self__", None), CountedSessions):
        CountedSessions(server)


class CountedSessions:
    """Stands before the server's own handlers."""

    def __init__(self, server: AsyncServer) -> None:
        self._opened = server.eio.handlers["connect"]
        self._closed = server.eio.handlers["disconnect"]
        self._held: dict[str, tuple[Sockets, str]] = {}
        server.eio.on("connect", self._open)
        server.eio.on("disconnect", self._close)

    async def _open(self, session_id: str, environ: dict[str, Any]) -> Any:
        """What the engine tells who may not is the reason; None lets them in."""
        scope = environ["asgi.scope"]
        sockets: Sockets = scope[PARENT].state.sockets
        address = (scope.get("client") or ("",))[0]
        try:
            sockets.enter(address)
        except TooManyRequestsError as error:
            scope["state"]["refused"] = error.message
            return error.message
        self._held[session_id] = sockets, address
        try:
            return await self._opened(session_id, environ)
        except BaseException:
            self._leave(session_id)  # the engine refuses it, and does not tell of its end
            raise

    async def _close(self, session_id: str, *reason: str) -> None:
        self._leave(session_id)
        await self._closed(session_id, *reason)

    def _leave(self, session_id: str) -> None:
        if (held := self._held.pop(session_id, None)) is not None:
            sockets, address = held
            sockets.leave(address)
