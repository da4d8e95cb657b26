"""The geofence and the speed limits of flight by hand: pure functions.

A velocity that leads out of the fence is cut so that the vehicle can still stop before it: with d
metres of room and a deceleration a it may approach at v = √(2 a d) (uniform deceleration). Along
the fence and away from it it flies on as asked. The vehicle's own geofence may stand behind this
one; this one needs none.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, hypot, inf, sin, sqrt

from racer.flight.commands import BodyVelocity
from racer.flight.px4 import Vector

_BRAKE_M_S2 = 2.0  # what a vehicle that flies by velocity setpoints surely reaches
_BRAKE_UP_M_S2 = 1.0
_REACTION_S = 0.4  # until a smaller setpoint slows it: telemetry, link and the vehicle's own filter
_MARGIN_M = 0.5  # kept from the fence
_OUT_M = 2.0  # a vehicle that brakes or holds may overshoot a wall by less
_OUTWARDS_M_S = 0.5  # slower than this it holds its place
_DRIVEN_S = 1.0  # so long that no gust explains it


@dataclass(frozen=True, slots=True)
class SpeedLimits:
    """The fastest that a pilot may fly by hand."""

    horizontal_m_s: float = 5.0
    vertical_m_s: float = 2.0
    yaw_rate_rad_s: float = 1.571


@dataclass(frozen=True, slots=True)
class Fence:
    """Where a vehicle may fly: m ENU from home; heights above the place of take-off."""

    west_m: float = -20.0
    east_m: float = 30.0
    south_m: float = -30.0
    north_m: float = 30.0
    floor_m: float = 0.3  # flight by hand goes no lower; landing does
    ceiling_m: float = 15.0
    distance_m: float = 50.0  # from home, on the map

    def outside(self, place: Vector) -> str | None:
        """Which limit a place (east, north, height above the take-off) breaks; None if none."""
        for value, low, high, name in self._limits(place):
            if not low <= value <= high:
                return f"{name} {value:.1f} m is outside the geofence ({low:.0f} to {high:.0f} m)"
        return None

    def driven_out(self, place: Vector, velocity: Vector) -> str | None:
        """Which limit a vehicle at `place` is well outside of, and moves on from (m/s ENU); None if
        it is inside, holds its place or comes back."""
        away = hypot(place[0], place[1])
        outwards = (place[0] * velocity[0] + place[1] * velocity[1]) / away if away > 0.0 else 0.0
        for (value, low, high, name), speed in zip(
            self._limits(place), (*velocity, outwards), strict=True
        ):
            above = value > high + _OUT_M and speed > _OUTWARDS_M_S
            below = value < low - _OUT_M and speed < -_OUTWARDS_M_S
            if above or below:
                return f"{name} {value:.1f} m, the geofence is {low:.0f} to {high:.0f} m"
        return None

    def _limits(self, place: Vector) -> tuple[tuple[float, float, float, str], ...]:
        """Value, low, high and name of each."""
        east, north, height = place
        return (
            (east, self.west_m, self.east_m, "east"),
            (north, self.south_m, self.north_m, "north"),
            (height, -inf, self.ceiling_m, "height"),
            (hypot(east, north), 0.0, self.distance_m, "distance"),
        )


class Drift:
    """Whether a vehicle that nobody steers is driven out of the fence, by a wind that it cannot
    hold against: outside by more than 2 m and moving outwards for a second without a break."""

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._since_s: float | None = None

    def look(self, place: Vector, velocity: Vector, stamp_s: float) -> str | None:
        """Once a second, what it is driven through; None if it is not. `stamp_s` is the sample's,
        on the vehicle's clock: one that is looked at twice proves nothing new."""
        why = self._fence.driven_out(place, velocity)
        if why is None or self._since_s is None or stamp_s < self._since_s:
            self._since_s = None if why is None else stamp_s
            return None
        if stamp_s - self._since_s < _DRIVEN_S:
            return None
        self._since_s = stamp_s  # said once a second
        return why

    def forget(self) -> None:
        """Somebody steers, or it does not fly."""
        self._since_s = None


def clamped(wanted: BodyVelocity, limits: SpeedLimits) -> BodyVelocity:
    """The same direction within the limits; numbers must be finite."""
    speed = hypot(wanted.forward_m_s, wanted.left_m_s)
    share = min(1.0, limits.horizontal_m_s / speed) if speed > 0.0 else 1.0
    return BodyVelocity(
        forward_m_s=wanted.forward_m_s * share,
        left_m_s=wanted.left_m_s * share,
        up_m_s=_within(wanted.up_m_s, limits.vertical_m_s),
        yaw_rate_rad_s=_within(wanted.yaw_rate_rad_s, limits.yaw_rate_rad_s),
    )


def kept_inside(
    wanted: BodyVelocity, fence: Fence, *, place: Vector, velocity: Vector, yaw: float
) -> BodyVelocity:
    """What may be asked of a vehicle that is at `place` (see Fence.outside), moves with `velocity`
    (m/s ENU) and points to `yaw` (rad counter-clockwise from east)."""
    c, s = cos(yaw), sin(yaw)
    east = c * wanted.forward_m_s - s * wanted.left_m_s
    north = s * wanted.forward_m_s + c * wanted.left_m_s
    away = hypot(place[0], place[1])
    if away > 0.0:  # the distance first: the box then cuts what is left
        ux, uy = place[0] / away, place[1] / away
        outward = east * ux + north * uy
        moving = velocity[0] * ux + velocity[1] * uy
        cut = outward - min(outward, _fastest(fence.distance_m - away, moving, _BRAKE_M_S2))
        east, north = east - cut * ux, north - cut * uy
    east = _between(east, place[0], velocity[0], (fence.west_m, fence.east_m), _BRAKE_M_S2)
    north = _between(north, place[1], velocity[1], (fence.south_m, fence.north_m), _BRAKE_M_S2)
    heights = (fence.floor_m, fence.ceiling_m)
    return BodyVelocity(
        forward_m_s=c * east + s * north,
        left_m_s=c * north - s * east,
        up_m_s=_between(wanted.up_m_s, place[2], velocity[2], heights, _BRAKE_UP_M_S2),
        yaw_rate_rad_s=wanted.yaw_rate_rad_s,
    )


def _between(
    wanted: float, place: float, moving: float, walls: tuple[float, float], brake_m_s2: float
) -> float:
    low, high = walls
    up = _fastest(high - place, moving, brake_m_s2)
    down = _fastest(place - low, -moving, brake_m_s2)
    return max(min(wanted, up), -down)


def _fastest(room_m: float, moving_m_s: float, brake_m_s2: float) -> float:
    """How fast a wall may be approached that is `room_m` away."""
    left_m = room_m - _MARGIN_M - _REACTION_S * max(moving_m_s, 0.0)
    return sqrt(2.0 * brake_m_s2 * max(left_m, 0.0))


def _within(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))
