"""The verbs: each is a sequence of requests to the vehicle and of what is then seen of it.

They return what is told of their success, which is what the vehicle reports afterwards (height,
mode, landed, disarmed), never that a call returned, and raise AutopilotError otherwise. Who may fly
and which of two commands does is racer.flight.pilot's.
"""

from __future__ import annotations

from math import dist

from racer.flight.autopilot import TAKEOFF_HEIGHT_M, Autopilot, AutopilotError
from racer.flight.commands import TIME_LIMITS_S, VELOCITIES, BodyVelocity, Command
from racer.flight.fence import Fence
from racer.flight.monitor import FlightMonitor
from racer.flight.plan import RacePlan
from racer.flight.policy_pilot import fly_race
from racer.flight.report import RaceReport
from racer.flight.state import Landed, Phase
from racer.flight.steering import Steering
from racer.flight.watch import Watch

_HEIGHT_TOLERANCE_M = 0.3
_ACCEPTANCE_M = 0.8
_SETTLE_S = 4.0  # PX4 may creep up the last decimetres in Hold
_HEIGHT_REACHED_M = 0.1
_SETTLED_M_S = 0.05  # slower than this near the height, the climb is over
_DRIFT_M = 8.0  # while it climbs: an X500 in the strongest wind that it can hold its place in
_LANDED_KNOWN_S = 2.0
_READY_S = 15.0  # PX4 passes its checks 3-5 s after boot
_CLIMB_S = 20.0  # PX4 needs about 7 s
_LAND_BASE_S, _LAND_SPEED_M_S = 30.0, 0.5  # PX4 descends at 0.7 m/s at the end, disarms 2 s later
_LAND_MOST_S = TIME_LIMITS_S[Command.LAND] - 12.0  # the requests before it take their time too


class Verbs:
    """Of one vehicle."""

    def __init__(
        self, autopilot: Autopilot, monitor: FlightMonitor, steering: Steering, fence: Fence
    ) -> None:
        self._autopilot = autopilot
        self._monitor = monitor
        self._steering = steering
        self._fence = fence
        self._watch = Watch(autopilot, monitor)
        self.race: RaceReport | None = None  # the last one that ended

    async def carry_out(self, command: Command) -> str:
        """Any but `fly_policy`."""
        match command:
            case Command.TAKEOFF:
                return await self._take_off()
            case Command.LAND:
                return await self._land()
            case Command.STOP:
                return await self._stop()
            case _:
                return await self._move(command)

    async def _take_off(self) -> str:
        monitor, autopilot = self._monitor, self._autopilot
        if not await self._landed_known():
            raise AutopilotError("The vehicle does not say whether it is on the ground.")
        if not await self._watch.seen(lambda: monitor.odometry is not None, _LANDED_KNOWN_S):
            raise AutopilotError("The vehicle does not tell its position.")
        assert monitor.odometry is not None  # noqa: S101 - seen
        origin = monitor.odometry.position[:2]
        if why := self._fence.outside((*origin, TAKEOFF_HEIGHT_M)):
            raise AutopilotError(f"Not taking off: {why}.")
        if monitor.state.mode != "HOLD":  # PX4 refuses to arm in an Offboard without setpoints
            await autopilot.hold()
        if not await self._watch.seen(lambda: monitor.state.ready, _READY_S):
            raise AutopilotError(f"The vehicle was not ready to arm within {_READY_S:.0f} s.")
        await autopilot.arm()
        await autopilot.take_off()
        if not await self._watch.seen(self._climb_over, _CLIMB_S):
            raise AutopilotError(
                f"{monitor.height_m:.1f} m instead of {TAKEOFF_HEIGHT_M} m after {_CLIMB_S:.0f} s;"
                f" the vehicle is in {self._watch.where()}. Use `land`."
            )
        await self._watch.seen(self._at_height, _SETTLE_S)
        if (drifted_m := dist(origin, monitor.odometry.position[:2])) > _DRIFT_M:
            raise AutopilotError(
                f"The wind drove it {drifted_m:.0f} m from where it took off: it may be too strong "
                "to fly in. Use `land`."
            )
        return f"Flying at {monitor.height_m:.1f} m."

    def _at_height(self) -> bool:
        short_m = TAKEOFF_HEIGHT_M - self._monitor.height_m
        settled = short_m < _HEIGHT_TOLERANCE_M and self._monitor.climb_m_s < _SETTLED_M_S
        return settled or short_m < _HEIGHT_REACHED_M

    def _climb_over(self) -> bool:
        """Whether the take-off is over: at its height, or PX4 says so and is not far from it
        (its own tolerance, NAV_MC_ALT_RAD, is 0.8 m)."""
        monitor, state = self._monitor, self._monitor.state
        if state.phase is Phase.FAILSAFE:
            raise AutopilotError(f"The vehicle went into failsafe ({state.mode}) while climbing.")
        if state.in_air and state.mode not in ("TAKEOFF", "HOLD"):
            raise AutopilotError(f"Something else changed the mode to {state.mode} while climbing.")
        if state.in_air and not state.armed:
            raise AutopilotError("The vehicle disarmed while taking off.")
        holds = state.mode == "HOLD" and state.landed is Landed.IN_AIR
        accepted = monitor.height_m >= TAKEOFF_HEIGHT_M - _ACCEPTANCE_M
        return self._at_height() or (holds and accepted)

    async def _move(self, command: Command) -> str:
        velocity = VELOCITIES[command]
        await self.by_hand(velocity)
        if velocity.yaw_rate_rad_s:
            return f"{command.replace('_', ' ').capitalize()} at 30 °/s until the next command."
        return f"{command.replace('_', ' ').capitalize()} at 2.0 m/s until the next command."

    async def fly_policy(self, plan: RacePlan) -> str:
        """Take off if need be, and race."""
        await self._landed_known()
        if not self._monitor.state.in_air:
            await self._take_off()
        self.race = await fly_race(plan, self._autopilot, self._monitor)
        if not self.race.finished:
            raise AutopilotError(self.race.summary())
        return self.race.summary()

    async def _stop(self) -> str:
        if self._monitor.state.landed is Landed.UNKNOWN:
            await self._watch.hold()  # it may fly: brake first, ask then
            if not await self._landed_known():
                return "Holding. The vehicle does not say whether it is on the ground."
        if self._monitor.state.landed is Landed.ON_GROUND:
            return await self._stay_on_ground()
        await self._watch.hold()
        return f"Holding at {self._monitor.height_m:.1f} m."

    async def _land(self) -> str:
        await self._landed_known()  # if it will not say, it is landed as if it flew
        state = self._monitor.state
        if state.landed is Landed.ON_GROUND:
            return await self._stay_on_ground()
        if self._autopilot.streaming or state.mode == "OFFBOARD":
            await self._watch.hold()  # landing from Offboard, PX4 would return to it once disarmed
        await self._autopilot.land()
        limit_s, landing = _land_limit_s(self._monitor.height_m), False

        def down() -> bool:
            nonlocal landing
            state = self._monitor.state
            landing = landing or state.mode == "LAND"
            if landing and state.armed and state.in_air and state.mode != "LAND":
                raise AutopilotError(f"Something else ended the landing: {self._watch.where()}.")
            return self._down()

        if not await self._watch.seen(down, limit_s):
            raise AutopilotError(
                f"Not on the ground after {limit_s:.0f} s: {self._watch.where()}, "
                f"{self._monitor.height_m:.1f} m up."
            )
        return "On the ground, motors off."

    async def _stay_on_ground(self) -> str:
        """On the ground, perhaps armed by a take-off that was just pre-empted: the heartbeat may
        not tell yet, so ask in any case (disarming when disarmed is accepted)."""
        await self._autopilot.hold()
        try:
            await self._autopilot.disarm()
        except AutopilotError:  # it had just left the ground, unseen: then bring it down
            await self._autopilot.land()
        await self._autopilot.request_heartbeat()
        await self._watch.demand(
            self._down, _LAND_BASE_S, "The vehicle did not disarm on the ground"
        )
        return "On the ground, motors off."

    def _down(self) -> bool:
        return not self._monitor.state.armed and self._monitor.state.landed is Landed.ON_GROUND

    async def _landed_known(self) -> bool:
        """Whether the vehicle says in time where it is; after a (re)connection it takes a while."""
        return await self._watch.seen(
            lambda: self._monitor.state.landed is not Landed.UNKNOWN, _LANDED_KNOWN_S
        )

    async def by_hand(self, wanted: BodyVelocity) -> None:
        """Fly at a velocity until the steering ends, as far as the rules allow it."""
        allowed = self._steering.allowed(wanted)
        await self._watch.offboard(allowed)
        self._steering.begin(wanted, allowed)


def _land_limit_s(height_m: float) -> float:
    """How long a landing may take before we say that it does not come to its end."""
    return min(_LAND_BASE_S + max(0.0, height_m) / _LAND_SPEED_M_S, _LAND_MOST_S)
