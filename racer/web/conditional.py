"""ETags: who has the newest version is not sent it again, and nobody overwrites what they have not
seen (RFC 9110, 13).

A tag is the digest of the representation, so it needs no column and never lies. A write compares
If-Match while it holds the row's lock: of two writers who saw the same version the second one gets
a 412. Without If-Match a write goes through, as the seed's clients expect.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Header, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from racer.errors import PreconditionFailedError

GZIP_SUFFIX = "-gzip"  # racer.web.compression: other bytes need another strong tag
_TAG = re.compile(r'(?:(W/)?("[\x21\x23-\x7e]*"))')
_LONGEST = 2000


def tagged(tag: str) -> str:
    """The tag of the same representation before it was compressed."""
    return tag.removesuffix(f'{GZIP_SUFFIX}"') + '"' if tag.endswith(f'{GZIP_SUFFIX}"') else tag


class _Answering:
    def _answer(self, content: bytes, tag: str, status: int = 200) -> Response:
        # no-cache: a browser may keep it, and asks each time whether it is still the newest
        headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
        return Response(content, status, headers, media_type="application/json")


class Reading(_Answering):
    """Of a single thing that can be changed."""

    def __init__(self, if_none_match: str) -> None:
        self._if_none_match = if_none_match

    def answer(self, shown: BaseModel) -> Response:
        """It with its tag, or a 304 when the client has it."""
        content, tag = _tag(shown)
        held = _named(self._if_none_match, tag, strong=False)
        if held is not None:
            return Response(status_code=304, headers={"ETag": held})
        return self._answer(content, tag)

    def answer_and_close(self, session: Session, shown: BaseModel) -> Response:
        """For what is read much: ends the reading `session` in the handler's thread.

        Otherwise that takes a thread of its own, and every visit of the thread pool costs about as
        much as the query.
        """
        session.close()
        return self.answer(shown)


class Writing(_Answering):
    """Of a thing that the client may have read before."""

    def __init__(self, if_match: str | None) -> None:
        self._if_match = if_match

    def require(self, show: Callable[[], BaseModel]) -> None:
        """PreconditionFailedError unless If-Match names what the thing is now, or is absent.

        Call it while the thing's row is locked; `show` makes what a reader would get.
        """
        if self._if_match is None:
            return
        _, tag = _tag(show())
        if _named(self._if_match, tag, strong=True) is None:
            raise PreconditionFailedError(
                "Somebody has changed it since you read it. Read it again, then decide."
            )

    def answer(self, shown: BaseModel) -> Response:
        """What it is now, with its new tag."""
        return self._answer(*_tag(shown))


def _tag(shown: BaseModel) -> tuple[bytes, str]:
    content = shown.model_dump_json().encode()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _named(header: str, tag: str, *, strong: bool) -> str | None:
    """The tag as the client has it if it is among the header's; a weak one matches no strong
    comparison."""
    if header.strip() == "*":
        return tag
    for weak, given in _TAG.findall(header):
        if tagged(given) == tag and not (weak and strong):
            return str(given)
    return None


async def _reading(
    if_none_match: Annotated[
        str, Header(max_length=_LONGEST, description="ETags that you have: a 304 if one is it.")
    ] = "",
) -> Reading:
    return Reading(if_none_match)


async def _writing(
    if_match: Annotated[
        str | None,
        Header(max_length=_LONGEST, description="The ETag that you read: a 412 if it is older."),
    ] = None,
) -> Writing:
    return Writing(if_match)


ReadingDep = Annotated[Reading, Depends(_reading)]
WritingDep = Annotated[Writing, Depends(_writing)]
