"""Idempotency-Key: a request that makes something is done once, however often it is sent.

A client that lost the answer sends the request again under the same key and gets the first answer
again. The key is claimed by a row before anything is done: of two at once one does it. What failed
made nothing, so its key is free again. When the server was killed in between nobody knows whether
it was done: then the key stays taken and the client is told to look, which is better than a twin.

Pure ASGI, inside everything but the routes: limits, logs and compression see a repeat as they see
any request. Nothing that is secret is kept: of a body only a digest that needs SECRET_KEY, and of
answers those of the routes that are marked with `CREATES`, none of which has a token.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import SQLAlchemyError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from auth import visitor_of
from database import Database
from racer.errors import UnauthorizedError
from racer.web import kept_answers
from racer.web.callers import bearer_of, network
from racer.web.errors import Problem
from racer.web.kept_answers import Kept, Name

log = structlog.get_logger(__name__)
_HEADER = "Idempotency-Key"
# The `openapi_extra` of a route that makes something.
CREATES: dict[str, Any] = {
    "parameters": [
        {
            "name": _HEADER,
            "in": "header",
            "required": False,
            "description": "A random text of yours: sent again with it, the request is not done "
            "again but answered as the first time, for 24 hours.",
            "schema": {"type": "string", "pattern": r"^[\x21-\x7e]{1,255}$"},
        }
    ]
}
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_LONGEST_ANSWER = 1 << 20
_KEPT_HEADERS = frozenset({"content-type", "location", "etag", "cache-control"})


class Idempotent:
    """Does requests with a key once, on routes that are marked with `CREATES`."""

    def __init__(self, app: ASGIApp, *, routes: Sequence[BaseRoute]) -> None:
        self.app = app
        self._routes = routes
        self._creating: list[re.Pattern[str]] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        key = _key_of(scope)
        if key is None or not self._creates(scope["path"]):
            await self.app(scope, receive, send)
        elif not _KEY.fullmatch(key):
            detail = f"{_HEADER} must be one text of 1 to 255 visible ASCII characters."
            await Problem(detail, 422)(scope, receive, send)
        else:
            await self._once(key, scope, receive, send)

    def _creates(self, path: str) -> bool:
        if self._creating is None:  # routes are complete when the first request comes
            self._creating = [
                compile_path(context.path)[0]
                for context in iter_route_contexts(self._routes)
                if context.path is not None and _is_marked(context.original_route)
            ]
        return any(pattern.match(path) for pattern in self._creating)

    async def _once(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["app"].state
        secret: bytes = state.secret_key.encode()
        body = _Body(receive, secret)
        try:
            async with state.database.writers:
                name, kept = await run_in_threadpool(_claimed, scope, key, secret)
        except UnauthorizedError:  # the route says what is wrong with the token
            await self.app(scope, receive, send)
            return
        except SQLAlchemyError as error:
            log.warning("idempotency_key_not_claimed", error=repr(error))
            detail = "The database does not answer now. Try again in a moment."
            await Problem(detail, 503)(scope, receive, send)
            return
        if kept is None:
            await self._first(state.database, name, body, scope, send)
            return
        answer = await _repeated(kept, body)
        await answer(scope, receive, send)

    async def _first(
        self, database: Database, name: Name, body: _Body, scope: Scope, send: Send
    ) -> None:
        """Do it, and keep what it answers before anybody hears of it."""
        answer = _Answer()

        async def kept_send(message: Message) -> None:
            answer.add(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await _settle(database, name, answer, body, unsure=_is_unsure(scope))
                for held in answer.messages:
                    await send(held)

        try:
            await self.app(scope, body.receive, kept_send)
        except Exception:  # it becomes a 500 outside; a cancelled one stays taken
            await _settle(database, name, _Answer(), body, unsure=_is_unsure(scope))
            raise


class _Body:
    """A request's body, digested on its way."""

    def __init__(self, receive: Receive, secret: bytes) -> None:
        self._receive = receive
        self._digest = hmac.new(secret, digestmod=hashlib.sha256)
        self._whole = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and not self._whole:
            self._digest.update(message.get("body", b""))
            self._whole = not message.get("more_body", False)
        return message

    @property
    def fingerprint(self) -> str | None:
        """Of all of it; None when not all of it was read."""
        return self._digest.hexdigest() if self._whole else None

    async def read(self) -> str | None:
        """Read the rest; None when the client left."""
        while not self._whole:
            if (await self.receive())["type"] == "http.disconnect":
                return None
        return self.fingerprint


class _Answer:
    """An answer that is held back until it is kept; the routes that make things do not stream."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.status = 0
        self.headers: dict[str, str] = {}

    def add(self, message: Message) -> None:
        """Hold it back."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            told = Headers(raw=message["headers"])
            self.headers = {name: text for name, text in told.items() if name in _KEPT_HEADERS}
        self.messages.append(message)

    @property
    def body(self) -> bytes | None:
        """None of one that is too long to keep."""
        whole = b"".join(message.get("body", b"") for message in self.messages)
        return whole if len(whole) <= _LONGEST_ANSWER else None


class _Claim(NamedTuple):
    name: Name
    kept: Kept | None


def _claimed(scope: Scope, key: str, secret: bytes) -> _Claim:
    """Take the key, or tell what is kept under it. Raises UnauthorizedError."""
    database: Database = scope["app"].state.database
    with database.session() as session:
        who = network(scope)
        token = bearer_of(scope)
        if token is not None:
            user = visitor_of(session, token, scope["app"].state).user
            if user is not None:  # an id may be given again
                who = f"user {user.id} {user.username} {user.created_at.isoformat()}"
        asked = [who, scope["method"], scope["path"], scope["query_string"].decode("latin-1"), key]
        name = Name(_digest(secret, *asked), owner=_digest(secret, who))
        return _Claim(name, kept_answers.claim(session, name))


def _digest(secret: bytes, *parts: str) -> str:
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hmac.new(secret, text, hashlib.sha256).hexdigest()


async def _repeated(kept: Kept, body: _Body) -> Response:
    """What a repeat is answered."""
    if kept.status is None:
        return _not_yet(kept)
    try:
        fingerprint = await body.read()
    except HTTPException as error:  # it is larger than any body may be
        return Problem(error.detail, error.status_code)
    if kept.fingerprint is not None and fingerprint != kept.fingerprint:
        return Problem(
            f"The first request with this {_HEADER} had another body. Use a key for each thing "
            "that you make.",
            422,
        )
    if kept.body is None:
        return Problem(
            f"The first request with this {_HEADER} was done, but its answer was too long to be "
            "kept. Look at what it made.",
            409,
        )
    return Response(
        kept.body, kept.status, headers={**(kept.headers or {}), "Idempotency-Replayed": "true"}
    )


def _not_yet(kept: Kept) -> Problem:
    if kept.lost:
        return Problem(
            f"The server stopped while it worked on the first request with this {_HEADER}, so it "
            "may have been done or not. Look, and use another key if it was not.",
            409,
        )
    return Problem(
        f"The first request with this {_HEADER} is still under way. Try again in a second.",
        409,
        {"Retry-After": "1"},
    )


def _is_unsure(scope: Scope) -> bool:
    """Whether the answer to the request's COMMIT was lost: its rows may be there."""
    return bool(scope.get("state", {}).get("commit_unheard"))


async def _settle(
    database: Database, name: Name, answer: _Answer, body: _Body, *, unsure: bool
) -> None:
    """Keep the answer of what was done; free the key of what was not. While nobody knows, it stays
    taken."""
    try:
        async with database.writers:
            if 200 <= answer.status < 300:
                kept = Kept(answer.status, body.fingerprint, answer.headers, answer.body)
                await run_in_threadpool(kept_answers.keep, database, name, kept)
            elif not unsure:
                await run_in_threadpool(kept_answers.release, database, name)
    except SQLAlchemyError as error:  # the client hears how it went all the same
        log.warning("answer_not_kept", error=repr(error))


def _key_of(scope: Scope) -> str | None:
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    given = Headers(scope=scope).getlist(_HEADER)
    return ",".join(given) if given else None


def _is_marked(route: Any) -> bool:
    extra = getattr(route, "openapi_extra", None) or {}
    return CREATES["parameters"][0] in extra.get("parameters", ())
