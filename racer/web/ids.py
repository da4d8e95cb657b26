"""Ids as they come in paths and queries."""

from __future__ import annotations

_LONGEST = 36  # a UUID's text


def is_id(text: str) -> bool:
    """Whether it can be the id of a row: databases refuse some texts."""
    return len(text) <= _LONGEST and text.isascii() and text.isprintable()
