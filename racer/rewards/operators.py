"""Operators on values of any sort: numbers, arrays, lists, texts, None."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TypeAlias

from racer.rewards import arithmetic
from racer.rewards.diagnostics import RefusedError
from racer.rewards.graph import Node, Number, kind_of
from racer.rewards.limits import MAX_ITEMS
from racer.rewards.machine import Machine
from racer.rewards.values import (
    Array,
    Constants,
    DictRef,
    Guard,
    ListRef,
    Params,
    Range,
    Table,
    Tup,
    Value,
    describe,
)

_Binary: TypeAlias = Callable[[Machine, Number, Number, ast.AST], Number]

ARITHMETIC: dict[type[ast.operator], _Binary] = {
    ast.Add: arithmetic.add,
    ast.Sub: arithmetic.subtract,
    ast.Mult: arithmetic.multiply,
    ast.Div: arithmetic.divide,
    ast.FloorDiv: arithmetic.floor_divide,
    ast.Mod: arithmetic.modulo,
    ast.Pow: arithmetic.power,
}


def binary(machine: Machine, op: ast.operator, a: Value, b: Value, node: ast.AST) -> Value:
    """a op b."""
    a, b = machine.present(a, node), machine.present(b, node)
    if isinstance(op, (ast.BitAnd, ast.BitOr)):
        return _logical(machine, op, a, b, node)
    function = ARITHMETIC.get(type(op))
    if function is None:
        raise RefusedError("This operator is not accepted.", node)
    if isinstance(a, Array) or isinstance(b, Array):
        return elementwise(machine, _of_array(machine, op, function, node), [a, b], node)
    sequence = _sequences(machine, op, a, b, node)
    if sequence is not None:
        return sequence
    if isinstance(a, str) or isinstance(b, str):
        raise RefusedError("Texts cannot be computed with.", node)
    if a is None or b is None:
        machine.fault_if(True, node, "the value is None")
        return 0.0
    return function(machine, machine.number(a, node), machine.number(b, node), node)


def _of_array(
    machine: Machine, op: ast.operator, function: _Binary, node: ast.AST
) -> Callable[[Number, Number], Number]:
    """NumPy differs from Python where both are booleans, and for whole numbers' powers."""

    def one(x: Number, y: Number) -> Number:
        if kind_of(x) == kind_of(y) == "bool":
            if isinstance(op, ast.Add):
                return machine.graph.either(x, y)
            if isinstance(op, ast.Sub):
                raise RefusedError("NumPy does not subtract booleans: use float(…).", node)
        if isinstance(op, ast.Pow) and kind_of(x) == kind_of(y) == "int":
            negative = arithmetic.less(machine, y, 0, node)
            machine.fault_if(negative, node, "NumPy has no negative powers of whole numbers")
        return function(machine, x, y, node)

    return one


def _logical(machine: Machine, op: ast.operator, a: Value, b: Value, node: ast.AST) -> Value:
    join = machine.graph.both if isinstance(op, ast.BitAnd) else machine.graph.either

    def one(x: Number, y: Number) -> Number:
        if kind_of(x) != "bool" or kind_of(y) != "bool":
            raise RefusedError("& and | are accepted between comparisons only.", node)
        return join(x, y)

    if isinstance(a, Array) or isinstance(b, Array):
        return elementwise(machine, one, [a, b], node)
    return one(machine.number(a, node), machine.number(b, node))


def _sequences(
    machine: Machine, op: ast.operator, a: Value, b: Value, node: ast.AST
) -> Value | None:
    """Lists and tuples: a + b, a * 3."""
    kind = (ListRef, Tup)
    if not isinstance(a, kind) and not isinstance(b, kind):
        return None
    if isinstance(op, ast.Add) and type(a) is type(b):
        return _like(machine, a, (*sequence_items(machine, a), *sequence_items(machine, b)), node)
    if isinstance(op, ast.Mult):
        sequence, times = (a, b) if isinstance(a, kind) else (b, a)
        if isinstance(times, int):
            items = sequence_items(machine, sequence)
            if len(items) * max(times, 0) > MAX_ITEMS:
                raise RefusedError(f"A list may have at most {MAX_ITEMS:,} items.", node)
            return _like(machine, sequence, items * times, node)
    raise RefusedError(
        f"This operator does not work between {describe(a)} and {describe(b)}.", node
    )


def _like(machine: Machine, model: Value, items: tuple[Value, ...], node: ast.AST) -> Value:
    machine.visit(node, len(items))
    if len(items) > MAX_ITEMS:
        raise RefusedError(f"A list may have at most {MAX_ITEMS:,} items.", node)
    return Tup(items) if isinstance(model, Tup) else machine.new_list(items)


def sequence_items(machine: Machine, value: Value) -> tuple[Value, ...]:
    """The items of a list or tuple."""
    if isinstance(value, ListRef):
        return machine.items_of(value)
    if isinstance(value, Tup):
        return value.items
    raise TypeError("no sequence")


def elementwise(
    machine: Machine, function: Callable[..., Number], args: list[Value], node: ast.AST
) -> Value:
    """NumPy's broadcasting between numbers and arrays; a number when there is no array."""
    arrays = [as_array(machine, arg, node) if is_sequence(arg) else arg for arg in args]
    shapes = {array.shape for array in arrays if isinstance(array, Array)}
    if not shapes:
        return function(*(machine.number(arg, node) for arg in arrays))
    shape = max(shapes, key=len)
    columns = []
    for array in arrays:
        if not isinstance(array, Array):
            columns.append((machine.number(array, node),) * _size(shape))
        elif array.shape == shape:
            columns.append(array.items)
        elif array.shape == shape[1:]:
            columns.append(array.items * shape[0])
        else:
            raise RefusedError(f"Shapes {array.shape} and {shape} do not fit.", node)
    machine.visit(node, _size(shape))
    return Array(shape, tuple(function(*row) for row in zip(*columns, strict=True)))


def is_items(value: Value) -> bool:
    """Whether it is a list or a tuple."""
    return isinstance(value, (ListRef, Tup))


def is_sequence(value: Value) -> bool:
    """Whether NumPy would take it for an array."""
    return isinstance(value, (Array, ListRef, Tup, Range))


def as_array(machine: Machine, value: Value, node: ast.AST) -> Array:
    """np.array(value): one or two dimensions of known length."""
    value = machine.present(value, node)
    if isinstance(value, Array):
        return value
    machine.visit(node, len(sequence_items(machine, value)) if is_items(value) else 1)
    if isinstance(value, Table):
        raise RefusedError(
            f"params['{value.name}'] has no fixed length: take single items of it.", node
        )
    if isinstance(value, Range):
        return Array((len(value.of),), tuple(value.of))
    if not isinstance(value, (ListRef, Tup)):
        return Array((1,), (machine.number(value, node),))
    items = [machine.present(item, node) for item in sequence_items(machine, value)]
    if items and all(is_sequence(item) for item in items):
        rows = [as_array(machine, item, node) for item in items]
        if len({row.shape for row in rows}) != 1 or len(rows[0].shape) != 1:
            raise RefusedError("Only arrays of one or two regular dimensions are accepted.", node)
        if not rows[0].items:
            raise RefusedError("The rows of this array are empty.", node)
        flat = tuple(number for row in rows for number in row.items)
        return Array((len(rows), *rows[0].shape), flat)
    return Array((len(items),), tuple(machine.number(item, node) for item in items))


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size


# comparison


def compare(machine: Machine, op: ast.cmpop, a: Value, b: Value, node: ast.AST) -> Value:
    """a op b, one link of a chain."""
    if isinstance(op, (ast.Is, ast.IsNot)):
        return _flip(machine, isinstance(op, ast.IsNot), _identical(machine, a, b, node))
    if isinstance(op, (ast.In, ast.NotIn)):
        return _flip(machine, isinstance(op, ast.NotIn), _contains(machine, a, b, node))
    if isinstance(op, (ast.Eq, ast.NotEq)) and not _has_array(a, b):
        return _flip(machine, isinstance(op, ast.NotEq), equals(machine, a, b, node))
    a, b = machine.present(a, node), machine.present(b, node)

    def one(x: Number, y: Number) -> Number:
        return _ordered(machine, op, x, y, node)

    if _has_array(a, b):
        return elementwise(machine, one, [a, b], node)
    if isinstance(a, str) or isinstance(b, str):
        raise RefusedError("Texts can be compared by == and != only.", node)
    return one(machine.number(a, node), machine.number(b, node))


def _has_array(a: Value, b: Value) -> bool:
    return isinstance(a, Array) or isinstance(b, Array)


def _ordered(machine: Machine, op: ast.cmpop, x: Number, y: Number, node: ast.AST) -> Number:
    if isinstance(op, ast.Lt):
        return arithmetic.less(machine, x, y, node)
    if isinstance(op, ast.Gt):
        return arithmetic.less(machine, y, x, node)
    if isinstance(op, ast.LtE):
        return arithmetic.less_equal(machine, x, y, node)
    if isinstance(op, ast.GtE):
        return arithmetic.less_equal(machine, y, x, node)
    found = arithmetic.equal(machine, x, y)
    return machine.graph.negate(found) if isinstance(op, ast.NotEq) else found


def _flip(machine: Machine, flip: bool, found: Number) -> Number:
    return machine.graph.negate(found) if flip else found


def equals(  # noqa: PLR0911 - one for each sort
    machine: Machine, a: Value, b: Value, node: ast.AST
) -> Number:
    """a == b of values of any sort."""
    machine.visit(node)
    for one, other in ((a, b), (b, a)):
        if one is None:
            return _is_none(other)
        if isinstance(one, Guard) and one.why == "none" and other is not None:
            present = machine.graph.negate(one.flag)
            return machine.graph.both(present, equals(machine, one.value, other, node))
    a, b = machine.present(a, node), machine.present(b, node)
    numbers = (bool, int, float, Node)
    if isinstance(a, numbers) and isinstance(b, numbers):
        return arithmetic.equal(machine, a, b)
    if isinstance(a, str) and isinstance(b, str):
        return a == b
    if isinstance(a, (Tup, ListRef)) and type(a) is type(b):
        if a is b:
            return True
        first, second = sequence_items(machine, a), sequence_items(machine, b)
        found: Number = len(first) == len(second)
        for x, y in zip(first, second, strict=False):
            found = machine.graph.both(found, equals(machine, x, y, node))
        return found
    return a is b


def _is_none(value: Value) -> Number:
    if isinstance(value, Guard) and value.why == "none":
        return value.flag
    return value is None


def _identical(machine: Machine, a: Value, b: Value, node: ast.AST) -> Number:
    if a is None or b is None:
        return _is_none(b if a is None else a)
    if isinstance(a, bool) or isinstance(b, bool):
        other = machine.present(b if isinstance(a, bool) else a, node)
        if not isinstance(other, (bool, Node)) or kind_of(other) != "bool":
            return False
        return equals(machine, a, b, node)
    raise RefusedError("Use == instead of 'is', except with None, True and False.", node)


def _contains(machine: Machine, item: Value, container: Value, node: ast.AST) -> Number:
    container = machine.present(container, node)
    if isinstance(container, Params):
        if not isinstance(item, str):
            raise RefusedError("Ask params for a name in quotes.", node)
        return item in machine.inputs
    if isinstance(container, DictRef):
        keys = machine.attributes_of(container.id)
        return _any_equal(machine, item, tuple(map(unkey, keys)), node)
    if isinstance(container, Range):
        return _any_equal(machine, item, tuple(container.of), node)
    if isinstance(container, Constants):
        return _any_equal(machine, item, container.items, node)
    if isinstance(container, Array):
        return _any_equal(machine, item, container.items, node)
    if isinstance(container, (ListRef, Tup)):
        return _any_equal(machine, item, sequence_items(machine, container), node)
    raise RefusedError(f"'in' does not work on {describe(container)}.", node)


def _any_equal(machine: Machine, item: Value, values: tuple[Value, ...], node: ast.AST) -> Number:
    """Whole numbers are found by the runs that they form: lists of waypoints are long."""
    machine.visit(node, len(values))
    found: Number = False
    whole = [value for value in values if type(value) is int]
    number = isinstance(item, Node) and item.kind == "int"
    if number and len(whole) == len(values) and isinstance(item, Node):
        for low, high in _runs(sorted(set(whole))):
            inside = machine.graph.both(
                arithmetic.less_equal(machine, low, item, node),
                arithmetic.less_equal(machine, item, high, node),
            )
            found = machine.graph.either(
                found, inside if low < high else arithmetic.equal(machine, item, low)
            )
        return found
    for value in values:
        found = machine.graph.either(found, equals(machine, item, value, node))
    return found


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def key_of(value: Value, node: ast.AST) -> str:
    """How a dictionary's constant key is kept in the heap."""
    if isinstance(value, str):
        return "s" + value
    if isinstance(value, (bool, int, float)) and float(value).is_integer():
        return f"i{int(value)}"  # 1, 1.0 and True are one key
    raise RefusedError("Keys of a dictionary must be constant texts or whole numbers.", node)


def unkey(key: str) -> Value:
    """The constant behind `key_of`."""
    return key[1:] if key[0] == "s" else int(key[1:])
