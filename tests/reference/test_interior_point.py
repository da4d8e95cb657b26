"""The solver against problems whose answers are known, derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest

from racer.errors import RacerError
from racer.reference.interior_point import Problem, solve
from racer.reference.quadratic import Quadratic, Rows


def random_functions() -> Quadratic:
    rng = np.random.default_rng(3)
    rows = Rows()
    index = rows.new(4)
    rows.constant(index, rng.normal(size=4))
    rows.linear(index[:, None], np.arange(6), rng.normal(size=(4, 6)))
    for _ in range(12):
        i, j = rng.integers(6, size=(2, 1))
        rows.product(index[rng.integers(4, size=1)], i, j, rng.normal())
    return rows.done(6)


def test_derivatives_are_those_of_the_values() -> None:
    functions = random_functions()
    rng = np.random.default_rng(4)
    x, weights, step = rng.normal(size=6), rng.normal(size=4), 1e-6
    ways = np.eye(6) * step
    slopes = [(functions.value(x + way) - functions.value(x - way)) / (2 * step) for way in ways]
    assert functions.jacobian(x).toarray() == pytest.approx(np.array(slopes).T, abs=1e-8)
    bends = [
        weights @ (functions.jacobian(x + way) - functions.jacobian(x - way)).toarray() / (2 * step)
        for way in ways
    ]
    assert functions.hessian(weights).toarray() == pytest.approx(np.array(bends), abs=1e-8)


def on_circle(*, lowest: float) -> Problem:
    """Minimise x + y on the unit circle, where y is `lowest` or more."""
    equal, below = Rows(), Rows()
    circle, floor, unknowns = equal.new(1), below.new(1), np.arange(2)
    equal.product(circle, unknowns, unknowns)
    equal.constant(circle, -1.0)
    below.linear(floor, unknowns[1:], -1.0)
    below.constant(floor, lowest)
    return Problem(np.ones(2), equal.done(2), below.done(2))


@pytest.mark.parametrize("guess", [(-1.0, 1.0), (0.3, 0.9), (-3.0, 5.0)])
def test_a_minimum_on_a_curve_is_found_with_and_without_an_inequality_in_the_way(
    guess: tuple[float, float],
) -> None:
    free = solve(on_circle(lowest=-2.0), np.array(guess), mu=0.1)
    assert free == pytest.approx([-np.sqrt(0.5), -np.sqrt(0.5)], abs=1e-6)
    bound = solve(on_circle(lowest=-0.6), np.array(guess), mu=0.1)
    assert bound == pytest.approx([-0.8, -0.6], abs=1e-6)


def test_conditions_that_exclude_each_other_end_with_an_error() -> None:
    with pytest.raises(RacerError, match="time-optimal flight"):
        solve(on_circle(lowest=2.0), np.array([0.5, 0.5]), mu=0.1, limit=60)
