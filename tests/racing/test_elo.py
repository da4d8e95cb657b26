"""Elo of races."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from racer.racing.elo import INITIAL, K, expected, updated

fields = st.lists(st.tuples(st.floats(0.0, 3000.0), st.integers(1, 8)), min_size=2, max_size=8)
owned = st.lists(
    st.tuples(st.floats(0.0, 3000.0), st.integers(1, 8), st.sampled_from("abc")), min_size=2
)


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


@given(owned)
def test_nobody_wins_from_the_own_and_the_sum_stays(field: list[tuple[float, int, str]]) -> None:
    before = {who: rating for who, (rating, _, _) in enumerate(field)}
    ranks = {who: rank for who, (_, rank, _) in enumerate(field)}
    owners = {who: owner for who, (_, _, owner) in enumerate(field)}
    after = updated(before, ranks, owners=owners)
    assert sum(after.values()) == pytest.approx(sum(before.values()), abs=1e-6)
    assert all(abs(after[who] - before[who]) <= K + 1e-9 for who in before)
    for owner in "abc":  # what they win together does not depend on who of them was before whom
        own = [who for who in ranks if owners[who] == owner]
        swapped = ranks | dict(zip(own, reversed([ranks[who] for who in own]), strict=True))
        equals = dict.fromkeys(before, INITIAL)
        first, second = (updated(equals, ranks_, owners=owners) for ranks_ in (ranks, swapped))
        won = [sum(rated[who] for who in own) for rated in (first, second)]
        assert won[0] == pytest.approx(won[1], abs=1e-6)


def test_a_race_of_one_owner_changes_nothing() -> None:
    before = {1: 1400.0, 2: 1500.0, 3: 1777.0}
    assert updated(before, {1: 1, 2: 2, 3: 3}, owners=dict.fromkeys(before, "ada")) == before


def test_three_of_one_owner_against_one_stake_as_much_as_that_one() -> None:
    after = updated({}, {1: 1, 2: 2, 3: 3, 4: 4}, owners={1: "ada", 2: "ada", 3: "ada", 4: "bob"})
    assert after == pytest.approx(
        {1: INITIAL + K / 6, 2: INITIAL + K / 6, 3: INITIAL + K / 6, 4: INITIAL - K / 2}
    )
    # who is in nobody's name is rated against all, also when a number is somebody's name
    assert updated({}, {1: 1, 2: 2}, owners={1: 2})[1] == INITIAL + K / 2
