"""gzip for answers that are texts of a kilobyte or more, where the client takes it.

Only what comes as one message: a stream (camera, download) passes through as it is, at once. What
is not to be kept (`Cache-Control: no-store`, and /token) is not compressed: the length of a
compressed secret tells of it (BREACH). Other bytes have another strong ETag, with a suffix that
racer.web.conditional takes off again.
"""

from __future__ import annotations

import gzip
import re

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from racer.web.conditional import GZIP_SUFFIX

_SHORTEST = 1024
_IN_THREAD = 128 << 10  # some milliseconds of work
_LEVEL = 5
_TEXTS = re.compile(r"text/(csv|plain)|application/(problem\+)?(json|toml)|image/svg\+xml")
_GZIP = re.compile(r"(?:^|,)\s*(?:gzip|\*)\s*(?:;\s*q=(?P<q>[0-9.]+)\s*)?(?=,|$)")
_SECRETS = "/token"


class Compressed:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith(_SECRETS):
            await self.app(scope, receive, send)
            return
        taken = _takes_gzip(Headers(scope=scope).get("accept-encoding", ""))
        start: Message | None = None

        async def packed_send(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _may_pack(message):
                start = message
                return
            if start is not None:
                begun, start = start, None
                message = await _packed(begun, message, taken=taken)
                await send(begun)
            await send(message)

        await self.app(scope, receive, packed_send)


async def _packed(start: Message, message: Message, *, taken: bool) -> Message:
    """The body, compressed where that helps; the start's headers tell of it."""
    body = message.get("body", b"")
    if message["type"] != "http.response.body" or message.get("more_body", False):
        return message
    if len(body) < _SHORTEST:
        return message
    headers = MutableHeaders(scope=start)
    headers.add_vary_header("Accept-Encoding")
    if not taken:
        return message
    if len(body) < _IN_THREAD:
        packed = gzip.compress(body, _LEVEL, mtime=0)
    else:
        packed = await run_in_threadpool(gzip.compress, body, _LEVEL, mtime=0)
    headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(packed))
    tag = headers.get("etag", "")
    if tag.startswith('"') and tag.endswith('"'):
        headers["ETag"] = f'{tag[:-1]}{GZIP_SUFFIX}"'
    return dict(message, body=packed)


def _may_pack(start: Message) -> bool:
    headers = Headers(raw=start["headers"])
    return (
        _TEXTS.match(headers.get("content-type", "")) is not None
        and "content-encoding" not in headers
        and "no-store" not in headers.get("cache-control", "")
        and start["status"] != 206
    )


def _takes_gzip(accepted: str) -> bool:
    """Whether Accept-Encoding has it, and not as what the client does not want."""
    found = _GZIP.search(accepted.lower())
    try:
        return found is not None and float(found["q"] or 1) > 0.0
    except ValueError:
        return False
