"""Random reward functions: every construct that is accepted, in any combination.

Text is drawn, not trees, so that what is tested is what a person could have typed. Whole numbers
stay small (they are taken modulo something) because Python's have no end, and roots are taken of
absolute values because Python's other roots are complex. NumPy's results are made plain numbers:
dividing by one that is zero only warns in Python, and is a fault here (docs/rewards.md).
"""

from __future__ import annotations

from hypothesis import strategies as st

FLOATS = ("speed", "x", "z", "heading", "distance_from_center", "steering_angle", "progress")
INTS = ("steps", "gates_passed", "lap")
BOOLS = ("all_wheels_on_track", "is_left_of_center", "gate_passed")
VARIABLES = ("a", "b", "c")
HEADER = """\
import math
import numpy as np
LIMITS = [0.5, 2.0, -3.0, 4.25]
NAMES = {1: 2.5, 2: -1.0, 3: 0.25}

class Kept:
    value = None
    count = 0

total = 0.0

def helper(u, v=2):
    if u > v:
        return u - v
    for k in range(3):
        u += k
        if u > 4:
            return u
    return v * 0.5

"""


def _params(names: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.sampled_from([f"params['{name}']" for name in names])


_number_leaf = st.one_of(
    st.sampled_from(VARIABLES),
    _params(FLOATS),
    _params(INTS),
    st.sampled_from(["0", "1", "2", "-3", "0.5", "2.5", "-1.25", "math.pi", "True"]),
    st.sampled_from(["LIMITS[params['steps'] % 4]", "params['waypoints'][params['steps'] % 9][1]"]),
    st.sampled_from(["(Kept.value or 0.5)", "Kept.count", "NAMES[params['lap']]", "LIMITS[-2]"]),
)
_UNARY = ("-({})", "abs({})", "math.sin({})", "math.floor({})", "int({})", "round({})", "float({})",
          "math.sqrt({})", "abs({}) ** 0.5", "float(np.tanh(1.0 * {}))", "bool({})", "helper({})",
          "round({}, 2)", "({}) ** 2", "math.exp(-abs({}))")  # fmt: skip
_BINARY = ("({} + {})", "({} - {})", "({} * {})", "({} / {})", "({} // {})", "({} % {})",
           "min({}, {})", "max({}, {})", "math.atan2({}, {})", "helper({}, v={})",
           "sum([{}, {}])", "({} or {})", "({} and {})", "float(np.mean([{}, {}]))",
           "math.hypot({}, {})", "sorted([{}, {}, 0.3])[1]")  # fmt: skip
_COMPARE = ("({} < {})", "({} <= {})", "({} > {})", "({} >= {})", "({} != {})", "(0 < {} < {})",
            "({} in (1, 2, 3, {}))")  # fmt: skip


def _fill(forms: tuple[str, ...], parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(st.sampled_from(forms), parts, parts).map(
        lambda drawn: drawn[0].format(*drawn[1:][: drawn[0].count("{}")])
    )


def _grow(numbers: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    tests = _tests(numbers)
    chosen = st.tuples(numbers, tests, numbers).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})")
    return st.one_of(_fill(_UNARY, numbers), _fill(_BINARY, numbers), chosen)


def _tests(numbers: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    simple = st.one_of(_fill(_COMPARE, numbers), _params(BOOLS), st.just("Kept.value is not None"))
    return st.one_of(
        simple,
        simple.map("not {}".format),
        st.tuples(simple, st.sampled_from(["and", "or"]), simple).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
    )


numbers = st.recursive(_number_leaf, _grow, max_leaves=6)
tests = _tests(numbers)


def _indent(block: str) -> str:
    return "\n".join("    " + line for line in block.splitlines())


def _statements(blocks: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    name = st.sampled_from(VARIABLES)
    branch = st.tuples(tests, blocks, blocks).map(
        lambda t: f"if {t[0]}:\n{_indent(t[1])}\nelse:\n{_indent(t[2])}"
    )
    early = st.tuples(tests, numbers).map(lambda t: f"if {t[0]}:\n    return {t[1]}")
    loop = st.tuples(st.integers(1, 4), blocks, tests, st.sampled_from(["break", "continue"])).map(
        lambda t: (
            f"for i in range({t[0]}):\n    if {t[2]}:\n        {t[3]}\n{_indent(t[1])}\n"
            "    c = i + 0.5"
        )
    )
    return st.one_of(branch, early, loop, st.tuples(name, blocks).map(lambda t: t[1]))


_simple = st.one_of(
    st.tuples(st.sampled_from(VARIABLES), numbers).map(lambda t: f"{t[0]} = {t[1]}"),
    st.tuples(st.sampled_from(VARIABLES), st.sampled_from(["+=", "-=", "*="]), _number_leaf).map(
        lambda t: f"{t[0]} {t[1]} {t[2]}"
    ),
    st.tuples(numbers, numbers).map(lambda t: f"a, b = {t[0]}, {t[1]}"),
    numbers.map("Kept.value = {}".format),
    st.just("Kept.count = (Kept.count + 1) % 5"),
    numbers.map("total = total * 0.5 + {}".format),
    numbers.map("row[params['steps'] % 3] = {}".format),
    st.just("row.append(a)\nb = row.pop()"),
)
_block = st.lists(_simple, min_size=1, max_size=3).map("\n".join)
_nested = st.recursive(
    _block, lambda blocks: st.tuples(_statements(blocks), blocks).map("\n".join), max_leaves=4
)
programs = st.tuples(_nested, numbers).map(
    lambda t: (
        HEADER
        + "def reward_function(params):\n    global total\n    a, b, c = 1.5, 2, -0.5\n"
        + "    row = [0.0, 1, 2.0]\n"
        + _indent(t[0])
        + f"\n    return a + b * 0.1 + sum(row) + {t[1]}\n"
    )
)
