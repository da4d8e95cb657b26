"""From a flight mode to a demand on the cascade: places, profiles of takeoff and landing, return.

The guidance is told the mode and when to start it anew; it remembers where it holds and how far a
manoeuvre has come. Positions become velocities by PX4's P controller (MPC_XY_P, MPC_Z_P), limited
by the MPC_* parameters, which are read anew every tick. A place to hold is chosen when the vehicle
has come to rest, not when it is told to stop, so that it never flies back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from racer.autopilot.modes import Mode
from racer.autopilot.parameters import Parameters
from racer.autopilot.plant import DT_S, Demand, Level, Snapshot
from racer.autopilot.setpoints import Setpoint
from racer.geometry.rotation import Vector

_REST_M_S = 0.2  # slower than this is standing still
_BRAKE_M_S2 = 2.0  # at least; in gusts a vehicle that has braked may never stand still
_SWING_S = 2.5  # and what coming to rest takes besides
_YAW_P = 0.8  # 1/s
_YAW_LEAD_RAD = 0.35  # the heading held may run ahead of the nose by this
_SPOOL_UP_SHARE = 0.4  # of COM_SPOOLUP_TIME; the ramp's beginning covers the rest
_TAKEOFF_P = 0.7  # 1/s: PX4 approaches the height more slowly than MPC_Z_P would
_TAKEOFF_WITHIN_M = 0.1  # below the wanted height, Takeoff ends
_SETTLE_M = 0.3


@dataclass(frozen=True)
class Target:
    """Where MAV_CMD_DO_REPOSITION wants the vehicle: m ENU, rad; NaN = as it is."""

    east: float
    north: float
    up: float
    yaw: float = math.nan


@dataclass
class Guidance:
    """Flies modes. `step` is called once a control tick."""

    parameters: Parameters
    cruise_m_s: float = math.nan  # MAV_CMD_DO_CHANGE_SPEED; NaN: MPC_XY_CRUISE
    takeoff_done: bool = False
    climbing: bool = False
    return_height_m: float = math.nan
    _place: list[float] = field(default_factory=lambda: [math.nan] * 3)
    _yaw: float = math.nan
    _time_s: float = 0.0
    _at_rest_by_s: float = 0.0
    _takeoff_z: float = 0.0
    _phase: str = "climb"

    def start(self, now: Snapshot, *, takeoff_height_m: float = math.nan) -> None:
        """A mode was (re-)entered: forget the old one."""
        if self.takeoff_done:  # Hold where Takeoff went
            self._place[2] = self._takeoff_z
        else:
            self._place = [math.nan] * 3
        self._yaw = math.nan
        self._at_rest_by_s = _SWING_S + math.hypot(now.vx, now.vy, now.vz) / _BRAKE_M_S2
        self._time_s, self._phase = 0.0, "climb"
        self.takeoff_done = False
        height = takeoff_height_m
        if math.isnan(height):
            height = self.parameters["MIS_TAKEOFF_ALT"]
        self._takeoff_z = max(height, now.pz)
        self.return_height_m = self._return_height(now)

    def go_to(self, target: Target) -> None:
        """Hold there instead of here."""
        self._place = [target.east, target.north, target.up]
        self._yaw = target.yaw

    def step(self, mode: Mode, now: Snapshot, setpoint: Setpoint | None, *, landed: bool) -> Demand:
        """The demand of this tick of an armed vehicle."""
        self._time_s += DT_S
        if mode == Mode.OFFBOARD and setpoint is not None:
            demand = self._offboard(now, setpoint)
        elif mode == Mode.TAKEOFF:
            demand = self._takeoff(now)
        elif mode == Mode.LAND:
            demand = self._land(now)
        elif mode == Mode.RETURN:
            demand = self._return(now)
        else:
            demand = self._fly(now, self._hold(now, (0, 1, 2)))
        return self._on_ground(mode, demand) if landed else self._airborne(demand)

    def _on_ground(self, mode: Mode, demand: Demand) -> Demand:
        """Landed, the rotors idle unless the pilot wants to leave the ground."""
        wants_up = mode in (Mode.TAKEOFF, Mode.OFFBOARD) and (
            demand.collective > 0.3 if demand.level >= Level.ATTITUDE else demand.z > 0.1
        )
        self.climbing = wants_up
        return demand if wants_up else Demand(Level.IDLE)

    def _airborne(self, demand: Demand) -> Demand:
        self.climbing = demand.level < Level.ATTITUDE and demand.z > 0.1
        return demand

    # Modes

    def _takeoff(self, now: Snapshot) -> Demand:
        """Spool up, then climb with a growing speed; slow down towards the height."""
        p = self.parameters
        since = self._time_s - _SPOOL_UP_SHARE * p["COM_SPOOLUP_TIME"]
        ramp = since / max(p["MPC_TKO_RAMP_T"], DT_S)
        if ramp <= 0.0:
            return Demand(Level.IDLE)
        climb = min(_TAKEOFF_P * (self._takeoff_z - now.pz), p["MPC_TKO_SPEED"] * min(ramp, 1.0))
        self.takeoff_done = now.pz > self._takeoff_z - _TAKEOFF_WITHIN_M
        if self.takeoff_done:
            self._place[2] = self._takeoff_z
        east, north, _ = self._hold(now, (0, 1))
        return self._fly(now, (east, north, max(climb, -p["MPC_Z_VEL_MAX_DN"])))

    def _land(self, now: Snapshot) -> Demand:
        east, north, _ = self._hold(now, (0, 1))
        return self._fly(now, (east, north, -self._descent_speed(now.pz)))

    def _descent_speed(self, height: float) -> float:
        """Slower from MPC_LAND_ALT1 down to MPC_LAND_ALT2, crawling below MPC_LAND_ALT3."""
        p = self.parameters
        if height < p["MPC_LAND_ALT3"]:
            return p["MPC_LAND_CRWL"]
        span = max(p["MPC_LAND_ALT1"] - p["MPC_LAND_ALT2"], 0.1)
        share = min(max((height - p["MPC_LAND_ALT2"]) / span, 0.0), 1.0)
        return p["MPC_LAND_SPEED"] + share * (p["MPC_Z_VEL_MAX_DN"] - p["MPC_LAND_SPEED"])

    def _return(self, now: Snapshot) -> Demand:
        """Climb, fly home, come to rest, land there."""
        away = math.hypot(now.px, now.py)
        if self._phase == "climb":
            self._place[2] = self.return_height_m
            if now.pz > self.return_height_m - _SETTLE_M:
                self._phase = "fly"
                self._place = [0.0, 0.0, self.return_height_m]
        elif self._phase == "fly" and away < _SETTLE_M and math.hypot(now.vx, now.vy) < _REST_M_S:
            self._phase = "land"
        if self._phase in ("land", "landing"):
            return self._land(now)
        return self._fly(now, self._hold(now, (0, 1, 2)))

    def take_landing_notice(self) -> bool:
        """True once when a return begins to land."""
        if self._phase != "land":
            return False
        self._phase = "landing"
        return True

    def _return_height(self, now: Snapshot) -> float:
        """RTL_RETURN_ALT, or less inside a cone above home (RTL_CONE_ANG, RTL_MIN_DIST)."""
        p = self.parameters
        away, full = math.hypot(now.px, now.py), float(p["RTL_RETURN_ALT"])
        if away < p["RTL_MIN_DIST"] and p["RTL_CONE_ANG"] > 0:
            cone = away / math.tan(math.radians(min(p["RTL_CONE_ANG"], 89)))
            full = min(full, cone)
        return max(full, now.pz)

    def _offboard(self, now: Snapshot, setpoint: Setpoint) -> Demand:
        if setpoint.rates is not None:
            return Demand(
                Level.RATES, *self._limit_rates(setpoint.rates), collective=setpoint.thrust
            )
        if setpoint.attitude is not None:
            rate = setpoint.yaw_rate or 0.0
            return Demand(Level.ATTITUDE, 0.0, 0.0, 0.0, *setpoint.attitude, setpoint.thrust, rate)
        rate = self._turn(now, setpoint.yaw, setpoint.yaw_rate)
        if setpoint.position is None and setpoint.velocity is None:
            x, y, z = _known(_to_world(setpoint, setpoint.acceleration, now.yaw))
            return Demand(Level.ACCELERATION, x, y, z, yaw_rate=rate)
        velocity = list(_known(_to_world(setpoint, setpoint.velocity, now.yaw)))
        for axis, place in enumerate(setpoint.position or ()):
            if math.isfinite(place):
                velocity[axis] += self._towards(axis, place, now)
        x, y, z = self._limit(velocity, float(self.parameters["MPC_XY_VEL_MAX"]))
        return Demand(Level.VELOCITY, x, y, z, yaw_rate=rate)

    # Pieces

    def _fly(self, now: Snapshot, velocity: Vector) -> Demand:
        """Velocity of an automatic mode, with the heading held."""
        x, y, z = velocity
        return Demand(Level.VELOCITY, x, y, z, yaw_rate=self._turn(now, None, 0.0))

    def _hold(self, now: Snapshot, axes: tuple[int, ...]) -> Vector:
        """Velocity towards the place held; an axis without one brakes and then takes its place."""
        velocity = [0.0, 0.0, 0.0]
        speed = math.hypot(now.vx, now.vy)
        for axis in axes:
            if math.isnan(self._place[axis]):
                moving = speed if axis < 2 else abs(now.vz)
                if moving < _REST_M_S or self._time_s > self._at_rest_by_s:
                    self._place[axis] = now[axis]
            else:
                velocity[axis] = self._towards(axis, self._place[axis], now)
        cruise = self.cruise_m_s
        if math.isnan(cruise):
            cruise = float(self.parameters["MPC_XY_CRUISE"])
        return self._limit(velocity, min(cruise, float(self.parameters["MPC_XY_VEL_MAX"])))

    def _towards(self, axis: int, place: float, now: Snapshot) -> float:
        gain: float = self.parameters["MPC_Z_P" if axis == 2 else "MPC_XY_P"]
        return gain * (place - now[axis])

    def _limit(self, velocity: list[float], fastest: float) -> Vector:
        p = self.parameters
        scale = min(1.0, fastest / max(math.hypot(velocity[0], velocity[1]), 1e-6))
        up = min(max(velocity[2], -p["MPC_Z_VEL_MAX_DN"]), p["MPC_Z_VEL_MAX_UP"])
        return velocity[0] * scale, velocity[1] * scale, up

    def _limit_rates(self, rates: Vector) -> Vector:
        p = self.parameters
        names = ("MC_ROLLRATE_MAX", "MC_PITCHRATE_MAX", "MC_YAWRATE_MAX")
        most = [math.radians(p[name]) for name in names]
        x, y, z = (min(max(rate, -m), m) for rate, m in zip(rates, most, strict=True))
        return x, y, z

    def _turn(self, now: Snapshot, yaw: float | None, rate: float | None) -> float:
        """Yaw rate, rad/s: the one asked for, or towards the heading asked for or held.

        While turning, the heading to hold afterwards runs ahead as the vehicle should have turned;
        so a turn ends where the pilot's command ends, not where the vehicle stops swinging.
        """
        p = self.parameters
        if math.isnan(self._yaw):
            self._yaw = now.yaw
        if yaw is None and rate:
            most = math.radians(p["MC_YAWRATE_MAX"])
            rate = min(max(rate, -most), most)
            lead = math.remainder(self._yaw + rate * DT_S - now.yaw, math.tau)
            self._yaw = now.yaw + min(max(lead, -_YAW_LEAD_RAD), _YAW_LEAD_RAD)
            return rate
        if yaw is not None:
            self._yaw = yaw
        most = math.radians(p["MPC_YAWRAUTO_MAX"])
        error = math.remainder(self._yaw - now.yaw, math.tau)
        return min(max(_YAW_P * error, -most), most) + (rate or 0.0)


def _to_world(setpoint: Setpoint, vector: Vector | None, yaw: float) -> Vector:
    """(forward, left, up) of the heading, or ENU already, as ENU."""
    if vector is None:
        return 0.0, 0.0, 0.0
    x, y, z = vector
    if not setpoint.body:
        return x, y, z
    x, y, _ = _known((x, y, z))
    return x * math.cos(yaw) - y * math.sin(yaw), x * math.sin(yaw) + y * math.cos(yaw), z


def _known(vector: Vector) -> Vector:
    """Axes that nobody asked for stand still."""
    x, y, z = (0.0 if math.isnan(part) else part for part in vector)
    return x, y, z
