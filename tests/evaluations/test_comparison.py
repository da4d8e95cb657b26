"""Pairs of starts, and how sure their mean difference is."""

from __future__ import annotations

from typing import Any

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
from racer.sim.wind import advance, dryden, settled
from racer.sim.wind import speeds as along


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
    ("wind", "vary", "other", "same"),
    [
        (0.0, "none", {"control_hz": 100}, True),
        (0.0, "course", {"control_hz": 100}, True),  # displaced gates, and nothing else
        (3.0, "none", {"control_hz": 100}, False),
        (0.0, "full", {"control_hz": 100}, False),  # a delay ends with a control step
        (3.0, "full", {}, True),
        (3.0, "none", {"velocity_limit_m_s": 8.0}, False),
        (0.0, "full", {"velocity_limit_m_s": 8.0}, True),
        (3.0, "none", {"physics_hz": 400.0}, True),  # a gust blows through a control step
        (3.0, "none", {"velocity_limit_m_s": None}, False),
    ],
)
def test_policies_of_other_rates_and_speeds_are_compared_but_it_is_said(
    wind: float, vary: str, other: dict[str, Any], same: bool
) -> None:
    own = {"control_hz": 25, "physics_hz": 200.0, "velocity_limit_m_s": 12.0}
    a = {"wind_speed_m_s": wind, "vary": vary} | own
    require_same(a, a | other)
    assert same_gusts(a, a | other) is same


def test_what_an_older_release_did_not_tell_is_not_taken_for_the_same() -> None:
    old = {"wind_speed_m_s": 3.0, "vary": "none", "control_hz": 25}
    assert not same_gusts(old, old)
    assert same_gusts(old | {"wind_speed_m_s": 0.0}, old | {"wind_speed_m_s": 0.0})


def blown(conditions: dict[str, Any]) -> list[float]:
    """Gusts (T,) along the mean wind, m/s at moments (T,) s: both, one after the other."""
    dt = 1.0 / conditions["control_hz"]
    model = dryden(
        wind_speed_m_s=conditions["wind_speed_m_s"],
        height_m=2.5,
        vehicle_speed_m_s=conditions["velocity_limit_m_s"],
        dt=dt,
    )
    random = np.random.default_rng(3)
    gusts, speeds = settled(model, random.normal(size=5)), []
    for _ in range(20):
        gusts = advance(model, gusts, random.normal(size=3))
        speeds.append(float(along(model, gusts)[0]))
    return [*speeds, *(dt * np.arange(20) * (max(map(abs, speeds)) > 0.0))]


@pytest.mark.parametrize("wind", [0.0, 4.0])
@pytest.mark.parametrize("other", [{}, {"control_hz": 50.0}, {"velocity_limit_m_s": 8.0}])
def test_same_gusts_are_those_that_the_simulation_blows(
    wind: float, other: dict[str, float]
) -> None:
    a = {"vary": "none", "wind_speed_m_s": wind, "control_hz": 25.0, "velocity_limit_m_s": 12.0}
    b = a | other
    assert same_gusts(a, b) is (blown(a) == blown(b))
