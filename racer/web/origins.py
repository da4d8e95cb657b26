"""Which pages may open a socket: CORS guards HTTP, and browsers do not apply it to WebSockets."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends
from starlette.requests import HTTPConnection

from racer.settings import Settings

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


def origin_allowed(origin: str | None, *, host: str | None, settings: Settings) -> bool:
    """Whether a page of this origin may open a socket.

    Programs send no Origin and may. Pages may if they come from this service itself (`host` is the
    request's Host header), from this machine, or from CORS_ORIGINS.
    """
    if origin is None or "*" in settings.cors_origins or origin in settings.cors_origins:
        return True
    try:
        parts = urlsplit(origin)
        name = parts.hostname or ""
    except ValueError:
        return False
    if parts.scheme not in {"http", "https"}:
        return False
    return parts.netloc == host or name in _LOCAL_NAMES or name.endswith(".localhost")


def _socket_origin_allowed(connection: HTTPConnection) -> bool:
    headers = connection.headers
    return origin_allowed(
        headers.get("origin"),
        host=headers.get("host"),
        settings=connection.app.state.settings,
    )


OriginAllowed = Annotated[bool, Depends(_socket_origin_allowed)]
