"""The harmless part of numpy: functions of numbers, and of arrays of one or two dimensions."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from racer.rewards import arithmetic
from racer.rewards.diagnostics import RefusedError
from racer.rewards.graph import Node, Number
from racer.rewards.library import elementary as e
from racer.rewards.library.calling import Elementary, check_arguments, of_arrays
from racer.rewards.library.python import round_digits
from racer.rewards.limits import MAX_ITEMS
from racer.rewards.machine import Machine
from racer.rewards.operators import as_array, elementwise
from racer.rewards.values import Array, Builtin, Module, Value

_Reduction: TypeAlias = Callable[[Machine, ast.AST, tuple[Number, ...]], Number]


def _sum(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    total: Number = 0
    for number in numbers:
        total = arithmetic.add(machine, total, number, node)
    return total


def _product(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    product: Number = 1
    for number in numbers:
        product = arithmetic.multiply(machine, product, number, node)
    return product


def _mean(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    return arithmetic.divide(machine, _sum(machine, node, numbers), len(numbers), node)


def _variance(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    mean = _mean(machine, node, numbers)
    gaps = [arithmetic.subtract(machine, number, mean, node) for number in numbers]
    squares = tuple(arithmetic.multiply(machine, gap, gap, node) for gap in gaps)
    return _mean(machine, node, squares)


def _deviation(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    return arithmetic.square_root(machine, _variance(machine, node, numbers))


def _least(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    found = numbers[0]
    for number in numbers[1:]:
        found = e.smaller(machine, node, found, number)
    return found


def _most(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    found = numbers[0]
    for number in numbers[1:]:
        found = e.larger(machine, node, found, number)
    return found


def _position(best: _Reduction) -> _Reduction:
    """argmin and argmax: the first place that holds the extreme."""

    def apply(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
        extreme = best(machine, node, numbers)
        found: Number = 0
        for at in range(len(numbers) - 1, -1, -1):
            here = arithmetic.equal(machine, numbers[at], extreme)
            found = machine.graph.select(here, at, found)
        return found

    return apply


def _every(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    found: Number = True
    for number in numbers:
        found = machine.graph.both(found, machine.nonzero(number))
    return found


def _some(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    found: Number = False
    for number in numbers:
        found = machine.graph.either(found, machine.nonzero(number))
    return found


def _length(machine: Machine, node: ast.AST, numbers: tuple[Number, ...]) -> Number:
    return e.hypotenuse(machine, node, *numbers)


_REDUCTIONS: dict[str, _Reduction] = {
    "sum": _sum,
    "prod": _product,
    "mean": _mean,
    "average": _mean,
    "var": _variance,
    "std": _deviation,
    "min": _least,
    "max": _most,
    "amin": _least,
    "amax": _most,
    "argmin": _position(_least),
    "argmax": _position(_most),
    "all": _every,
    "any": _some,
}


def _reduction(name: str, function: _Reduction) -> Builtin:
    """Of the whole array, or along `axis` of one with two dimensions."""

    def apply(
        machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
    ) -> Value:
        check_arguments(name, node, (args, kwargs), least=1, most=2, keywords=("axis",))
        array = as_array(machine, args[0], node)
        if not array.items:
            raise RefusedError(f"{name}() of an empty array.", node)
        machine.visit(node, len(array.items))
        axis = args[1] if len(args) == 2 else kwargs.get("axis")
        if axis is None or (len(array.shape) == 1 and axis in (0, -1)):
            return function(machine, node, array.items)
        if len(array.shape) != 2 or axis not in (0, 1, -1):
            raise RefusedError("'axis' must be 0 or 1 of an array with two dimensions.", node)
        lines = rows_of(array)
        if axis == 0:
            lines = list(zip(*lines, strict=True))
        return Array((len(lines),), tuple(function(machine, node, line) for line in lines))

    return Builtin(name, apply)


def rows_of(array: Array) -> list[tuple[Number, ...]]:
    """The rows of an array of two dimensions."""
    width = array.shape[1]
    return [array.items[at : at + width] for at in range(0, len(array.items), width)]


def _array(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("array", node, (args, kwargs), least=1, most=1)
    array = as_array(machine, args[0], node)
    if len(array.items) > 4 * MAX_ITEMS:
        raise RefusedError("This array is too large.", node)
    return array


def _dot(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("dot", node, (args, kwargs), least=2, most=2)
    a, b = (as_array(machine, arg, node) for arg in args)
    if len(b.shape) != 1 or a.shape[-1] != b.shape[0]:
        raise RefusedError("dot() takes two vectors of one length, or a matrix and one.", node)
    lines = [a.items] if len(a.shape) == 1 else rows_of(a)
    products = []
    for line in lines:
        pairs = zip(line, b.items, strict=True)
        parts = tuple(arithmetic.multiply(machine, x, y, node) for x, y in pairs)
        products.append(_sum(machine, node, parts))
    return products[0] if len(a.shape) == 1 else Array((len(products),), tuple(products))


def _norm(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("norm", node, (args, kwargs), least=1, most=1, keywords=("axis",))
    return _reduction("norm", _length).apply(machine, node, args, kwargs)


def _cross(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("cross", node, (args, kwargs), least=2, most=2)
    a, b = (as_array(machine, arg, node).items for arg in args)

    def minor(i: int, j: int) -> Number:
        first = arithmetic.multiply(machine, a[i], b[j], node)
        return arithmetic.subtract(
            machine, first, arithmetic.multiply(machine, a[j], b[i], node), node
        )

    if len(a) != 3 or len(b) != 3:
        raise RefusedError("cross() takes two vectors of three numbers.", node)
    return Array((3,), (minor(1, 2), minor(2, 0), minor(0, 1)))


def _where(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("where", node, (args, kwargs), least=3, most=3)

    def one(condition: Number, x: Number, y: Number) -> Number:
        return machine.graph.select(machine.nonzero(condition), x, y)

    return elementwise(machine, one, [machine.present(arg, node) for arg in args], node)


def _round(machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]) -> Value:
    check_arguments("round", node, (args, kwargs), least=1, most=2, keywords=("decimals",))
    digits = args[1] if len(args) == 2 else kwargs.get("decimals", 0)
    if not isinstance(digits, int) or not -9 <= digits <= 9:
        raise RefusedError("round()'s decimals must be a constant from -9 to 9.", node)
    return elementwise(
        machine,
        lambda x: round_digits(machine, node, x, digits),
        [machine.present(args[0], node)],
        node,
    )


def _interpolate(
    machine: Machine, node: ast.Call, args: list[Value], kwargs: dict[str, Value]
) -> Value:
    """np.interp(x, xp, fp) over known, rising xp."""
    check_arguments("interp", node, (args, kwargs), least=3, most=3)
    xs, ys = (as_array(machine, arg, node).items for arg in args[1:])
    known = [x for x in xs if not isinstance(x, Node)]
    if len(known) != len(xs) or len(xs) != len(ys) or len(xs) < 2 or known != sorted(set(known)):
        raise RefusedError("interp() needs constant, rising xp and as many fp.", node)
    x = e.clip(machine, node, machine.number(args[0], node), known[0], known[-1])
    found: Number = ys[0]
    for at in range(len(known) - 1):
        slope = arithmetic.divide(
            machine,
            arithmetic.subtract(machine, ys[at + 1], ys[at], node),
            known[at + 1] - known[at],
            node,
        )
        part = e.clip(
            machine, node, arithmetic.subtract(machine, x, known[at], node), 0.0,
            known[at + 1] - known[at],
        )  # fmt: skip
        found = arithmetic.add(
            machine, found, arithmetic.multiply(machine, part, slope, node), node
        )
    return found


_ELEMENTWISE: dict[str, tuple[Elementary, int]] = {
    "sqrt": (e.square_root, 1),
    "cbrt": (e.cube_root, 1),
    "abs": (lambda machine, _, x: arithmetic.absolute(machine, x), 1),
    "absolute": (lambda machine, _, x: arithmetic.absolute(machine, x), 1),
    "fabs": (e.magnitude, 1),
    "sign": (e.sign, 1),
    "square": (lambda machine, node, x: arithmetic.multiply(machine, x, x, node), 1),
    "sin": (e.periodic("sin", math.sin), 1),
    "cos": (e.periodic("cos", math.cos), 1),
    "tan": (e.periodic("tan", math.tan), 1),
    "arcsin": (e.arc("asin", math.asin), 1),
    "arccos": (e.arc("acos", math.acos), 1),
    "arctan": (e.smooth("atan", math.atan), 1),
    "arctan2": (e.smooth("atan2", math.atan2), 2),
    "sinh": (e.growing("sinh", math.sinh), 1),
    "cosh": (e.growing("cosh", math.cosh), 1),
    "tanh": (e.smooth("tanh", math.tanh), 1),
    "exp": (e.growing("exp", math.exp), 1),
    "expm1": (e.growing("expm1", math.expm1), 1),
    "log": (e.logarithm("log", math.log), 1),
    "log2": (e.logarithm("log2", math.log2), 1),
    "log10": (e.logarithm("log10", math.log10), 1),
    "log1p": (e.logarithm("log1p", math.log1p, -1.0), 1),
    "power": (lambda machine, node, x, y: arithmetic.power(machine, x, y, node), 2),
    "add": (lambda machine, node, x, y: arithmetic.add(machine, x, y, node), 2),
    "subtract": (lambda machine, node, x, y: arithmetic.subtract(machine, x, y, node), 2),
    "multiply": (lambda machine, node, x, y: arithmetic.multiply(machine, x, y, node), 2),
    "divide": (lambda machine, node, x, y: arithmetic.divide(machine, x, y, node), 2),
    "mod": (lambda machine, node, x, y: arithmetic.modulo(machine, x, y, node), 2),
    "hypot": (e.hypotenuse, 2),
    "minimum": (e.smaller, 2),
    "maximum": (e.larger, 2),
    "clip": (e.clip, 3),
    "floor": (e.kept_float("floor", math.floor), 1),
    "ceil": (e.kept_float("ceil", math.ceil), 1),
    "trunc": (e.kept_float("trunc", math.trunc), 1),
    "degrees": (e.scaled(180.0 / math.pi), 1),
    "rad2deg": (e.scaled(180.0 / math.pi), 1),
    "radians": (e.scaled(math.pi / 180.0), 1),
    "deg2rad": (e.scaled(math.pi / 180.0), 1),
    "isnan": (e.question("isnan", math.isnan), 1),
    "isfinite": (e.question("isfinite", math.isfinite), 1),
    "isinf": (e.question("isinf", math.isinf), 1),
}
_CONSTANTS: dict[str, Value] = {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan}
_WHOLE = {
    "array": Builtin("array", _array),
    "asarray": Builtin("array", _array),
    "dot": Builtin("dot", _dot),
    "cross": Builtin("cross", _cross),
    "where": Builtin("where", _where),
    "round": Builtin("round", _round),
    "around": Builtin("round", _round),
    "interp": Builtin("interp", _interpolate),
    "linalg": Module("numpy.linalg", {"norm": Builtin("norm", _norm)}),
}

NUMPY = Module(
    "numpy",
    {name: of_arrays(name, function, count) for name, (function, count) in _ELEMENTWISE.items()}
    | {name: _reduction(name, function) for name, function in _REDUCTIONS.items()}
    | _WHOLE
    | _CONSTANTS,
)


def _as_method(name: str) -> Callable[[Array], Builtin]:
    function = _reduction(name, _REDUCTIONS[name])

    def bind(owner: Array) -> Builtin:
        return Builtin(
            name, lambda machine, node, args, kwargs: function.apply(
                machine, node, [owner, *args], kwargs
            )
        )  # fmt: skip

    return bind


ARRAY_METHODS: Mapping[str, Callable[[Array], Builtin]] = {
    name: _as_method(name)
    for name in ("sum", "mean", "std", "var", "min", "max", "argmin", "argmax", "all", "any")
}
