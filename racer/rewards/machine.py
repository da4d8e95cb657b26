"""Abstract execution: what running the function would do, for all drones at once.

The machine walks through the statements as Python would, with graph nodes in place of numbers. A
condition that is not known splits the state in two copies, each with its own mask of the drones
that are `active` there; afterwards the copies are merged, name by name, by selects. `return`,
`break` and `continue` set a copy aside until the place where its drones go on.

What would raise in Python sets `fault` for the drones concerned instead.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from racer.rewards.diagnostics import RefusedError, Report, TooLargeError
from racer.rewards.graph import Graph, Node, Number
from racer.rewards.joining import MISSING, join
from racer.rewards.limits import MAX_INTEGER, MAX_ITEMS, MAX_WORK
from racer.rewards.values import (
    POISON,
    Array,
    Conflict,
    DictRef,
    Guard,
    ListRef,
    PoisonedError,
    Table,
    Tup,
    Value,
    describe,
)

T = TypeVar("T")
Contents = tuple[Value, ...] | dict[str, Value]


@dataclass
class State:
    """What the drones that are `active` here see."""

    frames: dict[int, dict[str, Value]] = field(default_factory=dict)
    heap: dict[int, Contents] = field(default_factory=dict)
    active: Number = True

    def copy(self, active: Number) -> State:
        """Independent of this one; contents of the heap are replaced, never changed."""
        frames = {key: dict(names) for key, names in self.frames.items()}
        return State(frames, dict(self.heap), active)


@dataclass
class Exit:
    """A copy of the state set aside by return, break or continue."""

    state: State
    value: Value = None


@dataclass
class Work:
    """Syntax nodes that may still be visited, over all rounds of a check."""

    left: int = MAX_WORK


class Machine:
    """State, faults and budgets; expressions and statements are in modules of their own."""

    def __init__(self, report: Report, work: Work, inputs: dict[str, Value]) -> None:
        self.graph = Graph()
        self.report = report
        self.inputs = inputs
        self.state = State()
        self.fault: Number = False
        self.merged_lists: set[int] = set()  # made by a branch: changing them is refused
        self._work = work
        self._next = 0

    # budgets

    def visit(self, node: ast.AST, cost: int = 1) -> None:
        """Pay for looking at a syntax node."""
        try:
            self.spend(cost)
        except TooLargeError as error:
            error.node = node
            raise

    def spend(self, cost: int = 1) -> None:
        """Pay for work. TooLargeError when the budget is spent."""
        self._work.left -= cost
        if self._work.left < 0:
            raise TooLargeError(
                "The function does too much in one step: shorten its loops, lists or helper calls."
            )

    def new_id(self) -> int:
        """For a frame or a thing in the heap."""
        self._next += 1
        return self._next

    # faults

    def fault_if(self, condition: Number, node: ast.AST, what: str) -> None:
        """Python would raise here for the active drones for which the condition holds."""
        raised = self.graph.both(self.state.active, condition)
        if raised is True:
            self.report.add(f"This always fails: {what}.", node, "warning")
        self.fault = self.graph.either(self.fault, raised)

    # lists and dictionaries

    def new_list(self, items: tuple[Value, ...]) -> ListRef:
        """A list in the heap."""
        if len(items) > MAX_ITEMS:
            raise RefusedError(f"A list may have at most {MAX_ITEMS:,} items.")
        ref = ListRef(self.new_id())
        self.state.heap[ref.id] = items
        return ref

    def items_of(self, ref: ListRef) -> tuple[Value, ...]:
        """The list's items now."""
        return _tuple(self.state.heap[ref.id])

    def attributes_of(self, ref: int) -> dict[str, Value]:
        """The attributes or dictionary items under this id, to be read only."""
        return _dict(self.state.heap[ref])

    def set_attribute(self, ref: int, name: str, value: Value) -> None:
        """Give a class, an instance, a function or a dictionary an item."""
        self.state.heap[ref] = self.attributes_of(ref) | {name: value}

    # values

    def number(self, value: Value, node: ast.AST, what: str = "a number") -> Number:
        """The number that a value is; None where it is missing faults."""
        value = self.present(value, node)
        if isinstance(value, (bool, int, float, Node)):
            return self.checked(value, node)
        if isinstance(value, Array) and len(value.items) == 1:
            return value.items[0]
        raise RefusedError(f"This must be {what}, and is {describe(value)}.", node)

    def present(self, value: Value, node: ast.AST) -> Value:
        """The value without its guards."""
        while isinstance(value, Guard):
            what = "the value is None" if value.why == "none" else "it has no value yet"
            self.fault_if(value.flag, node, what)
            value = value.value
        if isinstance(value, Conflict):
            if value is POISON:
                raise PoisonedError
            raise RefusedError(value.message, node)
        return value

    def checked(self, number: Number, node: ast.AST) -> Number:
        """Refuse whole numbers beyond what a float can hold."""
        if isinstance(number, int) and not -MAX_INTEGER <= number <= MAX_INTEGER:
            raise RefusedError("This number is too large.", node)
        return number

    def truth(self, value: Value, node: ast.AST) -> Number:  # noqa: PLR0911 - one for each sort
        """bool(value)."""
        if value is None:
            return False
        if isinstance(value, Guard) and value.why == "none":
            here = self.graph.negate(value.flag)
            return self.graph.both(here, self.truth(value.value, node))
        value = self.present(value, node)
        if isinstance(value, (bool, int, float, Node)):
            return self.nonzero(value)
        if isinstance(value, str):
            return bool(value)
        if isinstance(value, Tup):
            return bool(value.items)
        if isinstance(value, (ListRef, DictRef)):
            return bool(self.state.heap[value.id])
        if isinstance(value, Table):
            return self.nonzero(value.length)
        if isinstance(value, Array) and len(value.items) != 1:
            raise RefusedError("Say np.any(…) or np.all(…) of an array.", node)
        return self.nonzero(value.items[0]) if isinstance(value, Array) else True

    def nonzero(self, number: Number) -> Number:
        """Whether a number is not zero."""
        if not isinstance(number, Node):
            return bool(number)
        if number.kind == "bool":
            return number
        return self.graph.make("ne", "bool", number, 0)

    # branches

    def fork(
        self, condition: Number, then: Callable[[], T], otherwise: Callable[[], T]
    ) -> tuple[T | None, T | None]:
        """Do both, each on its own copy, and merge; only one where the condition is known."""
        if not isinstance(condition, Node):
            return (then(), None) if condition else (None, otherwise())
        before = self.state
        sides: list[tuple[State, bool]] = []
        results: list[T] = []
        for mask, work in ((condition, then), (self.graph.negate(condition), otherwise)):
            active = self.graph.both(before.active, mask)
            self.state = before.copy(active)
            results.append(work())
            sides.append((self.state, self.state.active is active))
        (first, first_whole), (second, second_whole) = sides
        self.state = self.merge(condition, first, second)
        if first_whole and second_whole:
            self.state.active = before.active
        return results[0], results[1]

    def choose(
        self, condition: Number, then: Callable[[], Value], other: Callable[[], Value]
    ) -> Value:
        """The value of one of two expressions."""
        first, second = self.fork(condition, then, other)
        if not isinstance(condition, Node):
            return first if condition else second
        return self.join(condition, first, second, self.state, self.state)

    def rejoin(self, exits: list[Exit]) -> None:
        """Let drones that were set aside go on from here."""
        for each in reversed(exits):
            self.state = self.merge(each.state.active, each.state, self.state)

    def merge(self, condition: Number, a: State, b: State) -> State:
        """The state of a's drones where the condition holds, of b's elsewhere."""
        if a.active is False or b.active is False:
            alive, gone = (b, a) if a.active is False else (a, b)
            return State(alive.frames, gone.heap | alive.heap, alive.active)
        merged = State({}, {}, self.graph.either(a.active, b.active))
        self.spend(1 + (len(a.heap) + sum(map(len, a.frames.values()))) // 32)
        for key in a.heap.keys() | b.heap.keys():
            merged.heap[key] = self._join_contents(condition, key, a, b, merged)
        for key in a.frames.keys() & b.frames.keys():
            merged.frames[key] = self._join_names(
                condition, a.frames[key], b.frames[key], (a, b, merged)
            )
        return merged

    def _join_contents(
        self, condition: Number, key: int, a: State, b: State, merged: State
    ) -> Contents:
        first, second = a.heap.get(key), b.heap.get(key)
        if first is second or second is None:
            return first if first is not None else ()
        if first is None:
            return second
        if isinstance(first, dict) or isinstance(second, dict):
            return self._join_names(condition, _dict(first), _dict(second), (a, b, merged))
        if len(first) != len(second):
            message = "This list has a different length in two branches: keep its length fixed."
            return (Conflict(message),)
        return tuple(
            self.join(condition, x, y, a, b, merged) for x, y in zip(first, second, strict=True)
        )

    def _join_names(
        self,
        condition: Number,
        first: dict[str, Value],
        second: dict[str, Value],
        states: tuple[State, State, State],
    ) -> dict[str, Value]:
        a, b, merged = states
        names = list(first) + [name for name in second if name not in first]
        joined: dict[str, Value] = {}
        for name in names:
            x, y = first.get(name, MISSING), second.get(name, MISSING)
            joined[name] = x if x is y else self.join(condition, x, y, a, b, merged)
        return joined

    def join(  # noqa: PLR0917 - all belong together
        self,
        condition: Number,
        x: Value,
        y: Value,
        a: State,
        b: State,
        merged: State | None = None,
    ) -> Value:
        """x where the condition holds, else y; a Conflict when no value can be both."""
        return join(self, condition, x, y, (a, b, merged or self.state))


def _tuple(contents: Contents) -> tuple[Value, ...]:
    if isinstance(contents, dict):
        raise TypeError("a dictionary was taken for a list")
    if len(contents) == 1 and isinstance(contents[0], Conflict) and contents[0] is not POISON:
        raise RefusedError(contents[0].message)
    return contents


def _dict(contents: Contents) -> dict[str, Value]:
    if not isinstance(contents, dict):
        raise TypeError("a list was taken for a dictionary")
    return contents
