"""Who is signed in on one page, by which token, and until when.

A password makes a session like any client's, through the same limits; its token is renewed as long
as the page is open. An open account needs none, until somebody gives it a password. The token
leaves the server once in a while: the page fetches the cookie by it that its camera needs.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress

from jose import jwt
from nicegui import ui
from sqlalchemy.orm import Session
from starlette.datastructures import State

import auth
import crud
from racer.accounts.service import audit, delete_drone_model, limits_of, sign_in, tokens
from racer.errors import UnauthorizedError
from racer.flight.authority import Account
from racer.web.tokens import Admission, Grant

_COOKIE_S = 10.0  # a browser's answer; the page goes on without


class PageSession:
    """Nobody's at first."""

    def __init__(self, state: State, address: str) -> None:
        """`address`: where the page's browser is, for limits and the audit log."""
        self._state, self._address = state, address
        self._admission: Admission[Account] | None = None
        self.token: str | None = None  # of an account with a password

    @property
    def required(self) -> bool:
        """Whether there is nothing to see for nobody."""
        return bool(self._state.settings.auth_mode == "required")

    @property
    def account(self) -> Account | None:
        """Who is signed in."""
        return None if self._admission is None else self._admission.granted

    async def begin(self, username: str, password: str) -> Account:
        """Raises NotFoundError for an unknown name, UnauthorizedError for a wrong password,
        TooManyRequestsError."""
        token = None
        if self.required or await asyncio.to_thread(self._is_protected, username):
            if not password:
                raise UnauthorizedError("This account needs its password.")
            self._tell_caller()
            token = (await sign_in(self._state, username, password)).access_token
        self._admission = await Admission.of(self._state, _use_of(username), token)
        self.token = token
        return self._admission.granted

    async def slow_down(self, username: str) -> None:
        """New accounts from one address come as slowly as tries to sign in. Raises
        TooManyRequestsError."""
        await asyncio.sleep(limits_of(self._state).try_to(username, self._address))

    async def delete_model(self, drone_id: str) -> None:
        """Raises NotFoundError, UnauthorizedError, ConflictError."""
        if self._admission is None:
            raise UnauthorizedError("Choose a pilot first.")
        self._tell_caller()
        username = self._admission.granted.username
        await delete_drone_model(self._state, username, drone_id, self.token)

    async def lapse(self) -> str | None:
        """Why it is over, if it is: signed out elsewhere, or the account is protected by now."""
        return None if self._admission is None else await self._admission.refusal()

    async def renew(self) -> bool:
        """Go on by a fresh token, when half of this one's time is over; whether it was."""
        if self._admission is None or self.token is None or not _is_old(self.token):
            return False
        fresh = await asyncio.to_thread(self._fresh, self.token)
        await self._admission.renew(fresh)
        self.token = fresh
        return True

    async def end(self) -> None:
        """Sign out: the tokens count no more."""
        token, self.token, self._admission = self.token, None, None
        if token is not None:
            self._tell_caller()
            with suppress(UnauthorizedError):  # it has ended already
                await asyncio.to_thread(self._end, token)

    def _is_protected(self, username: str) -> bool:
        with self._state.database.session(read_only=True) as session:
            return crud.get_user(session, username).password_hash is not None

    def _fresh(self, token: str) -> str:
        with self._state.database.session(read_only=True) as session:
            visitor = auth.visitor_of(session, token, self._state)
            if visitor.user is None or visitor.session_id is None:
                raise UnauthorizedError("Sign in again.")
            key: str = self._state.secret_key
            return auth.create_token(visitor.user, key, session_id=visitor.session_id)

    def _end(self, token: str) -> None:
        with self._state.database.session() as session:
            visitor = auth.visitor_of(session, token, self._state)
            if visitor.user is not None and visitor.session_id is not None:
                tokens.end(session, visitor.session_id)
                audit.record(session, "account.sign_out", visitor.user.username)

    def _tell_caller(self) -> None:
        auth.CALLER.set(auth.Caller(address=self._address))


def _use_of(username: str) -> Grant[Account]:
    def grant(session: Session, visitor: auth.Visitor) -> Account:
        user = auth.get_account(session, username, visitor)
        return Account(user.id, user.username)

    return grant


def _is_old(token: str) -> bool:
    claims = jwt.get_unverified_claims(token)
    return bool(time.time() > claims["exp"] - auth.TOKEN_LIFETIME_S / 2)


async def open_streams(token: str | None) -> None:
    """Have this page's browser fetch the cookie of the token's streams; None: forget it."""
    request = (
        {"method": "DELETE"}
        if token is None
        else {"method": "POST", "headers": {"Authorization": f"Bearer {token}"}}
    )
    with suppress(TimeoutError):  # the camera says that it has no picture, and tries again
        await ui.run_javascript(
            f"return (await fetch('/stream-session', {json.dumps(request)})).status",
            timeout=_COOKIE_S,
        )
