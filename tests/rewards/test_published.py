"""Reward functions as people publish them earn what CPython says they earn."""

from __future__ import annotations

import numpy as np
import pytest

from racer.rewards.check import compile_source
from tests.rewards.oracle import PUBLISHED, by_cpython, by_us, flights

DRONES = 60


@pytest.mark.parametrize("name", PUBLISHED)
def test_it_earns_what_python_says(name: str) -> None:
    flight = flights(7, steps=4, drones=DRONES)
    expected = by_cpython(PUBLISHED[name], flight, DRONES)
    program = compile_source(PUBLISHED[name])
    found = by_us(program, flight, DRONES)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert np.isfinite(expected).any()


def test_there_are_many_of_them() -> None:
    assert len(PUBLISHED) >= 30
