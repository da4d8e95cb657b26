"""Corners of the language where a translation easily differs from Python, or gives up badly."""

from __future__ import annotations

import numpy as np
import pytest

from racer.rewards.check import check, compile_source
from tests.rewards.oracle import by_cpython, by_us, flights

DRONES = 24
FLIGHT = flights(3, steps=3, drones=DRONES)
HEAD = "def reward_function(params):\n"
NUMPY = "import numpy as np\n"


def body(*lines: str) -> str:
    """A reward function of these lines."""
    return HEAD + "".join(f"    {line}\n" for line in lines)


SAME = {
    "first rows of a table": body(
        "first = params['waypoints'][:3]",
        "return first[1][0] + params['waypoints'][3][1] + params['waypoints'][-1][0]",
    ),
    "params are new in each step": body(
        "pair = params['closest_waypoints']", "pair[0] += 5", "pair.reverse()", "return pair[1]"
    ),
    "a comprehension's source is the outer name": body(
        "x = [1, 2, 3]", "return sum([x for x in x]) + len(x)"
    ),
    "an index of += is computed once": "n = [0]\ndef following():\n    n[0] = (n[0] + 1) % 3\n"
    + "    return n[0]\n"
    + body(
        "a = [1.0, 2.0, 3.0]",
        "a[following()] += 10",
        "return a[0] + 2 * a[1] + 3 * a[2] + n[0]",
    ),
    "a list is multiplied in place": body("a = [1, 2]", "b = a", "a *= 2", "return len(b) + b[3]"),
    "booleans of arrays": NUMPY
    + body(
        "a = np.array([params['x'] > 0, True])", "return float((a + np.array([True, True]))[0])"
    ),
    "a long history of whole numbers at first": "h = [0] * 24\n"
    + body("h.pop(0)", "h.append(params['x'])", "return sum(h) / len(h)"),
    "a long chain of attributes": "class M:\n"
    + "".join(f"    v{i} = 0\n" for i in range(14))
    + body(*(f"M.v{i} = M.v{i + 1}" for i in range(13)), "M.v13 = params['x']", "return M.v0"),
    "closures see the last value": body(
        "k = 2", "def f(x):", "    return x * k", "k = 3", "return f(params['x'])"
    ),
    "loops with else": body(
        "for i in range(5):",
        "    for j in range(4):",
        "        if params['x'] > j: continue",
        "        if params['y'] < j - 2: break",
        "    else:",
        "        continue",
        "    break",
        "else:",
        "    return 10.0",
        "return i + j * 0.1",
    ),
    "signs of // and %": body(
        "x, n = params['x'], params['steps']",
        "return x // 0.7 + x % -0.7 + -n // 7 + -n % 7 + n // -7 + n % -7 + round(n / 2)",
    ),
    "powers": body(
        "x, n = params['x'], params['steps'] % 5",
        "return x ** -2 + (-2) ** n + abs(x) ** 0.3 + 2 ** x + (-1.5) ** n",
    ),
    "shadowed builtins": "def abs(x):\n    return x + 1\n"
    + body("max = 3", "return abs(params['x']) + max"),
    "attributes of class and instance": "class A:\n    n = 1\n    l = [0]\n    def f(self):\n"
    + "        self.n += 1\n        self.l[0] += 1\n        return self.n\na = A()\nb = A()\n"
    + body("a.f()", "b.f()", "b.f()", "return a.n + 10 * b.n + 100 * A.n + A.l[0] / 16"),
    "axes and broadcasting": NUMPY
    + body(
        "a = np.array([[params['x'], 2, 3], [4, params['y'], 6]]) * np.array([1, 2, params['z']])",
        "return float(np.mean(a, axis=0)[1] + np.max(a, axis=-1)[1] + a[:, 1][1] + a[-1, -2])",
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_it_earns_what_python_says(name: str) -> None:
    expected = by_cpython(SAME[name], FLIGHT, DRONES)
    found = by_us(compile_source(SAME[name]), FLIGHT, DRONES)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert np.isfinite(expected).all()


REFUSED = {
    "break outside of a loop": (body("break"), "'break' outside loop"),
    "break in a class in a loop": (
        body("for i in range(3):", "    class A:", "        break", "return 1.0"),
        "'break' outside loop",
    ),
    "one argument twice": (
        "def f(a, a):\n    return a\n" + body("return f(1, 2)"),
        "Duplicate argument",
    ),
    "global after its use": (body("x = 2", "global x", "return x"), "before global declaration"),
    "nonlocal in the module": ("nonlocal x\n" + body("return 1"), "module level"),
    "rows that are empty": (NUMPY + body("return np.array([[], []])[0, 0]"), "empty"),
    "a part that is empty": (NUMPY + body("return len(np.array([[1, 2]])[:, 3:])"), "empty"),
    "an array changed in place": (
        NUMPY + body("a = np.array([1.0])", "b = a", "a += 1", "return b[0]"),
        "not changed in place",
    ),
    "a list that was one of two": (
        body(
            "a, b = [1, 2], [3, 4]",
            "c = a if params['x'] > 0 else b",
            "a[0] = 9",
            "return c[0]",
        ),
        "one of two",
    ),
    "a dictionary made in each step": (
        "d = None\n"
        + body("global d", "r = 0 if d is None else d['a']", "d = {'a': 1}", "return r"),
        "made anew in a step",
    ),
    "one text or another": (
        body("s = 'left' if params['x'] > 0 else 'right'", "return 1 if s == 'left' else 2"),
        "one text or another",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_a_reason(name: str) -> None:
    source, words = REFUSED[name]
    program, diagnostics = check(source)
    assert program is None
    assert words in " ".join(item.message for item in diagnostics)


def test_what_python_only_warns_of_is_accepted() -> None:
    """`1if` is one; pytest, as `python -W error`, makes errors of warnings."""
    program, diagnostics = check(body("return 1if params['speed'] > 1 else 2"))
    assert program is not None, diagnostics
