"""Mean wind and seeded gusts.

Gusts follow the low-altitude Dryden model of MIL-F-8785C: with a mean wind W at height h (ft),
σ_w = 0.1 W, σ_u = σ_v = σ_w / (0.177 + 0.000823 h)^0.4, L_w = h,
L_u = L_v = h / (0.177 + 0.000823 h)^1.2. Every axis uses the first-order (longitudinal) filter
σ √(2L/πV) / (1 + s L/V); the slightly wider lateral spectrum of the second-order form is left
out. V is the mean wind plus half the vehicle's speed limit: the speed at which air goes by.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

FEET_PER_M = 3.28084


class GustModel(NamedTuple):
    """Discrete filters g' = keep·g + drive·n with unit white noise n, per control step."""

    keep_horizontal: np.float32
    drive_horizontal: np.float32  # m/s
    keep_vertical: np.float32
    drive_vertical: np.float32  # m/s
    deviation_horizontal: np.float32  # m/s, of g once the filter has settled
    deviation_vertical: np.float32


def dryden(
    *, wind_speed_m_s: float, height_m: float, vehicle_speed_m_s: float, dt: float
) -> GustModel:
    """Filters for gusts at a height in a mean wind; no wind has no gusts.

    The model holds from 10 to 1000 ft: heights outside get the gusts of the nearer end.
    """
    height = min(max(height_m * FEET_PER_M, 10.0), 1000.0)
    scale = 0.177 + 0.000823 * height
    sigma_vertical = 0.1 * wind_speed_m_s
    sigma_horizontal = sigma_vertical / scale**0.4
    passing = wind_speed_m_s + 0.5 * vehicle_speed_m_s
    keep_h = math.exp(-dt * passing / (height / scale**1.2 / FEET_PER_M))
    keep_v = math.exp(-dt * passing / (height / FEET_PER_M))
    return GustModel(
        np.float32(keep_h),
        np.float32(sigma_horizontal * math.sqrt(1.0 - keep_h**2)),
        np.float32(keep_v),
        np.float32(sigma_vertical * math.sqrt(1.0 - keep_v**2)),
        np.float32(sigma_horizontal),
        np.float32(sigma_vertical),
    )
