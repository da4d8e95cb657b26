"""Whatever is sent as a reward function: a polite answer in under a second, and nothing runs."""

# ruff: noqa: E501 - an attack is one line

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racer.rewards.check import check

BODY = "def reward_function(params):\n    "
ATTACKS = {
    "import function": BODY + "return __import__('os').system('id')",
    "attribute walk": BODY + "return ().__class__.__bases__[0].__subclasses__()",
    "attribute walk of a number": BODY + "return (1).real.__class__",
    "eval": BODY + "return eval('1')",
    "open": BODY + "return open('/etc/passwd').read()",
    "getattr": BODY + "return getattr(params, 'x')",
    "globals": BODY + "return globals()['x']",
    "import os": "import os\n" + BODY + "return 1",
    "from os": "from os import system\n" + BODY + "return 1",
    "import submodule": "import numpy.ctypeslib\n" + BODY + "return 1",
    "relative import": "from . import x\n" + BODY + "return 1",
    "numpy file": "import numpy as np\n" + BODY + "return np.load('x')",
    "numpy random": "import numpy as np\n" + BODY + "return np.random.rand()",
    "random": "import random\n" + BODY + "return random.random()",
    "factorial": "import math\n" + BODY + "return math.factorial(10**6)",
    "power tower": BODY + "return 9**9**9",
    "higher power tower": BODY + "return 9**9**9**9",
    "shift": BODY + "return 1 << 10**9",
    "text times": BODY + "x = 'a' * 10**9\n    return 1",
    "list times": BODY + "x = [0] * 10**9\n    return 1",
    "list doubled": BODY + "x = [0]\n    for i in range(999):\n        x = x + x\n    return 1",
    "tuple in itself": BODY
    + "x = (1,)\n    y = (2,)\n    for i in range(60):\n        x, y = (x, x), (y, y)\n"
    + "    return 1 if (x if params['x'] > 0 else y) == y else 0",
    "carried tuple in itself": "x = (1.0,)\n" + BODY + "global x\n    x = (x, x)\n    return 1.0",
    "carried deep tuple": "x = (1.0,)\nfor i in range(40):\n    x = (x, x)\n"
    + BODY
    + "global x\n    x = (params['x'],)\n    for i in range(40):\n        x = (x, x)\n    return 1.0",
    "growing list": "x = [0]\n" + BODY + "x.append(1)\n    return len(x)",
    "endless loop": BODY + "while True: pass",
    "long loop": BODY + "s = 0\n    for i in range(10**12): s += 1\n    return s",
    "nested loops": BODY
    + "s = 0\n    for i in range(999):\n        for j in range(999):\n            s += 1\n    return s",
    "list that grows in its loop": BODY + "x = [1]\n    for i in x:\n        x.append(i)\n    return 1",
    "comprehension": BODY + "return sum(1 for a in range(999) for b in range(999))",
    "nested comprehension": BODY + "return [[[0 for a in range(999)] for b in range(999)]][0][0][0]",
    "star": BODY + "return max(*range(10**9))",
    "recursion": "def f(n):\n    return f(n - 1)\n" + BODY + "return f(5)",
    "mutual recursion": "def f(n):\n    return g(n)\ndef g(n):\n    return f(n)\n"
    + BODY
    + "return f(5)",
    "lambda recursion": BODY + "f = lambda f: f(f)\n    return f(f)",
    "doubling helpers": "def f0(x):\n    return x\n"
    + "".join(f"def f{i + 1}(x):\n    return f{i}(x) * f{i}(x + {i})\n" for i in range(15))
    + BODY
    + "return f15(params['x'])",
    "many branches": BODY
    + "\n    ".join(f"v{i} = params['x'] + {i}" for i in range(900))
    + "\n    "
    + "\n    ".join(f"if params['x'] > {i}: v{i} = v{i - 1}" for i in range(1, 900))
    + "\n    return v5 + q",
    "stars in a tuple": BODY + "t = (1,)\n    for i in range(60):\n        t = (*t, *t)\n    return q",
    "long zips": BODY + "x = [0] * 1024\n    for i in range(999):\n        for j in range(8):\n"
    + "            k = zip(x, x, x, x, x, x, x, x)\n    return 1",
    "long enumerations": BODY + "x = [0] * 1024\n    for i in range(999):\n        for j in range(8):\n"
    + "            k = enumerate(x)\n    return 1",
    "all of a long list": BODY + "x = [1] * 1024\n    for i in range(999):\n        for j in range(8):\n"
    + "            k = all(x)\n    return 1",
    "long definition in a loop": BODY + "for i in range(999):\n        for j in range(10):\n"
    + "            def f():\n" + "                a = 1\n" * 3_000 + "    return q",
    "many names in a comprehension": BODY + "for i in range(999):\n        for j in range(9):\n"
    + "            a = [1 for (" + "a, " * 3_000 + ") in []]\n    return 1",
    "state copied by continue": BODY + "for i in range(99):\n        for j in range(60):\n"
    + "            x = []\n    for i in range(999):\n        for j in range(8):\n"
    + "            continue\n    return 1",
    "format string": BODY + "x = f\"{__import__('os')}\"\n    return 1",
    "format string in print": BODY + "print(f\"{__import__('os')}\")\n    return 1",
    "format width": BODY + "x = f'{1:>1000000000}'\n    return 1",
    "percent width": BODY + "x = '%1000000000d' % 1\n    return 1",
    "decorator": "@__import__('os').system\ndef reward_function(params):\n    return 1",
    "default argument": "def reward_function(params, x=__import__('os')):\n    return 1",
    "annotation": "def reward_function(params: __import__('os')):\n    return 1",
    "metaclass": "class A(metaclass=print): pass\n" + BODY + "return 1",
    "dunder method": "class A:\n    def __getattr__(self, n): return 1\n" + BODY + "return A().x",
    "walrus": BODY + "return (y := 5)",
    "async": "async def reward_function(params):\n    return 1",
    "yield": BODY + "yield 1",
    "try": BODY + "try:\n        return 1\n    except: return 2",
    "match": BODY + "match params:\n        case _: return 1",
    "brackets": BODY + "return " + "(" * 30_000 + "1" + ")" * 30_000,
    "some brackets": BODY + "return " + "[" * 190 + "1" + "]" * 190,
    "only brackets": "[" * 65_000,
    "signs": BODY + "return " + "-" * 60_000 + "1",
    "spaced signs": BODY + "return " + "- " * 30_000 + "1",
    "nots": BODY + "return " + "not " * 15_000 + "1",
    "mixed signs": BODY + "return " + "- + not " * 3_000 + "1",
    "long sum": BODY + "return " + "+".join(["1"] * 30_000),
    "long power": BODY + "return " + "**".join(["1"] * 20_000),
    "long attribute": BODY + "return params" + ".a" * 30_000,
    "long call": BODY + "return params" + "()" * 30_000,
    "long index": BODY + "return params" + "[0]" * 20_000,
    "long conditional": BODY + "return " + "1 if 1 else " * 5_000 + "1",
    "lambdas": BODY + "return " + "lambda:" * 9_000 + "1",
    "elif chain": BODY + "if 1: pass\n" + "    elif 1: pass\n" * 3_500,
    "indentation": "".join(" " * i + "if 1:\n" for i in range(300)) + " " * 300 + "pass",
    "lines": "x = 1\n" * 10_000 + BODY + "return 1.0 + x",
    "a megabyte": BODY + "return " + "1+" * 500_000 + "1",
    "a megabyte of comment": "#" + "a" * 1_000_000,
    "long number": BODY + "return " + "9" * 60_000,
    "long hexadecimal number": BODY + "return 0x" + "f" * 60_000,
    "long name": BODY + "return " + "a" * 60_000,
    "large set": BODY + "s = {" + ",".join(map(str, range(0, 12_000, 2))) + "}\n    return x",
    "nul": BODY + "return 1\0",
    "half a surrogate pair": BODY + "return '\ud800'",
    "look-alike underscores": BODY + "return ＿＿import＿＿('os')",
    "umlaut": BODY + "ä = 1\n    return ä",
    "unfinished text": "'" + "\\" * 60_000,
    "quotes": "'''" * 20_001,
    "backslashes": "\\\n" * 3_000,
    "mixed indentation": "\tdef f():\n  pass",
    "nothing": " \n\t\n",
    "no function": "x = 1",
    "two arguments": "def reward_function(a, b):\n    return 1",
    "no argument": "def reward_function():\n    return 1",
    "function that is none": "reward_function = 5",
    "no reward": BODY + "pass",
    "a text for a reward": BODY + "return 'good'",
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_it_is_answered_politely_and_soon(name: str) -> None:
    began = time.process_time()
    program, diagnostics = check(ATTACKS[name])
    assert time.process_time() - began < 1.0
    assert program is None
    errors = [item for item in diagnostics if item.severity == "error"]
    assert errors
    assert len(diagnostics) <= 20
    for item in diagnostics:
        assert item.line >= 1
        assert item.column >= 1
        assert len(item.message) < 400
        assert item.message[-1] == "."


_WORDS = st.sampled_from(
    ["def ", "reward_function", "(", ")", "params", ":", "\n", "    ", "return ", "if ", "else",
     "for ", "in ", "range", "[", "]", "{", "}", "'x'", "1", "**", "=", "+", ".", ",", "lambda ",
     "class ", "global ", "not ", "import ", "math", "f'", '"', "\\", "\t", "#", "ß", "\0", "@"]
)  # fmt: skip


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.text(max_size=200) | st.lists(_WORDS, max_size=60).map("".join))
def test_any_text_gets_an_answer(text: str) -> None:
    program, diagnostics = check(text)
    assert (program is None) == any(item.severity == "error" for item in diagnostics)
