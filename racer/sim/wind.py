"""Mean wind and seeded gusts.

Gusts follow the low-altitude Dryden model of MIL-F-8785C: with a mean wind W at height h (ft),
σ_w = 0.1 W, σ_u = σ_v = σ_w / (0.177 + 0.000823 h)^0.4, L_w = h,
L_u = L_v = h / (0.177 + 0.000823 h)^1.2; u along the mean wind, v across it, w up. White noise
goes through σ √(L/πV) · √2 / (1 + τs) for u and σ √(L/πV) · (1 + √3 τs) / (1 + τs)² for v and w,
τ = L/V. V is the mean wind plus half the vehicle's speed limit: the speed at which air goes by.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from racer.geometry.rotation import Real, Vector

FEET_PER_M = 3.28084
_ROOT_3 = math.sqrt(3.0)


class Gusts(NamedTuple):
    """What the filters of some drones remember, (...). Each but the slow ones has variance 1."""

    along: Real
    across: Real
    across_slow: Real  # `across`, once more through the same lag
    up: Real
    up_slow: Real


class Lag(NamedTuple):
    """One axis' filters a' = keep·a + drive·n and b' = keep·b + (1 - keep)·a per control step, with
    unit white noise n; the gust of second order is fast·a + slow·b.

    (1 + √3 τs) / (1 + τs)² = √3 / (1 + τs) + (1 - √3) / (1 + τs)²: a lag, and the same lag twice.
    """

    keep: np.float32
    drive: np.float32
    fast: np.float32  # m/s
    slow: np.float32  # m/s
    shared: np.float32  # once settled, b = shared·a + own·n
    own: np.float32


class GustModel(NamedTuple):
    """The filters of a mean wind at a height."""

    horizontal: Lag
    vertical: Lag
    deviation_along: np.float32  # m/s


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
    return GustModel(
        _lag(sigma_horizontal, dt * passing / (height / scale**1.2 / FEET_PER_M)),
        _lag(sigma_vertical, dt * passing / (height / FEET_PER_M)),
        np.float32(sigma_horizontal),
    )


def _lag(sigma: float, steps: float) -> Lag:
    """`steps`: a control step over the filter's time constant."""
    keep = math.exp(-steps)
    shared = keep / (1.0 + keep)  # covariance of a and b, whose variances are 1 and `slow`
    slow = (2.0 * keep * shared + 1.0 - keep) / (1.0 + keep)
    variance = 3.0 + 2.0 * _ROOT_3 * (1.0 - _ROOT_3) * shared + (1.0 - _ROOT_3) ** 2 * slow
    gain = sigma / math.sqrt(variance)
    numbers = (
        *(keep, math.sqrt(1.0 - keep**2), gain * _ROOT_3, gain * (1.0 - _ROOT_3)),
        *(shared, math.sqrt(slow - shared**2)),
    )
    return Lag(*(np.float32(number) for number in numbers))


def settled(model: GustModel, normal: Real) -> Gusts:
    """Filters that have run for ever; `normal`: standard normal, (5, ...)."""
    along, across, up, other_across, other_up = normal
    horizontal, vertical = model.horizontal, model.vertical
    return Gusts(
        *(along, across, horizontal.shared * across + horizontal.own * other_across),
        *(up, vertical.shared * up + vertical.own * other_up),
    )


def advance(model: GustModel, gusts: Gusts, noise: Real) -> Gusts:
    """One control step later; `noise`: standard normal, (..., 3)."""
    h, v = model.horizontal, model.vertical
    return Gusts(
        along=h.keep * gusts.along + h.drive * noise[..., 0],
        across=h.keep * gusts.across + h.drive * noise[..., 1],
        across_slow=h.keep * gusts.across_slow + (1.0 - h.keep) * gusts.across,
        up=v.keep * gusts.up + v.drive * noise[..., 2],
        up_slow=v.keep * gusts.up_slow + (1.0 - v.keep) * gusts.up,
    )


def speeds(model: GustModel, gusts: Gusts) -> Vector:
    """m/s along the mean wind, across it (to its left) and up."""
    h, v = model.horizontal, model.vertical
    return (
        model.deviation_along * gusts.along,
        h.fast * gusts.across + h.slow * gusts.across_slow,
        v.fast * gusts.up + v.slow * gusts.up_slow,
    )


def blowing(model: GustModel, gusts: Gusts, wind: tuple[Real, Real]) -> Vector:
    """The gusts in a mean `wind` (east, north), m/s ENU."""
    along, across, up = speeds(model, gusts)
    share = (wind[0] ** 2 + wind[1] ** 2 + 1e-12) ** -0.5  # no wind has no direction
    east, north = share * wind[0], share * wind[1]
    return along * east - across * north, along * north + across * east, up
