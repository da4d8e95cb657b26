"""What is kept from one step to the next: globals, attributes and lists that a step changes.

Running the function once tells which of the things that exist before the flight it leaves
different. Those become memory: their shape (a number, a tuple of numbers, a number or None) is
found by joining what they start with and what a step leaves, and by running the function again
with memory in their place until nothing new turns up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from racer.rewards.diagnostics import RefusedError
from racer.rewards.graph import Kind, Node, Number, kind_of, same, wider
from racer.rewards.joining import MISSING
from racer.rewards.machine import Machine, State
from racer.rewards.values import (
    POISON,
    Array,
    Bound,
    ClassRef,
    Conflict,
    DictRef,
    Function,
    Guard,
    Instance,
    ListRef,
    Params,
    PoisonedError,
    Table,
    Tup,
    Value,
    describe,
)

_IN_HEAP = (DictRef, ClassRef, Function, Instance)

Cell: TypeAlias = tuple[str, int, str]  # ("frame" | "heap", id, name or "" for all of a list)


@dataclass(frozen=True)
class Scalar:
    """One number."""

    kind: Kind


@dataclass(frozen=True)
class Fixed:
    """Something that is the same in every step."""

    value: Value


@dataclass(frozen=True)
class Optional:
    """A value that may be None, or not set."""

    why: str
    of: Shape


@dataclass(frozen=True)
class Items:
    """A tuple, list or array of a fixed number of values."""

    sort: str  # "tuple", "list", "contents" of a list that is there already, "array"
    of: tuple[Shape, ...]
    size: tuple[int, ...] = ()  # of an array


Shape: TypeAlias = Scalar | Fixed | Optional | Items


@dataclass
class Leaves:
    """The memory in the order of its leaves: kind and first value of each."""

    kinds: list[Kind] = field(default_factory=list)
    first: list[Number] = field(default_factory=list)


def cells_of(state: State) -> dict[Cell, Value]:
    """Everything that lives as long as the flight."""
    cells: dict[Cell, Value] = {}
    for frame, names in state.frames.items():
        cells |= {("frame", frame, name): value for name, value in names.items()}
    for ref, contents in state.heap.items():
        if isinstance(contents, dict):
            cells |= {("heap", ref, name): value for name, value in contents.items()}
        else:
            cells[("heap", ref, "")] = Tup(contents)
    return cells


def changed(
    machine: Machine, before: dict[Cell, Value], after: dict[Cell, Value], known: set[int]
) -> set[Cell]:
    """Cells that a step left different; `known`: heap ids from before the flight."""
    return {
        cell
        for cell, value in after.items()
        if (cell[0] == "frame" or cell[1] in known)
        and not _unchanged(machine, before.get(cell, MISSING), value)
    }


def _unchanged(machine: Machine, x: Value, y: Value) -> bool:
    machine.spend()
    if x is y or same(x, y):
        return True
    if isinstance(x, Tup) and isinstance(y, Tup) and len(x.items) == len(y.items):
        return all(_unchanged(machine, *pair) for pair in zip(x.items, y.items, strict=True))
    if isinstance(x, Guard) and isinstance(y, Guard):
        return x.why == y.why and x.flag is y.flag and _unchanged(machine, x.value, y.value)
    return type(x) is type(y) and not isinstance(x, (Tup, Array, float, int)) and x == y


def shape_of(machine: Machine, value: Value, state: State, *, contents: bool = False) -> Shape:  # noqa: PLR0911 - one for each sort
    """The shape of what a cell holds. RefusedError when it cannot be carried; PoisonedError when
    it could not be made, which was told there."""
    machine.spend()
    if isinstance(value, (bool, int, float, Node)):
        return Scalar(kind_of(value))
    if isinstance(value, Guard):
        return Optional(value.why, shape_of(machine, value.value, state))
    if value is None or value is MISSING:
        return Optional("none" if value is None else "unset", Fixed(None))
    if isinstance(value, Tup):
        sort = "contents" if contents else "tuple"
        return Items(sort, tuple(shape_of(machine, item, state) for item in value.items))
    if isinstance(value, Array):
        return Items("array", (Scalar("float"),) * len(value.items), value.shape)
    if isinstance(value, ListRef):
        items = state.heap[value.id]
        return Items("list", tuple(shape_of(machine, item, state) for item in items))
    if value is POISON:
        raise PoisonedError
    if isinstance(value, Conflict):
        raise RefusedError(value.message)
    return Fixed(value)


def join_shapes(a: Shape, b: Shape) -> Shape:
    """The shape that holds both. RefusedError when there is none."""
    if a == b:
        return a
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Optional):
            if isinstance(other, Optional) and other.why == one.why:
                return Optional(one.why, join_shapes(one.of, other.of))
            if isinstance(other, Optional) and one.why == "none":
                continue  # not being set goes outside of being None
            return Optional(one.why, join_shapes(one.of, other))
        if one == Fixed(None):
            return other
    if isinstance(a, Scalar) and isinstance(b, Scalar):
        return Scalar(wider(a.kind, b.kind))
    if isinstance(a, Items) and isinstance(b, Items) and a.sort == b.sort:
        if len(a.of) != len(b.of) or a.size != b.size:
            raise RefusedError(
                "A list that is kept from step to step changes its length: keep a fixed number "
                "of values in it."
            )
        return Items(a.sort, tuple(map(join_shapes, a.of, b.of)), a.size)
    raise RefusedError("A value that is kept from step to step changes its sort.")


def refuse_passing(shape: Shape, known: set[int]) -> None:
    """Refuse objects that a step makes anew; `known`: heap ids from before the flight."""
    if isinstance(shape, Fixed):
        value = shape.value
        if isinstance(value, _IN_HEAP) and value.id not in known:
            raise RefusedError(
                f"This is {describe(value)} that is made anew in a step, which cannot be kept to "
                "the next one. Make it once, outside of the function, and change what it holds."
            )
        if isinstance(value, (Bound, Params, Table)):
            raise RefusedError(f"This is {describe(value)}, which cannot be kept.")
    elif isinstance(shape, Optional):
        refuse_passing(shape.of, known)
    elif isinstance(shape, Items):
        for each in shape.of:
            refuse_passing(each, known)


def recall(machine: Machine, shape: Shape, leaves: Leaves) -> Value:
    """A value of this shape, made of what the last step left."""
    if isinstance(shape, Fixed):
        return shape.value
    if isinstance(shape, Scalar):
        leaves.kinds.append(shape.kind)
        return machine.graph.make("memory", shape.kind, data=len(leaves.kinds) - 1)
    if isinstance(shape, Optional):
        leaves.kinds.append("bool")
        flag = machine.graph.make("memory", "bool", data=len(leaves.kinds) - 1)
        value = recall(machine, shape.of, leaves)
        return Guard("none" if shape.why == "none" else "unset", flag, value)
    items = tuple(recall(machine, each, leaves) for each in shape.of)
    if shape.sort == "array":
        return Array(shape.size, tuple(each for each in items if isinstance(each, Node)))
    return machine.new_list(items) if shape.sort == "list" else Tup(items)


def flatten(machine: Machine, value: Value, shape: Shape, state: State) -> list[Number]:
    """The leaves of a value, in the order in which `recall` reads them."""
    if isinstance(shape, Fixed):
        return []
    if isinstance(shape, Scalar):
        return [value if isinstance(value, (bool, int, float, Node)) else _nothing(shape)]
    if isinstance(shape, Optional):
        mark = None if shape.why == "none" else MISSING
        if value is mark:
            return [True, *flatten(machine, MISSING, shape.of, state)]
        if isinstance(value, Guard) and value.why == shape.why:
            return [value.flag, *flatten(machine, value.value, shape.of, state)]
        return [False, *flatten(machine, value, shape.of, state)]
    items: tuple[Value, ...] = (MISSING,) * len(shape.of)
    if isinstance(value, (Tup, Array)):
        items = value.items
    elif isinstance(value, ListRef):
        contents = state.heap[value.id]
        items = contents if isinstance(contents, tuple) else items
    pairs = zip(items, shape.of, strict=True)
    return [leaf for item, each in pairs for leaf in flatten(machine, item, each, state)]


def _nothing(shape: Scalar) -> Number:
    return False if shape.kind == "bool" else 0 if shape.kind == "int" else 0.0


def put(machine: Machine, cell: Cell, value: Value) -> None:
    """Set a cell."""
    where, ref, name = cell
    if where == "frame":
        machine.state.frames[ref][name] = value
    elif name:
        machine.set_attribute(ref, name, value)
    elif isinstance(value, Tup):
        machine.state.heap[ref] = value.items


def name_of(cell: Cell, value: Value) -> str:
    """How a message calls a cell."""
    return f"'{cell[2]}'" if cell[2] else describe(value)
