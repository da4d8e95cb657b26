"""The vehicle at one tick as MAVLink sees it: NED and FRD, latitude and longitude.

Only here and in `racer.autopilot.setpoints` ENU/FLU meets NED/FRD. Derived values are computed
when a stream asks for them, once a tick.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, TypeAlias

from racer.autopilot.battery import Battery
from racer.autopilot.commander import Commander
from racer.autopilot.plant import Demand, Snapshot
from racer.autopilot.setpoints import Setpoint, enu_quaternion
from racer.geometry.rotation import Quaternion, Vector, rotate_inverse

EARTH_RADIUS_M: Final = 6_371_000.0

Noise: TypeAlias = Callable[[float, float], float]  # (mean, standard deviation) to a reading


class Home(NamedTuple):
    """Where ENU (0, 0, 0) is on Earth. The default is PX4's simulated home, near Zurich."""

    latitude_deg: float = 47.397742
    longitude_deg: float = 8.545594
    altitude_m: float = 489.4

    def to_global(self, east: float, north: float) -> tuple[float, float]:
        """(latitude, longitude), deg; flat Earth, good to centimetres within a kilometre."""
        latitude = self.latitude_deg + math.degrees(north / EARTH_RADIUS_M)
        return latitude, self.longitude_deg + math.degrees(east / self._parallel_m)

    def to_local(self, latitude_deg: float, longitude_deg: float) -> tuple[float, float]:
        """(east, north), m."""
        north = math.radians(latitude_deg - self.latitude_deg) * EARTH_RADIUS_M
        return math.radians(longitude_deg - self.longitude_deg) * self._parallel_m, north

    @property
    def _parallel_m(self) -> float:
        return EARTH_RADIUS_M * math.cos(math.radians(self.latitude_deg))


@dataclass
class View:
    """Everything a stream may report."""

    time_s: float  # since boot
    state: Snapshot
    demand: Demand
    setpoint: Setpoint | None
    commander: Commander
    battery: Battery
    home: Home
    noise: Noise
    load: float  # share of a core that the control loop uses

    @property
    def ms(self) -> int:
        """Milliseconds since boot."""
        return int(self.time_s * 1e3)

    @property
    def us(self) -> int:
        """Microseconds since boot."""
        return int(self.time_s * 1e6)

    @cached_property
    def quaternion(self) -> Quaternion:
        """Body FRD to NED."""
        s = self.state
        return enu_quaternion(s.qw, s.qx, s.qy, s.qz)

    @cached_property
    def euler(self) -> Vector:
        """(roll, pitch, yaw) of FRD in NED, rad."""
        w, x, y, z = self.quaternion
        roll = math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y))
        pitch = math.asin(max(-1.0, min(1.0, 2 * (w * y - z * x))))
        return roll, pitch, math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))

    @cached_property
    def heading_deg(self) -> float:
        """Clockwise from north, 0 to 360."""
        return math.degrees(self.euler[2]) % 360.0

    @cached_property
    def speed(self) -> float:
        """Over ground, m/s."""
        return math.hypot(self.state.vx, self.state.vy)

    @cached_property
    def position_e7(self) -> tuple[int, int]:
        """(latitude, longitude), 1e-7 deg."""
        latitude, longitude = self.home.to_global(self.state.px, self.state.py)
        return round(latitude * 1e7), round(longitude * 1e7)

    @property
    def altitude_m(self) -> float:
        """Above mean sea level."""
        return self.home.altitude_m + self.state.pz

    @property
    def body_velocity(self) -> Vector:
        """FRD, m/s."""
        s = self.state
        return rotate_inverse(self.quaternion, (s.vy, s.vx, -s.vz))
