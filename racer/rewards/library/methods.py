"""Methods of lists, dictionaries, params and arrays."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from racer.rewards import arithmetic
from racer.rewards.assignment import replace_items
from racer.rewards.diagnostics import RefusedError
from racer.rewards.expressions import iterate
from racer.rewards.graph import Node, Number
from racer.rewards.library.arrays import ARRAY_METHODS
from racer.rewards.library.calling import check_arguments
from racer.rewards.operators import equals, key_of, sequence_items, unkey
from racer.rewards.subscripts import parameter
from racer.rewards.values import Array, Builtin, DictRef, ListRef, Params, Tup, Value

if TYPE_CHECKING:
    from racer.rewards.interpreter import Interpreter

_Method = Callable[[Any, Any, ast.Call, list[Value]], Value]


def method(owner: Value, name: str) -> Builtin | None:
    """The method of that name, or None."""
    found = _METHODS.get((type(owner), name))
    if found is not None:
        function, least, most = found
        return _bind(owner, name, function, least, most)
    if isinstance(owner, Array) and name in ARRAY_METHODS:
        return ARRAY_METHODS[name](owner)
    return None


def _bind(owner: Value, name: str, function: _Method, least: int, most: int) -> Builtin:
    def apply(machine: Any, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
        check_arguments(name, node, (args, kwargs), least=least, most=most)
        return function(machine, owner, node, args)

    return Builtin(name, apply)


def _append(run: Interpreter, owner: ListRef, node: ast.Call, args: list[Value]) -> Value:
    replace_items(run, owner, (*run.items_of(owner), args[0]), node)
    return None


def _extend(run: Interpreter, owner: ListRef, node: ast.Call, args: list[Value]) -> Value:
    replace_items(run, owner, (*run.items_of(owner), *iterate(run, args[0], node)), node)
    return None


def _known_index(value: Value, length: int, node: ast.AST) -> int:
    if not isinstance(value, int) or not -length <= value < length:
        raise RefusedError("This must be a constant index of the list.", node)
    return value % length


def _insert(run: Interpreter, owner: ListRef, node: ast.Call, args: list[Value]) -> Value:
    items = list(run.items_of(owner))
    if not isinstance(args[0], int):
        raise RefusedError("insert() needs a constant place.", node)
    items.insert(args[0], args[1])
    replace_items(run, owner, tuple(items), node)
    return None


def _pop(run: Interpreter, owner: ListRef, node: ast.Call, args: list[Value]) -> Value:
    items = list(run.items_of(owner))
    if not items:
        raise RefusedError("pop() of an empty list.", node)
    value = items.pop(_known_index(args[0] if args else -1, len(items), node))
    replace_items(run, owner, tuple(items), node)
    return value


def _copy(run: Interpreter, owner: ListRef, node: ast.Call, args: list[Value]) -> Value:
    return run.new_list(run.items_of(owner))


def _reverse(run: Interpreter, owner: ListRef, node: ast.Call, args: list[Value]) -> Value:
    replace_items(run, owner, run.items_of(owner)[::-1], node)
    return None


def _index(run: Interpreter, owner: ListRef | Tup, node: ast.Call, args: list[Value]) -> Value:
    """The first place that holds the value; none faults."""
    items = sequence_items(run, owner)
    run.visit(node, len(items))
    found: Number = 0
    there: Number = False
    for at in range(len(items) - 1, -1, -1):
        here = equals(run, items[at], args[0], node)
        found = run.graph.select(here, at, found)
        there = run.graph.either(there, here)
    run.fault_if(run.graph.negate(there), node, "the value is not in the list")
    return found


def _count(run: Interpreter, owner: ListRef | Tup, node: ast.Call, args: list[Value]) -> Value:
    found: Number = 0
    items = sequence_items(run, owner)
    run.visit(node, len(items))
    for item in items:
        same = run.graph.select(equals(run, item, args[0], node), 1, 0)
        found = arithmetic.add(run, found, same, node)
    return found


def _params_get(run: Interpreter, owner: Params, node: ast.Call, args: list[Value]) -> Value:
    """params.get(name, default): an unknown name is the default, and worth a warning."""
    name = args[0]
    if isinstance(name, str) and name not in run.inputs:
        run.report.add(
            f"There is no parameter {name[:64]!r}: this is always the default.", node, "warning"
        )
        return args[1] if len(args) == 2 else None
    return parameter(run, name, node)


def _dict_get(run: Interpreter, owner: DictRef, node: ast.Call, args: list[Value]) -> Value:
    contents = run.attributes_of(owner.id)
    default = args[1] if len(args) == 2 else None
    wanted = run.present(args[0], node)
    if not isinstance(wanted, Node):
        return run.stripped(contents.get(key_of(wanted, node), default), node)
    found = default
    for key, value in contents.items():
        if key[0] == "i":
            here = arithmetic.equal(run, wanted, int(key[1:]))
            found = run.join(here, value, found, run.state, run.state)
    return found


def _keys(run: Interpreter, owner: DictRef, node: ast.Call, args: list[Value]) -> Value:
    run.visit(node, len(run.attributes_of(owner.id)))
    return Tup(tuple(unkey(key) for key in run.attributes_of(owner.id)))


def _values(run: Interpreter, owner: DictRef, node: ast.Call, args: list[Value]) -> Value:
    return Tup(tuple(run.attributes_of(owner.id).values()))


def _items(run: Interpreter, owner: DictRef, node: ast.Call, args: list[Value]) -> Value:
    pairs = run.attributes_of(owner.id).items()
    run.visit(node, len(pairs))
    return Tup(tuple(Tup((unkey(key), value)) for key, value in pairs))


_METHODS: dict[tuple[type, str], tuple[_Method, int, int]] = {
    (ListRef, "append"): (_append, 1, 1),
    (ListRef, "extend"): (_extend, 1, 1),
    (ListRef, "insert"): (_insert, 2, 2),
    (ListRef, "pop"): (_pop, 0, 1),
    (ListRef, "copy"): (_copy, 0, 0),
    (ListRef, "reverse"): (_reverse, 0, 0),
    (ListRef, "index"): (_index, 1, 1),
    (ListRef, "count"): (_count, 1, 1),
    (Tup, "index"): (_index, 1, 1),
    (Tup, "count"): (_count, 1, 1),
    (Params, "get"): (_params_get, 1, 2),
    (DictRef, "get"): (_dict_get, 1, 2),
    (DictRef, "keys"): (_keys, 0, 0),
    (DictRef, "values"): (_values, 0, 0),
    (DictRef, "items"): (_items, 0, 0),
}
