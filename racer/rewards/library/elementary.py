"""Functions of one or two numbers, shared by math and numpy.

`strict` ones raise where Python's math does; numpy's give NaN there instead, which ends in the
same fault, because a reward must be finite.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

from racer.rewards import arithmetic
from racer.rewards.arithmetic import absolute, fold, in_domain, known, less, less_equal
from racer.rewards.graph import Node, Number, kind_of, wider
from racer.rewards.library.calling import Elementary
from racer.rewards.machine import Machine


def smooth(op: str, python: Callable[..., Any]) -> Elementary:
    """A function without surprises on finite numbers: sin, tanh, atan2."""

    def apply(machine: Machine, node: ast.AST, *numbers: Number) -> Number:
        if known(*numbers):
            return fold(machine, node, python, *numbers)
        return machine.graph.make(op, "float", *numbers)

    return apply


def periodic(op: str, python: Callable[..., Any]) -> Elementary:
    """sin, cos and tan, which are not defined at infinity."""

    def apply(machine: Machine, node: ast.AST, x: Number) -> Number:
        if not isinstance(x, Node):
            return fold(machine, node, python, x)
        if x.kind == "float":
            finite = machine.graph.make("isfinite", "bool", x)
            x = in_domain(machine, finite, x, 0.0, node, "an angle is infinite")
        return machine.graph.make(op, "float", x)

    return apply


def growing(op: str, python: Callable[..., Any]) -> Elementary:
    """exp and its like, which overflow."""

    def apply(machine: Machine, node: ast.AST, x: Number) -> Number:
        if not isinstance(x, Node):
            return fold(machine, node, python, x)
        result = machine.graph.make(op, "float", x)
        return arithmetic.check_overflow(machine, result, x, node)

    return apply


def square_root(machine: Machine, node: ast.AST, x: Number) -> Number:
    """√x."""
    if not isinstance(x, Node):
        return fold(machine, node, math.sqrt, x)
    machine.fault_if(less(machine, x, 0, node), node, "the root of a negative number")
    return arithmetic.square_root(machine, x)


def logarithm(op: str, python: Callable[[float], float], above: float = 0.0) -> Elementary:
    """log and its like of numbers `above` something."""

    def apply(machine: Machine, node: ast.AST, x: Number) -> Number:
        if not isinstance(x, Node):
            return fold(machine, node, python, x)
        good = less(machine, above, x, node)
        what = "the logarithm of a number that is not positive"
        return machine.graph.make(op, "float", in_domain(machine, good, x, above + 1.0, node, what))

    return apply


def log_to_base(machine: Machine, node: ast.AST, x: Number, base: Number = math.e) -> Number:
    """math.log(x, base)."""
    natural = logarithm("log", math.log)(machine, node, x)
    if not isinstance(base, Node) and base == math.e:
        return natural
    divisor = logarithm("log", math.log)(machine, node, base)
    return arithmetic.divide(machine, natural, divisor, node)


def arc(op: str, python: Callable[[float], float]) -> Elementary:
    """asin and acos, of numbers from -1 to 1."""

    def apply(machine: Machine, node: ast.AST, x: Number) -> Number:
        if not isinstance(x, Node):
            return fold(machine, node, python, x)
        good = less_equal(machine, absolute(machine, x), 1, node)
        what = "the angle of a number beyond 1"
        return machine.graph.make(op, "float", in_domain(machine, good, x, 0.0, node, what))

    return apply


def whole(op: str) -> Elementary:
    """floor, ceil, trunc as whole numbers."""

    def apply(machine: Machine, node: ast.AST, x: Number) -> Number:
        return arithmetic.to_whole(machine, op, x, node)

    return apply


def kept_float(op: str, python: Callable[[float], float]) -> Elementary:
    """np.floor and its like: whole numbers that stay floats."""

    def apply(machine: Machine, node: ast.AST, x: Number) -> Number:
        if not isinstance(x, Node):
            return fold(machine, node, lambda: float(python(x)) if math.isfinite(x) else x)
        return machine.graph.make(op, "float", x)

    return apply


def magnitude(machine: Machine, node: ast.AST, x: Number) -> Number:
    """math.fabs: |x| as a float."""
    return arithmetic.as_float(machine, absolute(machine, x))


def copy_sign(machine: Machine, node: ast.AST, x: Number, y: Number) -> Number:
    """|x| with the sign of y."""
    size = magnitude(machine, node, x)
    negative = less(machine, y, 0, node)
    return machine.graph.select(negative, arithmetic.negative_of(machine, size), size)


def sign(machine: Machine, node: ast.AST, x: Number) -> Number:
    """-1, 0 or 1."""
    select = machine.graph.select
    below: Number = select(less(machine, x, 0, node), -1, 0)
    found = select(less(machine, 0, x, node), 1, below)
    return found if kind_of(x) != "float" else arithmetic.as_float(machine, found)


def remainder(machine: Machine, node: ast.AST, x: Number, y: Number) -> Number:
    """math.fmod: the sign of x."""
    if known(x, y):
        return fold(machine, node, math.fmod, x, y)
    size = absolute(machine, y)
    rest = arithmetic.modulo(machine, magnitude(machine, node, x), size, node)
    return copy_sign(machine, node, rest, x)


def hypotenuse(machine: Machine, node: ast.AST, *numbers: Number) -> Number:
    """√(a² + b² + …)."""
    if known(*numbers):
        return fold(machine, node, math.hypot, *numbers)
    total: Number = 0.0
    for x in numbers:
        total = arithmetic.add(machine, total, arithmetic.multiply(machine, x, x, node), node)
    return arithmetic.square_root(machine, total)


def scaled(factor: float) -> Elementary:
    """degrees, radians."""

    def apply(machine: Machine, node: ast.AST, x: Number) -> Number:
        return arithmetic.multiply(machine, x, factor, node)

    return apply


def question(op: str, python: Callable[[float], bool]) -> Elementary:
    """isnan, isfinite, isinf."""

    def apply(machine: Machine, node: ast.AST, x: Number) -> Number:
        if not isinstance(x, Node):
            return python(x)
        return machine.graph.make(op, "bool", x)

    return apply


def power(machine: Machine, node: ast.AST, x: Number, y: Number) -> Number:
    """math.pow: always a float."""
    found = arithmetic.power(machine, x, y, node)
    return arithmetic.as_float(machine, found)


def cube_root(machine: Machine, node: ast.AST, x: Number) -> Number:
    """math.cbrt."""
    if not isinstance(x, Node):
        return fold(machine, node, math.cbrt, x)
    size = arithmetic.power(machine, absolute(machine, x), 1.0 / 3.0, node)
    return copy_sign(machine, node, size, x)


def smaller(machine: Machine, node: ast.AST, x: Number, y: Number) -> Number:
    """The smaller of the two."""
    if known(x, y):
        return y if less(machine, y, x, node) else x
    return machine.graph.make("min", wider(kind_of(x), kind_of(y)), x, y)


def larger(machine: Machine, node: ast.AST, x: Number, y: Number) -> Number:
    """The larger of the two."""
    if known(x, y):
        return y if less(machine, x, y, node) else x
    return machine.graph.make("max", wider(kind_of(x), kind_of(y)), x, y)


def clip(machine: Machine, node: ast.AST, x: Number, low: Number, high: Number) -> Number:
    """x, but no less than low and no more than high."""
    return smaller(machine, node, larger(machine, node, x, low), high)
