"""A primal-dual interior-point method for weighted sums of unknowns under quadratic conditions.

    min cost·x   subject to   equal(x) = 0,   below(x) + s = 0,   s > 0

Newton's method on the conditions of optimality with s z = μ in place of s z = 0, while μ goes to
zero. The rules for μ, for steps that stay inside (0.99 of the way to the boundary) and for the
multipliers are those of Wächter and Biegler, "On the implementation of an interior-point filter
line-search algorithm", Mathematical Programming 2006; steps are accepted by an l1 merit function
(Nocedal and Wright, "Numerical Optimization", 2006, chapter 19). Far from the solution the Hessian
may curve downwards along a step. Then a multiple of the identity is added until it does not
(Chiang and Zavala, "An inertia-free filter line-search algorithm", Computational Optimization and
Applications 2016), because SciPy's sparse LU does not tell the signs of the eigenvalues.

No random numbers, no clocks: the same problem gives the same answer.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from racer.errors import RacerError
from racer.reference.quadratic import FloatArray, Quadratic, Sparse

_INSIDE = 0.99  # of the way to the boundary at most
_CURVED = 1e-8  # least curvature along a step, for each squared unit of it
_SOFT = 1e-10  # keeps the matrix regular where conditions repeat each other
_LARGEST_SHIFT, _TRIALS = 1e10, 5


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """What to minimise, and under which conditions."""

    cost: FloatArray  # (n,)
    equal: Quadratic  # zero
    below: Quadratic  # zero or less


@dataclasses.dataclass(frozen=True, eq=False)
class _Point:
    """Unknowns, slacks of the inequalities, and multipliers of equations and inequalities."""

    x: FloatArray
    s: FloatArray
    y: FloatArray
    z: FloatArray


class _Local:
    """A problem and its derivatives at a point."""

    def __init__(self, problem: Problem, point: _Point) -> None:
        self.problem, self.point = problem, point
        self.equal = problem.equal.value(point.x)
        self.below = problem.below.value(point.x) + point.s
        self.equal_slope: Sparse = problem.equal.jacobian(point.x)
        self.below_slope: Sparse = problem.below.jacobian(point.x)
        self.pull = problem.cost + self.equal_slope.T @ point.y
        scale = (np.abs(point.y).sum() + point.z.sum()) / (len(point.y) + len(point.z))
        self._scale = max(100.0, scale) / 100.0

    def error(self, mu: float) -> float:
        """The largest violation of the conditions of optimality with that barrier."""
        gradient = self.pull + self.below_slope.T @ self.point.z
        product = np.abs(self.point.s * self.point.z - mu).max()
        of_conditions = max(np.abs(self.equal).max(), np.abs(self.below).max())
        return float(
            max(np.abs(gradient).max() / self._scale, product / self._scale, of_conditions)
        )

    @property
    def violation(self) -> float:
        """Of all conditions together."""
        return float(np.abs(self.equal).sum() + np.abs(self.below).sum())


class _Newton:
    """Newton's steps from a point for a barrier, with the shift that bends the Hessian upwards."""

    def __init__(self, local: _Local, mu: float, shift: float) -> None:
        point, problem, slope = local.point, local.problem, local.below_slope
        self._local, self._mu, self._ratio = local, mu, point.z / point.s
        hessian = problem.equal.hessian(point.y) + problem.below.hessian(point.z)
        hessian = hessian + slope.T @ sparse.diags_array(self._ratio) @ slope
        self.shift = 0.0
        while self.shift < _LARGEST_SHIFT:
            shifted = hessian + self.shift * sparse.eye_array(len(point.x))
            self._factors = _factors(shifted, local.equal_slope)
            if self._factors is not None:
                self.step = self.towards(local.equal, local.below)
                self.curvature = float(self.step.x @ (shifted @ self.step.x))
                if self.curvature >= _CURVED * float(self.step.x @ self.step.x):  # NaN is not
                    return
            self.shift = 8.0 * self.shift if self.shift else max(1e-4, shift / 3.0)
        raise RacerError("The time-optimal flight cannot be computed: no step leads further.")

    def towards(self, equal: FloatArray, below: FloatArray) -> _Point:
        """The step that would mend these violations, if everything were linear."""
        point, slope, mu = self._local.point, self._local.below_slope, self._mu
        force = self._local.pull + slope.T @ (mu / point.s + self._ratio * below)
        solution = self._factors.solve(-np.concatenate([force, equal]))
        dx, dy = np.split(solution, [len(point.x)])
        ds = -below - slope @ dx
        return _Point(dx, ds, dy, mu / point.s - point.z - self._ratio * ds)

    @property
    def slope(self) -> float:
        """Of cost and barrier along the step."""
        local, step = self._local, self.step
        return float(local.problem.cost @ step.x - self._mu * (step.s / local.point.s).sum())


def solve(
    problem: Problem, x: FloatArray, *, mu: float, tolerance: float = 1e-8, limit: int = 300
) -> FloatArray:
    """(n,) unknowns of a local minimum, from a guess that may violate the conditions.

    `mu`: the first barrier, in units of the cost for each inequality. `tolerance`: largest error of
    any condition. Raises RacerError where `limit` steps do not lead to a minimum.
    """
    slack = np.maximum(-problem.below.value(x), 1e-2)
    point = _Point(x, slack, np.zeros(len(problem.equal.constant)), mu / slack)
    price, shift = 1.0, 0.0
    for _ in range(limit):
        local = _Local(problem, point)
        if local.error(0.0) < tolerance:
            return point.x
        while mu > 0.1 * tolerance and local.error(mu) < 10.0 * mu:
            mu = max(0.1 * tolerance, min(0.2 * mu, mu**1.5))
        newton = _Newton(local, mu, shift)
        shift = newton.shift or shift
        if local.violation > 1e-12:  # what it must cost at least for the step to lead downhill
            price = max(price, (newton.slope + 0.5 * newton.curvature) / (0.7 * local.violation))
        point = _moved(local, newton, mu, price)
    raise RacerError(
        f"The time-optimal flight was not found in {limit} steps. Can the course be flown, "
        "and does every gate lie where its vehicle may fly?"
    )


def _factors(hessian: Sparse, slope: Sparse) -> Any:
    """Of the symmetric indefinite matrix; None where it is exactly singular."""
    soft = -_SOFT * sparse.eye_array(slope.shape[0])
    matrix = sparse.block_array([[hessian, slope.T], [slope, soft]], format="csc")
    try:
        return splu(matrix)
    except RuntimeError:
        return None


def _moved(local: _Local, newton: _Newton, mu: float, price: float) -> _Point:
    """The next point: as far along the step as the boundary and the merit function allow.

    Where the whole step is refused because the conditions bend, a second-order correction is tried
    before it is shortened (Maratos effect). It is shortened to a sixteenth and taken then: where
    conditions bend, a merit that rises for once leads further than crawling along them.
    """
    point, step, problem = local.point, newton.step, local.problem

    def merit(x: FloatArray, s: FloatArray) -> float:
        off = np.abs(problem.equal.value(x)).sum() + np.abs(problem.below.value(x) + s).sum()
        return float(problem.cost @ x - mu * np.log(s).sum() + price * off)

    now = merit(point.x, point.s)
    gain = newton.slope - price * local.violation
    share = whole = _to_boundary(point.s, step.s)
    x, s = point.x + share * step.x, point.s + share * step.s
    for trial in range(_TRIALS):
        if merit(x, s) <= now + 1e-4 * share * gain + 1e-11 * abs(now):  # and rounding
            break
        if trial == 0:
            equal, below = problem.equal.value(x), problem.below.value(x) + s
            mended = newton.towards(whole * local.equal + equal, whole * local.below + below)
            share, along = _to_boundary(point.s, mended.s), mended
        else:
            share, along = whole * 0.5**trial, step
        x, s = point.x + share * along.x, point.s + share * along.s
    z = point.z + _to_boundary(point.z, step.z) * step.z
    z = np.clip(z, 1e-10 * mu / s, 1e10 * mu / s)
    return _Point(x, s, point.y + share * step.y, z)


def _to_boundary(values: FloatArray, step: FloatArray) -> float:
    """How much of a step keeps positive values positive."""
    falling = step < 0.0
    if not falling.any():
        return 1.0
    return min(1.0, _INSIDE * float((values[falling] / -step[falling]).min()))
