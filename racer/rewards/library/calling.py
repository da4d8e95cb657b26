"""Helpers to describe known functions: their number of arguments, one number or many."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TypeAlias

from racer.rewards.diagnostics import RefusedError
from racer.rewards.graph import Number
from racer.rewards.machine import Machine
from racer.rewards.operators import elementwise
from racer.rewards.values import Builtin, Value

Elementary: TypeAlias = Callable[..., Number]  # (machine, node, *numbers)
Arguments: TypeAlias = tuple[list[Value], dict[str, Value]]


def check_arguments(
    name: str,
    node: ast.AST,
    given: Arguments,
    *,
    least: int,
    most: int,
    keywords: tuple[str, ...] = (),
) -> None:
    """Refuse a wrong number of arguments and unknown keywords."""
    args, kwargs = given
    if unknown := set(kwargs) - set(keywords):
        raise RefusedError(f"{name}() cannot take the argument '{min(unknown)}' here.", node)
    if not least <= len(args) <= most:
        count = str(least) if least == most else f"{least} to {most}"
        raise RefusedError(f"{name}() takes {count} arguments here, not {len(args)}.", node)


def of_numbers(name: str, function: Elementary, least: int, most: int | None = None) -> Builtin:
    """A function of numbers, as in math."""

    def apply(
        machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
    ) -> Value:
        check_arguments(name, node, (args, kwargs), least=least, most=most or least)
        numbers = [machine.number(arg, node) for arg in args]
        return function(machine, node, *numbers)

    return Builtin(name, apply)


def of_arrays(name: str, function: Elementary, least: int, most: int | None = None) -> Builtin:
    """The same for each element, as in numpy."""

    def apply(
        machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
    ) -> Value:
        check_arguments(name, node, (args, kwargs), least=least, most=most or least)
        present = [machine.present(arg, node) for arg in args]
        return elementwise(machine, lambda *row: function(machine, node, *row), present, node)

    return Builtin(name, apply)
