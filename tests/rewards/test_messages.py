"""What is wrong is told at its place, in words that say what to do."""

from __future__ import annotations

import pytest

from racer.rewards.check import check, compile_source
from racer.rewards.diagnostics import InvalidRewardError
from racer.rewards.limits import MAX_DIAGNOSTICS

HEAD = "def reward_function(params):\n"
CASES = [
    ("    return params['sped']\n", 2, 12, "Did you mean 'speed'?"),
    ("    return params[speed]\n", 2, 19, "'speed' is not defined"),
    ("    x = 1\n    return x + y\n", 3, 16, "'y' is not defined"),
    ("    while x:\n        pass\n", 2, 5, "use 'for … in range(…)'"),
    ("    for i in range(params['steps']):\n        pass\n    return 1\n", 2, 14, "range(5)"),
    ("    for w in params['waypoints']:\n        pass\n    return 1\n", 2, 14, "closest_waypoints"),
    ("    w = params['waypoints']\n    return w[params['x']]\n", 3, 12, "int(…)"),
    ("    w = params['waypoints'][0]\n    return w[2]\n", 3, 12, "no item 2 in these 2"),
    ("    import random\n    return random.random()\n", 2, 5, "teaches nothing"),
    ("    a, b = 1, 2, 3\n    return a\n", 2, 5, "2 names for 3 values"),
    ("    return (1\n", 2, 12, "never closed"),
    ("  x = 1\n    return x\n", 3, 4, "indent"),
    ("    return abs(1, 2)\n", 2, 12, "abs() takes 1 arguments here, not 2"),
    ("    return 'fast' + 1\n", 2, 12, "Texts cannot be computed with"),
    ("    if params['x'] > 0:\n        v = 1\n    else:\n        v = [1]\n    return v\n", 6, 12,
     "depending on a condition"),
    ("    return params['speed'].foo\n", 2, 12, "no attribute 'foo'"),
    ("    é = 'ü'; return params['sped']\n", 2, 5, "ASCII"),
    ("    s = 'ü'; return params['sped']\n", 2, 21, "Did you mean 'speed'?"),
    ("    return params['speed'] if params['x'] else 'slow'\n", 2, 12, "depending on a condition"),
    ("    x = params['gate_position']\n    return x['a']\n", 3, 12, "whole number"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "line", "column", "words"), CASES)
def test_the_place_and_the_advice(body: str, line: int, column: int, words: str) -> None:
    program, diagnostics = check(HEAD + body)
    assert program is None
    first = next(item for item in diagnostics if item.severity == "error")
    assert words in first.message
    assert (first.line, first.column) == (line, column)


def test_a_forgotten_global_is_recognised() -> None:
    source = (
        "last = 0.0\n" + HEAD + "    gain = params['x'] - last\n    last = 1.0\n    return gain\n"
    )
    [diagnostic] = check(source)[1]
    assert "write 'global last' first" in diagnostic.message
    assert (diagnostic.line, diagnostic.column) == (3, 26)


def test_every_mistake_is_told_at_once_and_none_twice() -> None:
    source = HEAD + (
        "    a = params['sped']\n    b = a + 1\n    for i in range(9):\n        c = math.sin(i)\n"
        "    print(b)\n    return params['hedding']\n"
    )
    places = [(item.line, item.severity) for item in check(source)[1]]
    assert places == [(2, "error"), (5, "error"), (6, "warning"), (7, "error")]


@pytest.mark.parametrize(
    "body",
    [
        "    a = score(1, 2)\n    b = 2\n    return a + b\n",
        "    a = score()\n    b = 2\n    return b\n",
        "    b = 2\n    for i in range(3): a = score(i, w=i)\n    return b\n",
        "    a = Lap(1, 2)\n    b = 2\n    return a.t + b\n",
    ],
)
def test_a_call_with_wrong_arguments_leaves_its_caller_where_it_was(body: str) -> None:
    helpers = (
        "class Lap:\n    def __init__(self, t):\n        self.t = t\ndef score(t):\n    return t\n"
    )
    [diagnostic] = check(helpers + HEAD + body)[1]
    assert "argument" in diagnostic.message


@pytest.mark.parametrize("kept", ["n = wrong", "C.n = wrong", "l[0] = wrong", "n = [1, wrong]"])
def test_a_mistake_that_is_kept_is_told_once(kept: str) -> None:
    source = (
        f"n = 0\nl = [0]\nclass C:\n    n = 0\n{HEAD}    global n\n"
        f"    wrong = params['sped']\n    {kept}\n    return 1\n"
    )
    [diagnostic] = check(source)[1]
    assert "Did you mean 'speed'?" in diagnostic.message


def test_what_always_fails_is_a_warning() -> None:
    [diagnostic] = check(HEAD + "    return 1 / 0\n")[1]
    assert diagnostic.severity == "warning"
    assert "division by zero" in diagnostic.message


def test_an_unknown_name_with_a_default_is_a_warning() -> None:
    [diagnostic] = check(HEAD + "    return params.get('friction', 0.5)\n")[1]
    assert diagnostic.severity == "warning"
    assert "always the default" in diagnostic.message


def test_the_error_that_is_raised_has_every_diagnostic() -> None:
    with pytest.raises(InvalidRewardError, match=r"line 2, column 9: .* \(and 1 more\)") as caught:
        compile_source(HEAD + "    x = params['sped']\n    return params['hedding']\n")
    assert len(caught.value.diagnostics) == 2


def test_an_error_is_told_however_many_warnings_come_before_it() -> None:
    unknown = "".join(f"    a{i} = params.get('nope{i}')\n" for i in range(2 * MAX_DIAGNOSTICS))
    with pytest.raises(InvalidRewardError, match="'open' is not defined") as refused:
        compile_source(f"{HEAD}{unknown}    return open('x')\n")
    assert len(refused.value.diagnostics) == MAX_DIAGNOSTICS
