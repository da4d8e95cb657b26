"""Elo of races."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racer.racing.elo import INITIAL, K, expected, updated

fields = st.lists(st.tuples(st.floats(0.0, 3000.0), st.integers(1, 8)), min_size=2, max_size=8)


@given(fields)
def test_what_one_wins_another_loses(field: list[tuple[float, int]]) -> None:
    before = {who: rating for who, (rating, _) in enumerate(field)}
    ranks = {who: rank for who, (_, rank) in enumerate(field)}
    after = updated(before, ranks)
    assert sum(after.values()) == pytest.approx(sum(before.values()), abs=1e-6)
    assert all(abs(after[who] - before[who]) <= K + 1e-9 for who in before)


@given(fields)
def test_a_better_rank_never_leaves_a_lower_rating(field: list[tuple[float, int]]) -> None:
    before = {who: rating for who, (rating, _) in enumerate(field)}
    ranks = {who: rank + 1 for who, (_, rank) in enumerate(field)}
    better = ranks | {0: ranks[0] - 1}
    assert updated(before, better)[0] >= updated(before, ranks)[0] - 1e-9


def test_two_equals_play_for_half_of_k_and_a_surprise_for_more() -> None:
    assert updated({}, {1: 1, 2: 2}) == {1: INITIAL + K / 2, 2: INITIAL - K / 2}
    assert updated({}, {1: 1, 2: 1}) == {1: INITIAL, 2: INITIAL}
    # Elo's own table: 400 points are odds of ten to one
    assert expected(1900.0, 1500.0) == pytest.approx(10 / 11)
    surprise = updated({1: 1500.0, 2: 1900.0}, {1: 1, 2: 2})
    assert surprise[1] - 1500.0 == pytest.approx(K * 10 / 11)


def test_a_race_of_one_changes_nothing() -> None:
    assert updated({5: 1612.0}, {5: 1}) == {5: 1612.0}
