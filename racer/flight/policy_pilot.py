"""Flies a policy: telemetry in, one setpoint every 10 ms out, judged and guarded at every step.

What happens next is decided by the pure `racer.flight.race`; here are the clock, the telemetry and
the requests. The loop runs on absolute deadlines. However it ends, other than by a command that
takes its place, the vehicle holds before the report is given.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from math import dist

import structlog

from racer.flight.autopilot import Autopilot, AutopilotError
from racer.flight.commands import BodyVelocity, Place, Setpoint
from racer.flight.driver import Action, Driver
from racer.flight.envelope import Facts
from racer.flight.estimate import Motion, VehicleClock, extrapolate
from racer.flight.judge import Judge
from racer.flight.monitor import FlightMonitor, Update
from racer.flight.plan import RacePlan
from racer.flight.px4 import OdometrySample
from racer.flight.race import RaceState, Stage, Tick, advance, aim, begin
from racer.flight.ratekeeper import Ratekeeper
from racer.flight.report import RaceReport, Recording
from racer.flight.state import OUR_MODES, Landed
from racer.flight.watch import Watch

log = structlog.get_logger()

CONTROL_HZ = 100.0
TELEMETRY_HZ = 100.0  # asked for while a policy flies
USUAL_HZ = 30.0
_HEARTBEAT_TICKS = 20  # asked for five times a second: unasked it comes once
_FIRST_S = 2.0  # the telemetry answers within this
_STILL_M_S, _BRAKE_S = 0.5, 8.0


async def fly_race(plan: RacePlan, autopilot: Autopilot, monitor: FlightMonitor) -> RaceReport:
    """Fly from where the vehicle is in the air to the course's start, then race.

    Returns when the vehicle holds again, however the race ended. Raises AutopilotError if the
    vehicle cannot be steered, or does not hold afterwards.
    """
    flight = _Flight(plan, autopilot, monitor)
    with monitor.listening(flight.hear):
        await autopilot.stream_odometry(TELEMETRY_HZ)
        try:
            report = flight.report(await flight.fly())
            await _end(report, autopilot, monitor)
        except BaseException as error:
            await _let_go(autopilot, monitor, brake=isinstance(error, asyncio.CancelledError))
            raise
        finally:
            await autopilot.stream_odometry(USUAL_HZ)
    return report


async def _end(report: RaceReport, autopilot: Autopilot, monitor: FlightMonitor) -> None:
    """Hold. A vehicle that somebody else took over is left to them, and one in a failsafe to that:
    MAVSDK stops repeating setpoints by itself when the heartbeat shows another mode, and those that
    it repeats until then are to stand still."""
    if not monitor.state.ours:
        await _let_go(autopilot, monitor, brake=True)
        return
    watch = Watch(autopilot, monitor)
    try:
        await watch.hold()
        await watch.seen(lambda: _speed_m_s(monitor) < _STILL_M_S, _BRAKE_S)
    except AutopilotError as error:
        raise AutopilotError(f"{report.summary()} {error.message}") from error


async def _let_go(autopilot: Autopilot, monitor: FlightMonitor, *, brake: bool) -> None:
    """A race was broken off from outside or by an error, and MAVSDK would repeat its last setpoint
    for ever. `brake`: another command follows, which finds a braking vehicle, however long it takes
    to act. Otherwise hold: nobody follows."""
    state = monitor.state
    if not autopilot.streaming or state.mode not in OUR_MODES:
        return
    try:
        await (autopilot.hold() if state.ours and not brake else autopilot.steer(BodyVelocity()))
    except AutopilotError as error:  # what broke the race off is raised: it came first
        log.warning("the vehicle could not be held after a race", error=error.message)


def _speed_m_s(monitor: FlightMonitor) -> float:
    sample = monitor.odometry
    return dist(sample.velocity, (0.0, 0.0, 0.0)) if sample else 0.0


class _Flight:
    """One race from its telemetry to its setpoints."""

    def __init__(self, plan: RacePlan, autopilot: Autopilot, monitor: FlightMonitor) -> None:
        self._plan = plan
        self._autopilot = autopilot
        self._monitor = monitor
        self._now = asyncio.get_running_loop().time
        self._clock = VehicleClock()
        self._driver = Driver(plan)
        self._judge = Judge(plan.course)
        self._recording = Recording()
        self._sample: OdometrySample | None = None
        self._racing = False
        self._jump_m = 0.0  # the largest since the last tick

    def hear(self, update: Update) -> None:
        """Take up what the vehicle tells; every sample is judged, also those between two ticks."""
        if not isinstance(update, OdometrySample):
            return
        self._clock.hear(update.stamp_s, self._now())
        before = self._sample
        if before is not None and update.stamp_s <= before.stamp_s:
            return  # overtaken on its way, or the vehicle's clock jumped: then this grows too old
        self._sample = update
        if before is not None:
            expected = extrapolate(before, update.stamp_s - before.stamp_s).position
            self._jump_m = max(self._jump_m, dist(expected, update.position))
        self._judge.see(update)
        if self._racing:
            self._recording.samples.append(update)

    async def fly(self) -> RaceState:
        """To the start and through the course; returns how that ended."""
        watch = Watch(self._autopilot, self._monitor)
        await watch.demand(
            lambda: self._sample is not None, _FIRST_S, "The vehicle did not tell its position"
        )
        now_s = self._now()
        motion, age_s = self._motion(now_s)
        state = begin(self._plan, self._facts(motion, age_s, 0.0), now_s)
        if not state.steering:
            return state
        await watch.offboard(self._place(state, motion))
        state = replace(state, since_s=self._now())
        keeper = Ratekeeper(CONTROL_HZ, self._now)
        while state.steering:
            lag_s = await keeper.wait()
            state, setpoint = self._tick(state, lag_s)
            if setpoint is not None:
                await self._autopilot.steer(setpoint)
            if keeper.ticks % _HEARTBEAT_TICKS == 0:
                await self._autopilot.request_heartbeat()
        return state

    def _tick(self, state: RaceState, lag_s: float) -> tuple[RaceState, Setpoint | None]:
        """One step: the next state, and what to send for it."""
        now_s = self._now()
        motion, age_s = self._motion(now_s)
        action: Action | None = None
        if state.stage is Stage.RACE:
            if self._judge.started_s is None:
                self._judge.start(self._clock.now_s(now_s))
            action = self._driver.act(motion, passed=self._judge.passed, now_s=now_s)
            self._note(action, now_s, age_s, lag_s)
        tick = Tick(
            now_s=now_s,
            facts=self._facts(motion, age_s, lag_s),
            action=action or (),
            passed=self._judge.passed,
            hit=self._judge.hit,
        )
        before, state = state.stage, advance(state, tick, self._plan)
        self._racing = state.stage is Stage.RACE
        if state.stage is not before:
            log.info("policy flight", stage=state.stage, why=state.why)
        if not state.steering:
            return state, None
        if state.stage is Stage.BRAKE:
            return state, BodyVelocity()
        if action is not None:
            return state, self._driver.setpoint(action)
        return state, self._place(state, motion)

    def _motion(self, now_s: float) -> tuple[Motion, float]:
        """The vehicle now, and how old what we know of it is, s."""
        assert self._sample is not None  # noqa: S101 - `fly` waited for the first one
        age_s = self._clock.age_s(self._sample.stamp_s, now_s)
        return extrapolate(self._sample, min(age_s, self._plan.envelope.blind_s)), age_s

    def _facts(self, motion: Motion, age_s: float, lag_s: float) -> Facts:
        jump_m, self._jump_m = self._jump_m, 0.0
        vehicle = self._monitor.state
        return Facts(
            connected=vehicle.connected,
            mode=vehicle.mode,
            flying=vehicle.armed and vehicle.landed is not Landed.ON_GROUND,
            critical=vehicle.critical,
            age_s=age_s,
            lag_s=lag_s,
            jump_m=jump_m,
            position=motion.position,
            velocity=motion.velocity,
            attitude=motion.attitude,
        )

    def _place(self, state: RaceState, motion: Motion) -> Place:
        return Place(*aim(state, motion.position), self._plan.start_yaw)

    def _note(self, action: Action, now_s: float, age_s: float, lag_s: float) -> None:
        self._recording.actions.append((self._clock.now_s(now_s), action))
        self._recording.ages_s.append(age_s)
        self._recording.lags_s.append(lag_s)

    def report(self, state: RaceState) -> RaceReport:
        """What became of it."""
        judge = self._judge
        return RaceReport(
            course=self._plan.name,
            finished=state.finished,
            why=state.why,
            passages=tuple(judge.passages),
            all_passages=self._plan.course.passages,
            time_s=judge.time_s(),
            splits_s=tuple(judge.splits_s()),
            laps_s=tuple(judge.laps_s()),
            recording=self._recording,
        )
