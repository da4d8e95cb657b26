"""One value out of two: what a name holds after an `if` whose condition is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from racer.rewards.graph import Node, Number, same
from racer.rewards.values import (
    POISON,
    Array,
    Bound,
    ClassRef,
    Conflict,
    DictRef,
    Guard,
    Instance,
    ListRef,
    Params,
    Range,
    Table,
    Tup,
    Value,
    describe,
)

if TYPE_CHECKING:
    from racer.rewards.machine import Machine, State

MISSING = object()  # in place of a name that one branch did not set
_NAMED = (str, ListRef, DictRef, Bound, ClassRef, Instance, Range, Table, Params)
_States = tuple["State", "State", "State"]


def join(  # noqa: PLR0911 - one for each sort
    machine: Machine, condition: Number, x: Value, y: Value, states: _States
) -> Value:
    """x where the condition holds, else y; a Conflict when no value can be both.

    `states`: the ones that x and y belong to, and the one that they merge into. Values may be
    nested, so each costs work.
    """
    machine.spend()
    if x is y or (type(x) is type(y) and isinstance(x, _NAMED) and x == y):
        return x
    if isinstance(x, (bool, int, float, Node)) and isinstance(y, (bool, int, float, Node)):
        return x if same(x, y) else machine.graph.select(condition, x, y)
    if POISON in (x, y):
        return POISON
    for why, mark in (("unset", MISSING), ("none", None)):
        if _lacks(x, why, mark) or _lacks(y, why, mark):
            return _guarded(machine, condition, x, y, states, why, mark)
    if isinstance(x, Conflict) or isinstance(y, Conflict):
        return x if isinstance(x, Conflict) else y
    if isinstance(x, Tup) and isinstance(y, Tup) and len(x.items) == len(y.items):
        return Tup(_each(machine, condition, x.items, y.items, states))
    if isinstance(x, Array) and isinstance(y, Array) and x.shape == y.shape:
        select = machine.graph.select
        pairs = zip(x.items, y.items, strict=True)
        return Array(x.shape, tuple(select(condition, a, b) for a, b in pairs))
    if isinstance(x, ListRef) and isinstance(y, ListRef):
        return _lists(machine, condition, x, y, states)
    if isinstance(x, str) and isinstance(y, str):
        return Conflict(
            "This is one text or another, depending on a condition. Use numbers, True and False."
        )
    return Conflict(
        f"This is {describe(x)} or {describe(y)}, depending on a condition. "
        "Give it one sort of value in every branch."
    )


def _lacks(value: Value, why: str, mark: object) -> bool:
    return value is mark or (isinstance(value, Guard) and value.why == why)


def _guarded(  # noqa: PLR0917 - all belong together
    machine: Machine,
    condition: Number,
    x: Value,
    y: Value,
    states: _States,
    why: str,
    mark: object,
) -> Value:
    """At least one of the two may be missing."""
    flags: list[Number] = []
    values: list[Value] = []
    for each in (x, y):
        value = each
        if value is mark:
            flags.append(True)
        elif isinstance(value, Guard) and value.why == why:
            flags.append(value.flag)
            value = value.value
        else:
            flags.append(False)
        values.append(value)
    flag = machine.graph.select(condition, flags[0], flags[1])
    if values[0] is mark or values[1] is mark:
        inner = values[1] if values[0] is mark else values[0]
    else:
        inner = join(machine, condition, values[0], values[1], states)
    if not isinstance(flag, Node):
        return mark if flag else inner
    return Guard("none" if why == "none" else "unset", flag, inner)


def _each(
    machine: Machine,
    condition: Number,
    first: tuple[Value, ...],
    second: tuple[Value, ...],
    states: _States,
) -> tuple[Value, ...]:
    return tuple(join(machine, condition, a, b, states) for a, b in zip(first, second, strict=True))


def _lists(machine: Machine, condition: Number, x: ListRef, y: ListRef, states: _States) -> Value:
    """A new list; the two it came from go their own ways, so it must not be changed in place."""
    first, second = states[0].heap[x.id], states[1].heap[y.id]
    if isinstance(first, dict) or isinstance(second, dict) or len(first) != len(second):
        return Conflict("This list has a different length in two branches: keep its length fixed.")
    ref = ListRef(machine.new_id())
    states[2].heap[ref.id] = _each(machine, condition, first, second, states)
    machine.merged_lists |= {ref.id, x.id, y.id}  # a change of one would not reach the other
    return ref
