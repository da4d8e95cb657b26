"""The one vehicle that MAVSDK found: its plugins, and raw commands to it."""

from __future__ import annotations

import json

from mavsdk.asyncio import System
from mavsdk.asyncio.plugins.action import ActionAsync
from mavsdk.asyncio.plugins.mavlink_direct import MavlinkDirectAsync, MavlinkMessage
from mavsdk.asyncio.plugins.offboard import OffboardAsync
from mavsdk.asyncio.plugins.param import ParamAsync

AUTOPILOT = 1  # MAV_COMP_ID_AUTOPILOT1


class Vehicle:
    """The system MAVSDK found and its plugins; they stay valid over losses and restarts."""

    def __init__(self, system: System, system_id: int) -> None:
        self.id = system_id
        self.action, self.offboard = ActionAsync(system), OffboardAsync(system)
        self.param, self.direct = ParamAsync(system), MavlinkDirectAsync(system)

    def command(self, command: int, *parameters: float) -> MavlinkMessage:
        """COMMAND_LONG to the autopilot, unused parameters zero."""
        padded = [*parameters, *[0.0] * (7 - len(parameters))]
        fields: dict[str, float] = {
            "target_system": self.id,
            "target_component": AUTOPILOT,
            "command": command,
            "confirmation": 0,
        } | {f"param{i}": value for i, value in enumerate(padded, start=1)}
        return MavlinkMessage("COMMAND_LONG", 0, 0, self.id, AUTOPILOT, json.dumps(fields))
