"""Setpoints in our frames to MAVSDK's: NED for the world, FRD for the body, degrees for angles."""

from __future__ import annotations

from collections.abc import Awaitable
from math import degrees

from mavsdk.asyncio.plugins.offboard import (
    AttitudeRate,
    OffboardAsync,
    PositionNedYaw,
    VelocityBodyYawspeed,
)

from racer.flight.autopilot import AutopilotError
from racer.flight.commands import BodyRates, BodyVelocity, Setpoint, is_finite


def put(offboard: OffboardAsync, setpoint: Setpoint) -> Awaitable[None]:
    """Hand a setpoint to MAVSDK, which sends it at once and repeats it at 20 Hz.

    `VelocityBodyYawspeed` is in the body's level frame: the vehicle turns it by its own heading at
    the moment it arrives. Raises AutopilotError for a number that is not finite: the last place
    where one could be stopped.
    """
    if not is_finite(setpoint):
        raise AutopilotError(f"A setpoint that is no finite number was not sent: {setpoint}.")
    sent: Awaitable[None]
    if isinstance(setpoint, BodyVelocity):
        sent = offboard.set_velocity_body(
            VelocityBodyYawspeed(
                setpoint.forward_m_s,
                -setpoint.left_m_s,
                -setpoint.up_m_s,
                -degrees(setpoint.yaw_rate_rad_s),
            )
        )
    elif isinstance(setpoint, BodyRates):
        sent = offboard.set_attitude_rate(
            AttitudeRate(
                degrees(setpoint.roll_rad_s),
                -degrees(setpoint.pitch_rad_s),
                -degrees(setpoint.yaw_rad_s),
                setpoint.collective,
            )
        )
    else:
        compass_deg = 90.0 - degrees(setpoint.yaw_rad)
        sent = offboard.set_position_ned(
            PositionNedYaw(setpoint.north_m, setpoint.east_m, -setpoint.up_m, compass_deg)
        )
    return sent
