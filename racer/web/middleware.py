"""Pure ASGI middleware: one log line a request with its id, headers that browsers heed, a limit on
bodies, either slash.

No BaseHTTPMiddleware: it would sit between a stream and its client.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import AnyStr
from uuid import uuid4

import structlog
from fastapi.routing import iter_route_contexts
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth import CALLER, Caller
from racer.web.errors import Problem

log = structlog.get_logger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_QUIET_PATHS = frozenset({"/livez", "/readyz"})
_ANSWER_STARTS = frozenset({"http.response.start", "websocket.http.response.start"})


class RequestLog:
    """Gives every request an id, logs it once at its end, answers an unforeseen error politely.

    An error after the answer began cannot be told to the client any more: it goes on to the
    server, which logs it and cuts the connection, so that nobody takes a part for the whole.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        CALLER.set(Caller(address=(scope.get("client") or ("",))[0], request_id=request_id))
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._observe(scope, receive, send, request_id)

    async def _observe(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started = time.perf_counter()
        status = 0

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] in _ANSWER_STARTS:
                status = int(message["status"])
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            elif message["type"] == "websocket.accept":
                status = 101
            elif message["type"] == "websocket.close" and not status:
                status = 403  # which is what the server makes of it
            await send(message)

        try:
            await self.app(scope, receive, watched_send)
        except Exception:
            if status or scope["type"] == "websocket":
                raise
            log.exception("request failed", path=scope["path"])
            answer = Problem(
                "Something went wrong here, not with your request. Try again; if it stays, report "
                f"the request id {request_id}.",
                500,
            )
            await answer(scope, receive, watched_send)
        finally:
            _log_request(scope, status, time.perf_counter() - started)


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid4().hex


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    """The query is left out: people put tokens there."""
    write = log.debug if scope["path"] in _QUIET_PATHS else log.info
    event = "request" if scope["type"] == "http" else "socket closed"
    more = {}
    if (reason := scope["state"].get("refused")) is not None:
        event, more = "socket refused", {"reason": reason}
    write(
        event,
        method=scope.get("method", "WEBSOCKET"),
        path=scope["path"],
        status=status,
        ms=round(seconds * 1000, 1),
        **more,
    )


class SecurityHeaders:
    """Tells browsers to take nothing for what it is not, and who may show our pages in a frame.

    A pilot's console in somebody else's frame could be clicked without being seen.
    """

    def __init__(self, app: ASGIApp, *, may_frame: Sequence[str]) -> None:
        """`may_frame`: origins beside our own; `*` stands for all."""
        self.app = app
        self._headers = {
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Content-Security-Policy": " ".join(["frame-ancestors", "'self'", *may_frame]),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_safely(message: Message) -> None:
            if message["type"] in _ANSWER_STARTS:
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_safely)


class BodyLimit:
    """Refuses to read a request body beyond `max_bytes`; `exceptions` have more, by patterns of
    paths.

    FastAPI's own `max_body_size` answers in plain text, outside CORS and the request log; here the
    refusal is raised where the body is read and becomes a JSON 413 like every other error.
    """

    def __init__(
        self, app: ASGIApp, *, max_bytes: int, exceptions: Mapping[str, int] | None = None
    ) -> None:
        self.app = app
        self._max_bytes = max_bytes
        self._exceptions = [(re.compile(path), most) for path, most in (exceptions or {}).items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        expected = (
            int(announced)
            if announced.isascii() and announced.isdigit() and len(announced) < 20
            else 0
        )
        received = 0
        most = self._most(scope["path"])

        async def counted_receive() -> Message:
            nonlocal received
            if expected > most:
                raise _too_large(most)
            message = await receive()
            received += len(message.get("body", b""))
            if received > most:
                raise _too_large(most)
            return message

        await self.app(scope, counted_receive, send)

    def _most(self, path: str) -> int:
        matching = (most for pattern, most in self._exceptions if pattern.fullmatch(path))
        return next(matching, self._max_bytes)


def _too_large(most: int) -> HTTPException:
    return HTTPException(413, f"The body may have at most {most} bytes.")


class EitherSlash:
    """Serves `/users` as `/users/` and `/readyz/` as `/readyz`, without a redirect.

    A redirect makes many clients drop the body of a POST. A path that no route has in either
    spelling passes on unchanged, to whatever is mounted.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self._routes = routes
        self._known: list[re.Pattern[str]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and not self._knows(scope["path"]):
            other = _other_spelling(scope["path"])
            if self._knows(other):
                raw = scope.get("raw_path") or scope["path"].encode()
                # In this very scope, where the metrics find the route that it is matched with.
                scope["path"], scope["raw_path"] = other, _other_spelling(raw)
        await self.app(scope, receive, send)

    def _knows(self, path: str) -> bool:
        if not self._known:  # routes are complete when the first request comes
            self._known = [
                compile_path(context.path)[0]
                for context in iter_route_contexts(self._routes)
                if context.path is not None and not isinstance(context.original_route, Mount)
            ]
        return any(pattern.match(path) for pattern in self._known)


def _other_spelling(path: AnyStr) -> AnyStr:
    slash = path[:0] + ("/" if isinstance(path, str) else b"/")
    return path.removesuffix(slash) if path.endswith(slash) else path + slash
