"""Where values go: names, items, attributes."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from racer.rewards import arithmetic, expressions
from racer.rewards.diagnostics import RefusedError
from racer.rewards.graph import Node
from racer.rewards.limits import MAX_ITEMS
from racer.rewards.operators import key_of
from racer.rewards.subscripts import item, row_index, whole
from racer.rewards.values import (
    ClassRef,
    DictRef,
    Function,
    Instance,
    ListRef,
    Value,
    describe,
)

if TYPE_CHECKING:
    from racer.rewards.interpreter import Interpreter


def assign(run: Interpreter, target: ast.expr, value: Value) -> None:
    """target = value."""
    if isinstance(target, ast.Name):
        run.store(target.id, value)
    elif isinstance(target, (ast.Tuple, ast.List)):
        _unpack(run, target, value)
    elif isinstance(target, ast.Subscript):
        _set_item(run, target, value)
    elif isinstance(target, ast.Attribute):
        _set_attribute(run, run.present(run.evaluate(target.value), target), target, value)
    else:
        raise RefusedError("This cannot be assigned to.", target)


def _set_attribute(run: Interpreter, owner: Value, target: ast.Attribute, value: Value) -> None:
    if not isinstance(owner, (ClassRef, Instance, Function)):
        raise RefusedError(f"{describe(owner).capitalize()} has no attributes to set.", target)
    run.set_attribute(owner.id, target.attr, value)


def _unpack(run: Interpreter, target: ast.Tuple | ast.List, value: Value) -> None:
    if any(isinstance(each, ast.Starred) for each in target.elts):
        raise RefusedError("* is not accepted on the left of an assignment.", target)
    items = expressions.iterate(run, value, target)
    if len(items) != len(target.elts):
        raise RefusedError(
            f"{len(target.elts)} names for {len(items)} values: the numbers must be equal.", target
        )
    for each, part in zip(target.elts, items, strict=True):
        assign(run, each, part)


def _set_item(run: Interpreter, target: ast.Subscript, value: Value) -> None:
    owner = run.evaluate(target.value)
    if isinstance(target.slice, ast.Slice):
        raise RefusedError("A slice cannot be set here: set its items one by one.", target)
    _store_item(run, owner, run.evaluate(target.slice), target, value)


def _store_item(
    run: Interpreter, owner: Value, index: Value, target: ast.Subscript, value: Value
) -> None:
    owner = run.present(owner, target)
    if isinstance(owner, DictRef):
        contents = run.attributes_of(owner.id)
        run.visit(target, 1 + len(contents) // 16)
        if len(contents) >= MAX_ITEMS:
            raise RefusedError(f"A dictionary may have at most {MAX_ITEMS:,} items.", target)
        run.set_attribute(owner.id, key_of(run.present(index, target), target), value)
        return
    if not isinstance(owner, ListRef):
        raise RefusedError(f"Items of {describe(owner)} cannot be set here.", target)
    items = list(run.items_of(owner))
    row = whole(run, index, target)
    if not isinstance(row, Node):
        if not -len(items) <= row < len(items):
            raise RefusedError(f"There is no item {row} in these {len(items)}.", target)
        items[int(row)] = value
    else:
        row = row_index(run, row, len(items), target)
        run.visit(target, len(items))
        for at, old in enumerate(items):
            here = arithmetic.equal(run, row, at)
            items[at] = run.join(here, value, old, run.state, run.state)
    replace_items(run, owner, tuple(items), target)


def replace_items(
    run: Interpreter, owner: ListRef, items: tuple[Value, ...], node: ast.AST
) -> None:
    """Give a list other items, wherever it is known."""
    if owner.id in run.merged_lists:
        raise RefusedError(
            "This list is one of two, depending on a condition, and cannot be changed: "
            "change both before, or make a copy with list(…).",
            node,
        )
    if len(items) > MAX_ITEMS:
        raise RefusedError(f"A list may have at most {MAX_ITEMS:,} items.", node)
    run.visit(node, 1 + len(items) // 16)
    run.state.heap[owner.id] = items


@dataclass(frozen=True)
class Place:
    """Where an augmented assignment reads and writes."""

    load: Callable[[], Value]
    store: Callable[[Value], None]


def place_of(run: Interpreter, target: ast.expr) -> Place:
    """The target of an augmented assignment; its owner and its index are looked at once."""
    if isinstance(target, ast.Name):
        name = ast.copy_location(ast.Name(target.id, ast.Load()), target)
        return Place(lambda: run.evaluate(name), lambda value: run.store(target.id, value))
    if isinstance(target, ast.Attribute):
        owner = run.present(run.evaluate(target.value), target)
        read = ast.copy_location(ast.Attribute(target.value, target.attr, ast.Load()), target)
        return Place(
            lambda: expressions.attribute(run, owner, read),
            lambda value: _set_attribute(run, owner, target, value),
        )
    if isinstance(target, ast.Subscript) and not isinstance(target.slice, ast.Slice):
        held, index = run.evaluate(target.value), run.evaluate(target.slice)
        return Place(
            lambda: item(run, held, index, target),
            lambda value: _store_item(run, held, index, target, value),
        )
    raise RefusedError("This cannot be assigned to.", target)
