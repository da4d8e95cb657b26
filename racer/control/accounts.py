"""Whose flights those of a control socket are: the account that its pilot named, or none.

A token comes as REST's, `Authorization: Bearer …`; or, since a browser's sockets send no header of
their own, as the protocol that the page asks for: `Sec-WebSocket-Protocol: bearer, <token>`.
"""

from __future__ import annotations

import asyncio

from fastapi.security.utils import get_authorization_scheme_param
from starlette.datastructures import State
from starlette.websockets import WebSocket

import crud
from auth import require_access, visitor_of
from racer.flight.authority import Account

_PROTOCOL = "bearer"


async def account_of(socket: WebSocket, username: str) -> Account | None:
    """The account that the pilot named, or that the token is of; None without either.

    Raises RacerError when there is no such account, or it has a password and the token is missing,
    wrong, expired or somebody else's.
    """
    token = _token(socket)
    if not username and token is None:
        return None
    return await asyncio.to_thread(_checked, socket.app.state, username, token)


def accepted_protocol(socket: WebSocket) -> str | None:
    """What the handshake answers to a token among the protocols; the token itself never."""
    return _PROTOCOL if _PROTOCOL in socket.scope.get("subprotocols", ())[:1] else None


def _token(socket: WebSocket) -> str | None:
    scheme, token = get_authorization_scheme_param(socket.headers.get("authorization"))
    if scheme.lower() == _PROTOCOL:
        return token
    protocol, *rest = socket.scope.get("subprotocols") or [""]
    return rest[0] if protocol == _PROTOCOL and rest else None


def _checked(state: State, username: str, token: str | None) -> Account:
    with state.database.session(read_only=True) as session:
        visitor = visitor_of(session, token, state)
        owner = crud.get_user(session, username) if username or not visitor.user else visitor.user
        require_access(owner, visitor)
        return Account(owner.id, owner.username)
