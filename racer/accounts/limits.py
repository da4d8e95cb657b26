"""How often somebody may try to sign in: first slower and slower, then not before a while.

Tries are counted as they begin, so that many at once gain nothing, and forgotten one by one. An
account is counted for each address by itself: a stranger who guesses fills the stranger's own
measure, and never locks the owner out. Counted over all addresses, guesses at an account make
everybody wait up to two seconds, no more. Signing in takes its own count back.

In the memory of one process, MOST_KEYS of each kind; the ones that were quiet longest go first. So
several servers allow several times as many tries, and a restart forgets them.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from racer.errors import TooManyRequestsError
from racer.web.callers import network_of

MOST_KEYS = 10_000
_LONGEST_DELAY_S = 2.0


@dataclass(frozen=True)
class Rule:
    """Of one kind of key."""

    free: int  # tries at full speed
    most: int  # tries before the next one has to wait
    forget_s: float  # a try is forgotten after so long; then so is the next
    refuses: bool = True  # beyond `most`; otherwise it only slows


GUESSES = Rule(free=5, most=10, forget_s=60.0)  # at one account from one address
FROM_ADDRESS = Rule(free=50, most=100, forget_s=10.0)  # at any account: a school has one address
AT_ACCOUNT = Rule(free=20, most=40, forget_s=10.0, refuses=False)  # from any address


class Measure:
    """A leaking bucket for each key."""

    def __init__(self, rule: Rule, clock: Callable[[], float]) -> None:
        self._rule, self._clock = rule, clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # and since when

    def wait_s(self, key: str) -> float:
        """Until the next try is allowed."""
        too_much = self._level(key) + 1 - self._rule.most
        return max(0.0, too_much * self._rule.forget_s) if self._rule.refuses else 0.0

    def add(self, key: str) -> float:
        """Count a try; how long to hold it up, s."""
        level = min(self._level(key) + 1, self._rule.most)
        self._levels[key] = level, self._clock()
        self._levels.move_to_end(key)
        if len(self._levels) > MOST_KEYS:
            self._levels.popitem(last=False)
        beyond = math.ceil(level) - self._rule.free
        return min(_LONGEST_DELAY_S, 0.125 * 2**beyond) if beyond > 0 else 0.0

    def take_back(self, key: str, tries: float = 1) -> None:
        """It was no guess."""
        level = self._level(key) - tries
        if level > 0:
            self._levels[key] = level, self._clock()
        else:
            self._levels.pop(key, None)

    def _level(self, key: str) -> float:
        level, since = self._levels.get(key, (0.0, 0.0))
        return max(0.0, level - (self._clock() - since) / self._rule.forget_s)


class SignInLimits:
    """Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._guesses = Measure(GUESSES, clock)
        self._from_address = Measure(FROM_ADDRESS, clock)
        self._at_account = Measure(AT_ACCOUNT, clock)

    def try_to(self, account: str, address: str) -> float:
        """Somebody tries: how long to hold it up, s. Raises TooManyRequestsError."""
        address = network_of(address)
        pair = f"{address} {account}"
        wait_s = max(self._guesses.wait_s(pair), self._from_address.wait_s(address))
        if wait_s > 0:
            seconds = math.ceil(wait_s)
            raise TooManyRequestsError(
                f"Too many tries to sign in. Try again in {seconds} s.", retry_after_s=seconds
            )
        return max(
            self._guesses.add(pair),
            self._from_address.add(address),
            self._at_account.add(account),
        )

    def succeeded(self, account: str, address: str) -> None:
        """The password was right."""
        address = network_of(address)
        self._guesses.take_back(f"{address} {account}", GUESSES.most)
        self._from_address.take_back(address)
        self._at_account.take_back(account)
