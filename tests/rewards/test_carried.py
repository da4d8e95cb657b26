"""What is kept from step to step, and that it starts anew with each flight."""

from __future__ import annotations

import numpy as np
import pytest

from racer.rewards.check import check, compile_source
from tests.rewards.oracle import by_cpython, by_us, flights

DRONES = 40
HEAD = "def reward_function(params):\n"
KEPT = {
    "number": "n = 0\n" + HEAD + "    global n\n    n += 1\n    return n\n",
    "whole number that becomes a fraction": "n = 0\n"
    + HEAD
    + "    global n\n    n = n / 2 + params['steps']\n    return n\n",
    "none at first": "n = None\n"
    + HEAD
    + "    global n\n    old, n = n, params['x']\n    return 0 if old is None else n - old\n",
    "none again and again": "n = None\n"
    + HEAD
    + "    global n\n    r = 1.0 if n is None else n\n"
    + "    n = params['x'] if params['gate_passed'] else None\n    return r\n",
    "not there at first": HEAD
    + "    global n\n    if params['steps'] > 0:\n        n = params['x']\n    return n\n",
    "tuple": "p = (0.0, 0.0)\n"
    + HEAD
    + "    global p\n    x, y = p\n    p = (params['x'], params['y'])\n    return x + y\n",
    "none, then a list": "p = None\n"
    + HEAD
    + "    global p\n    old = p\n    p = [params['x'], params['y']]\n"
    + "    return 0.0 if old is None else old[0] * old[1]\n",
    "list in place": "p = [0.0, 1]\n"
    + HEAD
    + "    p[params['steps'] % 2] = params['x']\n    return p[0] - p[1]\n",
    "dictionary": "d = {'old': 0.0, 'new': 0.0}\n"
    + HEAD
    + "    d['old'] = d['new']\n    d['new'] = params['x']\n    return d['new'] - d['old']\n",
    "class attribute": "class M:\n    n = 0.0\n"
    + HEAD
    + "    M.n = 0.5 * M.n + params['x']\n    return M.n\n",
    "instance": "class M:\n    def __init__(self, n):\n        self.n = n\n"
    + "    def next(self, x):\n        self.n, old = x, self.n\n        return x - old\n"
    + "m = M(2.0)\n"
    + HEAD
    + "    return m.next(params['x'])\n",
    "two instances": "class M:\n    total = 1.0\n    def add(self, x):\n        self.total += x\n"
    + "        return self.total\na, b = M(), M()\n"
    + HEAD
    + "    a.add(params['x'])\n    return a.total * 10 + b.add(params['y'])\n",
    "infinite at first": "import math\nlow, high = math.inf, -1e999\n"
    + HEAD
    + "    global low, high\n    low = min(low, params['x'])\n    high = max(high, params['x'])\n"
    + "    return high - low\n",
    "only on some paths": "n = 0\n"
    + HEAD
    + "    global n\n    if params['gate_passed']:\n        n += 1\n        return n * 10\n"
    + "    if params['is_left_of_center']:\n        return n\n    n = 0\n    return -1\n",
}


@pytest.mark.parametrize("name", KEPT)
def test_it_is_kept_as_python_keeps_it(name: str) -> None:
    flight = flights(5, steps=5, drones=DRONES)
    program = compile_source(KEPT[name])
    assert program.memory_kinds
    expected = by_cpython(KEPT[name], flight, DRONES)
    np.testing.assert_allclose(by_us(program, flight, DRONES), expected, rtol=1e-9, atol=1e-9)
    assert np.isfinite(expected).all()


def test_what_is_never_changed_is_no_memory() -> None:
    source = "A = 2.0\nclass C:\n    b = 3.0\nl = [1, 2]\n" + HEAD + "    return A + C.b + l[1]\n"
    assert compile_source(source).memory_kinds == ()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("h = []\n" + HEAD + "    h.append(params['x'])\n    return sum(h)\n", "fixed number"),
        ("n = 0\n" + HEAD + "    global n\n    n = 'a' if n == 0 else [1]\n    return 1\n", ""),
        ("n = 0\n" + HEAD + "    global n\n    n = [n]\n    return 1\n", "changes its sort"),
    ],
)
def test_what_cannot_be_kept_is_refused(source: str, words: str) -> None:
    program, diagnostics = check(source)
    assert program is None
    assert words in diagnostics[0].message
