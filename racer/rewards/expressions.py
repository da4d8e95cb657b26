"""Expressions: what each kind of syntax node evaluates to."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING

from racer.rewards import arithmetic
from racer.rewards.diagnostics import RefusedError
from racer.rewards.graph import Number
from racer.rewards.limits import MAX_ITEMS
from racer.rewards.machine import Machine
from racer.rewards.operators import (
    binary,
    compare,
    elementwise,
    key_of,
    sequence_items,
    unkey,
)
from racer.rewards.subscripts import subscript
from racer.rewards.values import (
    Array,
    Bound,
    ClassRef,
    Constants,
    DictRef,
    Function,
    Guard,
    Instance,
    ListRef,
    Module,
    Range,
    Table,
    Tup,
    Value,
    describe,
)

if TYPE_CHECKING:
    from racer.rewards.interpreter import Interpreter


def evaluate(run: Interpreter, node: ast.expr) -> Value:
    """The value of an expression."""
    run.visit(node)
    handler = _HANDLERS.get(type(node))
    if handler is None:
        raise RefusedError("This is not accepted in a reward function.", node)
    try:
        return handler(run, node)
    except RefusedError as error:
        if error.node is None:
            error.node = node
        raise


def number(run: Interpreter, node: ast.expr) -> Number:
    """The number that an expression evaluates to."""
    return run.number(evaluate(run, node), node)


def _constant(run: Interpreter, node: ast.Constant) -> Value:
    value = node.value
    if isinstance(value, (bool, int, float)):
        return run.checked(value, node)
    if value is None or isinstance(value, str):
        return value
    raise RefusedError("Only numbers, texts, True, False and None are accepted here.", node)


def _name(run: Interpreter, node: ast.Name) -> Value:
    return run.load(node)


def _binary(run: Interpreter, node: ast.BinOp) -> Value:
    left = evaluate(run, node.left)
    return binary(run, node.op, left, evaluate(run, node.right), node)


def _unary(run: Interpreter, node: ast.UnaryOp) -> Value:
    value = evaluate(run, node.operand)
    if isinstance(node.op, ast.Not):
        return run.graph.negate(run.truth(value, node.operand))
    value = run.present(value, node)

    def one(x: Number) -> Number:
        if isinstance(node.op, ast.USub):
            return arithmetic.negative_of(run, x)
        return arithmetic.add(run, x, 0, node)

    if isinstance(value, Array):
        return elementwise(run, one, [value], node)
    return one(run.number(value, node))


def _boolean(run: Interpreter, node: ast.BoolOp) -> Value:
    """`a and b` is b where a is true, else a; b is not even looked at elsewhere."""
    return _short_circuit(run, isinstance(node.op, ast.And), node.values)


def _short_circuit(run: Interpreter, conjunction: bool, operands: list[ast.expr]) -> Value:
    first = evaluate(run, operands[0])
    if len(operands) == 1:
        return first
    truth = run.truth(first, operands[0])
    goes_on = truth if conjunction else run.graph.negate(truth)
    return run.choose(
        goes_on, lambda: _short_circuit(run, conjunction, operands[1:]), lambda: first
    )


def test(run: Interpreter, node: ast.expr) -> Number:
    """The truth of an expression that is a condition: its operands may be of different sorts."""
    if isinstance(node, ast.BoolOp):
        run.visit(node)
        conjunction = isinstance(node.op, ast.And)
        return _test_all(run, conjunction, node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        run.visit(node)
        return run.graph.negate(test(run, node.operand))
    return run.truth(evaluate(run, node), node)


def _test_all(run: Interpreter, conjunction: bool, operands: list[ast.expr]) -> Number:
    truth = test(run, operands[0])
    if len(operands) == 1:
        return truth
    goes_on = truth if conjunction else run.graph.negate(truth)
    rest = run.choose(
        goes_on, lambda: _test_all(run, conjunction, operands[1:]), lambda: not conjunction
    )
    return run.truth(rest, operands[0])


def _compare(run: Interpreter, node: ast.Compare) -> Value:
    """A chain looks at each operand once, and at none after the first link that fails."""
    return _chain(run, evaluate(run, node.left), list(node.ops), list(node.comparators), node)


def _chain(
    run: Interpreter,
    left: Value,
    ops: list[ast.cmpop],
    operands: list[ast.expr],
    node: ast.Compare,
) -> Value:
    right = evaluate(run, operands[0])
    found = compare(run, ops[0], left, right, node)
    if len(ops) == 1:
        return found
    return run.choose(
        run.truth(found, node),
        lambda: _chain(run, right, ops[1:], operands[1:], node),
        lambda: found,
    )


def _conditional(run: Interpreter, node: ast.IfExp) -> Value:
    return run.choose(
        test(run, node.test), lambda: evaluate(run, node.body), lambda: evaluate(run, node.orelse)
    )


def _tuple(run: Interpreter, node: ast.Tuple) -> Value:
    items = _items(run, node.elts)
    if len(items) > MAX_ITEMS:
        raise RefusedError(f"A tuple may have at most {MAX_ITEMS:,} items.", node)
    return Tup(items)


def _list(run: Interpreter, node: ast.List) -> Value:
    return run.new_list(_items(run, node.elts))


def _items(run: Interpreter, nodes: list[ast.expr]) -> tuple[Value, ...]:
    items: list[Value] = []
    for each in nodes:
        if isinstance(each, ast.Starred):
            items.extend(iterate(run, evaluate(run, each.value), each))
        else:
            items.append(evaluate(run, each))
    return tuple(items)


def _set(run: Interpreter, node: ast.Set) -> Value:
    return constants(_items(run, node.elts), node)


def constants(items: tuple[Value, ...], node: ast.AST) -> Constants:
    """A set; its items must be known."""
    if not all(isinstance(item, (bool, int, float, str)) for item in items):
        raise RefusedError("The items of a set must be constants.", node)
    return Constants(tuple(dict.fromkeys(items)))


def _dictionary(run: Interpreter, node: ast.Dict) -> Value:
    contents: dict[str, Value] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        if key is None:
            raise RefusedError("** is not accepted.", node)
        contents[key_of(evaluate(run, key), key)] = evaluate(run, value)
    ref = DictRef(run.new_id())
    run.state.heap[ref.id] = contents
    return ref


def _attribute(run: Interpreter, node: ast.Attribute) -> Value:
    owner = run.present(evaluate(run, node.value), node)
    return attribute(run, owner, node)


def attribute(run: Interpreter, owner: Value, node: ast.Attribute) -> Value:
    """owner.name."""
    name = node.attr
    if isinstance(owner, Module):
        if name in owner.members:
            return owner.members[name]
        raise RefusedError(f"{owner.name}.{name} is not accepted in a reward function.", node)
    if isinstance(owner, Instance):
        own = run.attributes_of(owner.id).get(name, _ABSENT)
        found = run.attributes_of(owner.of.id).get(name, _ABSENT)
        if own is not _ABSENT:
            return _own_or_shared(run, own, found, node)
        if isinstance(found, Function) and not found.static:
            return Bound(found, owner)
        if found is not _ABSENT:
            return run.stripped(found, node)
    if isinstance(owner, (ClassRef, Function)):
        found = run.attributes_of(owner.id).get(name, _ABSENT)
        if found is not _ABSENT:
            return run.stripped(found, node)
    method = run.method(owner, name)
    if method is not None:
        return method
    raise RefusedError(f"{describe(owner).capitalize()} has no attribute '{name}' here.", node)


def _own_or_shared(run: Interpreter, own: Value, shared: Value, node: ast.AST) -> Value:
    """An instance's own attribute; its class's where a drone's instance has not set it yet."""
    if shared is not _ABSENT and isinstance(own, Guard) and own.why == "unset":
        return run.join(own.flag, shared, own.value, run.state, run.state)
    return run.stripped(own, node)


_ABSENT = object()


def _subscript(run: Interpreter, node: ast.Subscript) -> Value:
    return subscript(run, evaluate(run, node.value), node)


# comprehensions


def _comprehension(run: Interpreter, node: ast.ListComp | ast.GeneratorExp | ast.SetComp) -> Value:
    found: list[Value] = []
    _generate(run, list(node.generators), lambda: found.append(evaluate(run, node.elt)))
    if isinstance(node, ast.SetComp):
        return constants(tuple(found), node)
    return run.new_list(tuple(found))


def _generate(
    run: Interpreter, generators: list[ast.comprehension], emit: Callable[[], None]
) -> None:
    first, rest = generators[0], generators[1:]
    items = iterate(run, evaluate(run, first.iter), first.iter)
    with run.inner_names(first.target):
        for item in items:
            run.visit(first.iter)
            run.assign(first.target, item)
            if not all(_known_condition(run, condition) for condition in first.ifs):
                continue
            if rest:
                _generate(run, rest, emit)
            else:
                emit()


def _known_condition(run: Interpreter, node: ast.expr) -> bool:
    truth = test(run, node)
    if isinstance(truth, (bool, int, float)):
        return bool(truth)
    raise RefusedError(
        "This condition changes from step to step, and the list's length with it. Put a value "
        "for every item into the list, such as (value if condition else 0.0).",
        node,
    )


def iterate(run: Machine, value: Value, node: ast.AST) -> tuple[Value, ...]:
    """The items that a `for` would see; their number must be known."""
    items = _iterate(run, run.present(value, node), node)
    run.visit(node, len(items) // 8)
    return items


def _iterate(run: Machine, value: Value, node: ast.AST) -> tuple[Value, ...]:
    if isinstance(value, (ListRef, Tup)):
        return sequence_items(run, value)
    if isinstance(value, Range):
        return tuple(value.of)
    if isinstance(value, Constants):
        return value.items
    if isinstance(value, DictRef):
        return tuple(unkey(key) for key in run.attributes_of(value.id))
    if isinstance(value, Array):
        if len(value.shape) == 1:
            return value.items
        width = value.shape[1]
        rows = range(0, len(value.items), width)
        return tuple(Array((width,), value.items[row : row + width]) for row in rows)
    if isinstance(value, Table):
        raise RefusedError(
            f"The length of params['{value.name}'] depends on the course, so it cannot be looped "
            "over. Take single items, such as those that params['closest_waypoints'] names.",
            node,
        )
    raise RefusedError(f"Cannot loop over {describe(value)}.", node)


def _call(run: Interpreter, node: ast.Call) -> Value:
    return run.call(node)


_HANDLERS: dict[type[ast.AST], Callable[..., Value]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.IfExp: _conditional,
    ast.Tuple: _tuple,
    ast.List: _list,
    ast.Set: _set,
    ast.Dict: _dictionary,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.ListComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.SetComp: _comprehension,
    ast.Call: _call,
}
