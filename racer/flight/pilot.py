"""Carries out commands and the sticks: one at a time, by the verbs (racer.flight.verbs).

A new command that makes sense pre-empts the running one, a refused one disturbs nothing. Every
command ends in exactly one result within its time-out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf

import structlog

from racer.errors import RacerError
from racer.flight import battery
from racer.flight.autopilot import Autopilot, AutopilotError
from racer.flight.commands import (
    PREEMPTED,
    STICKS,
    TIME_LIMITS_S,
    BodyVelocity,
    Command,
    CommandResult,
)
from racer.flight.fence import Drift
from racer.flight.monitor import FlightMonitor
from racer.flight.plan import RacePlan, fenced
from racer.flight.report import RaceReport
from racer.flight.rules import Rules
from racer.flight.state import Commanded, refusal
from racer.flight.steering import Steering
from racer.flight.verbs import Verbs
from racer.flight.watch import Watch

log = structlog.get_logger()

_REASON_S = 0.2  # PX4 sends the text that explains a refusal right after the refusal
_SAFE = frozenset({Command.STOP, Command.LAND})
_UNSTEERED = ("HOLD", "TAKEOFF")
STICKS_SILENCE_S = 0.5  # without a word from the sticks, the vehicle holds
_LEFT_ALONE_S = 2.0  # sticks silent for so long are at rest; for shorter, a link may have stalled
_STICKS_S = 12.0  # until the vehicle has taken them


@dataclass(eq=False)
class _Attempt:
    """One command being carried out, by its asyncio task."""

    name: str
    task: asyncio.Task[object]
    preempted_by: str | None = None


LoadPlan = Callable[[], Awaitable[RacePlan]]


class Pilot:
    """Flies one vehicle through an Autopilot, watching it through a FlightMonitor."""

    def __init__(
        self,
        autopilot: Autopilot,
        monitor: FlightMonitor,
        *,
        url: str,
        rules: Rules | None = None,
    ) -> None:
        self._autopilot = autopilot
        self._monitor = monitor
        self._url = url
        self._watch = Watch(autopilot, monitor)
        rules = rules or Rules()
        self._fence = rules.fence
        self._drift = Drift(rules.fence)
        self._steering = Steering(autopilot, monitor, rules.fence, rules.limits)
        self._sticks: BodyVelocity | None = None  # where they stand while they steer
        self._sticks_s = -inf  # when they were last heard
        self._centre_first = False  # a command was carried out while they were deflected
        self._verbs = Verbs(autopilot, monitor, self._steering, rules.fence)
        self._turn = asyncio.Lock()
        self._attempts: list[_Attempt] = []

    async def execute(
        self, command: Command, *, load: LoadPlan | None = None, because: str | None = None
    ) -> CommandResult:
        """Carry out one command to its end; the result says what became of it.

        `load` brings the policy that `fly_policy` flies; what it raises refuses the command.
        `because` is what a command that this one pre-empts is told instead of this one's name.
        """
        if reason := self._refusal(command):
            return CommandResult(command, ok=False, message=reason)

        async def prepare() -> RacePlan | None:
            return fenced(await load(), self._fence) if load else None

        return await self._attempt(
            command,
            because or command,
            limit_s=TIME_LIMITS_S[command],
            prepare=prepare,
            work=lambda plan: self._carry_out(command, plan),
        )

    @property
    def race(self) -> RaceReport | None:
        """The last one that ended."""
        return self._verbs.race

    @property
    def busy(self) -> bool:
        """Whether a command that goes on by itself is under way: a take-off, a policy's flight."""
        return self._monitor.state.running in (Command.TAKEOFF, Command.FLY_POLICY)

    @property
    def moving(self) -> bool:
        """Whether we do something with the vehicle, or are about to, that a pilot has to watch:
        anything but to hold and to land. One that somebody else has taken over is theirs."""
        ours = self._autopilot.streaming and self._monitor.state.ours
        return ours or any(attempt.name not in _SAFE for attempt in self._attempts)

    # -- sticks

    def sticks_refused(self, wanted: BodyVelocity, now_s: float) -> str | None:
        """Why the sticks do not steer now: an empty text when there is nothing to say, since they
        lie there centred; None when they do.

        They begin nothing while a command is carried out, nor after one until they were centred or
        left alone: who presses Stop must not be overruled by a thumb.
        """
        self._forget_sticks()
        heard_s, self._sticks_s = self._sticks_s, now_s
        centred = wanted == BodyVelocity()
        if centred or now_s - heard_s > _LEFT_ALONE_S:
            self._centre_first = False
        if self._sticks is not None:
            return None
        if centred:
            return ""
        if self._centre_first:
            return "Centre the sticks first: a command took their place."
        state = self._monitor.state
        if self._attempts:
            return self._under_way()
        return refusal(state, STICKS, height_m=self._monitor.height_m, url=self._url)

    def _under_way(self) -> str:
        return f"{self._monitor.state.running or 'A command'} is under way: stop it first."

    async def steer(self, wanted: BodyVelocity) -> CommandResult | None:
        """Fly as the sticks say, which `sticks_refused` did not refuse; a result if that failed."""
        if self._sticks is not None:
            self._sticks = wanted
            if self._steering.active:
                self._steering.steer(wanted)
            return None
        if self._attempts:  # a command came between `sticks_refused` and this
            return CommandResult(STICKS, ok=False, message=self._under_way())
        self._sticks = wanted
        result = await self._attempt(
            STICKS, STICKS, limit_s=_STICKS_S, prepare=_nothing, work=self._take_sticks
        )
        if not result.ok:
            self._sticks, self._centre_first = None, True
            return result
        return None

    def silence(self, now_s: float) -> str | None:
        """Why a vehicle is to hold, if it is still ours; None if it may fly on.

        Setpoints that nobody steers by any more must end: PX4 returns from a failsafe to Offboard
        with the first one that it hears.
        """
        self._forget_sticks()
        if self._steering.blind:
            return "The vehicle does not tell its position any more: holding."
        if self._sticks is not None and now_s - self._sticks_s > STICKS_SILENCE_S:
            return "The sticks fell silent: holding."
        if self._steering.taken:
            self._steering.taken = False
            by = "its failsafe" if self._monitor.state.critical else "somebody else"
            return f"The vehicle went to {self._monitor.state.mode} by {by}: not steered any more."
        steered = self._steering.active or self._attempts
        if self._autopilot.streaming and self._monitor.state.ours and not steered:
            return "Nobody steers any more: holding."
        return None

    def driven_out(self) -> str | None:
        """Why a vehicle that nobody steers is to land: a wind drives it out of the geofence."""
        monitor, state = self._monitor, self._monitor.state
        flies = state.connected and state.armed and state.in_air and state.mode in _UNSTEERED
        if not flies or monitor.odometry is None or state.running is Command.LAND:
            self._drift.forget()
            return None
        sample = monitor.odometry
        place = (*sample.position[:2], monitor.height_m)
        return self._drift.look(place, sample.velocity, sample.stamp_s)

    def _forget_sticks(self) -> None:
        """If the link was lost, or something else flies: a thumb must not end a failsafe."""
        if self._sticks is not None and not self._steering.active and not self._attempts:
            self._sticks, self._centre_first = None, True

    async def _take_sticks(self, _: RacePlan | None) -> str:
        await self._steering.end()
        await self._verbs.by_hand(self._sticks or BodyVelocity())
        if self._sticks is not None:
            self._steering.steer(self._sticks)  # they may have moved meanwhile
        return "Steering."

    # -- commands

    async def _attempt(
        self,
        name: str,
        by: str,
        *,
        limit_s: float,
        prepare: Callable[[], Awaitable[RacePlan | None]],
        work: Callable[[RacePlan | None], Awaitable[str]],
    ) -> CommandResult:
        """Prepare, take the place of what flies now (it is told `by` whom), work."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        attempt = _Attempt(name, task)
        self._attempts.append(attempt)  # from here on a later command ends this one
        mark = self._monitor.mark()
        try:
            async with asyncio.timeout(limit_s):
                plan = await prepare()
                self._preempt_earlier(attempt, by)
                async with self._turn:
                    done = await work(plan)
                return CommandResult(name, ok=True, message=done)
        except asyncio.CancelledError:
            if attempt.preempted_by is None:
                raise
            task.uncancel()
            return CommandResult(name, ok=False, message=f"{PREEMPTED}{attempt.preempted_by}.")
        except TimeoutError:
            message = f"{name} did not finish in time; the vehicle is in {self._watch.where()}."
            if name in (Command.FLY_POLICY, STICKS) and self._attempts == [attempt]:
                message += await self._stop_steering()
        except RacerError as error:
            message = error.message
        finally:
            self._attempts.remove(attempt)
        if why := self._monitor.warnings_since(mark):
            message += f" The vehicle says: {why}"
        return CommandResult(name, ok=False, message=message)

    def _preempt_earlier(self, attempt: _Attempt, by: str) -> None:
        for running in self._attempts[: self._attempts.index(attempt)]:
            if running.preempted_by is None:  # once is enough, and names the first that did
                running.preempted_by = by
                running.task.cancel()

    async def _stop_steering(self) -> str:
        """MAVSDK would repeat a policy's last setpoint for ever."""
        try:
            await self._autopilot.hold()
        except AutopilotError as error:
            return f" {error.message}"
        return " It was told to hold."

    async def leave(self) -> None:
        """Before the controller ends: nobody steers any more, so the vehicle holds its place. One
        that somebody else has taken over is left to them."""
        state = self._monitor.state
        steered = state.mode == "OFFBOARD" or self._autopilot.streaming
        self._sticks = None
        await self._steering.end()
        if state.connected and steered and state.ours:
            await self._autopilot.hold()

    def _refusal(self, command: Command) -> str | None:
        monitor = self._monitor
        why = refusal(monitor.state, command, height_m=monitor.height_m, url=self._url)
        return why or battery.refusal(command, monitor.battery)

    async def _carry_out(self, command: Command, plan: RacePlan | None) -> str:
        if reason := self._refusal(command):  # while it waited for its turn, things changed
            raise AutopilotError(reason)
        self._sticks, self._centre_first = None, True
        await self._steering.end()
        mark = self._monitor.mark()
        self._monitor.apply(Commanded(command))
        try:
            if plan is not None:
                return await self._verbs.fly_policy(plan)
            return await self._verbs.carry_out(command)
        except AutopilotError:
            await self._monitor.wait_for(
                lambda: bool(self._monitor.warnings_since(mark)), timeout_s=_REASON_S
            )
            raise
        finally:
            self._monitor.apply(Commanded(None))


async def _nothing() -> RacePlan | None:
    """No preparation."""
    return None
