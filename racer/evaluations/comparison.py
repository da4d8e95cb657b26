"""Two policies on the same starts: who was faster on each, and by how much in the mean.

Starts are paired: flight i of both began in the same place, with the same vehicle, in the same mean
wind. So the differences are what is looked at, and what makes a start slow for both cancels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from racer.errors import ConflictError
from racer.evaluations.schemas import Difference, Pair

RESAMPLES = 10_000
FEWEST = 8  # differences: the interval of fewer is too narrow
# A policy's own: those that act at other rates or fly at other speeds may still be compared.
OWN = ("control_hz", "physics_hz", "velocity_limit_m_s")
_CHUNK = 500  # resamples at a time: bounds the memory


def require_same(a: Mapping[str, Any], b: Mapping[str, Any]) -> None:
    """ConflictError that names what the conditions of two evaluations differ in."""
    keys = sorted({*a, *b} - {*OWN})
    if different := [key for key in keys if a.get(key) != b.get(key)]:
        told = "; ".join(f"{key}: {a.get(key)} and {b.get(key)}" for key in different)
        hint = " With same_start spreads are equal." if "start_spread" in different else ""
        raise ConflictError(
            f"The two were not flown under the same conditions ({told}). Evaluate both policies "
            f"with the same settings, none of them null.{hint}"
        )


def same_gusts(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether both met the same gusts and delays, under conditions that are the same else.

    Gusts are drawn once a control step and filtered as a vehicle meets them that flies at its
    velocity limit; delays end with a control step. Where nothing is drawn nothing differs, and
    evaluations of older releases do not tell all that it takes: then the answer is no.
    """
    depends = {"control_hz"} if a.get("vary") == "full" else set()
    if a.get("wind_speed_m_s"):
        depends |= {"control_hz", "velocity_limit_m_s"}
    return all(a.get(key) is not None and a.get(key) == b.get(key) for key in depends)


def pairs_of(a_s: Sequence[float | None], b_s: Sequence[float | None]) -> list[Pair]:
    """Start by start, from both course times; None: not finished."""
    return [
        Pair(start=number, a_s=a, b_s=b, faster=_faster(a, b))
        for number, (a, b) in enumerate(zip(a_s, b_s, strict=True), start=1)
    ]


def _faster(a: float | None, b: float | None) -> Any:
    if a is None or b is None or a == b:
        return "a" if b is None and a is not None else "b" if a is None and b is not None else None
    return "a" if a < b else "b"


def difference_of(pairs: Sequence[Pair]) -> Difference | None:
    """Of the starts that both finished, None without one."""
    differences = np.array(
        [pair.b_s - pair.a_s for pair in pairs if pair.a_s is not None and pair.b_s is not None]
    )
    if not differences.size:
        return None
    low, high = interval(differences) if differences.size >= FEWEST else (None, None)
    return Difference(
        starts=differences.size, mean_s=float(differences.mean()), low_s=low, high_s=high
    )


def interval(values: NDArray[np.float64], *, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap of the mean of (N,) values (Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, chapter 13). The same values give the same interval."""
    random = np.random.default_rng(0)
    means = np.concatenate(
        [
            values[random.integers(0, len(values), (_CHUNK, len(values)))].mean(axis=1)
            for _ in range(RESAMPLES // _CHUNK)
        ]
    )
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return float(low), float(high)
