"""Elo ratings from the result of a race of any number of entrants.

Every pair of entrants is one game (A. E. Elo, The Rating of Chessplayers, Past and Present, 1978):
the expected score of A against B is E = 1 / (1 + 10^((R_B − R_A) / 400)), the score S is 1 for who
is ranked before the other, ½ for both when they share a rank. Two of one owner play no game: they
could agree who wins. A race is one event, however many pairs it has, so with m rivals each game
counts K / m, and where the two of a game have not as many rivals it is the greater number of them:

    R' = R + Σ over the rivals K / max(m, m_rival) · (S − E)

With two entrants that is Elo's own formula, and when all have different owners m is n − 1. What one
wins another loses: the sum stays. Nobody wins or loses more than K in a race, and who enters many
against one stakes K on all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

K = 32.0
INITIAL = 1500.0
Who = TypeVar("Who", bound=Hashable)
_NOBODYS: Mapping[Any, Hashable] = MappingProxyType({})


def expected(own: float, other: float) -> float:
    """The score that a rating promises against another, 0 to 1."""
    return 1.0 / (1.0 + math.pow(10.0, (other - own) / 400.0))


def updated(
    ratings: Mapping[Who, float],
    ranks: Mapping[Who, int],
    *,
    owners: Mapping[Who, Hashable] = _NOBODYS,
    k: float = K,
) -> dict[Who, float]:
    """New ratings of everybody in `ranks` (1 is best, equal ranks are draws).

    Who has no rating yet begins with INITIAL. Who is not in `owners` is nobody else's. A race of
    one owner's changes nothing.
    """
    before = {who: ratings.get(who, INITIAL) for who in ranks}
    owner_of = {who: (who in owners, owners.get(who, who)) for who in ranks}
    rivals = {who: [other for other in ranks if owner_of[other] != owner_of[who]] for who in ranks}
    return {
        who: own
        + sum(
            k
            / max(len(rivals[who]), len(rivals[other]))
            * (_score(ranks[who], ranks[other]) - expected(own, before[other]))
            for other in rivals[who]
        )
        for who, own in before.items()
    }


def _score(own: int, other: int) -> float:
    return 0.5 if own == other else float(own < other)
