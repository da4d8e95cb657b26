"""Wind with gusts: a mean and seeded, slowly wandering deviations from it.

Ornstein-Uhlenbeck processes with the standard deviation and the correlation time of light
turbulence at low height (after MIL-F-8785C: about 15 % of the mean, seconds long).
"""

from __future__ import annotations

import math
import random
from typing import Final

_DEVIATION: Final = 0.15  # of the mean speed
_CORRELATION_S: Final = 2.0


class Wind:
    """Air that moves. `mean`: (east, north), m/s."""

    def __init__(self, mean: tuple[float, float], *, seed: int) -> None:
        self._mean = (*mean, 0.0)
        self._deviation = _DEVIATION * math.hypot(*mean)
        self._gust = [0.0, 0.0, 0.0]
        self._random = random.Random(seed)

    def step(self, seconds: float) -> tuple[float, float, float]:
        """The wind, m/s ENU, `seconds` later."""
        if self._deviation:
            keep = math.exp(-seconds / _CORRELATION_S)
            spread = self._deviation * math.sqrt(1.0 - keep * keep)
            self._gust = [keep * gust + self._random.gauss(0.0, spread) for gust in self._gust]
        east, north, up = (m + g for m, g in zip(self._mean, self._gust, strict=True))
        return east, north, up
