"""The controller's life: from opening the vehicle to leaving it holding.

One asyncio loop in the main thread owns everything (signals, MAVSDK, the pilot); rclpy has a
thread of its own and meets the loop at two points, see `racer.flight.ros_node`. A second process
watches that the loop does not hang, see `racer.flight.watchdog`.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from racer.flight.connect import open_vehicle
from racer.flight.controller import TICK_HZ, Controller
from racer.flight.hangar import Hangar
from racer.flight.ratekeeper import Ratekeeper
from racer.flight.recorder import Recorder
from racer.flight.rules import Rules
from racer.flight.topics import Topics
from racer.flight.watchdog import Watchdog

log = structlog.get_logger()


async def serve(
    url: str,
    hangar: Hangar,
    rules: Rules | None = None,
    *,
    topics: Topics,
    recorder: Recorder | None = None,
    watchdog: Watchdog | None = None,
) -> None:
    """Run the controller until SIGINT or SIGTERM.

    Raises ConfigurationError if the URL cannot be opened or its port is somebody else's, and
    RuntimeError when a part ended that should not have: what we would tell from then on would be
    old, so we leave the vehicle holding and end; who supervises us starts us anew.
    """
    stop = asyncio.Event()
    failures: list[BaseException] = []

    def fail(error: BaseException) -> None:
        failures.append(error)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with open_vehicle(url, fail, rules) as (pilot, monitor):
        log.info("listening for a vehicle", url=url)
        controller = Controller(
            pilot, monitor, hangar, fail, rules, topics=topics, recorder=recorder
        )
        try:
            async with _beating(watchdog):  # starting and leaving ROS may take as long as a hang
                try:
                    await controller.run(stop)
                finally:
                    await controller.settle()
        finally:
            controller.close()
        if failures:
            raise RuntimeError("a part of the controller ended") from failures[0]
    log.info("controller stopped")


@asynccontextmanager
async def _beating(watchdog: Watchdog | None) -> AsyncIterator[None]:
    """Tell the watchdog that the loop turns, until the end of the block."""
    if watchdog is None:
        yield
        return

    async def beat() -> None:
        keeper = Ratekeeper(TICK_HZ, asyncio.get_running_loop().time)
        while True:
            await keeper.wait()
            watchdog.beat()

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
        watchdog.close()
