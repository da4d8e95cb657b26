"""Knockout brackets: winners go on, the best seeds meet last. No JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias


class Match(NamedTuple):
    """One heat of a bracket; entrants by their seeds, 0 is the best."""

    round: int  # 0 is the first
    number: int  # within the round
    entrants: tuple[int, int]
    winner: int

    @property
    def loser(self) -> int:
        """Who goes home."""
        first, second = self.entrants
        return second if self.winner == first else first


# Of a round and a number in it, two seeds: which of them wins.
Play: TypeAlias = Callable[[int, int, tuple[int, int]], int]


def seed_order(size: int) -> list[int]:
    """Seeds 0 … size-1 as they stand in a bracket of a power of two: 0 and 1 meet in the final."""
    order = [0]
    while len(order) < size:
        last = 2 * len(order) - 1
        order = [seed for pair in ((seed, last - seed) for seed in order) for seed in pair]
    return order


def play_knockout(entrants: int, play: Play) -> list[Match]:
    """All matches of a bracket of `entrants`; where a seed has no opponent it goes on by itself."""
    size = 1
    while size < entrants:
        size *= 2
    standing: list[int | None] = [seed if seed < entrants else None for seed in seed_order(size)]
    matches: list[Match] = []
    number_of_round = 0
    while len(standing) > 1:
        winners: list[int | None] = []
        for number, pair in enumerate(zip(standing[::2], standing[1::2], strict=True)):
            first, second = pair
            if first is None or second is None:
                winners.append(second if first is None else first)
                continue
            winner = play(number_of_round, number, (first, second))
            matches.append(Match(number_of_round, number, (first, second), winner))
            winners.append(winner)
        standing, number_of_round = winners, number_of_round + 1
    return matches


def final_order(entrants: int, matches: Sequence[Match]) -> list[list[int]]:
    """Seeds by how far they came: the winner, the loser of the final, those of the round before …

    A list a place of the bracket; within it the order of their matches.
    """
    if not matches:
        return [list(range(entrants))]
    rounds = range(max(match.round for match in matches), -1, -1)
    lost = [[match.loser for match in matches if match.round == number] for number in rounds]
    return [[matches[-1].winner], *lost]
