"""A policy on the real MAVSDK against a peer that hovers: what is sent, and what ends it.

The peer has no physics, so nothing here is about flying well: see test_flight.py for that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from math import isfinite, radians
from pathlib import Path

import numpy as np
import pytest

from racer.errors import NotFoundError
from racer.flight.commands import Command, CommandResult
from racer.flight.monitor import FlightMonitor
from racer.flight.pilot import Pilot
from racer.flight.plan import RacePlan
from racer.flight.policy_flight import fly_policy_folder
from racer.flight.state import Phase
from racer.sim.airframe import load_airframe
from tests.flight.policies import steering_plan, write_steering_policy
from tests.flight.px4_peer import HOLD, OFFBOARD, POSCTL, Px4Peer
from tests.flight.test_mavsdk_link import connected, until
from tests.support import claim_slot

SET_MODE, LAND = 176, 21
BIAS = (0.1, -0.2, 0.05, 0.0)
Story = Callable[[Pilot, FlightMonitor], Awaitable[None]]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with claim_slot(tmp_path_factory.mktemp("data")) as environment:
        yield 14540 + int(environment["VEHICLE_INSTANCE"])


@pytest.fixture
def plan(tmp_path: Path) -> RacePlan:
    """A `ctbr` policy that always wants the same; the peer hovers at its start."""
    return replace(steering_plan(tmp_path, "ctbr"), act=lambda _: np.array(BIAS, np.float32))


def tell(peer: Px4Peer, port: int, story: Story) -> None:
    async def run() -> None:
        async with connected(peer, port) as (pilot, monitor):
            await story(pilot, monitor)

    asyncio.run(run())


def at(port: int) -> Px4Peer:
    return Px4Peer(port, in_air=True, report_s=0.01, obeys=True)


def race(pilot: Pilot, plan: RacePlan) -> asyncio.Task[CommandResult]:
    async def load() -> RacePlan:
        return plan

    return asyncio.create_task(pilot.execute(Command.FLY_POLICY, load=load))


def test_a_policy_steers_at_100_hz_until_stop_takes_its_place(port: int, plan: RacePlan) -> None:
    peer = at(port)
    airframe = load_airframe("x500")

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        flight = race(pilot, plan)
        assert await until(lambda: len(peer.rates) > 100, timeout_s=10.0)
        assert monitor.state.phase is Phase.POLICY
        sent_s, message = peer.rates[-1]
        assert message.type_mask == 0b10000000  # rates and thrust count, the attitude does not
        most = radians(airframe.control.rate_max_xy_deg_s)
        most_yaw = radians(airframe.control.rate_max_z_deg_s)
        assert message.body_roll_rate == pytest.approx(0.1 * most, abs=1e-4)
        assert message.body_pitch_rate == pytest.approx(0.2 * most, abs=1e-4)  # FLU to FRD
        assert message.body_yaw_rate == pytest.approx(-0.05 * most_yaw, abs=1e-4)
        assert message.thrust == pytest.approx(airframe.hover_thrust, abs=1e-4)
        assert 80.0 < 100.0 / (sent_s - peer.rates[-101][0]) < 130.0  # MAVSDK adds its own 20 Hz

        stopped = await pilot.execute(Command.STOP)
        assert stopped.ok, stopped
        result = await flight
        assert not result.ok
        assert result.message == "Pre-empted by stop."
        assert peer.custom_mode == HOLD
        sent = len(peer.rates)
        await asyncio.sleep(0.3)
        assert len(peer.rates) == sent

    tell(peer, port, story)


def test_before_the_race_it_flies_to_the_start(port: int, plan: RacePlan) -> None:
    peer = at(port)

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        flight = race(pilot, replace(plan, start=(3.0, 4.0, 2.5)))
        assert await until(lambda: len(peer.setpoints) > 20)
        place = peer.setpoints[-1]
        assert place.type_mask == 2552  # position and yaw count
        assert (place.x, place.y, place.z) == pytest.approx((1.6, 1.2, -2.5), abs=1e-3)  # 2 m ahead
        assert place.yaw == pytest.approx(0.0, abs=1e-6)  # north
        assert not peer.rates
        assert (await pilot.execute(Command.MOVE_FORWARD)).ok
        assert (await flight).message == "Pre-empted by move_forward."

    tell(peer, port, story)


@pytest.mark.parametrize(
    ("mode", "then"), [(POSCTL, POSCTL), (HOLD, HOLD)], ids=["a pilot takes over", "hold"]
)
def test_a_vehicle_that_left_offboard_is_not_fought_with(
    port: int, plan: RacePlan, mode: int, then: int
) -> None:
    peer = at(port)

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        flight = race(pilot, plan)
        assert await until(lambda: len(peer.rates) > 10, timeout_s=10.0)
        peer.custom_mode = mode
        result = await flight
        assert not result.ok
        assert "left Offboard" in result.message
        assert peer.custom_mode == then

    tell(peer, port, story)


def test_telemetry_that_stops_ends_the_policy(port: int, plan: RacePlan) -> None:
    peer = at(port)

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        flight = race(pilot, plan)
        assert await until(lambda: len(peer.rates) > 10, timeout_s=10.0)
        peer.reports_motion = False
        result = await flight
        assert not result.ok
        assert "the newest telemetry is 0.5" in result.message
        assert peer.custom_mode == HOLD

    tell(peer, port, story)


def test_a_policy_that_answers_nonsense_is_never_flown(port: int, plan: RacePlan) -> None:
    peer = at(port)
    answers = iter([*[BIAS] * 50, (0.0, np.nan, 0.0, 0.0)])

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        result = await race(pilot, replace(plan, act=lambda _: np.array(next(answers))))
        assert not result.ok
        assert "no finite number" in result.message
        assert peer.custom_mode == HOLD
        assert peer.rates
        for _, message in peer.rates:
            assert isfinite(message.body_pitch_rate)
            assert isfinite(message.thrust)

    tell(peer, port, story)


def test_a_policy_that_breaks_leaves_a_vehicle_that_holds(port: int, plan: RacePlan) -> None:
    """MAVSDK would repeat the last setpoint for ever."""
    peer = at(port)
    answers = iter([*[BIAS] * 50, None])

    def act(_: np.ndarray) -> np.ndarray:
        if (answer := next(answers)) is None:
            raise ArithmeticError("the runtime broke")
        return np.array(answer, np.float32)

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        with pytest.raises(ArithmeticError):
            await race(pilot, replace(plan, act=act))
        assert peer.custom_mode == HOLD
        sent = len(peer.rates) + len(peer.setpoints)
        await asyncio.sleep(0.3)
        assert len(peer.rates) + len(peer.setpoints) == sent

    tell(peer, port, story)


def test_a_vehicle_that_disarms_ends_the_policy(port: int, plan: RacePlan) -> None:
    """PX4 stays in Offboard after a crash."""
    peer = at(port)

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        flight = race(pilot, plan)
        assert await until(lambda: len(peer.rates) > 10, timeout_s=10.0)
        peer.armed = False
        result = await flight
        assert not result.ok
        assert "its motors are off" in result.message

    tell(peer, port, story)


def test_a_pre_empted_race_brakes_however_long_the_next_command_takes(
    port: int, plan: RacePlan
) -> None:
    """Here the next race waits two seconds for telemetry, and gives up."""
    peer = at(port)

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        first = race(pilot, plan)
        assert await until(lambda: len(peer.rates) > 10, timeout_s=10.0)
        peer.reports_motion = False
        second = race(pilot, plan)
        assert (await first).message == "Pre-empted by fly_policy."
        await asyncio.sleep(0.1)
        rates = len(peer.rates)
        peer.setpoints.clear()
        assert await until(lambda: len(peer.setpoints) > 5)
        assert (peer.setpoints[-1].vx, peer.setpoints[-1].yaw_rate) == (0.0, 0.0)
        assert "did not tell its position" in (await second).message
        assert len(peer.rates) == rates
        assert peer.custom_mode == HOLD

    tell(peer, port, story)


def test_who_took_over_is_not_landed_by_the_command_line(port: int, tmp_path: Path) -> None:
    peer = at(port)
    folder = write_steering_policy(tmp_path / "policy", "ctbr")

    async def story() -> None:
        with peer:
            flying = asyncio.create_task(
                fly_policy_folder(folder, url=f"udpin://127.0.0.1:{port}", flights=3)
            )
            assert await until(lambda: len(peer.rates) > 10, timeout_s=10.0)
            peer.custom_mode = POSCTL
            [report] = await flying
            assert "left Offboard for POSCTL" in report.why
            assert peer.custom_mode == POSCTL
            assert LAND not in peer.commands

    asyncio.run(story())


def test_a_policy_that_does_not_exist_disturbs_nothing(port: int) -> None:
    peer = at(port)

    async def missing() -> RacePlan:
        raise NotFoundError("There is no trained policy 7.")

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        assert (await pilot.execute(Command.MOVE_FORWARD)).ok
        refused = await pilot.execute(Command.FLY_POLICY, load=missing)
        assert (refused.ok, refused.message) == (False, "There is no trained policy 7.")
        peer.setpoints.clear()
        assert await until(lambda: len(peer.setpoints) > 5)
        assert peer.setpoints[-1].vx == 2.0
        assert peer.custom_mode == OFFBOARD

    tell(peer, port, story)


def test_a_stop_that_comes_while_the_policy_is_loaded_ends_it(port: int, plan: RacePlan) -> None:
    peer = at(port)

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        loading = asyncio.Event()

        async def load() -> RacePlan:
            loading.set()
            await asyncio.sleep(10.0)
            return plan

        flight = asyncio.create_task(pilot.execute(Command.FLY_POLICY, load=load))
        await loading.wait()
        assert (await pilot.execute(Command.STOP)).ok
        assert (await flight).message == "Pre-empted by stop."
        assert not peer.rates
        assert not peer.setpoints
        assert peer.commands.count(SET_MODE) == 1  # the stop's own

    tell(peer, port, story)


def test_a_pilot_who_leaves_while_the_policy_is_loaded_is_missed(port: int, plan: RacePlan) -> None:
    """Nothing moves yet, and a take-off and a race would follow."""

    async def story(pilot: Pilot, monitor: FlightMonitor) -> None:
        loaded = asyncio.Event()

        async def load() -> RacePlan:
            await loaded.wait()
            return plan

        assert not pilot.moving
        flight = asyncio.create_task(pilot.execute(Command.FLY_POLICY, load=load))
        await asyncio.sleep(0)
        assert pilot.moving
        assert (await pilot.execute(Command.STOP, because="the dead-man's switch")).ok
        assert (await flight).message == "Pre-empted by the dead-man's switch."
        assert not pilot.moving

    tell(at(port), port, story)
