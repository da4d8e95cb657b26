"""MAV_CMD by MAV_CMD: what each command does to the vehicle and how PX4 acknowledges it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from racer.autopilot.guidance import Target
from racer.autopilot.mavlink import BY_ID
from racer.autopilot.modes import Mode, Result
from racer.autopilot.streams import STREAMS, Schedule
from racer.autopilot.vehicle import Vehicle

_FRAME_GLOBAL_RELATIVE: Final = (3, 6, 10, 11)  # altitudes above home or terrain
# PX4's, less what the embedded vehicle has not: missions, fence, rally, files, termination
_CAPABILITIES: Final = 0x2 | 0x8 | 0x10 | 0x40 | 0x80 | 0x2000
_FASTEST_HZ: Final = 250.0
_PX4_VERSION: Final = 0x01110040  # 1.17.0-alpha1, whose behaviour this is


@dataclass(frozen=True)
class Command:
    """COMMAND_LONG or COMMAND_INT; places are degrees either way."""

    id: int
    params: tuple[float, ...]  # seven
    frame: int = 0


@dataclass(frozen=True)
class Outcome:
    """`verdict`: the commander's second acknowledgement. `reports`: streams to send once, first."""

    result: Result
    verdict: Result | None = None
    reports: tuple[str, ...] = ()
    messages: tuple[tuple[str, dict[str, Any]], ...] = field(default=())


class Commands:
    """Runs commands on a vehicle."""

    def __init__(self, vehicle: Vehicle) -> None:
        self._vehicle = vehicle
        self._table: Mapping[int, Callable[[Command, Schedule], Outcome]] = {
            20: self._return,
            21: self._land,
            22: self._takeoff,
            176: self._set_mode,
            178: self._change_speed,
            192: self._reposition,
            400: self._arm,
            410: self._get_home,
            510: self._get_interval,
            511: self._set_interval,
            512: self._request_message,
            520: self._request_version,
        }

    def run(self, command: Command, schedule: Schedule) -> Outcome:
        """Do it. `schedule`: streams of the link that asked."""
        handler = self._table.get(command.id)
        return handler(command, schedule) if handler else Outcome(Result.UNSUPPORTED)

    # Flight

    def _arm(self, command: Command, _: Schedule) -> Outcome:
        v = self._vehicle
        return Outcome(v.commander.arm_or_disarm(command.params[0], command.params[1], v.time_s))

    def _takeoff(self, command: Command, _: Schedule) -> Outcome:
        """param7: altitude above sea level; NaN or absurd = MIS_TAKEOFF_ALT."""
        v, altitude = self._vehicle, command.params[6]
        height = altitude - v.home.altitude_m if math.isfinite(altitude) else math.nan
        if height <= 0.0:
            height = math.nan
        return Outcome(v.commander.takeoff(v.time_s, height_m=height))

    def _land(self, command: Command, _: Schedule) -> Outcome:
        return Outcome(self._vehicle.commander.enter(Mode.LAND, self._vehicle.time_s))

    def _return(self, command: Command, _: Schedule) -> Outcome:
        return Outcome(self._vehicle.commander.enter(Mode.RETURN, self._vehicle.time_s))

    def _set_mode(self, command: Command, _: Schedule) -> Outcome:
        """ACCEPTED by the link in any case; the commander's verdict follows."""
        main, sub = (int(p) if 0 <= p <= 255 else 0 for p in command.params[1:3])
        v = self._vehicle
        return Outcome(Result.ACCEPTED, verdict=v.commander.request_mode(main, sub, v.time_s))

    def _change_speed(self, command: Command, _: Schedule) -> Outcome:
        """param2: m/s of the automatic modes; not above 0 = MPC_XY_CRUISE again."""
        speed = command.params[1]
        self._vehicle.guidance.cruise_m_s = speed if speed > 0.0 else math.nan
        return Outcome(Result.ACCEPTED)

    def _reposition(self, command: Command, _: Schedule) -> Outcome:
        """param1 speed, param4 yaw (rad, as PX4 reads it), 5-7 place; NaN = as it is."""
        v, p = self._vehicle, command.params
        if p[0] > 0.0:
            v.guidance.cruise_m_s = p[0]
        east = north = up = math.nan
        if math.isfinite(p[4]) and math.isfinite(p[5]):
            east, north = v.home.to_local(p[4], p[5])
        if math.isfinite(p[6]):
            up = p[6] if command.frame in _FRAME_GLOBAL_RELATIVE else p[6] - v.home.altitude_m
        yaw = 0.5 * math.pi - p[3] if math.isfinite(p[3]) else math.nan
        return Outcome(v.go_to(Target(east, north, up, yaw)))

    # Information

    def _get_home(self, command: Command, _: Schedule) -> Outcome:
        return Outcome(Result.ACCEPTED, reports=("HOME_POSITION",))

    def _request_message(self, command: Command, _: Schedule) -> Outcome:
        definition = BY_ID.get(_id(command.params[0]))
        if definition is not None and definition.name in STREAMS:
            return Outcome(Result.ACCEPTED, reports=(definition.name,))
        if definition is not None and definition.name == "AUTOPILOT_VERSION":
            return self._request_version(command, _)
        return Outcome(Result.DENIED)

    def _request_version(self, command: Command, _: Schedule) -> Outcome:
        version = {
            "capabilities": _CAPABILITIES,
            "flight_sw_version": _PX4_VERSION,
            "middleware_sw_version": _PX4_VERSION,
            "board_version": 1,
            "uid": 0x544F4C45444F0000 + self._vehicle.system,  # "TOLEDO" and the system id
        }
        return Outcome(Result.ACCEPTED, messages=(("AUTOPILOT_VERSION", version),))

    def _set_interval(self, command: Command, schedule: Schedule) -> Outcome:
        """param2: µs; 0 = the default rate, -1 = stop."""
        definition = BY_ID.get(_id(command.params[0]))
        interval = command.params[1]
        if definition is None or definition.name not in STREAMS or math.isnan(interval):
            return Outcome(Result.DENIED)
        if interval == 0.0:
            schedule.reset(definition.name)
        else:
            hz = 0.0 if interval < 0.0 else min(1e6 / interval, _FASTEST_HZ)
            schedule.set_rate(definition.name, hz)
        return Outcome(Result.ACCEPTED)

    def _get_interval(self, command: Command, schedule: Schedule) -> Outcome:
        definition = BY_ID.get(_id(command.params[0]))
        if definition is None or definition.name not in STREAMS:
            return Outcome(Result.DENIED)
        answer = {
            "message_id": definition.id,
            "interval_us": schedule.interval_us(definition.name),
        }
        return Outcome(Result.ACCEPTED, messages=(("MESSAGE_INTERVAL", answer),))


def _id(value: float) -> int:
    """A message id out of a float parameter; -1 for what is none."""
    return int(value) if 0.0 <= value < 2**24 else -1
