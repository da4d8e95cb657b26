"""The module math."""

from __future__ import annotations

import ast
import math

from racer.rewards import arithmetic
from racer.rewards.diagnostics import RefusedError
from racer.rewards.expressions import iterate
from racer.rewards.library import elementary as e
from racer.rewards.library.calling import Elementary, check_arguments, of_numbers
from racer.rewards.library.python import total
from racer.rewards.machine import Machine
from racer.rewards.values import Builtin, Module, Value


def _distance(
    machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    """math.dist(p, q)."""
    check_arguments("dist", node, (args, kwargs), least=2, most=2)
    p, q = ([machine.number(item, node) for item in iterate(machine, arg, node)] for arg in args)
    if len(p) != len(q):
        raise RefusedError("dist() needs two points of the same number of coordinates.", node)
    gaps = [arithmetic.subtract(machine, a, b, node) for a, b in zip(p, q, strict=True)]
    return e.hypotenuse(machine, node, *gaps)


def _close(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """math.isclose(a, b, rel_tol=…, abs_tol=…)."""
    keywords = ("rel_tol", "abs_tol")
    check_arguments("isclose", node, (args, kwargs), least=2, most=2, keywords=keywords)
    a, b = (machine.number(arg, node) for arg in args)
    relative = machine.number(kwargs.get("rel_tol", 1e-9), node)
    absolute = machine.number(kwargs.get("abs_tol", 0.0), node)
    size = e.larger(machine, node, arithmetic.absolute(machine, a), arithmetic.absolute(machine, b))
    allowed = e.larger(machine, node, arithmetic.multiply(machine, relative, size, node), absolute)
    gap = arithmetic.absolute(machine, arithmetic.subtract(machine, a, b, node))
    return arithmetic.less_equal(machine, gap, allowed, node)


def _sum(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    """math.fsum."""
    check_arguments("fsum", node, (args, kwargs), least=1, most=1)
    found = machine.number(total(machine, node, args, {}), node)
    return arithmetic.as_float(machine, found)


_FUNCTIONS: dict[str, tuple[Elementary, int, int]] = {
    "sqrt": (e.square_root, 1, 1),
    "cbrt": (e.cube_root, 1, 1),
    "sin": (e.periodic("sin", math.sin), 1, 1),
    "cos": (e.periodic("cos", math.cos), 1, 1),
    "tan": (e.periodic("tan", math.tan), 1, 1),
    "asin": (e.arc("asin", math.asin), 1, 1),
    "acos": (e.arc("acos", math.acos), 1, 1),
    "atan": (e.smooth("atan", math.atan), 1, 1),
    "atan2": (e.smooth("atan2", math.atan2), 2, 2),
    "sinh": (e.growing("sinh", math.sinh), 1, 1),
    "cosh": (e.growing("cosh", math.cosh), 1, 1),
    "tanh": (e.smooth("tanh", math.tanh), 1, 1),
    "exp": (e.growing("exp", math.exp), 1, 1),
    "expm1": (e.growing("expm1", math.expm1), 1, 1),
    "log": (e.log_to_base, 1, 2),
    "log2": (e.logarithm("log2", math.log2), 1, 1),
    "log10": (e.logarithm("log10", math.log10), 1, 1),
    "log1p": (e.logarithm("log1p", math.log1p, -1.0), 1, 1),
    "pow": (e.power, 2, 2),
    "hypot": (e.hypotenuse, 1, 8),
    "fabs": (e.magnitude, 1, 1),
    "floor": (e.whole("floor"), 1, 1),
    "ceil": (e.whole("ceil"), 1, 1),
    "trunc": (e.whole("trunc"), 1, 1),
    "fmod": (e.remainder, 2, 2),
    "copysign": (e.copy_sign, 2, 2),
    "degrees": (e.scaled(180.0 / math.pi), 1, 1),
    "radians": (e.scaled(math.pi / 180.0), 1, 1),
    "isnan": (e.question("isnan", math.isnan), 1, 1),
    "isfinite": (e.question("isfinite", math.isfinite), 1, 1),
    "isinf": (e.question("isinf", math.isinf), 1, 1),
}
_CONSTANTS: dict[str, Value] = {
    "pi": math.pi,
    "e": math.e,
    "tau": math.tau,
    "inf": math.inf,
    "nan": math.nan,
}

MATH = Module(
    "math",
    _CONSTANTS
    | {name: of_numbers(name, *entry) for name, entry in _FUNCTIONS.items()}
    | {"dist": Builtin("dist", _distance), "isclose": Builtin("isclose", _close)}
    | {"fsum": Builtin("fsum", _sum)},
)
