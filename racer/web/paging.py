"""Pages of a list that runs from the newest to the oldest: `next` of one is `before` of the next.

A place is a time and an id, so that it stays one when its row is gone.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode

from fastapi import Request
from pydantic import JsonValue
from sqlalchemy import ColumnElement, or_
from sqlalchemy.orm import InstrumentedAttribute

from racer.errors import InvalidInputError

_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_PLACE = re.compile(r"([0-9]{1,17})-([\x21-\x7e]{1,36})")
# What the API's document says of `before`; refused texts are answered in our own words.
PLACE_SCHEMA: dict[str, JsonValue] = {
    "pattern": r"^[0-9]{1,17}-[!-~]{1,36}$",
    "examples": ["1763800000000000-6f8d2f0e-3c1b-4c55-9a77-0f6d3c9a1b2e"],
}


def place_of(created_at: datetime, row_id: str) -> str:
    """Where in the list a row stands."""
    return f"{(created_at - _EPOCH) // _MICROSECOND}-{row_id}"


def next_link(request: Request, **query: int | str) -> str:
    """The value of a `Link` header that leads to the next page of a list whose body is plain."""
    return f'<{quote(request.url.path, safe="/%")}?{urlencode(query)}>; rel="next"'


def after(
    place: str, created_at: InstrumentedAttribute[datetime], row_id: InstrumentedAttribute[str]
) -> ColumnElement[bool]:
    """Rows behind a place, newest first and by id where two are as new. InvalidInputError when
    that is no place."""
    found = _PLACE.fullmatch(place)
    if found is None:
        raise InvalidInputError("`before` must be `next` of the page before.")
    moment, last_id = _EPOCH + int(found[1]) * _MICROSECOND, found[2]
    return or_(created_at < moment, (created_at == moment) & (row_id > last_id))
