"""Indexing: lists, tuples, arrays, dictionaries, params and the tables in them."""

from __future__ import annotations

import ast
import difflib
from typing import TYPE_CHECKING

from racer.rewards import arithmetic
from racer.rewards.diagnostics import RefusedError
from racer.rewards.graph import Node, Number, kind_of, wider
from racer.rewards.operators import key_of, sequence_items
from racer.rewards.values import (
    Array,
    DictRef,
    ListRef,
    Params,
    Range,
    Table,
    Tup,
    Value,
    describe,
)

if TYPE_CHECKING:
    from racer.rewards.interpreter import Interpreter


def subscript(run: Interpreter, owner: Value, node: ast.Subscript) -> Value:
    """owner[…]."""
    owner = run.present(owner, node)
    if isinstance(owner, (ListRef, Tup, Range, Table)) and isinstance(node.slice, ast.Slice):
        return _slice(run, owner, node.slice)
    if isinstance(owner, Array):
        return _array(run, owner, node)
    return item(run, owner, run.evaluate(node.slice), node)


def item(run: Interpreter, owner: Value, index: Value, node: ast.AST) -> Value:
    """owner[index] of all but arrays."""
    owner = run.present(owner, node)
    if isinstance(owner, Params):
        return parameter(run, index, node)
    if isinstance(owner, DictRef):
        return _dictionary(run, owner, index, node)
    if isinstance(owner, Table):
        return table_row(run, owner, row_index(run, index, owner.length, node))
    if isinstance(owner, Range):
        return pick(run, tuple(owner.of), index, node)
    if isinstance(owner, (ListRef, Tup)):
        return pick(run, sequence_items(run, owner), index, node)
    raise RefusedError(f"{describe(owner).capitalize()} cannot be indexed.", node)


def parameter(run: Interpreter, name: Value, node: ast.AST) -> Value:
    """params[name]."""
    if not isinstance(name, str):
        raise RefusedError("Write the parameter's name in quotes: params['speed'].", node)
    if name in run.inputs:
        return run.inputs[name]
    close = difflib.get_close_matches(name[:64], run.inputs, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise RefusedError(f"There is no parameter {name[:64]!r}.{hint}", node)


def _dictionary(run: Interpreter, owner: DictRef, index: Value, node: ast.AST) -> Value:
    contents = run.attributes_of(owner.id)
    index = run.present(index, node)
    if not isinstance(index, Node):
        key = key_of(index, node)
        if key in contents:
            return run.stripped(contents[key], node)
        raise RefusedError(f"The dictionary has no key {index!r}.", node)
    keys = [key for key in contents if key[0] == "i"]
    if not keys:
        raise RefusedError("The dictionary has no whole numbers as keys.", node)
    found, missing = contents[keys[-1]], arithmetic.equal(run, index, int(keys[-1][1:]))
    for key in reversed(keys[:-1]):
        here = arithmetic.equal(run, index, int(key[1:]))
        found = run.join(here, contents[key], found, run.state, run.state)
        missing = run.graph.either(missing, here)
    run.fault_if(run.graph.negate(missing), node, "the dictionary has no such key")
    return found


def whole(run: Interpreter, value: Value, node: ast.AST) -> Number:
    """A number that may be an index."""
    found = run.number(value, node, "a whole number")
    if kind_of(found) == "float":
        raise RefusedError(
            "An index must be a whole number: write int(…) around it, or // instead of /.", node
        )
    return found


def row_index(run: Interpreter, index: Value, length: Number, node: ast.AST) -> Number:
    """The row meant by an index, negative ones counted from the end; out of range faults."""
    row = whole(run, index, node)
    from_end = arithmetic.less(run, row, 0, node)
    row = run.graph.select(from_end, arithmetic.add(run, row, length, node), row)
    good = run.graph.both(
        arithmetic.less_equal(run, 0, row, node), arithmetic.less(run, row, length, node)
    )
    return arithmetic.in_domain(run, good, row, 0, node, "the index is out of range")


def table_row(run: Interpreter, table: Table, row: Number) -> Value:
    """One row of a parameter's table."""
    make = run.graph.make
    cells = tuple(make("lookup", table.kind, row, data=column) for column in table.columns)
    return cells[0] if len(cells) == 1 else Tup(cells)


def pick(run: Interpreter, items: tuple[Value, ...], index: Value, node: ast.AST) -> Value:
    """items[index]: by the index where it is known, by the drone's own otherwise."""
    row = whole(run, index, node)
    if not isinstance(row, Node):
        if not -len(items) <= row < len(items):
            raise RefusedError(f"There is no item {row} in these {len(items)}.", node)
        return run.stripped(items[int(row)], node)
    if not items:
        run.fault_if(True, node, "the list is empty")
        return 0.0
    run.visit(node, len(items))
    return _gather(run, items, row_index(run, row, len(items), node), node)


def _gather(run: Interpreter, items: tuple[Value, ...], row: Number, node: ast.AST) -> Value:
    """The item of a row that is in range; rows of rows are gathered column by column."""
    present = [run.present(item, node) for item in items]
    if all(isinstance(item, (Tup, ListRef)) for item in present):
        rows = [sequence_items(run, item) for item in present]
        if len({len(each) for each in rows}) != 1:
            raise RefusedError("The items of this list have different lengths.", node)
        run.visit(node, len(rows) * len(rows[0]))
        columns = tuple(_gather(run, column, row, node) for column in zip(*rows, strict=True))
        return Tup(columns) if isinstance(present[0], Tup) else run.new_list(columns)
    return gather_numbers(run, tuple(run.number(item, node) for item in present), row)


def gather_numbers(run: Interpreter, numbers: tuple[Number, ...], row: Number) -> Number:
    """The number of a row that is in range."""
    if not isinstance(row, Node):
        return numbers[int(row)]
    kind = kind_of(numbers[0])
    for each in numbers:
        kind = wider(kind, kind_of(each))
    if not any(isinstance(each, Node) for each in numbers):
        table = tuple(float(each) for each in numbers)  # type: ignore[arg-type]  # no Node
        return run.graph.make("table", kind, row, data=table)
    return run.graph.make("pick", kind, row, *numbers)


# slices


def bounds(run: Interpreter, node: ast.Slice) -> slice:
    """The slice, whose bounds must be known whole numbers."""
    parts: list[int | None] = []
    for each in (node.lower, node.upper, node.step):
        found = None if each is None else run.present(run.evaluate(each), each)
        if found is not None and not isinstance(found, int):
            raise RefusedError("The bounds of a slice must be constant whole numbers.", each)
        parts.append(found)
    if parts[2] == 0:
        raise RefusedError("The step of a slice must not be zero.", node.step)
    return slice(*parts)


def _slice(run: Interpreter, owner: Value, node: ast.Slice) -> Value:
    part = bounds(run, node)
    if isinstance(owner, Table):
        return _table_slice(run, owner, part, node)
    if isinstance(owner, Range):
        return Range(owner.of[part])
    items = sequence_items(run, owner)[part]
    run.visit(node, len(items))
    return Tup(items) if isinstance(owner, Tup) else run.new_list(items)


def _table_slice(run: Interpreter, table: Table, part: slice, node: ast.Slice) -> Value:
    """Only as far as the table surely reaches, from its start or from its end."""
    low, high, step = part.start or 0, part.stop, part.step or 1
    from_end = low < 0 and (high is None or low <= high < 0) and -low <= table.least
    from_start = high is not None and low >= 0 and 0 <= high <= table.least
    if step < 1 or not (from_end or from_start):
        raise RefusedError(
            f"params['{table.name}'] has at least {table.least} items on every course: slices may "
            "take those of its start or of its end only.",
            node,
        )
    rows = range(low, 0 if high is None else high, step)
    items = []
    for row in rows:
        index = row if row >= 0 else arithmetic.add(run, table.length, row, node)
        items.append(table_row(run, table, index))
    return run.new_list(tuple(items))


# arrays


def _array(run: Interpreter, owner: Array, node: ast.Subscript) -> Value:
    if isinstance(node.slice, ast.Tuple):
        if len(node.slice.elts) != len(owner.shape):
            raise RefusedError(f"This array has {len(owner.shape)} dimensions.", node)
        first, second = node.slice.elts
        return _matrix(run, owner, first, second, node)
    if len(owner.shape) == 1:
        found = _along(run, owner.items, node.slice, node)
        return Array((len(found),), found) if isinstance(found, tuple) else found
    return _matrix(run, owner, node.slice, ast.Slice(), node)


def _matrix(
    run: Interpreter, owner: Array, first: ast.expr, second: ast.expr, node: ast.AST
) -> Value:
    """array[first, second]: a number, a row, a column or a part."""
    width = owner.shape[1]
    rows = [owner.items[at : at + width] for at in range(0, len(owner.items), width)]
    chosen = [_along(run, column, first, node) for column in zip(*rows, strict=True)]
    if not isinstance(first, ast.Slice):
        row = tuple(each for each in chosen if not isinstance(each, tuple))
        found = _along(run, row, second, node)
        return Array((len(found),), found) if isinstance(found, tuple) else found
    part = list(zip(*(each for each in chosen if isinstance(each, tuple)), strict=True))
    cut = [_along(run, row, second, node) for row in part]
    if not isinstance(second, ast.Slice):
        return Array((len(cut),), tuple(each for each in cut if not isinstance(each, tuple)))
    flat = [each for each in cut if isinstance(each, tuple)]
    if not flat or not flat[0]:
        raise RefusedError("This part of the array is empty.", node)
    return Array((len(flat), len(flat[0])), tuple(n for row in flat for n in row))


def _along(
    run: Interpreter, numbers: tuple[Number, ...], index: ast.expr, node: ast.AST
) -> Number | tuple[Number, ...]:
    if isinstance(index, ast.Slice):
        return numbers[bounds(run, index)]
    return run.number(pick(run, numbers, run.evaluate(index), node), node)
