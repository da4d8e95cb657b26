"""Which pages may call this service: the one place that decides it, for HTTP and for sockets.

A browser lets any page send requests to this machine. CORS only hides the answers, a POST without
a body acts before that, and WebSockets know no CORS. So a request that acts, and every socket, is
refused when its Origin is a foreign page's. A page may also come under a name of its own that
resolves to this machine (DNS rebinding): its Origin then equals the Host that it asked for, so that
Host must be a name of ours. Programs send no Origin and may do everything.
The reasons: docs/decisions/0008-which-pages-may-call.md.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from http import HTTPStatus
from urllib.parse import urlsplit

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from racer.settings import Settings
from racer.web.errors import Problem

log = structlog.get_logger(__name__)
LOCAL_ORIGIN = r"https?://(([a-z0-9-]+\.)*localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
_LOCAL_ORIGIN = re.compile(LOCAL_ORIGIN)
_HOST = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<name>[^:\[\]]+))(?::\d{0,5})?")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
# socket.io begins with GETs that act, and answers them with CORS headers for everybody.
_SOCKET_PATHS = "/_nicegui"
_MAX_SHOWN = 100


def origin_allowed(origin: str | None, *, host: str | None, settings: Settings) -> bool:
    """Whether a page of this origin may act here and open sockets.

    Programs send no Origin and may. Pages may if they come from this service itself (`host` is the
    request's Host header), from this machine, or from CORS_ORIGINS.
    """
    if origin is None or "*" in settings.cors_origins or origin in settings.cors_origins:
        return True
    if host and origin in {f"http://{host}", f"https://{host}"}:
        return True
    return _LOCAL_ORIGIN.fullmatch(origin) is not None


def own_names(settings: Settings) -> frozenset[str]:
    """The names, in lower case, that this service answers to beside localhost and IP addresses."""
    machine = socket.gethostname()
    names = {settings.host, machine, f"{machine.partition('.')[0]}.local"}
    return frozenset(name.lower() for name in names | _names_of(settings.cors_origins))


def _names_of(origins: list[str]) -> set[str]:
    names = set()
    for origin in origins:
        try:
            names.add(urlsplit(origin).hostname or "")
        except ValueError:  # no URL: it allows nothing
            continue
    return names - {""}


def host_allowed(host: str, *, names: frozenset[str]) -> bool:
    """Whether a Host header means us: localhost, an IP address, or one of `names`, on any port.

    An IP address is safe: nobody can make somebody else's page have it as its name.
    """
    parts = _HOST.fullmatch(host)
    if parts is None:
        return False
    if parts["ipv6"]:
        return _is_address(parts["ipv6"])
    name = parts["name"].lower().removesuffix(".")
    return name == "localhost" or name.endswith(".localhost") or name in names or _is_address(name)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


class KnownPages:
    """ASGI middleware that refuses requests and sockets of pages that may not call.

    A Host that is not ours is a 400, a foreign page that acts a 403; sockets get a 403 before they
    are accepted. An absent Host is a program's (HTTP/1.0): browsers always send it.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self.app = app
        self._settings = settings
        self._names = own_names(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, send)
            return
        status, detail = refusal
        if scope["type"] == "http":
            log.warning("page refused", path=scope["path"], reason=detail)
            await Problem(detail, status)(scope, receive, send)
            return
        answer = Problem(detail, HTTPStatus.FORBIDDEN)
        await refuse_socket(WebSocket(scope, receive, send), answer, reason=detail)

    def _refusal(self, scope: Scope) -> tuple[HTTPStatus, str] | None:
        headers = Headers(scope=scope)
        for host in headers.getlist("host"):
            if not self._knows(host):
                return HTTPStatus.BAD_REQUEST, _strange_host(host)
        origin = headers.get("origin")
        if not _acts(scope) or origin_allowed(
            origin, host=headers.get("host"), settings=self._settings
        ):
            return None
        return HTTPStatus.FORBIDDEN, _strange_origin(origin or "")

    def _knows(self, host: str) -> bool:
        return "*" in self._settings.cors_origins or host_allowed(host, names=self._names)


def _acts(scope: Scope) -> bool:
    return (
        scope["type"] == "websocket"
        or scope["method"] not in _READING
        or scope["path"].startswith(_SOCKET_PATHS)
    )


def _strange_host(host: str) -> str:
    shown = host[:_MAX_SHOWN]
    return (
        f"This service was asked for as {shown!r}, which is no name that it knows. Use localhost "
        "or its IP address; if the name is right, add its address to CORS_ORIGINS, for example "
        "CORS_ORIGINS=http://racer.lan:5000, and start the service again."
    )


def _strange_origin(origin: str) -> str:
    return (
        f"Pages from {origin[:_MAX_SHOWN]!r} may not call this service. If the page is yours, add "
        "its address to CORS_ORIGINS, for example CORS_ORIGINS=http://192.168.1.20:3000, and "
        "start the service again."
    )


async def refuse_socket(caller: WebSocket, answer: Problem, *, reason: str) -> None:
    """That answer where the server can send it; uvicorn can. Else a 403. The reason is told in the
    one line that the log has of each socket (racer.web.middleware)."""
    caller.scope.setdefault("state", {})["refused"] = reason
    if "websocket.http.response" in caller.scope.get("extensions", {}):
        await caller.send_denial_response(answer)
    else:
        await caller.close()  # before the handshake ends this is a 403
