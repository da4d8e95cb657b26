"""Functions with no products of more than two unknowns, as sparse tables.

Every condition of a point mass that flies at unknown times is a sum of constants, unknowns and
products of two: steps of unknown length times velocities, squares of thrusts. So first and second
derivatives are exact and come from the same table, with nothing to derive by hand or to compile.
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]
Sparse: TypeAlias = "sparse.csr_array[np.float64]"


@dataclasses.dataclass(frozen=True, eq=False)
class Quadratic:
    """`rows` functions of `unknowns` numbers: constant + linear @ x + Σ coefficient x[i] x[j]."""

    constant: FloatArray  # (rows,)
    linear: Sparse  # (rows, unknowns)
    row: IntArray  # (P,) of each product
    i: IntArray  # (P,)
    j: IntArray  # (P,)
    coefficient: FloatArray  # (P,)

    def value(self, x: FloatArray) -> FloatArray:
        """(rows,) at x (unknowns,)."""
        products = self.coefficient * x[self.i] * x[self.j]
        sums = np.bincount(self.row, products, minlength=len(self.constant))
        value: FloatArray = self.constant + self.linear @ x + sums
        return value

    def jacobian(self, x: FloatArray) -> Sparse:
        """(rows, unknowns) at x."""
        values = np.concatenate([self.coefficient * x[self.j], self.coefficient * x[self.i]])
        places = np.tile(self.row, 2), np.concatenate([self.i, self.j])
        return self.linear + sparse.csr_array((values, places), shape=self.linear.shape)

    def hessian(self, weights: FloatArray) -> Sparse:
        """(unknowns, unknowns), symmetric, of the sum of the functions times weights (rows,)."""
        values = self.coefficient * weights[self.row]
        size = self.linear.shape[1]
        half = sparse.csr_array((values, (self.i, self.j)), shape=(size, size))
        return sparse.csr_array(half + half.T)


class Rows:
    """Collects functions row by row; rows and unknowns are named by their indices.

    Arguments of the methods are broadcast against each other.
    """

    def __init__(self) -> None:
        self.count = 0
        self._constants: list[tuple[IntArray, FloatArray]] = []
        self._linear: list[tuple[IntArray, IntArray, FloatArray]] = []
        self._products: list[tuple[IntArray, IntArray, IntArray, FloatArray]] = []

    def new(self, *shape: int) -> IntArray:
        """Indices of new rows, which are zero so far."""
        first = self.count
        self.count += int(np.prod(shape))
        return np.arange(first, self.count).reshape(shape)

    def constant(self, rows: IntArray, value: ArrayLike) -> None:
        """Add numbers."""
        row, number = np.broadcast_arrays(rows, np.asarray(value, float))
        self._constants.append((row.ravel(), number.ravel()))

    def linear(self, rows: IntArray, unknowns: IntArray, factor: ArrayLike = 1.0) -> None:
        """Add factor * x[unknowns]."""
        row, place, number = np.broadcast_arrays(rows, unknowns, np.asarray(factor, float))
        self._linear.append((row.ravel(), place.ravel(), number.ravel()))

    def product(self, rows: IntArray, i: IntArray, j: IntArray, factor: ArrayLike = 1.0) -> None:
        """Add factor * x[i] * x[j]."""
        row, one, other, number = np.broadcast_arrays(rows, i, j, np.asarray(factor, float))
        self._products.append((row.ravel(), one.ravel(), other.ravel(), number.ravel()))

    def done(self, unknowns: int) -> Quadratic:
        """The functions of that many unknowns."""
        constant = np.zeros(self.count)
        for rows, value in self._constants:
            np.add.at(constant, rows, value)
        none = np.zeros(0, np.int64)
        first, second = (none, none, np.zeros(0)), (none, none, none, np.zeros(0))
        row, place, factor = (
            np.concatenate(part) for part in zip(*self._linear, first, strict=True)
        )
        linear = sparse.csr_array((factor, (row, place)), shape=(self.count, unknowns))
        products = [np.concatenate(part) for part in zip(*self._products, second, strict=True)]
        return Quadratic(constant, linear, *products)
