"""From text to a syntax tree, safely: `ast.parse` itself must not be handed everything.

CPython's parser recurses, so deeply nested text costs stack and memory before anything could be
checked. Length, bracket depth, indentation and runs of operators that nest are therefore bounded
on the text, by one linear scan, before it is parsed.
"""

from __future__ import annotations

import ast
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from racer.rewards.diagnostics import RefusedError, Report
from racer.rewards.limits import (
    MAX_BRACKETS,
    MAX_INDENT,
    MAX_LINES,
    MAX_REPEATS,
    MAX_SOURCE_CHARACTERS,
)

_TOKEN = re.compile(
    r"(?P<comment>#[^\n]*)"
    r"|(?P<quote>\"\"\"|'''|\"|')"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])"
    r"|(?P<newline>\n[ \t\f]*)"
    r"|(?P<nests>\*\*|[-+~]|\b(?:not|if|else|lambda|await|yield|for|and|or|in|is)\b|[.:*/%@&|^<>=,])"
    r"|(?P<chain>\belif\b)"
)
# Operators of which a long list literal holds many on purpose; they nest only when repeated.
_FLAT = frozenset(",")
_SIGNS = re.compile(r"(?:[-+~]\s*){9}|(?:\bnot\s+){9}")


def parse(source: str, report: Report) -> ast.Module | None:
    """The syntax tree, or None when the report says why there is none."""
    try:
        _measure(source)
        with _quietly():
            return ast.parse(source, filename="reward function", mode="exec")
    except _PlacedError as error:
        report.add_at(error.line, error.column, error.message)
    except SyntaxError as error:  # also IndentationError and integers of too many digits
        report.add_at(error.lineno or 1, max(error.offset or 1, 1), _sentence(error.msg))
    except (RecursionError, MemoryError):
        report.add_at(1, 1, "The text is nested too deeply.")
    except ValueError as error:
        report.add_at(1, 1, _sentence(str(error)))
    return None


def check_rules(tree: ast.Module, report: Report) -> None:
    """Python's rules that are no matter of syntax: `break` outside of a loop, `global` too late.

    CPython's own compiler knows them all. Nothing it makes is kept or run; only a tree that the
    grammar has accepted may come here.
    """
    try:
        with _quietly():
            compile(tree, "reward function", "exec", dont_inherit=True)
    except SyntaxError as error:
        report.add_at(error.lineno or 1, max(error.offset or 1, 1), _sentence(error.msg))
    except (RecursionError, MemoryError, ValueError):
        report.add_at(1, 1, "The text cannot be compiled by Python.")


@contextmanager
def _quietly() -> Iterator[None]:
    """Python's own warnings are nobody's: strangers would fill our log, or, with `-W error`, have
    what is right refused. Filters are the process's, hence one at a time."""
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


_one_at_a_time = threading.Lock()


class _PlacedError(RefusedError):
    def __init__(self, message: str, line: int, column: int = 1) -> None:
        super().__init__(message)
        self.line, self.column = line, column


def _measure(source: str) -> None:
    if len(source) > MAX_SOURCE_CHARACTERS:
        raise _PlacedError(
            f"The text is {len(source):,} characters long; at most {MAX_SOURCE_CHARACTERS:,} "
            "are accepted.",
            1,
        )
    if (lines := source.count("\n")) > MAX_LINES:
        raise _PlacedError(f"The text has {lines:,} lines; at most {MAX_LINES:,} are accepted.", 1)
    if (place := source.find("\0")) >= 0:
        raise _PlacedError("The text holds a NUL character.", source.count("\n", 0, place) + 1)
    try:
        source.encode()
    except UnicodeEncodeError as error:
        line = source.count("\n", 0, error.start) + 1
        raise _PlacedError("The text is not valid Unicode.", line) from error
    if not source.strip():
        raise _PlacedError("The text is empty. Write def reward_function(params).", 1)
    _scan(source)


def _scan(source: str) -> None:
    """One pass over the tokens that nest, outside of strings and comments."""
    place, line, line_start, depth, chain = 0, 1, 0, 0, 0
    repeats: dict[str, int] = {}
    while match := _TOKEN.search(source, place):
        place, kind, token = match.end(), match.lastgroup, match.group()
        if kind == "quote":
            place = _string_end(source, place, token)
            line += source.count("\n", match.start(), place)
            continue
        column = match.start() - line_start + 1
        if kind == "newline":
            line, line_start = line + 1, match.start() + 1
            if depth == 0:
                repeats.clear()
            if len(token) - 1 > MAX_INDENT:
                raise _PlacedError("This line is indented too far.", line)
        elif kind == "open":
            depth += 1
            if depth > MAX_BRACKETS:
                raise _PlacedError("Too many brackets inside each other.", line, column)
        elif kind == "close":
            depth = max(depth - 1, 0)
        elif kind == "chain":
            chain += 1
            if chain > MAX_REPEATS:
                raise _PlacedError(f"More than {MAX_REPEATS} 'elif'.", line, column)
        elif kind == "nests" and (problem := _count(repeats, match, depth)) is not None:
            raise _PlacedError(problem, line, column)


def _count(repeats: dict[str, int], match: re.Match[str], depth: int) -> str | None:
    """Why there is too much of an operator now, if there is.

    Signs of a table's numbers do not nest; everything else may, so it is counted.
    """
    operator, start, source = match.group(), match.start(), match.string
    if operator in _FLAT:
        return None
    if operator in "-+~" or operator == "not":
        if _SIGNS.match(source, start):
            return "Too many signs or 'not' in a row."
        before = source[max(start - 64, 0) : start].rstrip()
        if operator == "-" and before[-1:] in {"[", "(", ","}:
            return None
    repeats[operator] = repeats.get(operator, 0) + 1
    if repeats[operator] > MAX_REPEATS * (4 if depth else 1):
        return f"Too many '{operator}' in one statement."
    return None


def _string_end(source: str, place: int, quote: str) -> int:
    """Where the string that opened before `place` ends; an open one ends with its line."""
    while True:
        nearest = source.find(quote, place)
        escape = source.find("\\", place, nearest if nearest >= 0 else len(source))
        if escape >= 0:
            place = escape + 2
            continue
        stop = source.find("\n", place) if len(quote) == 1 else -1
        if stop >= 0 and (nearest < 0 or stop < nearest):
            return stop
        return nearest + len(quote) if nearest >= 0 else len(source)


def _sentence(message: str) -> str:
    message = message.split(" (<", 1)[0][:200]
    return message[:1].upper() + message[1:].rstrip(".") + "."
