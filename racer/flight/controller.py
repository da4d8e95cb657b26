"""The drone controller: ROS 2 commands in, a flying vehicle and its telemetry out.

One asyncio loop in the main thread owns everything (signals, MAVSDK, the pilot); rclpy has a
thread of its own and meets the loop at two points, see `racer.flight.ros_node`.
"""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace

import structlog

from racer.errors import RacerError
from racer.flight.commands import CommandRequest, CommandResult, parse_request
from racer.flight.connect import open_vehicle
from racer.flight.monitor import FlightMonitor, Update
from racer.flight.pilot import Pilot
from racer.flight.px4 import BatterySample, OdometrySample
from racer.flight.ros_node import ControllerNode

log = structlog.get_logger()

_STATE_PERIOD_S = 0.2
_LEAVE_S = 0.5  # for the last Hold: a supervisor waits 1 s for us


class Controller:
    """Joins the node, the pilot and the monitor."""

    def __init__(self, pilot: Pilot, monitor: FlightMonitor) -> None:
        self._pilot = pilot
        self._monitor = monitor
        self._node = ControllerNode(self._on_command)
        self._flights: set[asyncio.Task[None]] = set()
        monitor.listen(self._publish)

    def _publish(self, update: Update) -> None:
        if isinstance(update, OdometrySample):
            self._node.publish_odometry(update)
        elif isinstance(update, BatterySample):
            self._node.publish_battery(update)
        else:
            self._node.publish_state(update)

    def _on_command(self, text: str) -> None:
        request = parse_request(text)
        if isinstance(request, CommandResult):
            self._answer(request)
            return
        task = asyncio.get_running_loop().create_task(self._fly(request))
        self._flights.add(task)
        task.add_done_callback(self._flights.discard)

    async def _fly(self, request: CommandRequest) -> None:
        command = request.command
        try:
            result = await self._pilot.execute(command)
        except asyncio.CancelledError:
            self._answer(CommandResult(command, False, "The controller is stopping.", request.id))
            raise
        except Exception:  # the last edge: whatever broke, the sender gets its one answer
            log.exception("command failed", command=command)
            result = CommandResult(command, False, "The controller failed; its log says how.")
        self._answer(replace(result, id=request.id))

    def _answer(self, result: CommandResult) -> None:
        level = log.info if result.ok else log.warning
        level("command", command=result.command, ok=result.ok, message=result.message)
        self._node.publish_result(result)

    async def run(self, stop: asyncio.Event) -> None:
        """Repeat the state at 5 Hz, on absolute deadlines, until `stop`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time()
        while not stop.is_set():
            self._node.publish_state(self._monitor.state)
            deadline = max(deadline + _STATE_PERIOD_S, loop.time())
            try:
                async with asyncio.timeout_at(deadline):
                    await stop.wait()
            except TimeoutError:
                continue

    async def close(self) -> None:
        """Give every running command its result, have the vehicle hold, leave ROS."""
        for flight in self._flights:
            flight.cancel()
        try:
            async with asyncio.timeout(_LEAVE_S):
                await asyncio.gather(*self._flights, return_exceptions=True)
                await self._pilot.leave()
        except (TimeoutError, RacerError) as error:
            log.warning("the vehicle did not confirm Hold", error=str(error))
        self._node.close()


async def serve(url: str) -> None:
    """Run the controller until SIGINT or SIGTERM.

    Raises ConfigurationError if the URL cannot be opened or its port is somebody else's.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with open_vehicle(url) as (pilot, monitor):
        log.info("listening for a vehicle", url=url)
        controller = Controller(pilot, monitor)
        try:
            await controller.run(stop)
        finally:
            await controller.close()
    log.info("controller stopped")
