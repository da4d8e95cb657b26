"""Reading one key of a course's TOML: its kind, its range, and a message that names it.

The text may come from a stranger, so nothing is taken on trust. `where` is the path to the table
that the key is in, such as `gates[2].`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from racer.errors import InvalidInputError


def known(table: Mapping[str, Any], keys: set[str], where: str) -> None:
    """Refuse a table with other keys than these."""
    if unknown := set(table) - keys:
        raise InvalidInputError(
            f"Track: unknown key '{where}{min(unknown)}'; known: {', '.join(sorted(keys))}."
        )


def table(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """A table that must be there."""
    value = parent.get(key)
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"Track: the table [{key}] is missing.")
    return value


def tables(parent: Mapping[str, Any], key: str, *, at_least: int, at_most: int) -> list[Any]:
    """The [[key]] of a list whose length is bounded; one that is left out is empty."""
    value = parent.get(key, [])
    if not isinstance(value, list) or not at_least <= len(value) <= at_most:
        raise InvalidInputError(
            f"Track: '{key}' must be a list of {at_least} to {at_most} [[{key}]]."
        )
    return value


def number(
    parent: Mapping[str, Any],
    key: str,
    where: str,
    *,
    low: float,
    high: float,
    default: float | None = None,
) -> float:
    """A number within its range."""
    value = parent.get(key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidInputError(f"Track: '{where}{key}' must be a number.")
    if not low <= value <= high:  # also refuses NaN
        raise InvalidInputError(f"Track: '{where}{key}' must be from {low:g} to {high:g}.")
    return float(value)


def point(
    parent: Mapping[str, Any],
    key: str,
    where: str,
    *,
    low: float = -1000.0,
    high: float = 1000.0,
    default: list[float] | None = None,
) -> NDArray[np.float64]:
    """(3,) m: three numbers, each within the range."""
    value = parent.get(key, default)
    if not isinstance(value, list) or len(value) != 3:
        raise InvalidInputError(f"Track: '{where}{key}' must be three numbers [x, y, z] in m.")
    row = {str(index): part for index, part in enumerate(value)}
    parts = [number(row, str(i), f"{where}{key}.", low=low, high=high) for i in range(3)]
    return np.array(parts)
