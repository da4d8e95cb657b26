"""The drone controller: ROS 2 commands in, a flying vehicle and its telemetry out.

Everything here is done in one asyncio loop; racer.flight.serving says what is around it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import structlog
from geometry_msgs.msg import TwistStamped

from racer.errors import InvalidInputError, RacerError
from racer.flight.admission import Admission, Repeated, parse_presence
from racer.flight.authority import Authority
from racer.flight.commands import (
    PREEMPTED,
    STICKS,
    BodyVelocity,
    Command,
    CommandRequest,
    CommandResult,
    StickRequest,
    is_finite,
    parse_request,
)
from racer.flight.connect import Fail
from racer.flight.hangar import Hangar
from racer.flight.monitor import FlightMonitor, Update
from racer.flight.pilot import LoadPlan, Pilot
from racer.flight.px4 import BatterySample, OdometrySample
from racer.flight.ratekeeper import Ratekeeper
from racer.flight.recorder import Recorder
from racer.flight.ros_node import ControllerNode, Ears
from racer.flight.rules import Rules
from racer.flight.state import OUR_MODES, FlightState, StatusText
from racer.flight.topics import Topics

log = structlog.get_logger()

TICK_HZ = 20.0
_STATE_TICKS = 4  # the state is told at 5 Hz, and when it changes
_AGAIN_S = 0.5  # between two Holds for the same silence
_FROZEN_S = 1.0  # without a tick: the process was stopped
_LEAVE_S = 0.5  # for the last Hold: a supervisor waits 1 s for us
_STOPPING = "The controller is stopping."
_ODOMETRY_S = 1.0 / 30.0 - 0.002  # between publications: the vehicle tells more while it races
_COMPLAIN_S = 1.0  # between answers to sticks that are refused: they come 50 times a second
_WARNING, _INFO = 4, 6  # syslog severities


class Controller:
    """Joins the node, the pilot, the monitor and who may fly."""

    def __init__(
        self,
        pilot: Pilot,
        monitor: FlightMonitor,
        hangar: Hangar,
        fail: Fail,
        rules: Rules | None = None,
        *,
        topics: Topics,
        recorder: Recorder | None = None,
    ) -> None:
        """`fail` is told what ended that should not have."""
        self._pilot = pilot
        self._hangar = hangar
        self._told_s = 0.0  # the vehicle's stamp of the last published odometry
        self._complained_s = 0.0  # about sticks
        self._monitor = monitor
        self._now = asyncio.get_running_loop().time
        self._ticked_s = self._now()
        self._silenced_s = -inf  # when a vehicle flown by hand was last told to hold
        self._authority = Authority((rules or Rules()).patience)
        self._admission = Admission(self._authority)
        self._lag_s = 0.0  # how late the loop ran at worst since the state was last told
        ears = Ears(self._on_command, self._on_presence, self._on_twist)
        self._node = ControllerNode(ears, fail, topics, recorder)
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
        elif isinstance(update, FlightState):
            self._tell_state(update)
        else:
            self._node.record_setpoint(update)

    def _tell_state(self, state: FlightState) -> None:
        lag_s, self._lag_s = self._lag_s, 0.0
        present = self._authority.present(self._now())
        self._node.publish_state(state, self._authority.lease, present=present, lag_s=lag_s)

    # -- what is heard

    def _notice_freeze(self) -> None:
        """Whether this process was stopped: the first to run again notices."""
        now_s = self._now()
        stopped_s, self._ticked_s = now_s - self._ticked_s, now_s
        if stopped_s > _FROZEN_S:
            log.warning("this process was stopped", for_s=round(stopped_s, 1))
            self._admission.thawed(now_s)

    def _on_command(self, text: str) -> None:
        self._notice_freeze()
        self._look_for_pilot()  # before this message could stand for one who is gone
        request = parse_request(text)
        if isinstance(request, CommandResult):
            self._answer(request)
        elif isinstance(request, StickRequest):
            self._on_sticks(request)
        elif self._closing:  # it would start after the last Hold
            self._answer(CommandResult(request.command, False, _STOPPING, request.id))
        else:
            self._admit(request)

    def _admit(self, request: CommandRequest) -> None:
        try:
            why = self._admission.admit(request, self._now())
        except Repeated as before:
            if before.result is not None:  # else its answer is still to come
                self._answer(before.result)
            return
        if why is not None:
            self._answer(CommandResult(request.command, False, why, request.id))
        else:
            self._spawn(self._fly(request))

    def _on_sticks(self, request: StickRequest) -> None:
        if self._closing:
            return
        now_s = self._now()
        why = self._admission.admit_sticks(request, now_s)
        if why is None:  # only then: another's sticks must not keep these from falling silent
            why = self._pilot.sticks_refused(request.velocity, now_s)
        elif request.velocity == BodyVelocity():
            return  # a joystick that lies there
        if why is None:
            self._admission.steered(request, now_s)
            self._spawn(self._steer(request))
        elif why:
            self._complain(CommandResult(STICKS, False, why, request.id))

    def _on_twist(self, twist: TwistStamped) -> None:
        """`/cmd_vel`: the frame is the body's, level, x forward, y left, z up; rad/s about z."""
        linear = twist.twist.linear
        velocity = BodyVelocity(linear.x, linear.y, linear.z, twist.twist.angular.z)
        if not is_finite(velocity):
            self._complain(CommandResult("cmd_vel", False, "A twist must be finite numbers."))
            return
        self._look_for_pilot()
        self._on_sticks(StickRequest(velocity))

    def _on_presence(self, text: str) -> None:
        try:
            lease, present = parse_presence(text)
        except InvalidInputError as error:
            log.warning("presence not understood", error=error.message)
            return
        self._authority.pilot(lease, present=present, now_s=self._now())
        self._look_for_pilot()

    # -- flying

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
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
        if command is Command.LAND and not result.ok and request.lease and self._flies:
            self._authority.commanded(request.lease, self._now())  # its pilot is needed again
        self._answer(replace(result, id=request.id))

    @property
    def _flies(self) -> bool:
        """Whether the vehicle is in the air, and ours."""
        state = self._monitor.state
        return state.connected and state.in_air and state.mode in (*OUR_MODES, "LAND", "TAKEOFF")

    async def _steer(self, request: StickRequest) -> None:
        try:
            refused = await self._pilot.steer(request.velocity)
        except Exception:  # likewise
            log.exception("sticks failed")
            refused = CommandResult(STICKS, False, "The controller failed; its log says how.")
        if refused is not None:
            self._complain(replace(refused, id=request.id))

    def _load(self, request: CommandRequest) -> LoadPlan | None:
        return partial(self._hangar.fetch, request.policy) if request.policy else None

    def _answer(self, result: CommandResult) -> None:
        level = log.info if result.ok else log.warning
        level("command", command=result.command, ok=result.ok, message=result.message)
        self._admission.answered(result)
        if not self._closed:
            self._node.publish_result(result)

    def _complain(self, result: CommandResult) -> None:
        """Answer sticks that do not steer, once a second at most."""
        now_s = self._now()
        if now_s - self._complained_s >= _COMPLAIN_S:
            self._complained_s = now_s
            self._answer(result)

    # -- nobody flies

    def _look_for_pilot(self) -> None:
        """Hold when the pilot has fallen silent; land when none came back."""
        now_s, pilot, state = self._now(), self._pilot, self._monitor.state
        if why := self._authority.lost(now_s, busy=pilot.busy):
            if state.connected and not state.in_air and not pilot.moving:
                self._authority.landing()  # it stands: nobody is needed
            else:
                self._on_silence(why)
        elif now_s - self._silenced_s > _AGAIN_S and (why := pilot.silence(now_s)):
            self._silenced_s = now_s
            self._on_silence(why)
        if state.connected and self._authority.landing_due(now_s) and self._flies:
            self._land_alone("no pilot came back")

    def _look_at_fence(self) -> None:
        """Land a vehicle that nobody steers and that cannot hold its place."""
        if why := self._pilot.driven_out():
            self._land_alone(f"the wind drives it out of the geofence ({why})")

    def _land_alone(self, why: str) -> None:
        log.warning("landing", why=why)
        self._monitor.apply(StatusText(_WARNING, f"Landing: {why}."))
        self._spawn(self._alone(Command.LAND, f"a landing: {why}"))

    def _on_silence(self, why: str) -> None:
        self._monitor.apply(StatusText(_INFO, why))
        if self._pilot.moving:
            log.warning("no pilot", why=why)
            self._spawn(self._alone(Command.STOP, "the dead-man's switch"))

    async def _alone(self, command: Command, because: str) -> None:
        result = await self._pilot.execute(command, because=because)
        log.info("nobody flies", command=command, ok=result.ok, message=result.message)
        preempted = result.message.startswith(PREEMPTED)
        if command is Command.LAND and not result.ok and not preempted and self._flies:
            self._authority.land_again(self._now())
        elif command is Command.LAND and result.ok:  # the vehicle's own words came after ours
            self._monitor.apply(StatusText(_WARNING, f"{result.message} It was {because}."))

    # -- life

    async def run(self, stop: asyncio.Event) -> None:
        """Repeat the state and look for the pilot until `stop`."""
        ticking = asyncio.create_task(self._tick())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait([ticking, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (ticking, stopped):
            task.cancel()
        await asyncio.gather(stopped, return_exceptions=True)
        try:
            await ticking
        except asyncio.CancelledError:
            return

    async def _tick(self) -> None:
        keeper = Ratekeeper(TICK_HZ, self._now)
        while True:
            self._lag_s = max(self._lag_s, await keeper.wait())
            self._notice_freeze()
            self._look_for_pilot()
            self._look_at_fence()
            if keeper.ticks % _STATE_TICKS == 1:
                self._tell_state(self._monitor.state)

    async def settle(self) -> None:
        """Give every running command its result and have the vehicle hold."""
        self._closing = True
        for flight in self._flights:
            flight.cancel()
        # Waited for, not cancelled: a request that is on its way cannot be taken back.
        leaving = asyncio.create_task(self._leave())
        await asyncio.wait([leaving], timeout=_LEAVE_S)
        if not leaving.done():
            log.warning("the vehicle did not confirm Hold", error="no answer in time")

    def close(self) -> None:
        """Leave ROS, after `settle`."""
        self._closed = True
        self._node.close()

    async def _leave(self) -> None:
        if self._flights:
            await asyncio.wait(self._flights)
        try:
            await self._pilot.leave()
        except RacerError as error:
            log.warning("the vehicle did not confirm Hold", error=error.message)
