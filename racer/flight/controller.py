"""The drone controller: ROS 2 commands in, a flying vehicle and its telemetry out.

One asyncio loop in the main thread owns everything (signals, MAVSDK, the pilot); rclpy has a
thread of its own and meets the loop at two points, see `racer.flight.ros_node`.
"""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from racer.errors import RacerError, UnavailableError
from racer.flight.commands import CommandRequest, CommandResult, parse_request
from racer.flight.connect import Fail, open_vehicle
from racer.flight.monitor import FlightMonitor, Update
from racer.flight.pilot import LoadPlan, Pilot
from racer.flight.plan import RacePlan, load_plan, run_folder
from racer.flight.px4 import BatterySample, OdometrySample
from racer.flight.ros_node import ControllerNode

log = structlog.get_logger()

_STATE_PERIOD_S = 0.2
_LEAVE_S = 0.5  # for the last Hold: a supervisor waits 1 s for us
_STOPPING = "The controller is stopping."
_ODOMETRY_S = 1.0 / 30.0 - 0.002  # between publications: the vehicle tells more while it races


class Hangar:
    """Where the policies are, and which airframe the vehicle is."""

    def __init__(self, runs: Path, airframe: str) -> None:
        """`runs`: a folder with one folder a training run, named by its id."""
        self._runs = runs
        self._airframe = airframe
        # Not the event loop's threads: setpoints pass through those, and a disk may hang.
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="policies")

    async def fetch(self, policy: str) -> RacePlan:
        """The policy of that run. Raises RacerError; checks and loads off the event loop."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._loader, self._fetch, policy)

    def _fetch(self, policy: str) -> RacePlan:
        try:
            return load_plan(run_folder(self._runs, policy), airframe=self._airframe)
        except OSError as error:
            raise UnavailableError(f"The policy cannot be read: {error.strerror}.") from error


class Controller:
    """Joins the node, the pilot and the monitor."""

    def __init__(self, pilot: Pilot, monitor: FlightMonitor, hangar: Hangar, fail: Fail) -> None:
        """`fail` is told what ended that should not have."""
        self._pilot = pilot
        self._hangar = hangar
        self._told_s = 0.0  # the vehicle's stamp of the last published odometry
        self._monitor = monitor
        self._node = ControllerNode(self._on_command, fail)
        self._flights: set[asyncio.Task[None]] = set()
        self._closing = False
        self._closed = False  # nothing can be published any more
        monitor.listen(self._publish)

    def _publish(self, update: Update) -> None:
        if self._closed:
            return
        if isinstance(update, OdometrySample):
            if not 0.0 <= update.stamp_s - self._told_s < _ODOMETRY_S:
                self._told_s = update.stamp_s
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
        if self._closing:  # it would start after the last Hold
            self._answer(CommandResult(request.command, False, _STOPPING, request.id))
            return
        task = asyncio.get_running_loop().create_task(self._fly(request))
        self._flights.add(task)
        task.add_done_callback(self._flights.discard)

    async def _fly(self, request: CommandRequest) -> None:
        command = request.command
        try:
            result = await self._pilot.execute(command, load=self._load(request))
        except asyncio.CancelledError:
            self._answer(CommandResult(command, False, _STOPPING, request.id))
            raise
        except Exception:  # the last edge: whatever broke, the sender gets its one answer
            log.exception("command failed", command=command)
            result = CommandResult(command, False, "The controller failed; its log says how.")
        self._answer(replace(result, id=request.id))

    def _load(self, request: CommandRequest) -> LoadPlan | None:
        return partial(self._hangar.fetch, request.policy) if request.policy else None

    def _answer(self, result: CommandResult) -> None:
        level = log.info if result.ok else log.warning
        level("command", command=result.command, ok=result.ok, message=result.message)
        if not self._closed:
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
        self._closing = True
        for flight in self._flights:
            flight.cancel()
        # Waited for, not cancelled: a request that is on its way cannot be taken back.
        leaving = asyncio.create_task(self._leave())
        await asyncio.wait([leaving], timeout=_LEAVE_S)
        if not leaving.done():
            log.warning("the vehicle did not confirm Hold", error="no answer in time")
        self._closed = True
        self._node.close()

    async def _leave(self) -> None:
        if self._flights:
            await asyncio.wait(self._flights)
        try:
            await self._pilot.leave()
        except RacerError as error:
            log.warning("the vehicle did not confirm Hold", error=error.message)


async def serve(url: str, hangar: Hangar) -> None:
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
    async with open_vehicle(url, fail) as (pilot, monitor):
        log.info("listening for a vehicle", url=url)
        controller = Controller(pilot, monitor, hangar, fail)
        try:
            await controller.run(stop)
        finally:
            await controller.close()
        if failures:
            raise RuntimeError("a part of the controller ended") from failures[0]
    log.info("controller stopped")
