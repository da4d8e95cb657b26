"""Take off, hover, land: the shortest flight through the same pilot that the controller uses.

Needs a vehicle and the port for itself: stop the controller first. Exit code 0 if it all worked.
"""

from __future__ import annotations

import asyncio
import sys

from racer.errors import ConfigurationError
from racer.flight.commands import Command
from racer.flight.connect import open_vehicle
from racer.flight.state import Landed, no_vehicle
from racer.process import configure_logging
from racer.settings import get_settings

_PATIENCE_S = 10.0
_HOVER_S = 3.0


async def fly(url: str) -> bool:
    """Fly it; prints each step. Lands even when the flight is interrupted in between."""
    async with open_vehicle(url) as (pilot, monitor):
        if not await monitor.wait_for(lambda: monitor.state.connected, timeout_s=_PATIENCE_S):
            print(no_vehicle(url))
            return False
        landed_known = monitor.wait_for(
            lambda: monitor.state.landed is not Landed.UNKNOWN, timeout_s=_PATIENCE_S
        )
        if not await landed_known or monitor.state.in_air:
            print("The vehicle is not standing on the ground: left alone.")
            return False
        print("Connected. Taking off ...", flush=True)
        try:
            result = await pilot.execute(Command.TAKEOFF)
            print(result.message, flush=True)
            if result.ok:
                await asyncio.sleep(_HOVER_S)
                print(f"Hovered {_HOVER_S:.0f} s, now at {monitor.height_m:.2f} m.", flush=True)
        finally:
            print("Landing ...", flush=True)
            landing = await pilot.execute(Command.LAND)
            print(landing.message, flush=True)
        return result.ok and landing.ok


def main() -> int:
    """Exit code: 0 after a complete flight, 1 otherwise."""
    configure_logging("WARNING", program="minimal_test")
    try:
        return 0 if asyncio.run(fly(get_settings().effective_autopilot_url)) else 1
    except ConfigurationError as error:
        print(error.message)
    except KeyboardInterrupt:
        print("Interrupted.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
