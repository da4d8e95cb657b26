"""Python's own functions: abs, min, max, round, len, sum, range, float, …"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

from racer.rewards import arithmetic
from racer.rewards.diagnostics import RefusedError
from racer.rewards.expressions import constants, iterate
from racer.rewards.graph import Node, Number
from racer.rewards.library import elementary
from racer.rewards.library.calling import Elementary, check_arguments
from racer.rewards.limits import MAX_ITEMS
from racer.rewards.machine import Machine
from racer.rewards.operators import elementwise
from racer.rewards.values import (
    Array,
    Builtin,
    Constants,
    DictRef,
    ListRef,
    Range,
    Table,
    Tup,
    Value,
    describe,
)

MAX_SORTED = 16


def _absolute(
    machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    check_arguments("abs", node, (args, kwargs), least=1, most=1)
    value = machine.present(args[0], node)
    if isinstance(value, Array):
        return elementwise(machine, lambda x: arithmetic.absolute(machine, x), [value], node)
    return arithmetic.absolute(machine, machine.number(value, node))


def _extreme(name: str, better: Elementary) -> Builtin:
    """min and max, of several numbers or of one list."""

    def apply(
        machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
    ) -> Value:
        check_arguments(name, node, (args, kwargs), least=1, most=64, keywords=("default",))
        values = args if len(args) > 1 else list(iterate(machine, args[0], node))
        if not values and "default" in kwargs:
            return kwargs["default"]
        if not values:
            raise RefusedError(f"{name}() of nothing.", node)
        found = machine.number(values[0], node)
        machine.visit(node, len(values))
        for value in values[1:]:
            found = better(machine, node, found, machine.number(value, node))
        return found

    return Builtin(name, apply)


def _round(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """Half to even. Digits other than none are those of a multiplication."""
    check_arguments("round", node, (args, kwargs), least=1, most=2, keywords=("ndigits",))
    x = machine.number(args[0], node)
    digits = args[1] if len(args) == 2 else kwargs.get("ndigits")
    if digits is None:
        return arithmetic.to_whole(machine, "rint", x, node)
    if not isinstance(digits, int) or not -9 <= digits <= 9:
        raise RefusedError("round()'s digits must be a constant from -9 to 9.", node)
    return round_digits(machine, node, x, digits)


def round_digits(machine: Machine, node: ast.AST, x: Number, digits: int) -> Number:
    """x to so many decimals, as a float."""
    if not isinstance(x, Node):
        return arithmetic.fold(machine, node, round, x, digits)
    if x.kind != "float" and digits >= 0:
        return x
    factor = 10.0 ** abs(digits)
    enlarge, shrink = arithmetic.multiply, arithmetic.divide
    if digits < 0:
        enlarge, shrink = arithmetic.divide, arithmetic.multiply
    inner = machine.graph.make("rint", "float", enlarge(machine, x, factor, node))
    return shrink(machine, inner, factor, node)


def _length(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:  # noqa: PLR0911 - one for each sort
    check_arguments("len", node, (args, kwargs), least=1, most=1)
    value = machine.present(args[0], node)
    if isinstance(value, Table):
        return value.length
    if isinstance(value, ListRef):
        return len(machine.items_of(value))
    if isinstance(value, DictRef):
        return len(machine.attributes_of(value.id))
    if isinstance(value, (Tup, Constants)):
        return len(value.items)
    if isinstance(value, Array):
        return value.shape[0]
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Range):
        return len(value.of)
    raise RefusedError(f"len() does not work on {describe(value)}.", node)


def total(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """sum(items, start)."""
    check_arguments("sum", node, (args, kwargs), least=1, most=2, keywords=("start",))
    found = machine.number(args[1] if len(args) == 2 else kwargs.get("start", 0), node)
    items = iterate(machine, args[0], node)
    machine.visit(node, len(items))
    for item in items:
        found = arithmetic.add(machine, found, machine.number(item, node), node)
    return found


def _range(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("range", node, (args, kwargs), least=1, most=3)
    parts: list[int] = []
    for arg in args:
        part = machine.present(arg, node)
        if isinstance(part, Node):
            raise RefusedError(
                "range() must be known before the flight: give it constants, such as range(5).",
                node,
            )
        if not isinstance(part, int):
            raise RefusedError("range() takes whole numbers.", node)
        parts.append(int(part))
    if parts[2:] == [0]:
        raise RefusedError("The step of range() must not be zero.", node)
    found = range(*parts)
    if not -(2**53) < found.start < 2**53 or not -(2**53) < found.stop < 2**53:
        raise RefusedError("This number is too large.", node)
    if len(found) > MAX_ITEMS:
        raise RefusedError(f"range() may have at most {MAX_ITEMS:,} items here.", node)
    return Range(found)


def _float(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("float", node, (args, kwargs), least=0, most=1)
    if args and isinstance(args[0], str):
        text = args[0].strip().lower()
        words = {"inf": math.inf, "+inf": math.inf, "infinity": math.inf, "-inf": -math.inf}
        if text in words or text == "nan":
            return words.get(text, math.nan)
        raise RefusedError("float() of a text knows 'inf', '-inf' and 'nan'.", node)
    return arithmetic.as_float(machine, machine.number(args[0], node)) if args else 0.0


def _int(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("int", node, (args, kwargs), least=0, most=1)
    return arithmetic.to_whole(machine, "trunc", machine.number(args[0], node), node) if args else 0


def _bool(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("bool", node, (args, kwargs), least=0, most=1)
    return machine.truth(args[0], node) if args else False


def _all_or_any(name: str, conjunction: bool) -> Builtin:
    def apply(
        machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
    ) -> Value:
        check_arguments(name, node, (args, kwargs), least=1, most=1)
        graph = machine.graph
        combine = graph.both if conjunction else graph.either
        found: Number = conjunction
        items = iterate(machine, args[0], node)
        machine.visit(node, len(items))
        for item in items:
            found = combine(found, machine.truth(item, node))
        return found

    return Builtin(name, apply)


def _sequence(name: str, make: Callable[[Machine, tuple[Value, ...], ast.AST], Value]) -> Builtin:
    """list, tuple, set, reversed: of one iterable, or of nothing."""

    def apply(
        machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
    ) -> Value:
        check_arguments(name, node, (args, kwargs), least=0, most=1)
        items = iterate(machine, args[0], node) if args else ()
        machine.visit(node, len(items))
        return make(machine, items, node)

    return Builtin(name, apply)


def _sorted(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """By exchanging neighbours: few numbers, and the same work for every drone."""
    check_arguments("sorted", node, (args, kwargs), least=1, most=1, keywords=("reverse",))
    numbers = [machine.number(item, node) for item in iterate(machine, args[0], node)]
    if any(isinstance(number, Node) for number in numbers) and len(numbers) > MAX_SORTED:
        raise RefusedError(f"sorted() takes at most {MAX_SORTED} numbers here.", node)
    machine.visit(node, len(numbers) ** 2 // 4)
    low, high = elementary.smaller, elementary.larger
    if not any(isinstance(number, Node) for number in numbers):
        numbers = sorted(numbers)  # type: ignore[type-var]  # no Node among them
    else:
        for end in range(len(numbers) - 1, 0, -1):
            for at in range(end):
                a, b = numbers[at], numbers[at + 1]
                numbers[at], numbers[at + 1] = low(machine, node, a, b), high(machine, node, a, b)
    backwards = machine.truth(kwargs.get("reverse", False), node)
    if isinstance(backwards, Node):
        raise RefusedError("'reverse' must be a constant.", node)
    return machine.new_list(tuple(reversed(numbers) if backwards else numbers))


def _enumerate(
    machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    check_arguments("enumerate", node, (args, kwargs), least=1, most=2, keywords=("start",))
    start = args[1] if len(args) == 2 else kwargs.get("start", 0)
    if not isinstance(start, int):
        raise RefusedError("enumerate() starts at a constant.", node)
    items = iterate(machine, args[0], node)
    machine.visit(node, len(items))
    return machine.new_list(tuple(Tup((start + i, item)) for i, item in enumerate(items)))


def _zip(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("zip", node, (args, kwargs), least=1, most=8)
    columns = [iterate(machine, arg, node) for arg in args]
    machine.visit(node, sum(map(len, columns)))
    return machine.new_list(tuple(Tup(tuple(row)) for row in zip(*columns, strict=False)))


def _power(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("pow", node, (args, kwargs), least=2, most=2)
    base, exponent = (machine.number(arg, node) for arg in args)
    return arithmetic.power(machine, base, exponent, node)


def _print(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """Known to the caller, which ignores it before its arguments are looked at."""
    raise RefusedError("print cannot be passed around.", node)


PYTHON: dict[str, Value] = {
    each.name: each
    for each in (
        Builtin("abs", _absolute),
        _extreme("min", elementary.smaller),
        _extreme("max", elementary.larger),
        Builtin("round", _round),
        Builtin("len", _length),
        Builtin("sum", total),
        Builtin("range", _range),
        Builtin("float", _float),
        Builtin("int", _int),
        Builtin("bool", _bool),
        _all_or_any("all", True),
        _all_or_any("any", False),
        _sequence("list", lambda machine, items, _: machine.new_list(items)),
        _sequence("tuple", lambda _machine, items, _: Tup(items)),
        _sequence("set", lambda _, items, node: constants(items, node)),
        _sequence("reversed", lambda machine, items, _: machine.new_list(items[::-1])),
        Builtin("sorted", _sorted),
        Builtin("enumerate", _enumerate),
        Builtin("zip", _zip),
        Builtin("pow", _power),
        Builtin("print", _print),
    )
}
