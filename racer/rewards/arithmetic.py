"""Python's arithmetic on numbers that may not be known yet.

What is known is computed here and now, by Python itself, on numbers whose size is bounded. For the
rest a node is made, and where Python would raise (a zero divisor, a root of a negative number)
the fault is noted and the operands are replaced by harmless ones, so that nothing is ever
undefined, gradients included.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

from racer.rewards.diagnostics import RefusedError
from racer.rewards.graph import Kind, Node, Number, kind_of, wider
from racer.rewards.limits import MAX_INTEGER
from racer.rewards.machine import Machine


def known(*numbers: Number) -> bool:
    """Whether Python can compute with them now."""
    return not any(isinstance(number, Node) for number in numbers)


def fold(machine: Machine, node: ast.AST, function: Callable[..., Any], *args: Any) -> Number:
    """Python's own result on known numbers; what it raises becomes a fault."""
    try:
        result = function(*args)
    except (ArithmeticError, ValueError) as error:
        machine.fault_if(True, node, str(error))
        return 0.0
    if not isinstance(result, (bool, int, float)):
        raise RefusedError("Complex numbers are not accepted.", node)
    return machine.checked(result, node)


def add(machine: Machine, a: Number, b: Number, node: ast.AST) -> Number:
    """a + b."""
    if known(a, b):
        return fold(machine, node, lambda: a + b)  # type: ignore[operator]  # known: no Node
    if _is_zero(a) or _is_zero(b):
        kept, zero = (b, a) if _is_zero(a) else (a, b)
        if kind_of(kept) != "bool" and wider(kind_of(kept), kind_of(zero)) == kind_of(kept):
            return kept
    return machine.graph.make("add", _sum_kind(a, b), a, b)


def subtract(machine: Machine, a: Number, b: Number, node: ast.AST) -> Number:
    """a - b."""
    if known(a, b):
        return fold(machine, node, lambda: a - b)  # type: ignore[operator]  # known: no Node
    return machine.graph.make("sub", _sum_kind(a, b), a, b)


def multiply(machine: Machine, a: Number, b: Number, node: ast.AST) -> Number:
    """a * b."""
    if known(a, b):
        return fold(machine, node, lambda: a * b)  # type: ignore[operator]  # known: no Node
    return machine.graph.make("mul", _sum_kind(a, b), a, b)


def divide(machine: Machine, a: Number, b: Number, node: ast.AST) -> Number:
    """a / b."""
    if known(a, b):
        return fold(machine, node, lambda: a / b)  # type: ignore[operator]  # known: no Node
    return machine.graph.make("div", "float", a, _divisor(machine, b, node))


def floor_divide(machine: Machine, a: Number, b: Number, node: ast.AST) -> Number:
    """a // b, rounded down."""
    if known(a, b):
        return fold(machine, node, lambda: a // b)  # type: ignore[operator]  # known: no Node
    kind = _sum_kind(a, b)
    op = "floordiv" if kind == "float" else "ifloordiv"
    return machine.graph.make(op, kind, a, _divisor(machine, b, node))


def modulo(machine: Machine, a: Number, b: Number, node: ast.AST) -> Number:
    """a % b, with the sign of b."""
    if known(a, b):
        return fold(machine, node, lambda: a % b)  # type: ignore[operator]  # known: no Node
    kind = _sum_kind(a, b)
    op = "mod" if kind == "float" else "imod"
    return machine.graph.make(op, kind, a, _divisor(machine, b, node))


def power(machine: Machine, a: Number, b: Number, node: ast.AST) -> Number:
    """a ** b."""
    if known(a, b):
        return _known_power(machine, a, b, node)
    graph = machine.graph
    if isinstance(b, int) and 0 <= b <= 8:
        return _repeated(machine, a, b, node)
    if not isinstance(b, Node) and b == 0.5:
        negative = less(machine, a, 0, node)
        machine.fault_if(negative, node, "a root of a negative number")
        return square_root(machine, a)
    whole = _is_whole(machine, b)
    negative = less(machine, a, 0, node)
    zero = equal(machine, a, 0)
    complex_result = graph.both(negative, graph.negate(whole))
    infinite = graph.both(zero, less(machine, b, 0, node))
    machine.fault_if(complex_result, node, "a fractional power of a negative number")
    machine.fault_if(infinite, node, "zero to a negative power")
    size = absolute(machine, a)
    safe = graph.select(zero, 1.0, size)
    found: Number = graph.make("pow", "float", safe, b)
    found = graph.select(zero, _where(machine, equal(machine, b, 0), 1.0, 0.0), found)
    odd = graph.both(negative, graph.both(whole, equal(machine, _float_mod2(machine, b), 1)))
    found = graph.select(odd, negative_of(machine, found), found)
    _overflow(machine, found, (a, b), node)
    return found


def _known_power(machine: Machine, a: Any, b: Any, node: ast.AST) -> Number:
    integers = isinstance(a, int) and isinstance(b, int)
    if integers and b > 0 and abs(a) > 1 and a.bit_length() * b > 2 * MAX_INTEGER.bit_length():
        raise RefusedError("This power is too large.", node)
    return fold(machine, node, lambda: a**b)


def _repeated(machine: Machine, a: Number, times: int, node: ast.AST) -> Number:
    """A small whole power by squaring: exact, and far cheaper than a logarithm."""
    if times == 0:
        return 1.0 if kind_of(a) == "float" else 1
    half = _repeated(machine, a, times // 2, node) if times > 1 else 1
    square = multiply(machine, half, half, node) if times > 1 else a
    if times == 1:
        return a
    return multiply(machine, square, a, node) if times % 2 else square


def square_root(machine: Machine, a: Number) -> Number:
    """√a of the numbers that are not negative, 0 elsewhere."""
    if known(a):
        return math.sqrt(a) if a > 0 else 0.0  # type: ignore[operator, arg-type]  # known: no Node
    graph = machine.graph
    positive = graph.make("lt", "bool", 0, a)
    root = graph.make("sqrt", "float", graph.select(positive, a, 1.0))
    return graph.select(positive, root, 0.0)


def negative_of(machine: Machine, a: Number) -> Number:
    """-a."""
    if not isinstance(a, Node):
        return -a
    return machine.graph.make("neg", wider(a.kind, "int"), a)


def absolute(machine: Machine, a: Number) -> Number:
    """abs(a)."""
    if not isinstance(a, Node):
        return abs(a)
    return machine.graph.make("abs", wider(a.kind, "int"), a)


def less(machine: Machine, a: Number, b: Number, node: ast.AST) -> Number:
    """a < b."""
    if known(a, b):
        return bool(fold(machine, node, lambda: a < b))  # type: ignore[operator]  # known: no Node
    return machine.graph.make("lt", "bool", a, b)


def less_equal(machine: Machine, a: Number, b: Number, node: ast.AST) -> Number:
    """a <= b."""
    if known(a, b):
        return bool(fold(machine, node, lambda: a <= b))  # type: ignore[operator]  # known: no Node
    return machine.graph.make("le", "bool", a, b)


def equal(machine: Machine, a: Number, b: Number) -> Number:
    """a == b."""
    if known(a, b):
        return bool(a == b)
    if isinstance(b, bool) and kind_of(a) == "bool":
        return a if b else machine.graph.negate(a)
    return machine.graph.make("eq", "bool", a, b)


def to_whole(machine: Machine, op: str, a: Number, node: ast.AST) -> Number:
    """`floor`, `ceil`, `trunc` or `rint` (half to even) of a number, as a whole number."""
    if kind_of(a) == "int":
        return a
    if not isinstance(a, Node):
        functions: dict[str, Callable[[float], int]] = {
            "floor": math.floor,
            "ceil": math.ceil,
            "trunc": math.trunc,
            "rint": round,
        }
        return fold(machine, node, functions[op], a)
    if a.kind == "bool":
        return as_int(machine, a)
    graph = machine.graph
    finite = graph.make("isfinite", "bool", a)
    machine.fault_if(graph.negate(finite), node, "an infinite number has no whole part")
    return graph.make(op, "int", graph.select(finite, a, 0.0))


def as_int(machine: Machine, a: Number) -> Number:
    """A bool as 0 or 1."""
    return machine.graph.select(a, 1, 0)


def as_float(machine: Machine, a: Number) -> Number:
    """float(a)."""
    if not isinstance(a, Node):
        return float(a)
    if a.kind == "float":
        return a
    return machine.graph.make("float", "float", a)


def in_domain(  # noqa: PLR0917 - all belong together
    machine: Machine, good: Number, value: Number, harmless: float, node: ast.AST, what: str
) -> Number:
    """The operand where it is good, else a harmless one and a fault."""
    machine.fault_if(machine.graph.negate(good), node, what)
    return machine.graph.select(good, value, harmless)


def _overflow(
    machine: Machine, result: Number, operands: tuple[Number, ...], node: ast.AST
) -> None:
    """Python raises where a finite operand gives an infinite power or exponential."""
    graph = machine.graph
    if isinstance(result, Node):
        fine: Number = graph.make("isfinite", "bool", result)
        for operand in operands:
            if isinstance(operand, Node):
                finite = graph.make("isfinite", "bool", operand)
                fine = graph.either(fine, graph.negate(finite))
        machine.fault_if(graph.negate(fine), node, "the result is too large")


def check_overflow(machine: Machine, result: Number, operand: Number, node: ast.AST) -> Number:
    """`result`, and a fault where it is infinite although the operand is not."""
    _overflow(machine, result, (operand,), node)
    return result


def _divisor(machine: Machine, b: Number, node: ast.AST) -> Number:
    if not isinstance(b, Node):
        machine.fault_if(b == 0, node, "division by zero")
        return b if b != 0 else 1
    return in_domain(
        machine, machine.graph.negate(equal(machine, b, 0)), b, 1.0, node, "division by zero"
    )


def _sum_kind(a: Number, b: Number) -> Kind:
    return wider(wider(kind_of(a), kind_of(b)), "int")


def _is_zero(a: Number) -> bool:
    return not isinstance(a, Node) and a == 0 and not isinstance(a, float)


def _is_whole(machine: Machine, b: Number) -> Number:
    if not isinstance(b, Node):
        return float(b).is_integer()
    if b.kind != "float":
        return True
    return machine.graph.make("eq", "bool", machine.graph.make("floor", "float", b), b)


def _float_mod2(machine: Machine, b: Number) -> Number:
    if not isinstance(b, Node):
        return float(b) % 2 if math.isfinite(b) else 0.0
    return machine.graph.make("mod", "float", b, 2)


def _where(machine: Machine, condition: Number, a: float, b: float) -> Number:
    return machine.graph.select(condition, a, b)
