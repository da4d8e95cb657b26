"""Wind with gusts, the same Dryden model that policies are trained in (racer.sim.wind)."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from racer.autopilot.plant import DT_S
from racer.sim.wind import advance, dryden, settled, speeds

_HEIGHT_M: Final = 3.0  # the model's lowest, 10 ft


class Wind:
    """Air that moves. `mean`: (east, north), m/s."""

    def __init__(self, mean: tuple[float, float], *, seed: int) -> None:
        self._mean = mean
        speed = math.hypot(*mean)
        self._direction = (mean[0] / speed, mean[1] / speed) if speed else None
        self._model = dryden(
            wind_speed_m_s=speed, height_m=_HEIGHT_M, vehicle_speed_m_s=0.0, dt=DT_S
        )
        self._random = np.random.default_rng(seed)
        self._gusts = settled(self._model, self._random.normal(size=5))

    def step(self) -> tuple[float, float, float]:
        """The wind, m/s ENU, a tick (DT_S) later."""
        if self._direction is None:
            return 0.0, 0.0, 0.0
        self._gusts = advance(self._model, self._gusts, self._random.normal(size=3))
        along, across, up = map(float, speeds(self._model, self._gusts))
        x, y = self._direction
        return self._mean[0] + along * x - across * y, self._mean[1] + along * y + across * x, up
