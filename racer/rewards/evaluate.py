"""Computes a program's graph with NumPy or JAX, whichever module it is given.

Numbers of kind `int` and `float` are floating-point arrays, booleans boolean ones. In float32
whole numbers are exact up to 16,777,216; beyond it they lose their last digits and nothing wraps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

from racer.rewards.check import Program
from racer.rewards.graph import Node, Number, reachable

Array: TypeAlias = Any  # of NumPy or JAX


class Inputs(Protocol):
    """Where a program finds the step's values."""

    def value(self, name: str) -> Array:
        """A number per drone."""

    def row(self, column: str, index: Array) -> Array:
        """A table's component at whole-numbered float indices, which are in range."""


def evaluate(
    program: Program, inputs: Inputs, memory: Sequence[Array], xp: Any
) -> tuple[Array, Array, list[Array]]:
    """(reward, fault, memory) of one step; constants come back as Python numbers."""
    values: dict[int, Array] = {}
    results = [program.reward, program.fault, *program.memory]
    for node in reachable(results):
        values[node.index] = _compute(node, values, inputs, memory, xp)

    def result(number: Number) -> Array:
        return values[number.index] if isinstance(number, Node) else number

    return result(program.reward), result(program.fault), [result(leaf) for leaf in program.memory]


def _compute(  # noqa: PLR0911 - one for each sort
    node: Node,
    values: Mapping[int, Array],
    inputs: Inputs,
    memory: Sequence[Array],
    xp: Any,
) -> Array:
    if node.op == "input":
        return inputs.value(node.data)
    if node.op == "memory":
        return memory[node.data]
    operands = [values[arg.index] if isinstance(arg, Node) else arg for arg in node.args]
    if node.op in ("and", "or", "not"):
        return _LOGIC[node.op](xp, *operands)
    if node.op == "select":
        condition, *sides = operands
        if node.kind != "bool":
            sides = [_real(arg, value, xp) for arg, value in zip(node.args[1:], sides, strict=True)]
        return xp.where(condition, *sides)
    real = [_real(arg, value, xp) for arg, value in zip(node.args, operands, strict=True)]
    if node.op == "lookup":
        return inputs.row(node.data, xp.asarray(real[0]))
    if node.op == "table":
        found = xp.asarray(node.data, real[0].dtype)[real[0].astype("int32")]
        return found != 0 if node.kind == "bool" else found
    if node.op == "pick":
        return _pick(real[0], operands[1:] if node.kind == "bool" else real[1:], xp)
    return _NUMERIC[node.op](xp, *real)


def _real(arg: Number, value: Array, xp: Any) -> Array:
    """An operand as a floating-point number."""
    if not isinstance(arg, Node):
        return float(arg)
    return xp.where(value, 1.0, 0.0) if arg.kind == "bool" else value


def _pick(row: Array, columns: Sequence[Array], xp: Any) -> Array:
    """The column of each drone's row, found by halving: a gather costs more than these selects."""
    low, columns = 0, list(columns)

    def search(low: int, high: int) -> Array:
        if high - low == 1:
            return columns[low]
        middle = (low + high) // 2
        return xp.where(row < middle, search(low, middle), search(middle, high))

    return search(low, len(columns))


def _floor_divide(xp: Any, a: Array, b: Array) -> Array:
    """Of whole numbers: exact, whatever the division rounds to."""
    guess = xp.round(a / b)
    rest = a - guess * b
    return guess - xp.where(rest * xp.sign(b) < 0, 1.0, 0.0)


def _float_mod(xp: Any, a: Array, b: Array) -> Array:
    """Python's float %: exact, with the sign of b."""
    rest = xp.fmod(a, b)
    wrong = (rest != 0) & ((rest < 0) != (b < 0))
    return xp.where(wrong, rest + b, rest)


def _float_floor_divide(xp: Any, a: Array, b: Array) -> Array:
    """Python's float //: (a - a % b) / b, to the nearest whole number."""
    return xp.round((a - _float_mod(xp, a, b)) / b)


# Functions whose slope is infinite somewhere in their domain, or whose value is: there the operand
# is replaced before the function sees it. A branch that is not taken has a slope of zero times
# that of its operations, and zero times infinity would be no number.


def _growing(name: str) -> Callable[..., Array]:
    """exp and its like: infinite beyond what the number's format holds."""

    def apply(xp: Any, a: Array) -> Array:
        limit = math.log(float(xp.finfo(xp.asarray(a).dtype).max))
        beyond = a > limit if name in ("exp", "expm1") else abs(a) > limit
        sign = xp.sign(a) if name == "sinh" else 1.0
        return xp.where(beyond, sign * math.inf, getattr(xp, name)(xp.where(beyond, 0.0, a)))

    return apply


def _power(xp: Any, a: Array, b: Array) -> Array:
    found = xp.power(a, b)
    fine = xp.isfinite(found)
    outside = xp.where(xp.isnan(found), math.nan, math.inf)
    return xp.where(fine, xp.power(xp.where(fine, a, 1.0), b), outside)


def _arc(name: str, edge: float, other: float) -> Callable[..., Array]:
    """asin and acos; `edge` and `other` at 1 and -1, where they are vertical."""

    def apply(xp: Any, a: Array) -> Array:
        inside = abs(a) < 1.0
        found = getattr(xp, name)(xp.where(inside, a, 0.0))
        return xp.where(inside, found, xp.where(a > 0, edge, other))

    return apply


def _atan2(xp: Any, a: Array, b: Array) -> Array:
    origin = (a == 0) & (b == 0)
    return xp.arctan2(a, xp.where(origin, xp.copysign(1.0, b), b))


_LOGIC: dict[str, Callable[..., Array]] = {
    "and": lambda xp, a, b: xp.logical_and(a, b),
    "or": lambda xp, a, b: xp.logical_or(a, b),
    "not": lambda xp, a: xp.logical_not(a),
}
_NUMERIC: dict[str, Callable[..., Array]] = {
    "add": lambda xp, a, b: a + b,
    "sub": lambda xp, a, b: a - b,
    "mul": lambda xp, a, b: a * b,
    "div": lambda xp, a, b: a / b,
    "imod": lambda xp, a, b: a - b * _floor_divide(xp, a, b),
    "ifloordiv": _floor_divide,
    "mod": _float_mod,
    "floordiv": _float_floor_divide,
    "pow": _power,
    "neg": lambda xp, a: -a,
    "abs": lambda xp, a: abs(a),
    "float": lambda xp, a: a,
    # Python's min(a, b) is a unless b is less, also when one is NaN.
    "min": lambda xp, a, b: xp.where(b < a, b, a),
    "max": lambda xp, a, b: xp.where(b > a, b, a),
    "lt": lambda xp, a, b: a < b,
    "le": lambda xp, a, b: a <= b,
    "eq": lambda xp, a, b: a == b,
    "ne": lambda xp, a, b: a != b,
    "floor": lambda xp, a: xp.floor(a),
    "ceil": lambda xp, a: xp.ceil(a),
    "trunc": lambda xp, a: xp.trunc(a),
    "rint": lambda xp, a: xp.round(a),  # half to even, as Python
    "isnan": lambda xp, a: xp.isnan(a),
    "isinf": lambda xp, a: xp.isinf(a),
    "isfinite": lambda xp, a: xp.isfinite(a),
    "log10": lambda xp, a: xp.log(a) / math.log(10.0),
    "log2": lambda xp, a: xp.log(a) / math.log(2.0),
    "asin": _arc("arcsin", 0.5 * math.pi, -0.5 * math.pi),
    "acos": _arc("arccos", 0.0, math.pi),
    "atan": lambda xp, a: xp.arctan(a),
    "atan2": _atan2,
}
_NUMERIC |= {name: _growing(name) for name in ("exp", "expm1", "sinh", "cosh")}
for _name in ("sqrt", "sin", "cos", "tan", "tanh", "log", "log1p"):
    _NUMERIC[_name] = lambda xp, a, name=_name: getattr(xp, name)(a)
