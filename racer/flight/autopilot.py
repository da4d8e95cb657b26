"""What the controller needs of an autopilot link, whoever provides it."""

from __future__ import annotations

from typing import Protocol

from racer.errors import UnavailableError
from racer.flight.commands import Setpoint

TAKEOFF_HEIGHT_M = 2.5


class AutopilotError(UnavailableError):
    """The vehicle refused a request or did not answer it; the message says which."""


class Autopilot(Protocol):
    """Requests to the vehicle. Each returns when the vehicle has acknowledged it and raises
    AutopilotError otherwise; what it then really does, its heartbeat tells.

    Cancelling one waits for the acknowledgement first, so that a request is never in flight
    while the next command already acts.
    """

    @property
    def streaming(self) -> bool:
        """Whether setpoints are being repeated to the vehicle."""

    @property
    def mode_refusals(self) -> int:
        """How often the vehicle has refused a mode change, counted from the start."""

    async def arm(self) -> None:
        """Start the motors."""

    async def disarm(self) -> None:
        """Stop the motors; the vehicle refuses in the air."""

    async def take_off(self) -> None:
        """Climb to TAKEOFF_HEIGHT_M; the vehicle must be armed."""

    async def land(self) -> None:
        """Land here and disarm."""

    async def hold(self) -> None:
        """Stop repeating setpoints and have the vehicle brake and hold its place."""

    async def fly(self, setpoint: Setpoint) -> None:
        """Repeat this setpoint to the vehicle from now on, and ask for Offboard mode unless it
        is in it. Success does not mean that the mode changed: see `mode_refusals`."""

    async def steer(self, setpoint: Setpoint) -> None:
        """Send this setpoint now, for a vehicle that is in Offboard; never ask for the mode."""

    async def request_heartbeat(self) -> None:
        """Have the vehicle send its mode now rather than at the next full second."""

    async def stream_odometry(self, hz: float) -> None:
        """Ask for this rate of position and motion, without waiting for the answer."""
