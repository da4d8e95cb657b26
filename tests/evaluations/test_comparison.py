"""Pairs of starts, and how sure their mean difference is."""

from __future__ import annotations

import numpy as np
import pytest

from racer.errors import ConflictError
from racer.evaluations.comparison import (
    difference_of,
    interval,
    pairs_of,
    require_same,
    same_gusts,
)


def test_who_finishes_alone_is_faster() -> None:
    pairs = pairs_of([1.0, None, 3.0, None, 5.0], [2.0, 2.0, None, None, 5.0])
    assert [pair.faster for pair in pairs] == ["a", "b", "a", None, None]
    assert [pair.start for pair in pairs] == [1, 2, 3, 4, 5]


def test_only_starts_that_both_finished_make_the_difference() -> None:
    difference = difference_of(pairs_of([1.0, 2.0, None], [1.5, 3.5, 4.0]))
    assert difference is not None
    assert (difference.starts, difference.mean_s) == (2, 1.0)
    assert (difference.low_s, difference.high_s) == (None, None)  # too few to tell
    assert difference_of(pairs_of([None], [1.0])) is None


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """95 % of 200 samples of 40 from a skewed distribution of mean 1; some loss is known."""
    random = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        low, high = interval(random.gamma(4.0, 0.25, 40))
        hits += low <= 1.0 <= high
    assert 0.90 <= hits / 200 <= 0.98


def test_the_interval_narrows_with_the_root_of_the_number() -> None:
    random = np.random.default_rng(6)
    values = random.normal(0.0, 1.0, 100)
    low, high = interval(values)
    error = values.std(ddof=1) / 10.0
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert interval(values) == (low, high)  # the same again


def test_different_conditions_are_named() -> None:
    require_same({"seed": 1, "laps": 2}, {"laps": 2, "seed": 1})
    with pytest.raises(ConflictError, match=r"laps: 2 and 3; wind_speed_m_s: 0.0 and None"):
        require_same({"laps": 2, "wind_speed_m_s": 0.0, "seed": 1}, {"laps": 3, "seed": 1})


@pytest.mark.parametrize(
    ("wind", "vary", "other_hz", "same"),
    [
        (0.0, "none", 100, True),
        (3.0, "none", 100, False),
        (0.0, "full", 100, False),
        (3.0, "full", 25, True),
    ],
)
def test_policies_that_act_at_other_rates_are_compared_but_it_is_said(
    wind: float, vary: str, other_hz: int, same: bool
) -> None:
    a = {"wind_speed_m_s": wind, "vary": vary, "control_hz": 25}
    b = a | {"control_hz": other_hz}
    require_same(a, b)
    assert same_gusts(a, b) is same
