"""What a name may stand for while a reward function is compiled.

Numbers are those of `graph`; None and texts are themselves. Lists, dictionaries, classes and
instances live in the machine's heap, because two names may share one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from racer.rewards.graph import Kind, Node, Number
from racer.rewards.scopes import Names

if TYPE_CHECKING:
    from racer.rewards.machine import Machine

Value: TypeAlias = object  # one of the classes below, a Number, a str or None


@dataclass(frozen=True)
class Tup:
    """A tuple."""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class ListRef:
    """A list; its items are in the heap."""

    id: int


@dataclass(frozen=True)
class DictRef:
    """A dictionary with constant keys; its items are in the heap."""

    id: int


@dataclass(frozen=True)
class Constants:
    """A set of constants."""

    items: tuple[Value, ...]


@dataclass(frozen=True)
class Range:
    """range(…) of known numbers."""

    of: range


@dataclass(frozen=True)
class Array:
    """A NumPy array of one or two known dimensions, row by row."""

    shape: tuple[int, ...]
    items: tuple[Number, ...] = field(repr=False)


@dataclass(frozen=True)
class Table:
    """A parameter that is a list whose length depends on the course: `waypoints`, `objects_…`.

    A row is one number, or a tuple with one number per column.
    """

    name: str
    columns: tuple[str, ...]
    kind: Kind
    length: Number
    least: int  # it has at least so many rows


@dataclass(frozen=True)
class Params:
    """The dictionary that the reward function is given."""


@dataclass(frozen=True)
class Guard:
    """A value that is missing where `flag` holds: it is None there, or was never set."""

    why: Literal["none", "unset"]
    flag: Node
    value: Value


@dataclass(frozen=True)
class Conflict:
    """What remains of a name that two branches gave values of different sorts."""

    message: str


@dataclass(frozen=True, eq=False)
class Function:
    """A `def`; its attributes are in the heap."""

    id: int
    node: ast.FunctionDef
    names: Names
    scope: int  # the frame it was defined in
    defaults: tuple[Value, ...]
    static: bool = False  # @staticmethod


@dataclass(frozen=True)
class Bound:
    """A method with its instance."""

    function: Function
    instance: Value


@dataclass(frozen=True)
class ClassRef:
    """A class; its attributes are in the heap."""

    id: int
    name: str


@dataclass(frozen=True)
class Instance:
    """An instance; its attributes are in the heap."""

    id: int
    of: ClassRef


@dataclass(frozen=True, eq=False)
class Builtin:
    """A function of Python, math or numpy that we know."""

    name: str
    apply: Callable[[Machine, ast.Call, list[Value], dict[str, Value]], Value]


@dataclass(frozen=True, eq=False)
class Module:
    """math or numpy: what we know of it."""

    name: str
    members: Mapping[str, Value]


class PoisonedError(Exception):
    """The value could not be made; that has been reported already."""


POISON = Conflict("")  # stands for what an erroneous statement would have set


def describe(value: Value) -> str:
    """What a value is, in a person's words."""
    if value is None:
        return "None"
    if isinstance(value, Node):
        return {"bool": "a bool", "int": "a whole number", "float": "a number"}[value.kind]
    names: dict[type, str] = {
        bool: "a bool",
        int: "a whole number",
        float: "a number",
        str: "a text",
        Tup: "a tuple",
        ListRef: "a list",
        DictRef: "a dictionary",
        Constants: "a set",
        Range: "a range",
        Array: "an array",
        Table: "a list",
        Params: "the dictionary params",
        Function: "a function",
        Bound: "a method",
        Builtin: "a function",
        ClassRef: "a class",
        Instance: "an object",
        Module: "a module",
    }
    return names.get(type(value), "a value")
