"""Whatever accepted program is drawn: it earns what CPython says, for every drone and step."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings

from racer.rewards.check import check
from tests.rewards.oracle import by_cpython, by_us, flights
from tests.rewards.programs import programs

DRONES = 12
FLIGHT = flights(3, steps=3, drones=DRONES)


@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(programs)
def test_a_random_program_earns_what_python_says(source: str) -> None:
    program, diagnostics = check(source)
    assert program is not None, (source, diagnostics)
    found = by_us(program, FLIGHT, DRONES)
    expected = by_cpython(source, FLIGHT, DRONES)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-7, err_msg=source)
