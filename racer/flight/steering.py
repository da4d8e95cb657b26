"""Flight by hand, after it has begun: every setpoint within the limits and the geofence.

Asked again with every odometry sample, also when the pilot asks for nothing new: MAVSDK repeats
the last setpoint for ever, and a vehicle that flies on as told reaches the fence all the same.
"""

from __future__ import annotations

import asyncio
from math import inf

import structlog

from racer.errors import RacerError
from racer.flight.autopilot import Autopilot, AutopilotError
from racer.flight.commands import BodyVelocity
from racer.flight.fence import Fence, SpeedLimits, clamped, kept_inside
from racer.flight.monitor import FlightMonitor, Update
from racer.flight.px4 import OdometrySample
from racer.flight.race import yaw_of

log = structlog.get_logger()

BLIND_S = 0.5  # without a position the vehicle is not steered any more
_SAME = 0.02  # m/s and rad/s: less of a change is not sent


class Steering:
    """Keeps one wish of the pilot's and what was sent for it. Lives on the event loop."""

    def __init__(
        self, autopilot: Autopilot, monitor: FlightMonitor, fence: Fence, limits: SpeedLimits
    ) -> None:
        self._autopilot, self._monitor = autopilot, monitor
        self._fence, self._limits = fence, limits
        self._wanted: BodyVelocity | None = None
        self._sent = BodyVelocity()
        self._next: BodyVelocity | None = None  # waits for the one that is on its way
        self._sending: asyncio.Task[None] | None = None
        self._now = asyncio.get_running_loop().time
        self._seen_s = -inf  # when the last position came
        self.taken = False  # it flew by hand, and something else ended that
        monitor.listen(self._on_update)

    @property
    def active(self) -> bool:
        """Whether the vehicle flies by hand."""
        return self._wanted is not None

    @property
    def blind(self) -> bool:
        """Whether the vehicle flies by hand and has not told its position for too long."""
        return self.active and self._now() - self._seen_s > BLIND_S

    def allowed(self, wanted: BodyVelocity) -> BodyVelocity:
        """The wish within limits and fence. Raises AutopilotError without a position."""
        sample = self._monitor.odometry
        if sample is None or self._now() - self._seen_s > BLIND_S:
            raise AutopilotError("The vehicle does not tell its position.")
        return kept_inside(
            clamped(wanted, self._limits),
            self._fence,
            place=(*sample.position[:2], self._monitor.height_m),
            velocity=sample.velocity,
            yaw=yaw_of(sample.quaternion),
        )

    def begin(self, wanted: BodyVelocity, sent: BodyVelocity) -> None:
        """The vehicle is in Offboard and was sent `sent` for this wish."""
        self._wanted, self._sent, self.taken = wanted, sent, False

    def steer(self, wanted: BodyVelocity) -> None:
        """A new wish, sent at once."""
        self._wanted = wanted
        self._update(always=True)

    async def end(self) -> None:
        """Nothing is sent any more once this returns."""
        self._wanted = self._next = None
        if self._sending is not None:
            await asyncio.wait([self._sending])

    def _on_update(self, update: Update) -> None:
        if isinstance(update, OdometrySample):
            self._seen_s = self._now()
        if self._wanted is None:
            return
        if self._monitor.state.mode != "OFFBOARD":
            self._wanted = self._next = None
            self.taken = self._monitor.state.connected  # else it was lost
            if self.taken and self._monitor.state.mode == "HOLD":
                self._hand_on(BodyVelocity())  # if it returns to Offboard, it stands still
        elif isinstance(update, OdometrySample):
            self._update(always=False)

    def _update(self, *, always: bool) -> None:
        if self._wanted is None:
            return
        try:
            setpoint = self.allowed(self._wanted)
        except AutopilotError:
            setpoint = BodyVelocity()  # blind: stand still
        if always or _differ(setpoint, self._sent):
            self._hand_on(setpoint)

    def _hand_on(self, setpoint: BodyVelocity) -> None:
        self._next = setpoint
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._next is not None:
            self._sent, self._next = self._next, None
            try:
                await self._autopilot.steer(self._sent)
            except RacerError as error:
                log.warning("a setpoint was not sent", error=error.message)


def _differ(a: BodyVelocity, b: BodyVelocity) -> bool:
    return (
        max(
            abs(a.forward_m_s - b.forward_m_s),
            abs(a.left_m_s - b.left_m_s),
            abs(a.up_m_s - b.up_m_s),
            abs(a.yaw_rate_rad_s - b.yaw_rate_rad_s),
        )
        > _SAME
    )
