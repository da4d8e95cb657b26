"""The ROS 2 node beside the autopilot: /control_commands -> MAVSDK -> PX4.

`python drone_controller.py` runs until Ctrl-C. It finds the vehicle by itself, whenever one comes,
and flies PX4 SITL, a real PX4 or the embedded vehicle alike. Started beside a web service that runs
a controller of its own (STACK=auto), it takes that one's place. See docs/controller.md.
"""

from __future__ import annotations

import asyncio
import os
import sys
from math import hypot, radians

from racer.errors import ConfigurationError
from racer.flight.authority import Patience
from racer.flight.fence import Fence, SpeedLimits
from racer.flight.handover import take_over
from racer.flight.middleware import ros_environment
from racer.flight.ports import port_conflict
from racer.flight.recorder import Recorder, fork_recorder
from racer.flight.rules import Rules
from racer.flight.topics import Topics, topics_of
from racer.flight.watchdog import Watchdog, fork_watchdog
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
        topics = topics_of(settings.vehicle_instance)
        recorder = _recorder(settings, topics)  # both before anything starts a thread
        watchdog = fork_watchdog()
        os.environ.update(
            ros_environment(
                settings.ros_domain_id, settings.ros_automatic_discovery_range, os.environ
            )
        )
        asyncio.run(_serve(settings, topics, recorder, watchdog))
    except ConfigurationError as error:
        print(f"drone_controller: {error.message}", file=sys.stderr)
        return 1
    return 0


async def _serve(
    settings: Settings, topics: Topics, recorder: Recorder | None, watchdog: Watchdog
) -> None:
    # After the forks, and after the environment that rclpy reads is set.
    from racer.flight.hangar import Hangar  # noqa: PLC0415
    from racer.flight.serving import serve  # noqa: PLC0415

    url = settings.effective_autopilot_url
    if not is_supervised() and port_conflict(url):
        await take_over(settings.vehicle_instance)
    places = [settings.data_dir / "runs", settings.data_dir / "policies"]
    hangar = Hangar(places, settings.airframe)
    rules = _rules(settings)
    await serve(url, hangar, rules, topics=topics, recorder=recorder, watchdog=watchdog)


def _recorder(settings: Settings, topics: Topics) -> Recorder | None:
    if settings.flight_recordings_mb == 0:
        return None
    max_bytes = settings.flight_recordings_mb * 10**6
    wind = hypot(settings.vehicle_wind_east, settings.vehicle_wind_north)
    about = {"airframe": settings.airframe, "wind_speed_m_s": f"{wind:.3f}"}
    return fork_recorder(settings.data_dir / "flights", topics, max_bytes=max_bytes, about=about)


def _rules(settings: Settings) -> Rules:
    return Rules(
        fence=Fence(
            west_m=settings.fence_west_m,
            east_m=settings.fence_east_m,
            south_m=settings.fence_south_m,
            north_m=settings.fence_north_m,
            floor_m=settings.fence_floor_m,
            ceiling_m=settings.fence_ceiling_m,
            distance_m=settings.fence_distance_m,
        ),
        limits=SpeedLimits(
            horizontal_m_s=settings.max_speed_m_s,
            vertical_m_s=settings.max_climb_m_s,
            yaw_rate_rad_s=radians(settings.max_yaw_rate_deg_s),
        ),
        patience=Patience(pilot_s=settings.pilot_silence_s, landing_s=settings.pilot_lost_land_s),
    )


if __name__ == "__main__":
    leave(main())
