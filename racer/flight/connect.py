"""Opening the way to a vehicle: the port looked at first, then link, monitor and pilot."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from racer.errors import ConfigurationError
from racer.flight.mavsdk_link import Fail, MavsdkLink
from racer.flight.monitor import FlightMonitor
from racer.flight.pilot import Pilot
from racer.flight.ports import earlier_holder, port_conflict
from racer.flight.rules import Rules

__all__ = ["Fail", "open_vehicle"]


@asynccontextmanager
async def open_vehicle(
    url: str, fail: Fail | None = None, rules: Rules | None = None
) -> AsyncIterator[tuple[Pilot, FlightMonitor]]:
    """A pilot and a monitor on the MAVSDK connection `url`; the vehicle may come later.

    `fail` is told when a part of the link ended that should not have: what is known is old then.
    Raises ConfigurationError if the URL cannot be opened or its port is somebody else's.
    """
    if conflict := port_conflict(url):
        raise ConfigurationError(conflict)
    monitor = FlightMonitor()
    async with MavsdkLink(url, monitor, fail) as link:
        if conflict := earlier_holder(url):
            raise ConfigurationError(conflict)
        yield Pilot(link, monitor, url=url, rules=rules), monitor
