"""Whose flights those of a control socket are, and what happens when their sign-in ends.

The pilot's token ends in flight: the vehicle holds, the socket says why, and for a while it takes
`land` and a fresh token, nothing else. Then it is closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from auth import Visitor, get_account
from racer.control.pilots import Pilot, Pilots
from racer.errors import RacerError
from racer.flight.authority import Account
from racer.web.sockets import Goodbye, signed_out
from racer.web.tokens import Admission, Grant, signed_in

GRACE_S = 30.0  # as long as the vehicle itself waits for its pilot before it lands
MAX_TOKEN = 4096  # characters of a frame that brings one
_WORD = "token"

Answer = Callable[[dict[str, Any]], Awaitable[None]]


def account_named(username: str) -> Grant[Account | None]:
    """A grant: the account that the pilot named, or that the token is of; None without either."""

    def grant(session: Session, visitor: Visitor) -> Account | None:
        signed_in(session, visitor)
        owner = get_account(session, username, visitor) if username else visitor.user
        return None if owner is None else Account(owner.id, owner.username)

    return grant


def token_in(text: str | None) -> str | None:
    """What a frame `token <token>` brings; None: it is another frame."""
    if text is None or len(text) > MAX_TOKEN:
        return None
    word, *rest = text.split(maxsplit=1)[:2] or [""]
    return rest[0].strip() if word.lower() == _WORD and rest else None


class SignIn:
    """One pilot's, over one socket."""

    def __init__(
        self, admission: Admission[Account | None], pilots: Pilots, pilot: Pilot, answer: Answer
    ) -> None:
        """`answer` sends the pilot a frame."""
        self._admission, self._pilots, self._pilot = admission, pilots, pilot
        self._answer = answer
        self._renewed = asyncio.Event()
        self._renewing: asyncio.Task[None] | None = None

    async def watch(self) -> Goodbye:
        """Wait until it has ended and nobody renewed it for `GRACE_S`."""
        while True:
            reason = await self._admission.ended()
            self._renewed.clear()
            self._pilots.suspend(self._pilot, reason)
            try:
                async with asyncio.timeout(GRACE_S):
                    await self._answer({"type": "signed_out", "message": _advice(reason)})
                    await self._renewed.wait()
            except TimeoutError:
                return signed_out(reason)

    def renew(self, token: str) -> bool:
        """Look at a fresh token, while the pilot is still listened to; False: one is looked at
        already."""
        if self._renewing is not None and not self._renewing.done():
            return False
        self._renewing = asyncio.create_task(self._renew(token))
        return True

    def close(self) -> None:
        """The socket has closed."""
        if self._renewing is not None:
            self._renewing.cancel()

    async def _renew(self, token: str) -> None:
        try:
            await self._admission.renew(token)
        except RacerError as error:
            await self._answer({"type": "token", "ok": False, "message": error.message})
            return
        except SQLAlchemyError:
            message = "The database does not answer. Send the token again in a moment."
            await self._answer({"type": "token", "ok": False, "message": message})
            return
        self._pilots.resume(self._pilot)
        self._renewed.set()
        await self._answer({"type": "token", "ok": True, "message": "You are signed in."})


def _advice(reason: str) -> str:
    return (
        f"{reason} The vehicle holds. Send `token <a new one>` within {GRACE_S:.0f} s to go on; "
        "until then only `land` is flown."
    )
