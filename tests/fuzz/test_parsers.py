"""Hostile inputs for every parser: a few of each, and all that ever went wrong."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.fuzz.parsers import table
from tests.fuzz.run import REGRESSIONS, input_of, shares, try_many
from tests.fuzz.watch import Parser, Tally, fault_of, smallest, try_one

KEPT = sorted(path for path in REGRESSIONS.glob("*/*") if path.is_file())
EACH = {"drawing": 40, "track_json": 80, "manifest": 80}  # the dear ones
NAMES = sorted(table())


@pytest.mark.parametrize("name", NAMES)
def test_hostile_input_is_taken_or_refused(name: str) -> None:
    tally = try_many(name, EACH.get(name, 150), seed=20261122)
    assert tally.faults == {}
    assert tally.taken > 0, "all of it was refused: the examples are not valid any more"


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_are_valid(name: str) -> None:
    parser, _ = table()[name]
    tally = Tally()
    for example in parser.corpus[:40]:
        try_one(parser, example, tally)
    assert tally.faults == {}
    assert tally.taken > 0


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_once_went_wrong(path: Path) -> None:
    parser, _ = table()[path.parent.name]
    assert fault_of(parser, path.read_bytes()) is None


def test_a_parser_that_hangs_or_raises_is_found() -> None:
    def parse(data: bytes) -> None:
        if b"h" in data:
            deadline = time.process_time() + 30.0
            while time.process_time() < deadline:
                pass
        if b"x" in data and b"y" in data:
            raise KeyError(data)
        if b"r" in data:
            raise ValueError("refused")

    parser = Parser("sample", parse, (ValueError,), (), 1.0)
    tally = Tally()
    for data in (b"", b"r", b"axbyc", b"yx", b"h"):
        try_one(parser, data, tally)
    assert (tally.inputs, tally.taken, len(tally.faults)) == (5, 1, 2)
    raised, slow = tally.faults
    assert raised.startswith("KeyError in parse")
    assert slow.startswith("TooSlowError")
    assert tally.slowest == b"h"
    assert smallest(parser, tally.faults[raised], raised) == b"xy"


def test_the_same_seed_gives_the_same_inputs() -> None:
    for name in NAMES:
        assert input_of(name, 7, seed=1) == input_of(name, 7, seed=1)
    different = [input_of("reward", number, seed=1) for number in range(50)]
    assert len(set(different)) > 40


def test_every_input_is_shared_out() -> None:
    assert sum(shares(1_000_000).values()) == 1_000_000
