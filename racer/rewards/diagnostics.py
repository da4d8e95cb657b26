"""What is wrong with a reward function, and where: for the person who wrote it.

Lines and columns count from 1 and in characters, as editors show them.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from racer.errors import InvalidInputError
from racer.rewards.limits import MAX_DIAGNOSTICS

Severity: TypeAlias = Literal["error", "warning"]


@dataclass(frozen=True, order=True)
class Diagnostic:
    """One complaint."""

    line: int
    column: int
    message: str
    severity: Severity = "error"

    def as_dict(self) -> dict[str, Any]:
        """`{"line", "column", "message", "severity"}`."""
        return asdict(self)

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


class RefusedError(Exception):
    """A construct that is not accepted; `node` says where, the innermost known place wins."""

    def __init__(self, message: str, node: ast.AST | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.node = node


class TooLargeError(RefusedError):
    """A budget is spent: nothing after this can be checked any more."""


class InvalidRewardError(InvalidInputError):
    """The reward function has errors; `diagnostics` has all of them, warnings included."""

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        errors = [item for item in diagnostics if item.severity == "error"]
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"Reward function, {errors[0]}{more}")
        self.diagnostics = tuple(diagnostics)


class Report:
    """Collects diagnostics: each once, a bounded number, in the order of the text."""

    def __init__(self, source: str) -> None:
        self._lines = source.splitlines() or [""]
        self._found: dict[Diagnostic, None] = {}

    def add(self, message: str, node: ast.AST | None, severity: Severity = "error") -> None:
        """Note a complaint about a node of the source; None means its first line."""
        line = getattr(node, "lineno", 1)
        column = self._character(line, getattr(node, "col_offset", 0)) + 1
        self.add_at(line, column, message, severity)

    def add_at(self, line: int, column: int, message: str, severity: Severity = "error") -> None:
        """Note a complaint about a place. Where there is no room for an error the last warning
        makes some: a function that failed says why."""
        if len(self._found) >= MAX_DIAGNOSTICS:
            warnings = [item for item in self._found if item.severity == "warning"]
            if severity == "warning" or not warnings:
                return
            del self._found[warnings[-1]]
        self._found.setdefault(Diagnostic(line, column, message, severity))

    def _character(self, line: int, offset: int) -> int:
        """`ast` counts columns in UTF-8 bytes."""
        if not 1 <= line <= len(self._lines):
            return offset
        return len(self._lines[line - 1].encode()[:offset].decode(errors="ignore"))

    @property
    def failed(self) -> bool:
        """Whether there is an error among them."""
        return any(item.severity == "error" for item in self._found)

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """All of them, in the order of the text."""
        return tuple(sorted(self._found))
