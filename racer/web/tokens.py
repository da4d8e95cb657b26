"""Who may go on: what lasts longer than a request, and the tokens that it was opened with.

A request shows its token once; a socket or a camera's stream may outlive it. So whoever admitted it
is asked again: when the token expires, which it says itself, and every ten seconds, because it may
have been revoked or what it watches got another owner. A database that is away ends nothing.

An <img> cannot send a header, so a stream takes a cookie, too. Its token is signed with a key of
its own: it opens streams, and no route that acts accepts it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable
from typing import Generic, Self, TypeVar

import structlog
from jose import jwt
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session
from starlette.datastructures import State
from starlette.requests import HTTPConnection

from auth import Visitor, user_of, visitor_of
from racer.errors import NotFoundError, UnauthorizedError
from racer.web.callers import bearer_of

log = structlog.get_logger(__name__)

LOOK_S = 10.0  # how soon a revoked token is noticed
STREAM_COOKIE = "racer_stream"
_EXPIRED = "The token has expired. Sign in again."
_NOBODY = "Sign in first: send the token from /token as a bearer token."

T = TypeVar("T")
Grant = Callable[[Session, Visitor], T]  # what a visitor gets; raises RacerError if nothing
Identify = Callable[[Session, str | None], Visitor]


def signed_in(_session: Session, visitor: Visitor) -> None:
    """A grant: for everybody, and with AUTH_MODE=required for every account."""
    if visitor.user is None and not visitor.open_accounts:
        raise UnauthorizedError(_NOBODY)


class Admission(Generic[T]):
    """What somebody was granted, as long as their token and their rights last."""

    def __init__(self, state: State, grant: Grant[T], identify: Identify) -> None:
        """Asks nobody yet: see `of`."""
        self._state, self._grant, self._identify = state, grant, identify
        self._token: str | None
        self._expires_s: float | None  # Unix time
        self._look_due_s: float  # monotonic
        self.granted: T
        self.account_id: int | None

    @classmethod
    async def of(
        cls, state: State, grant: Grant[T], token: str | None, *, identify: Identify | None = None
    ) -> Self:
        """What `grant` gives whoever has `token`; `identify` them, if not by the API's tokens.

        Raises RacerError when that is nothing, SQLAlchemyError without a database.
        """

        def by_token(session: Session, token: str | None) -> Visitor:
            return visitor_of(session, token, state)

        admission = cls(state, grant, identify or by_token)
        admission.granted, admission.account_id = await admission._look(token)
        admission._go_on_by(token)
        return admission

    async def renew(self, token: str) -> None:
        """Go on by a fresh token. Raises RacerError if it is bad or another account's,
        SQLAlchemyError without a database."""
        _, account_id = await self._look(token)
        if account_id != self.account_id:
            raise UnauthorizedError("That token is another account's. Open a new connection.")
        self._go_on_by(token)

    async def refusal(self) -> str | None:
        """Why it is over; None while it is not. Costs a read every `LOOK_S`."""
        if self._expires_s is not None and time.time() >= self._expires_s:
            return _EXPIRED
        if time.monotonic() < self._look_due_s:
            return None
        token, self._look_due_s = self._token, time.monotonic() + LOOK_S
        try:
            await self._look(token)
        except (UnauthorizedError, NotFoundError) as error:
            if token is self._token:  # no fresh one came meanwhile
                self._look_due_s = 0.0
                return error.message
        except SQLAlchemyError:
            log.warning("nobody knows whether a token was revoked: the database does not answer")
        return None

    async def ended(self) -> str:
        """Wait until it is over; why."""
        while (reason := await self.refusal()) is None:
            wait_s = self._look_due_s - time.monotonic()
            if self._expires_s is not None:
                wait_s = min(wait_s, self._expires_s - time.time())
            await asyncio.sleep(max(wait_s, 0.0))
        return reason

    def _go_on_by(self, token: str | None) -> None:
        """A token whose signature has been checked."""
        self._token = token
        self._expires_s = None if token is None else float(jwt.get_unverified_claims(token)["exp"])
        self._look_due_s = time.monotonic() + LOOK_S

    async def _look(self, token: str | None) -> tuple[T, int | None]:
        """Ask who it is and what they get, off the loop."""

        def look() -> tuple[T, int | None]:
            with self._state.database.session(read_only=True) as session:
                visitor = self._identify(session, token)
                return self._grant(session, visitor), visitor.id

        return await asyncio.to_thread(look)


def stream_key(secret_key: str) -> str:
    """What signs the cookie's token."""
    return hmac.new(secret_key.encode(), b"camera streams", hashlib.sha256).hexdigest()


async def admit_viewer(connection: HTTPConnection, grant: Grant[T]) -> Admission[T]:
    """By the Authorization header, or else the cookie; an old cookie is nobody's.

    Raises as `Admission.of`.
    """
    state: State = connection.app.state
    if (token := bearer_of(connection.scope)) is not None:
        return await Admission.of(state, grant, token)

    def by_cookie(session: Session, cookie: str | None) -> Visitor:
        nobody = visitor_of(session, None, state)
        if cookie is None:
            return nobody
        user = user_of(session, cookie, stream_key(state.secret_key))
        return Visitor(user, open_accounts=nobody.open_accounts)

    cookie = connection.cookies.get(STREAM_COOKIE)
    try:
        return await Admission.of(state, grant, cookie, identify=by_cookie)
    except UnauthorizedError:
        if cookie is None:
            raise
        return await Admission.of(state, grant, None)
