"""Which messages flow unasked, how often, and which are due now.

Rates of the offboard link (UDP 14540) are those measured on PX4; those of the ground-station link
are what QGroundControl draws from, at a rate that costs little. SET_MESSAGE_INTERVAL changes them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

from racer.autopilot import reports
from racer.autopilot.reports import Fields
from racer.autopilot.view import View


class Stream(NamedTuple):
    """How to fill a message, and its rates, Hz; 0 = only on request."""

    fill: Callable[[View], Fields]
    offboard_hz: float
    ground_hz: float


STREAMS: Final[dict[str, Stream]] = {
    "HEARTBEAT": Stream(reports.heartbeat, 1, 1),
    "ATTITUDE": Stream(reports.attitude, 100, 20),
    "ATTITUDE_QUATERNION": Stream(reports.attitude_quaternion, 50, 10),
    "GLOBAL_POSITION_INT": Stream(reports.global_position_int, 50, 10),
    "HIGHRES_IMU": Stream(reports.highres_imu, 50, 1),
    "LOCAL_POSITION_NED": Stream(reports.local_position_ned, 30, 10),
    "ODOMETRY": Stream(reports.odometry, 30, 0),
    "ALTITUDE": Stream(reports.altitude, 10, 5),
    "ATTITUDE_TARGET": Stream(reports.attitude_target, 10, 2),
    "POSITION_TARGET_LOCAL_NED": Stream(reports.position_target_local_ned, 10, 2),
    "SERVO_OUTPUT_RAW": Stream(reports.servo_output_raw, 10, 1),
    "TIMESYNC": Stream(reports.timesync, 10, 0),
    "VFR_HUD": Stream(reports.vfr_hud, 10, 5),
    "DISTANCE_SENSOR": Stream(reports.distance_sensor, 10, 1),
    "GPS_RAW_INT": Stream(reports.gps_raw_int, 8, 2),
    "SYS_STATUS": Stream(reports.sys_status, 5, 1),
    "EXTENDED_SYS_STATE": Stream(reports.extended_sys_state, 5, 1),
    "ESTIMATOR_STATUS": Stream(reports.estimator_status, 1, 1),
    "MISSION_CURRENT": Stream(reports.mission_current, 1, 1),
    "PING": Stream(reports.ping, 1, 0.1),
    "SCALED_PRESSURE": Stream(reports.scaled_pressure, 1, 1),
    "SYSTEM_TIME": Stream(reports.system_time, 1, 1),
    "BATTERY_STATUS": Stream(reports.battery_status, 0.5, 0.5),
    "CURRENT_MODE": Stream(reports.current_mode, 0.5, 0.5),
    "HOME_POSITION": Stream(reports.home_position, 0.5, 0.5),
    "VIBRATION": Stream(reports.vibration, 0.5, 0.1),
}


class Schedule:
    """The streams of one link. Times are the vehicle's, in s since boot."""

    def __init__(self, rates_hz: dict[str, float]) -> None:
        self._defaults = rates_hz
        self._periods: dict[str, float] = {}
        self._next: dict[str, float] = {}
        self._earliest = 0.0
        for name in rates_hz:
            self.reset(name)

    def reset(self, name: str) -> None:
        """Back to the default rate."""
        self.set_rate(name, self._defaults[name])

    def set_rate(self, name: str, hz: float) -> None:
        """0 stops the stream."""
        if hz <= 0.0:
            self._periods.pop(name, None)
            self._next.pop(name, None)
            return
        self._periods[name] = 1.0 / hz
        self._next[name] = self._earliest = 0.0

    def interval_us(self, name: str) -> int:
        """MESSAGE_INTERVAL's answer: -1 = not streamed."""
        period = self._periods.get(name)
        return -1 if period is None else round(period * 1e6)

    def due(self, now: float) -> list[str]:
        """The messages to send now. A stream that fell behind skips, it does not catch up."""
        if now < self._earliest:
            return []
        names = [name for name, when in self._next.items() if when <= now]
        for name in names:
            following = self._next[name] + self._periods[name]
            self._next[name] = following if following > now else now + self._periods[name]
        self._earliest = min(self._next.values(), default=math.inf)
        return names
