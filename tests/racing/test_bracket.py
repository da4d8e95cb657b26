"""Knockout brackets of any size."""

from __future__ import annotations

import pytest

from racer.racing.bracket import final_order, play_knockout, seed_order


def test_the_best_seeds_meet_last() -> None:
    assert seed_order(1) == [0]
    assert seed_order(8) == [0, 7, 3, 4, 1, 6, 2, 5]


@pytest.mark.parametrize("entrants", range(2, 10))
def test_everybody_but_the_winner_loses_once_and_the_better_seed_wins_through(
    entrants: int,
) -> None:
    matches = play_knockout(entrants, lambda _round, _number, pair: min(pair))
    assert sorted(match.loser for match in matches) == list(range(1, entrants))
    assert matches[-1].entrants == (0, 1)
    order = final_order(entrants, matches)
    assert order[:2] == [[0], [1]]
    assert sorted(seed for group in order for seed in group) == list(range(entrants))
    # whoever has to fly the first round comes after everybody with a bye, when the better win
    byes = 2 ** (entrants - 1).bit_length() - entrants
    first_round = [match for match in matches if match.round == 0]
    assert len(first_round) == (entrants - byes) // 2
    assert all(min(match.entrants) >= byes for match in first_round)


@pytest.mark.parametrize("entrants", range(2, 10))
def test_an_outsider_may_win_it_all(entrants: int) -> None:
    matches = play_knockout(entrants, lambda _round, _number, pair: max(pair))
    order = final_order(entrants, matches)
    assert order[0] == [entrants - 1]
    assert sorted(seed for group in order for seed in group) == list(range(entrants))


def test_one_alone_wins_without_a_match() -> None:
    assert play_knockout(1, lambda *_: 0) == []
    assert final_order(1, []) == [[0]]
