"""The newest telemetry, for any number of viewers at any rate.

There is one value and no queue: a viewer that is slow skips what it missed and gets the newest.
Everything is plain JSON: numbers are finite or null (a BatteryState says NaN for "unknown").
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from racer.control.pulse import Pulse
from racer.errors import InvalidInputError
from racer.flight.authority import Lease
from racer.flight.commands import lease_of

if TYPE_CHECKING:
    from nav_msgs.msg import Odometry
    from sensor_msgs.msg import BatteryState

MIN_HZ, MAX_HZ = 0.1, 50.0
STATE_SILENCE_S = 2.0  # the controller says its state five times a second
ODOMETRY_SILENCE_S = 1.0  # and the vehicle's position thirty times
UNNOTICED_S = 3.0  # a controller notices within this that its vehicle was another one
_REFRESH_S = 1.0  # with nothing new, viewers still see the age grow

UNKNOWN_STATE: dict[str, Any] = {
    "connected": False,
    "armed": False,
    "in_air": False,
    "flight_mode": "UNKNOWN",
    "phase": "disconnected",
    "message": "The controller has not reported yet.",
}


def odometry_fields(message: Odometry) -> dict[str, Any]:
    """The part of the telemetry that nav_msgs/Odometry gives.

    In: pose in map (ENU, m), twist in base_link (FLU, m/s, rad/s), quaternion body to world.
    Out: the same as lists, the velocity also in ENU, `yaw_deg` counter-clockwise from east
    (REP-103) and `heading_deg` clockwise from north, as a compass.
    """
    pose, twist = message.pose.pose, message.twist.twist
    w, x, y, z = (
        pose.orientation.w,
        pose.orientation.x,
        pose.orientation.y,
        pose.orientation.z,
    )
    forward, left, up = twist.linear.x, twist.linear.y, twist.linear.z
    # v + 2 q_v × (q_v × v + w v): the rotation of v by q without building a matrix
    ax, ay, az = y * up - z * left, z * forward - x * up, x * left - y * forward
    bx, by, bz = ax + w * forward, ay + w * left, az + w * up
    velocity = (
        forward + 2.0 * (y * bz - z * by),
        left + 2.0 * (z * bx - x * bz),
        up + 2.0 * (x * by - y * bx),
    )
    yaw_deg = math.degrees(math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z)))
    heading_deg = _finite(90.0 - yaw_deg)[0]
    stamp = message.header.stamp
    return {
        "stamp": stamp.sec + stamp.nanosec * 1e-9,
        "position": _finite(pose.position.x, pose.position.y, pose.position.z),
        "velocity": _finite(*velocity),
        "velocity_body": _finite(forward, left, up),
        "quaternion": _finite(w, x, y, z),
        "yaw_deg": _finite(yaw_deg)[0],
        "heading_deg": None if heading_deg is None else heading_deg % 360.0,
        "angular_velocity": _finite(twist.angular.x, twist.angular.y, twist.angular.z),
    }


def battery_fields(message: BatteryState) -> dict[str, Any]:
    """Voltage in V and what remains, 0 to 1; null where the battery does not say."""
    voltage, remaining = _finite(message.voltage, message.percentage)
    return {"voltage_v": voltage, "remaining": remaining}


def state_fields(text: str) -> dict[str, Any]:
    """The controller's state from its JSON. Raises ValueError if it is not of that form."""
    state = json.loads(text)
    if not isinstance(state, dict):
        raise ValueError("the state is no JSON object")  # noqa: TRY004 - one error for all forms
    return {
        name: state[name] if type(state.get(name)) is type(default) else default
        for name, default in UNKNOWN_STATE.items()
    }


def lease_in_state(text: str) -> tuple[Lease | None, bool]:
    """The newest lease that the controller knows, and whether its pilot is there. Raises
    ValueError if the text is no state."""
    state = json.loads(text)
    given = state.get("lease") if isinstance(state, dict) else None
    if not isinstance(given, dict):
        return None, False
    try:
        return lease_of(given), given.get("present") is True
    except InvalidInputError as error:
        raise ValueError(error.message) from error


def _finite(*numbers: float) -> list[float | None]:
    """Micrometres are enough for anybody, and half the bytes; adding 0.0 makes -0.0 plain."""
    return [round(number, 6) + 0.0 if math.isfinite(number) else None for number in numbers]


class TelemetryHub:
    """Takes messages on the event loop's thread and gives the newest value to viewers."""

    def __init__(self, pulse: Pulse, clock: Callable[[], float] = time.monotonic) -> None:
        """`pulse` fires at every change; `clock` is monotonic seconds."""
        self._pulse = pulse
        self._clock = clock
        self._odometry: dict[str, Any] | None = None
        self._odometry_at = -math.inf
        self._state = UNKNOWN_STATE
        self._state_at = -math.inf
        self._battery: dict[str, Any] | None = None
        self._version = 0
        self._encoded, self._encoded_version = "", -1
        self._unconfirmed = False
        self._resumed_at = math.inf

    def update_odometry(self, message: Odometry) -> None:
        """Take a new pose and twist."""
        self._odometry, self._odometry_at = odometry_fields(message), self._clock()
        self._resumed_at = min(self._resumed_at, self._odometry_at)
        self._changed()

    def update_battery(self, message: BatteryState) -> None:
        """Take a new battery report."""
        self._battery = battery_fields(message)
        self._changed()

    def update_state(self, fields: dict[str, Any]) -> None:
        """Take a new state, as `state_fields` gives it."""
        self._state, self._state_at = fields, self._clock()
        self._unconfirmed = self._unconfirmed and fields["connected"]
        self._changed()

    def forget_vehicle(self) -> None:
        """The vehicle is known to have ended: nothing said so far speaks for the next one.

        Its successor's first position can pass through a controller that has not noticed the
        change, says `connected` still, and drops what it is told when it does notice. So the
        controller must have said that it lost the vehicle, or have had time enough to.
        """
        self._state_at = self._odometry_at = -math.inf
        self._unconfirmed, self._resumed_at = True, math.inf
        self._changed()

    def _changed(self) -> None:
        self._version += 1
        self._pulse.fire()

    @property
    def connected(self) -> bool:
        """Whether a vehicle is telling its position now."""
        now = self._clock()
        if self._unconfirmed and now - self._resumed_at < UNNOTICED_S:
            return False
        return bool(
            now - self._odometry_at < ODOMETRY_SILENCE_S
            and now - self._state_at < STATE_SILENCE_S
            and self._state["connected"]
        )

    def latest(self) -> dict[str, Any] | None:
        """The newest telemetry; None until a vehicle has told its position once.

        `stamp` is the controller's wall clock; `age_s` counts from the arrival here, on a clock
        that nobody sets.
        """
        if self._odometry is None:
            return None
        now = self._clock()
        state = self._state
        if (silence := now - self._state_at) > STATE_SILENCE_S:
            spoken = "has not reported" if math.isinf(silence) else f"is silent for {silence:.0f} s"
            state = UNKNOWN_STATE | {"message": f"The controller {spoken}."}
        age = now - self._odometry_at
        return {
            **self._odometry,
            "age_s": round(age, 4) if math.isfinite(age) else None,
            **state,
            "battery": self._battery,
        }

    def latest_json(self) -> str | None:
        """The same as JSON. All but the age is encoded once for all viewers: with hundreds of them
        the encoding would keep the pilot's frames waiting."""
        if self._odometry is None:
            return None
        now = self._clock()
        if now - self._state_at > STATE_SILENCE_S:  # its words change with time
            return json.dumps(self.latest(), allow_nan=False)
        if self._encoded_version != self._version:
            fields = {**self._odometry, **self._state, "battery": self._battery}
            self._encoded = json.dumps(fields, allow_nan=False)[:-1]
            self._encoded_version = self._version
        age = now - self._odometry_at
        known = f"{age:.4f}" if math.isfinite(age) else "null"
        return f'{self._encoded}, "age_s": {known}}}'

    async def stream(self, hz: float) -> AsyncIterator[dict[str, Any]]:
        """Yield the newest value at most `hz` times a second, and never an older one.

        With nothing new for a second the last value comes again, with the age it has by then.
        """
        async for _ in self._ticks(hz):
            if (value := self.latest()) is not None:
                yield value

    async def stream_json(self, hz: float) -> AsyncIterator[str]:
        """The same as JSON, for many viewers."""
        async for _ in self._ticks(hz):
            if (text := self.latest_json()) is not None:
                yield text

    async def _ticks(self, hz: float) -> AsyncIterator[None]:
        """When a viewer is to be told something."""
        period = 1.0 / hz
        loop = asyncio.get_running_loop()
        deadline = loop.time()
        seen = -1
        while True:
            if seen == self._version or self._odometry is None:
                await self._pulse.wait(_REFRESH_S)
            if self._odometry is None:
                continue
            seen = self._version
            yield
            deadline = max(deadline + period, loop.time())
            await asyncio.sleep(deadline - loop.time())
