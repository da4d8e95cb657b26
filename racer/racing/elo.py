"""Elo ratings from the result of a race of any number of entrants.

Every pair of entrants is one game (A. E. Elo, The Rating of Chessplayers, Past and Present, 1978):
the expected score of A against B is E = 1 / (1 + 10^((R_B − R_A) / 400)), the score S is 1 for who
is ranked before the other, ½ for both when they share a rank. A race of n is one event, however
many pairs it has, so each pair counts K / (n − 1):

    R' = R + K / (n − 1) · Σ over the others (S − E)

With two entrants that is Elo's own formula. What one wins another loses: the sum stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

K = 32.0
INITIAL = 1500.0


def expected(own: float, other: float) -> float:
    """The score that a rating promises against another, 0 to 1."""
    return 1.0 / (1.0 + math.pow(10.0, (other - own) / 400.0))


def updated(
    ratings: Mapping[int, float], ranks: Mapping[int, int], *, k: float = K
) -> dict[int, float]:
    """New ratings of everybody in `ranks` (1 is best, equal ranks are draws).

    Who has no rating yet begins with INITIAL. A race of one changes nothing.
    """
    before = {who: ratings.get(who, INITIAL) for who in ranks}
    share = k / max(len(ranks) - 1, 1)
    return {
        who: own
        + share
        * sum(
            _score(ranks[who], ranks[other]) - expected(own, before[other])
            for other in ranks
            if other != who
        )
        for who, own in before.items()
    }


def _score(own: int, other: int) -> float:
    return 0.5 if own == other else float(own < other)
