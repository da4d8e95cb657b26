"""docs/rewards.md: its examples compile, its tables are the parameters."""

from __future__ import annotations

import re

import pytest

from racer.rewards.check import check
from racer.rewards.library.python import PYTHON
from racer.rewards.parameters import PARAMETERS
from tests.support import REPOSITORY

PAGE = (REPOSITORY / "docs" / "rewards.md").read_text()
EXAMPLES = [
    text for text in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "def reward" in text
]


@pytest.mark.parametrize("source", EXAMPLES, ids=lambda text: str(len(text)))
def test_every_example_compiles_without_a_word(source: str) -> None:
    if "import check" not in source:
        program, diagnostics = check(source)
        assert program is not None
        assert diagnostics == ()


def test_every_parameter_has_its_row() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    expected = [
        (each.name, each.type_text, each.unit, each.span, each.meaning) for each in PARAMETERS
    ]
    assert rows == expected


def test_every_function_of_python_is_named() -> None:
    [line] = [line for line in PAGE.splitlines() if line.startswith("| functions")]
    listed = line.split("`")[1].split()
    assert sorted(listed) == sorted(PYTHON)
