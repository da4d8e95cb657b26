"""The ROS 2 node beside the autopilot: /control_commands -> MAVSDK -> PX4.

`python drone_controller.py` runs until Ctrl-C. It finds the vehicle by itself, whenever one comes,
and flies PX4 SITL, a real PX4 or the embedded vehicle alike. Started beside a web service that runs
a controller of its own (STACK=auto), it takes that one's place. See docs/controller.md.
"""

from __future__ import annotations

import asyncio
import os
import sys

from racer.errors import ConfigurationError
from racer.flight.handover import take_over
from racer.flight.ports import port_conflict
from racer.process import configure_logging, die_with_parent, is_supervised, leave
from racer.settings import Settings, get_settings


def main() -> int:
    """Exit code: 0 after a signal, 1 if it cannot start (one line says why)."""
    die_with_parent()
    try:
        settings = get_settings()
        configure_logging(
            settings.log_level, program="drone_controller", log_format=settings.log_format
        )
        os.environ["ROS_DOMAIN_ID"] = str(settings.ros_domain_id)
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = settings.ros_automatic_discovery_range
        asyncio.run(_serve(settings))
    except ConfigurationError as error:
        print(f"drone_controller: {error.message}", file=sys.stderr)
        return 1
    return 0


async def _serve(settings: Settings) -> None:
    from racer.flight.controller import Hangar, serve  # noqa: PLC0415 - rclpy reads the environment

    url = settings.effective_autopilot_url
    if not is_supervised() and port_conflict(url):
        await take_over(settings.vehicle_instance)
    await serve(url, Hangar(settings.data_dir / "runs", settings.airframe))


if __name__ == "__main__":
    leave(main())
