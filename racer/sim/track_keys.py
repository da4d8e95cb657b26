"""Reading the keys of a course's TOML: kind and range of each, and every problem noted by its key.

The text may come from a stranger, so nothing is taken on trust. `where` is the path to the table
that a key is in, such as `gates[2].`.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from racer.errors import InvalidInputError

MAX_TEXT_BYTES = 65_536
_MAX_LINE = 1000  # characters
_PART = r"""(?:[A-Za-z0-9_-]++|"(?:[^"\\]|\\.)*+"|'[^']*+')"""  # of a dotted key
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_-])(?:{_PART}[ \t]*+\.[ \t]*+){{8}}")
_MISSING: Mapping[str, Any] = MappingProxyType({})  # stands for a table that is none
_MOST_UNKNOWN = 4  # unknown keys of one table that are named
_MOST_TOLD = 8  # problems in one sentence


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong with one key, and what is allowed; `key` is empty for the text as a whole."""

    key: str
    message: str

    def __str__(self) -> str:
        return f"'{self.key}' {self.message}." if self.key else f"{self.message}."


class InvalidTrackError(InvalidInputError):
    """A text that is no course. `problems` has all that is wrong with it, at least one."""

    def __init__(self, problems: list[Problem]) -> None:
        """`problems` in the order in which they are told."""
        told = " ".join(str(problem) for problem in problems[:_MOST_TOLD])
        more = f" And {len(problems) - _MOST_TOLD} more." if len(problems) > _MOST_TOLD else ""
        super().__init__(f"Track: {told}{more}")
        self.problems = tuple(problems)


class Reader:
    """Reads keys and notes what is wrong, so that an author hears of everything at once.

    A key that is wrong gives something harmless of its kind; `finish` raises afterwards.
    """

    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def finish(self) -> None:
        """Raises InvalidTrackError when anything was noted."""
        if self._problems:
            raise InvalidTrackError(self._problems)

    def note(self, key: str, message: str) -> None:
        """There is something wrong with a key."""
        self._problems.append(Problem(key, message))

    def toml(self, text: str) -> Mapping[str, Any]:
        """The tables of a text. Raises InvalidTrackError when there are none to go on with."""
        if len(text.encode(errors="replace")) > MAX_TEXT_BYTES:  # half a surrogate pair has no code
            self.note("", f"the text is longer than {MAX_TEXT_BYTES} bytes")
            self.finish()
        for number, line in enumerate(text.split("\n"), start=1):
            if len(line) > _MAX_LINE:
                self.note("", f"line {number} is longer than {_MAX_LINE} characters: break it up")
            elif _LONG_KEY.search(line):  # tomllib takes half a minute for one of 64 KiB
                self.note("", f"line {number} has a key of too many parts")
        self.finish()
        try:  # too many brackets are a RecursionError
            return tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidTrackError([Problem("", f"not valid TOML: {error}")]) from error

    def known(self, table: Mapping[str, Any], keys: set[str], where: str) -> None:
        """Note keys other than these."""
        for key in sorted(set(table) - keys)[:_MOST_UNKNOWN]:
            shown = key if key.isascii() and key.isprintable() else ascii(key)[1:-1]
            known = f"is not known; known: {', '.join(sorted(keys))}"
            self.note(f"{where}{shown[:64]}", known)

    def table(self, parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        """A table that must be there."""
        return self.entry(parent.get(key), key, f"must be a table [{key}]")

    def entry(
        self, value: object, where: str, message: str = "must be a table"
    ) -> Mapping[str, Any]:
        """A value that must be a table; of one that is none, nothing more is noted."""
        if isinstance(value, Mapping):
            return value
        self.note(where.removesuffix("."), message)
        return _MISSING

    def tables(
        self, parent: Mapping[str, Any], key: str, *, at_least: int, at_most: int
    ) -> list[Any]:
        """The [[key]] of a list whose length is bounded; one that is left out is empty."""
        value = parent.get(key, [])
        if not isinstance(value, list) or not at_least <= len(value) <= at_most:
            self.note(key, f"must be a list of {at_least} to {at_most} [[{key}]]")
            return []
        return value

    def choice(
        self, parent: Mapping[str, Any], key: str, where: str, words: tuple[str, ...]
    ) -> str:
        """One of some words; the first one when it is left out."""
        value = parent.get(key, words[0])
        if isinstance(value, str) and value in words:
            return value
        self.note(f"{where}{key}", "must be " + " or ".join(f'"{word}"' for word in words))
        return words[0]

    def switch(self, parent: Mapping[str, Any], key: str, where: str) -> bool:
        """True or false; false when it is left out."""
        value = parent.get(key, False)
        if isinstance(value, bool):
            return value
        self.note(f"{where}{key}", "must be true or false")
        return False

    def whole(
        self, parent: Mapping[str, Any], key: str, *, low: int, high: int, default: int
    ) -> int:
        """A whole number within its range."""
        value = parent.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.note(key, f"must be a whole number from {low} to {high}")
        return default

    def number(
        self,
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
        if parent is _MISSING:
            return low
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.note(f"{where}{key}", f"must be a number from {low:g} to {high:g}")
        elif not low <= value <= high:  # also refuses NaN
            self.note(f"{where}{key}", f"must be from {low:g} to {high:g}")
        else:
            return float(value)
        return low

    def point(
        self,
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
        if parent is _MISSING:
            return np.full(3, low)
        if not isinstance(value, list) or len(value) != 3:
            self.note(f"{where}{key}", "must be three numbers [x, y, z] in m")
            return np.full(3, low)
        row = {str(index): part for index, part in enumerate(value)}
        parts = [self.number(row, str(i), f"{where}{key}.", low=low, high=high) for i in range(3)]
        return np.array(parts)
