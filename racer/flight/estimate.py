"""Where the vehicle is *now*, from telemetry that tells where it was a moment ago.

Telemetry carries the vehicle's own clock. The fastest message of late tells how that clock compares
with ours: its way here took so little time that we count it as none. What a slower
message waited for, in the air or in our own queues, is therefore part of its age, however late we
look at it. From the sample's instant to now the velocity and the body rates are taken as constant:
at 100 Hz that is some 10 ms, in which a racing quadrotor's speed changes by a tenth of a m/s.
"""

from __future__ import annotations

from math import cos, inf, sin, sqrt
from typing import NamedTuple

from racer.flight.px4 import OdometrySample, Quaternion, Vector
from racer.geometry.rotation import multiply

# How much slower than ours the vehicle's clock may run. A real one drifts by 50 µs a second; a
# simulated one that does not keep up with real time lost 14 ms a second here.
_DRIFT = 0.02
_SMALL = 1e-9


class Motion(NamedTuple):
    """The vehicle at one instant: world ENU, body FLU."""

    position: Vector  # m
    velocity: Vector  # m/s, over ground
    attitude: Quaternion  # (w, x, y, z), body to world
    rates: Vector  # rad/s, body


class VehicleClock:
    """How the vehicle's clock compares with ours, by the fastest message of late."""

    def __init__(self) -> None:
        self._offset_s = inf  # ours less the vehicle's
        self._heard_s = 0.0

    def hear(self, stamp_s: float, now_s: float) -> None:
        """A message from the vehicle's `stamp_s` was taken up at our `now_s`."""
        drifted_s = self._offset_s + _DRIFT * (now_s - self._heard_s)
        self._offset_s = min(drifted_s, now_s - stamp_s)
        self._heard_s = now_s

    def now_s(self, now_s: float) -> float:
        """The vehicle's clock at our `now_s`; −inf before anything was heard."""
        return now_s - self._offset_s

    def age_s(self, stamp_s: float, now_s: float) -> float:
        """How long ago, on either clock, the vehicle's `stamp_s` was; 0 or more."""
        return max(self.now_s(now_s) - stamp_s, 0.0)


def extrapolate(sample: OdometrySample, age_s: float) -> Motion:
    """The sample `age_s` later: q ⊗ exp(½ ω t), ω in body axes (Solà 2017, eq. 214)."""
    moved = tuple(p + v * age_s for p, v in zip(sample.position, sample.velocity, strict=True))
    x, y, z = sample.angular_velocity
    speed = sqrt(x * x + y * y + z * z)
    half = 0.5 * speed * age_s
    share = sin(half) / speed if speed > _SMALL else 0.5 * age_s
    turn = (cos(half), share * x, share * y, share * z)
    attitude = multiply(sample.quaternion, turn)
    return Motion((moved[0], moved[1], moved[2]), sample.velocity, attitude, (x, y, z))
