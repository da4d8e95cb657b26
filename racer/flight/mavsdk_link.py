"""The link to a PX4 vehicle through MAVSDK 4 (`mavsdk.asyncio`, native, no server process).

- Reads raw MAVLink through `mavlink_direct` rather than the telemetry plugin: HEARTBEAT carries
  mode, armed and failsafe in one message, ODOMETRY the whole motion of one instant at 30 Hz, and
  COMMAND_ACK the second, true answer to a mode change. It costs 1.4 % of a core instead of 1.9 %.
- Writes through the action, offboard and param plugins, which acknowledge and retransmit.
- Lives as long as the controller. MAVSDK keeps its socket and finds the vehicle again by itself;
  what a restarted vehicle forgot (rates, parameters) is set again at each first heartbeat.
- MAVSDK repeats the last setpoint from its own thread. Losing the vehicle therefore stops the
  repetition at once: PX4 would return to Offboard with the first setpoint it hears again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import aclosing
from typing import Any

import structlog
from mavsdk.asyncio import ComponentType, Configuration, Mavsdk, MavsdkError
from mavsdk.asyncio.plugins.action import ActionError
from mavsdk.asyncio.plugins.mavlink_direct import MavlinkMessage
from mavsdk.logging import LogLevel, log_subscribe, log_unsubscribe

from racer.errors import ConfigurationError
from racer.flight import px4
from racer.flight.autopilot import TAKEOFF_HEIGHT_M, AutopilotError
from racer.flight.commands import Setpoint
from racer.flight.mavsdk_setpoints import put
from racer.flight.mavsdk_vehicle import AUTOPILOT, Vehicle
from racer.flight.monitor import FlightMonitor
from racer.flight.state import LinkLost

log = structlog.get_logger()

ODOMETRY_HZ = 30.0  # unless a policy flies
_ODOMETRY = 331
_RATES_HZ = {_ODOMETRY: ODOMETRY_HZ, 245: 10.0, 147: 1.0}  # EXTENDED_SYS_STATE, BATTERY_STATUS
_REQUEST_MESSAGE, _SET_MESSAGE_INTERVAL, _DO_SET_MODE = 512, 511, 176  # MAV_CMD
_LOSS_HOLD, _LOSS_S = 5, 1.0  # PX4: hold when setpoints have been missing for 1 s
_LOW_BATTERY_LAND = 2  # PX4: land at the critical level; a Return would first climb over the course
_UNANSWERED_S = 5.0  # MAVSDK itself gives up on an unanswered request after about 2 s
_REBOOT_MS = 1000  # the vehicle's clock jumping back by more than this is a restart

Fail = Callable[[BaseException], None]
_Call = Callable[[Vehicle], Awaitable[object]]


class MavsdkLink:
    """An `Autopilot` over MAVSDK; feeds a FlightMonitor. Use as an async context manager."""

    def __init__(self, url: str, monitor: FlightMonitor, fail: Fail | None = None) -> None:
        """`fail` is told when a part of the link ended that should not have."""
        self._url = url
        self._fail = fail
        self._monitor = monitor
        self._texts = px4.TextAssembler()
        self._tasks: set[asyncio.Task[None]] = set()
        self._vehicle: Vehicle | None = None
        self._stopping: asyncio.Task[None] | None = None  # requests come after it
        self._setpoint: asyncio.Future[None] | None = None  # the last one handed to MAVSDK
        self._requests: set[asyncio.Future[object]] = set()  # in MAVSDK's threads now
        self._known = False
        self._boot_ms = 0
        self.streaming = False
        self.mode_refusals = 0

    async def __aenter__(self) -> MavsdkLink:
        """Open the connection; the vehicle may come at any later time."""
        log_subscribe(_log_mavsdk)  # it would write to stdout
        configuration = Configuration.create_with_component_type(ComponentType.GROUND_STATION)
        self._mavsdk = Mavsdk(configuration)
        try:
            await self._mavsdk.add_any_connection(self._url)
        except MavsdkError as error:
            self._mavsdk.destroy()
            log_unsubscribe()
            raise ConfigurationError(
                f"Cannot open {self._url}: {error}. AUTOPILOT_URL wants for example "
                "udpin://0.0.0.0:14540, tcpout://host:5760 or serial:///dev/ttyUSB0:57600."
            ) from error
        self._spawn(self._serve())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Unsubscribe from everything, then free MAVSDK: its callbacks need the loop alive, and a
        thread that still waits for the vehicle's answer then would wait for ever."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._requests:
            await asyncio.wait(self._requests, timeout=_UNANSWERED_S)
        self._mavsdk.destroy()
        log_unsubscribe()

    # -- requests ---------------------------------------------------------------------------

    async def arm(self) -> None:
        """Start the motors."""
        await self._request("arming", lambda v: v.action.arm())

    async def disarm(self) -> None:
        """Stop the motors; PX4 refuses in the air."""
        await self._request("disarming", lambda v: v.action.disarm())

    async def take_off(self) -> None:
        """Climb to MIS_TAKEOFF_ALT."""
        await self._request("taking off", lambda v: v.action.takeoff())

    async def land(self) -> None:
        """Land here and disarm."""
        await self._request("landing", lambda v: v.action.land())

    async def hold(self) -> None:
        """Stop repeating setpoints, brake and hold."""
        streaming, self.streaming = self.streaming, False
        if streaming:
            await self._request("holding", lambda v: v.offboard.stop())
        else:
            await self._request("holding", lambda v: v.action.hold())

    async def fly(self, setpoint: Setpoint) -> None:
        """Repeat this setpoint at 20 Hz; ask for Offboard unless the vehicle is in it."""
        in_offboard = self.streaming and self._monitor.state.mode == "OFFBOARD"
        await self.steer(setpoint)
        if not in_offboard:
            await self._request("Offboard", lambda v: v.offboard.start())

    async def steer(self, setpoint: Setpoint) -> None:
        """Send this setpoint now, and again at 20 Hz until the next."""

        def send(vehicle: Vehicle) -> Awaitable[object]:
            self._setpoint = asyncio.ensure_future(put(vehicle.offboard, setpoint))
            self.streaming = True  # from the first setpoint on, before Offboard is asked for
            self._monitor.steered(setpoint)
            return self._setpoint

        await self._request("steering", send)

    async def request_heartbeat(self) -> None:
        """Ask for HEARTBEAT now; no harm if the vehicle does not know the request."""
        await self._request(
            "its mode", lambda v: v.direct.send_message(v.command(_REQUEST_MESSAGE, 0.0))
        )

    async def stream_odometry(self, hz: float) -> None:
        """Ask for ODOMETRY at this rate; a vehicle that does not grant it still flies.

        Sent without waiting for an acknowledgement: MAVSDK's thread that waits for one never ends
        if MAVSDK is destroyed meanwhile, and the program could not exit.
        """
        try:
            await self._request(
                "its telemetry", lambda v: v.direct.send_message(_interval(v, _ODOMETRY, hz))
            )
        except AutopilotError as error:
            log.debug("telemetry rate not asked for", error=error.message)

    async def _request(self, what: str, call: _Call) -> None:
        """Run one MAVSDK request to its end, however often it is cancelled: its thread cannot be
        stopped, and whatever comes next must find it done."""
        while self._stopping is not None and not self._stopping.done():
            await asyncio.wait([self._stopping])
        if self._vehicle is None or not self._known:
            raise AutopilotError(f"No vehicle to ask for {what}.")
        request = self._begin(call(self._vehicle))
        cancelled: asyncio.CancelledError | None = None
        while not request.done():
            try:
                await asyncio.wait([request])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled
        try:
            request.result()
        except ActionError as error:
            reason = error.result.name.replace("_", " ").lower()
            raise AutopilotError(f"The vehicle did not accept {what}: {reason}.") from error
        except MavsdkError as error:
            raise AutopilotError(f"The vehicle did not accept {what}: {error}.") from error

    def _begin(self, work: Awaitable[object]) -> asyncio.Future[object]:
        """Have MAVSDK's thread begin it. Nobody may wait for it in the end: its error counts as
        seen."""
        request = asyncio.ensure_future(work)
        self._requests.add(request)

        def done(request: asyncio.Future[object]) -> None:
            self._requests.discard(request)
            _ = request.cancelled() or request.exception()

        request.add_done_callback(done)
        return request

    # -- the vehicle's life -----------------------------------------------------------------

    async def _serve(self) -> None:
        """Wait for the vehicle, then read it for ever."""
        system = await self._mavsdk.first_autopilot(timeout_s=-1.0)
        if system is None:  # destroyed while waiting
            return
        vehicle = self._vehicle = Vehicle(system, await system.get_system_id())
        self._spawn(self._watch_link(system.is_connected_state()))
        for name, handle in (
            ("HEARTBEAT", lambda m: self._on_heartbeat(vehicle, m)),
            ("EXTENDED_SYS_STATE", lambda m: self._monitor.apply(px4.landed(m))),
            ("ODOMETRY", self._on_odometry),
            ("BATTERY_STATUS", lambda m: self._monitor.observe(px4.battery(m))),
            ("STATUSTEXT", self._on_text),
            ("SYSTEM_TIME", self._on_time),
            ("COMMAND_ACK", self._on_ack),
        ):
            self._spawn(self._read(vehicle, name, handle))

    async def _read(
        self, vehicle: Vehicle, name: str, handle: Callable[[px4.Fields], None]
    ) -> None:
        """Hand each message `name` of the autopilot to `handle`; drop bad ones, say so once."""
        complained = False
        async with aclosing(vehicle.direct.subscribe_message(name)) as messages:
            async for message in messages:
                if message.component_id != AUTOPILOT or message.system_id != vehicle.id:
                    continue
                try:
                    handle(json.loads(message.fields_json))
                except (KeyError, TypeError, ValueError) as error:
                    if not complained:
                        log.warning("unreadable message", name=name, error=repr(error))
                    complained = True
        raise RuntimeError(f"the vehicle's {name} ended")  # we unsubscribe by cancelling only

    async def _watch_link(self, states: AsyncGenerator[bool, None]) -> None:
        """MAVSDK calls the vehicle gone after 3 s without a heartbeat."""
        async with aclosing(states) as connected_states:
            async for connected in connected_states:
                if not connected:
                    await self._lost("No heartbeat from the vehicle for 3 s")

    async def _lost(self, why: str) -> None:
        if not self._known:
            return
        self._known, self._boot_ms = False, 0
        log.warning("vehicle lost", why=why, url=self._url, advice="waiting for it to come back")
        self._monitor.apply(LinkLost())
        if self.streaming and self._vehicle is not None:
            self.streaming = False
            self._stopping = self._spawn(self._stop_repeating(self._vehicle))

    async def _stop_repeating(self, vehicle: Vehicle) -> None:
        """MAVSDK stops its setpoints before it asks for Hold, which may go unanswered. A setpoint
        still on its way into MAVSDK comes first: after the stop it would begin the repetition
        anew."""
        if self._setpoint is not None:
            await asyncio.wait([self._setpoint])
        try:
            await asyncio.shield(self._begin(vehicle.offboard.stop()))
        except MavsdkError as error:
            log.debug("hold unanswered", error=str(error))

    async def _configure(self, vehicle: Vehicle) -> None:
        """Set what we rely on; a vehicle that does not know one of these still flies."""
        for message_id, rate_hz in _RATES_HZ.items():
            await self._set_rate(vehicle, message_id, rate_hz)
        param = vehicle.param
        await self._try("COM_OBL_RC_ACT", param.set_param_int("COM_OBL_RC_ACT", _LOSS_HOLD))
        await self._try("COM_OF_LOSS_T", param.set_param_float("COM_OF_LOSS_T", _LOSS_S))
        await self._try("take-off height", vehicle.action.set_takeoff_altitude(TAKEOFF_HEIGHT_M))
        await self._try(
            "COM_LOW_BAT_ACT", param.set_param_int("COM_LOW_BAT_ACT", _LOW_BATTERY_LAND)
        )

    async def _set_rate(self, vehicle: Vehicle, message_id: int, hz: float) -> None:
        interval = _interval(vehicle, message_id, hz)
        await self._try("message rate", vehicle.direct.send_command(interval))

    async def _try(self, what: str, setting: Awaitable[object]) -> None:
        try:
            await asyncio.shield(self._begin(setting))
        except MavsdkError as error:
            log.warning("the vehicle did not take a setting", setting=what, error=str(error))

    # -- messages ---------------------------------------------------------------------------

    def _on_heartbeat(self, vehicle: Vehicle, fields: px4.Fields) -> None:
        self._monitor.apply(px4.heartbeat(fields))
        if not self._known:
            self._known = True
            log.info("vehicle connected", system_id=vehicle.id, url=self._url)
            self._spawn(self._configure(vehicle))

    def _on_odometry(self, fields: px4.Fields) -> None:
        sample = px4.odometry(fields)
        if self._known and sample is not None:
            self._monitor.observe(sample)

    def _on_text(self, fields: px4.Fields) -> None:
        if text := self._texts.add(fields):
            log.info("vehicle says", text=text.text, severity=text.severity)
            self._monitor.apply(text)

    def _on_time(self, fields: px4.Fields) -> None:
        boot_ms = fields["time_boot_ms"]
        restarted = boot_ms + _REBOOT_MS < self._boot_ms
        self._boot_ms = boot_ms
        if restarted:
            self._spawn(self._lost("The vehicle restarted"))

    def _on_ack(self, fields: px4.Fields) -> None:
        """A mode change gets two ACKs, the first always positive: a refusal is only in this."""
        if fields["command"] == _DO_SET_MODE and fields["result"] != 0:
            self.mode_refusals += 1

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("part of the link ended", error=repr(error), exc_info=error)
            if self._fail is not None:
                self._fail(error)


def _interval(vehicle: Vehicle, message_id: int, hz: float) -> MavlinkMessage:
    return vehicle.command(_SET_MESSAGE_INTERVAL, float(message_id), 1e6 / hz)


def _log_mavsdk(level: LogLevel, message: str, _file: str | None, _line: int) -> bool:
    """MAVSDK's own log, for those who debug: what matters of it we say ourselves."""
    log.debug("mavsdk", text=message, severity=level.name)
    return True  # handled: MAVSDK prints nothing itself
