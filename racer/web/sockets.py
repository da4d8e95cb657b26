"""What every WebSocket shares: who may open it, how many there may be, how it ends.

A token comes as REST's, `Authorization: Bearer …`; or, since a browser's sockets send no header of
their own, as the protocol that the page asks for: `Sec-WebSocket-Protocol: bearer, <token>`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

from sqlalchemy.exc import SQLAlchemyError
from starlette.websockets import WebSocket, WebSocketDisconnect

from racer.errors import RacerError, TooManyRequestsError, UnavailableError
from racer.web.callers import SCHEME, bearer_of
from racer.web.errors import problem_of
from racer.web.origins import refuse_socket
from racer.web.tokens import Admission, Grant

SIGNED_OUT = 4401  # closes a socket whose token has ended
_RETRY_AFTER_S = 10
_MAX_REASON = 120  # a closing frame holds 123 bytes

T = TypeVar("T")


class Goodbye(NamedTuple):
    """How we close a socket."""

    code: int
    reason: str


class Sockets:
    """How many sockets each account has open, and each address without one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: Counter[int | str] = Counter()

    @property
    def open(self) -> int:
        """How many there are."""
        return self._open.total()

    def enter(self, whose: int | str) -> None:
        """One more. Raises TooManyRequestsError when there are as many as there may be."""
        if self._open[whose] >= self._most:
            raise TooManyRequestsError(
                f"You have {self._most} sockets open; there may be no more. Close one first. "
                "(MAX_SOCKETS_PER_USER)",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._open[whose] += 1

    def leave(self, whose: int | str) -> None:
        """One less."""
        self._open[whose] -= 1
        if not self._open[whose]:
            del self._open[whose]


async def converse(
    socket: WebSocket,
    grant: Grant[T],
    talk: Callable[[Admission[T]], Awaitable[Goodbye | None]],
) -> None:
    """Accept a socket whose visitor gets something of `grant`, `talk`, and close it.

    The others are refused with words before the handshake ends.
    """
    try:
        admission = await _admission(socket, grant)
        whose = _whose(socket, admission)
        socket.app.state.sockets.enter(whose)
    except RacerError as error:
        await refuse_socket(socket, problem_of(error), reason=error.message)
        return
    try:
        await socket.accept(subprotocol=_accepted_protocol(socket))
        await say(socket, await talk(admission))
    finally:
        socket.app.state.sockets.leave(whose)


async def _admission(socket: WebSocket, grant: Grant[T]) -> Admission[T]:
    try:
        return await Admission.of(socket.app.state, grant, _token(socket))
    except SQLAlchemyError as error:
        raise UnavailableError("The database does not answer. Try again in a moment.") from error


def _whose(socket: WebSocket, admission: Admission[T]) -> int | str:
    if admission.account_id is not None:
        return admission.account_id
    return socket.client.host if socket.client else ""


def _token(socket: WebSocket) -> str | None:
    if (token := bearer_of(socket.scope)) is not None:
        return token
    protocol, *rest = socket.scope.get("subprotocols") or [""]
    return rest[0] if protocol == SCHEME and rest else None


def _accepted_protocol(socket: WebSocket) -> str | None:
    """What the handshake answers to a token among the protocols; the token itself never."""
    return SCHEME if SCHEME in socket.scope.get("subprotocols", ())[:1] else None


async def until_signed_out(admission: Admission[T]) -> Goodbye:
    """Wait until the token or the right has ended; the goodbye says why."""
    return signed_out(await admission.ended())


def signed_out(reason: str) -> Goodbye:
    """The goodbye to somebody whose token has ended."""
    return Goodbye(SIGNED_OUT, reason.encode()[:_MAX_REASON].decode(errors="ignore"))


async def say(socket: WebSocket, goodbye: Goodbye | None) -> None:
    """Close with code and reason; None: the client has already left."""
    if goodbye is not None:
        try:
            await socket.close(*goodbye)
        except WebSocketDisconnect:
            return  # it left at the same moment


async def until_gone(socket: WebSocket) -> None:
    """Read, and do not keep, what a viewer says until it leaves."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue


async def first_of(*conversations: Coroutine[Any, Any, Goodbye | None]) -> Goodbye | None:
    """Run them until the first ends, end the others, and return its goodbye.

    A client that leaves while we send is an ordinary end; any other error is raised.
    """
    tasks = [asyncio.create_task(conversation) for conversation in conversations]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    goodbye = None
    for task in done:
        try:
            goodbye = task.result() or goodbye
        except WebSocketDisconnect:
            continue
    return goodbye
