"""The compiled form: a graph of elementary operations on numbers, each written once.

A number is either known while compiling, and then a plain Python `bool`, `int` or `float`, or a
`Node`. Nodes are made by `Graph.make`, which returns the node it has already for the same
operation on the same operands, so that a function that computes `abs(x)` ten times pays once.

| operation | operands → result |
|---|---|
| `input` | value `data` of the step |
| `memory` | leaf `data` of what the last step left |
| `lookup` | row (…) → component of the step's table `data`; the row is in range |
| `table` | row (…) → element of the constant numbers `data`; the row is in range |
| `pick` | row, a, b, … → the operand of that row; the row is in range |
| `select` | condition, a, b → a where it holds, else b |
| others | as the Python operator or function of that name, on operands in its domain |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from racer.rewards.diagnostics import TooLargeError
from racer.rewards.limits import MAX_NODES

Kind: TypeAlias = Literal["bool", "int", "float"]
_RANK: dict[Kind, int] = {"bool": 0, "int": 1, "float": 2}


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One operation; equal to no other."""

    index: int
    op: str
    kind: Kind
    args: tuple[Number, ...] = field(repr=False)
    data: Any = None


Number: TypeAlias = bool | int | float | Node


def kind_of(number: Number) -> Kind:
    """Which Python type the number would have."""
    if isinstance(number, Node):
        return number.kind
    return "bool" if isinstance(number, bool) else "int" if isinstance(number, int) else "float"


def wider(first: Kind, second: Kind) -> Kind:
    """The kind that holds both."""
    return first if _RANK[first] >= _RANK[second] else second


def same(first: object, second: object) -> bool:
    """Whether two numbers are the same node or the same constant, sign of zero included."""
    if first is second:
        return True
    if isinstance(first, Node) or isinstance(second, Node) or type(first) is not type(second):
        return False
    return repr(first) == repr(second) if isinstance(first, float) else first == second


class Graph:
    """Makes nodes, each once, and no more than the budget."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[Any, ...], Node] = {}

    def __len__(self) -> int:
        return len(self._nodes)

    def make(self, op: str, kind: Kind, *args: Number, data: Any = None) -> Node:
        """The node of this operation. Raises TooLargeError when the budget is spent."""
        key = (op, kind, data, *(_key(arg) for arg in args))
        node = self._nodes.get(key)
        if node is None:
            if len(self._nodes) >= MAX_NODES:
                raise TooLargeError(
                    f"The function unrolls to more than {MAX_NODES:,} operations. "
                    "Use shorter loops or lists."
                )
            node = self._nodes[key] = Node(len(self._nodes), op, kind, args, data)
        return node

    # logic, with what is known left out

    def negate(self, a: Number) -> Number:
        """Not a."""
        if not isinstance(a, Node):
            return not a
        if a.op == "not":
            return a.args[0]
        return self.make("not", "bool", a)

    def both(self, a: Number, b: Number) -> Number:
        """a and b, of two booleans."""
        if a is False or b is False:
            return False
        if a is True:
            return b
        if b is True or a is b:
            return a
        return self.make("and", "bool", a, b)

    def either(self, a: Number, b: Number) -> Number:
        """a or b, of two booleans."""
        if a is True or b is True:
            return True
        if a is False:
            return b
        if b is False or a is b:
            return a
        return self.make("or", "bool", a, b)

    def select(self, condition: Number, a: Number, b: Number) -> Number:
        """a where the condition holds, else b."""
        if not isinstance(condition, Node):
            return a if condition else b
        if same(a, b):
            return a
        if a is True and b is False:
            return condition
        if a is False and b is True:
            return self.negate(condition)
        if condition.op == "not":
            return self.select(condition.args[0], b, a)
        return self.make("select", wider(kind_of(a), kind_of(b)), condition, a, b)


def _key(arg: Number) -> Any:
    return arg.index if isinstance(arg, Node) else (type(arg).__name__, repr(arg))


def reachable(results: list[Number]) -> Iterator[Node]:
    """Every node that the results depend on, operands before what uses them."""
    wanted: dict[int, Node] = {}
    stack = [result for result in results if isinstance(result, Node)]
    while stack:
        node = stack.pop()
        if node.index not in wanted:
            wanted[node.index] = node
            stack.extend(arg for arg in node.args if isinstance(arg, Node))
    return (wanted[index] for index in sorted(wanted))
