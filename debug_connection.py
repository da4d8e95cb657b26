"""Can I reach the autopilot? Prints what it finds; exit code 0 if a vehicle answers, else 1."""

from __future__ import annotations

import asyncio
import sys

from racer.errors import ConfigurationError
from racer.flight.connect import open_vehicle
from racer.flight.state import no_vehicle
from racer.process import configure_logging
from racer.settings import get_settings

_PATIENCE_S = 5.0  # PX4 sends its heartbeat every second from boot on


async def look(url: str) -> bool:
    """Listen on `url` and print what the vehicle tells about itself."""
    print(f"Listening on {url} for up to {_PATIENCE_S:.0f} s ...", flush=True)
    async with open_vehicle(url) as (_, monitor):
        if not await monitor.wait_for(lambda: monitor.state.connected, timeout_s=_PATIENCE_S):
            print(no_vehicle(url))
            print(
                "If one is running: does it send to this machine and port? "
                "A firewall or a container's network may be in between."
            )
            return False
        print(f"Vehicle found: mode {monitor.state.mode}, armed {monitor.state.armed}.")
        if not await monitor.wait_for(lambda: monitor.odometry is not None, timeout_s=_PATIENCE_S):
            print("It sends no position (ODOMETRY): is its estimator running?")
            return False
        east, north, up = monitor.odometry.position if monitor.odometry else (0.0, 0.0, 0.0)
        print(f"Position: {east:.2f} m east, {north:.2f} m north, {up:.2f} m up of its origin.")
        ready = await monitor.wait_for(lambda: monitor.state.ready, timeout_s=_PATIENCE_S)
        print("Ready to arm." if ready else f"Not ready to arm: {monitor.state.message}")
        return True


def main() -> int:
    """Exit code: 0 if a vehicle answers with a position, 1 if not."""
    configure_logging("WARNING", program="debug_connection")
    try:
        return 0 if asyncio.run(look(get_settings().effective_autopilot_url)) else 1
    except ConfigurationError as error:
        print(error.message)
        return 1


if __name__ == "__main__":
    sys.exit(main())
