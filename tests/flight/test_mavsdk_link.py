"""The link and the pilot on the real MAVSDK, against what PX4 was recorded to answer."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from math import radians
from pathlib import Path
from typing import Any

import pytest

from racer.errors import ConfigurationError
from racer.flight.autopilot import AutopilotError
from racer.flight.commands import BodyVelocity, Command
from racer.flight.connect import open_vehicle
from racer.flight.mavsdk_link import MavsdkLink
from racer.flight.monitor import FlightMonitor
from racer.flight.pilot import Pilot
from racer.flight.px4 import BatterySample
from racer.flight.state import Phase
from tests.flight.px4_peer import HOLD, OFFBOARD, POSCTL, Px4Peer
from tests.support import claim_slot

ARM, SET_MODE, TAKEOFF, LAND, REQUEST_MESSAGE = 400, 176, 22, 21, 512
ACCEPTED, REJECTED = 0, 1
SETTINGS = {"COM_LOW_BAT_ACT", "COM_OBL_RC_ACT", "COM_OF_LOSS_T", "MIS_TAKEOFF_ALT"}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    data_dir: Path = tmp_path_factory.mktemp("data")
    with claim_slot(data_dir) as environment:
        yield 14540 + int(environment["VEHICLE_INSTANCE"])


@asynccontextmanager
async def connected(peer: Px4Peer, port: int) -> AsyncIterator[tuple[Pilot, FlightMonitor]]:
    async with open_vehicle(f"udpin://127.0.0.1:{port}") as (pilot, monitor):
        with peer:
            assert await monitor.wait_for(
                lambda: monitor.state.connected and monitor.odometry is not None, timeout_s=5.0
            )
            assert await until(lambda: "MIS_TAKEOFF_ALT" in peer.parameters)
            yield pilot, monitor


async def until(probe: Callable[[], object], timeout_s: float = 5.0) -> bool:
    """The peer lives in a thread: its memory is polled."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if probe():
            return True
        await asyncio.sleep(0.02)
    return False


def fly(peer: Px4Peer, port: int, script: Callable[..., Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        async with connected(peer, port) as (pilot, monitor):
            await script(pilot, monitor)

    asyncio.run(run())


def test_an_offboard_that_px4_refused_is_reported_and_no_setpoint_follows(port: int) -> None:
    """MAVSDK says success: the first of the two acknowledgements is always positive."""
    peer = Px4Peer(port, in_air=True)
    peer.answers[SET_MODE] = [ACCEPTED, REJECTED]
    peer.texts[SET_MODE] = "Switching to Offboard is currently not available\t"

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        result = await pilot.execute(Command.MOVE_FORWARD)
        assert not result.ok
        assert "refused Offboard" in result.message
        assert "Switching to Offboard is currently not available" in result.message
        sent = len(peer.setpoints)
        await asyncio.sleep(0.3)
        assert len(peer.setpoints) == sent

    fly(peer, port, script)


def test_an_offboard_that_never_shows_in_the_heartbeat_is_a_failure(port: int) -> None:
    peer = Px4Peer(port, in_air=True)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        asked = peer.commands.count(REQUEST_MESSAGE)
        result = await pilot.execute(Command.TURN_LEFT)
        assert not result.ok
        assert "did not go to Offboard within 1.5 s" in result.message
        assert "HOLD" in result.message
        assert peer.commands.count(REQUEST_MESSAGE) > asked + 2  # a poor link may lose one

    fly(peer, port, script)


def test_turning_left_is_minus_30_degrees_a_second_on_the_wire(port: int) -> None:
    peer = Px4Peer(port, in_air=True)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        peer.custom_mode = OFFBOARD
        for command, forward, yaw_rate in (
            (Command.TURN_LEFT, 0.0, -30.0),
            (Command.MOVE_FORWARD, 2.0, 0.0),
            (Command.TURN_RIGHT, 0.0, 30.0),
            (Command.MOVE_BACKWARD, -2.0, 0.0),
        ):
            assert (await pilot.execute(command)).ok
            peer.setpoints.clear()
            assert await until(lambda: len(peer.setpoints) > 2)
            setpoint = peer.setpoints[-1]
            assert setpoint.coordinate_frame == 8  # MAV_FRAME_BODY_NED
            assert setpoint.type_mask == 1479  # velocity and yaw rate count
            assert setpoint.yaw_rate == pytest.approx(radians(yaw_rate), abs=1e-6)
            assert (setpoint.vx, setpoint.vy, setpoint.vz) == (forward, 0.0, 0.0)

    fly(peer, port, script)


def test_a_denied_arming_tells_the_vehicles_reason(port: int) -> None:
    peer = Px4Peer(port, in_air=False)
    peer.answers[ARM] = [REJECTED]
    peer.texts[ARM] = "Arming denied: throttle not zero"

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        result = await pilot.execute(Command.TAKEOFF)
        assert not result.ok
        assert "did not accept arming" in result.message
        assert "Arming denied: throttle not zero" in result.message
        assert TAKEOFF not in peer.commands

    fly(peer, port, script)


def test_a_restarted_vehicle_gets_its_parameters_again(port: int) -> None:
    peer = Px4Peer(port, in_air=False)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        assert await until(lambda: set(peer.parameters) == SETTINGS)
        (low_battery,) = struct.unpack("<i", struct.pack("<f", peer.parameters["COM_LOW_BAT_ACT"]))
        assert low_battery == 2  # land
        await asyncio.sleep(1.2)  # the clock must have something to jump back from
        peer.reboot()
        assert await until(lambda: set(peer.parameters) == SETTINGS)
        assert monitor.state.connected

    fly(peer, port, script)


def test_a_lost_vehicle_is_sent_no_more_setpoints(port: int) -> None:
    """PX4 returns to Offboard with the first one it hears: it would fly on unasked."""
    peer = Px4Peer(port, in_air=True)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        peer.custom_mode = OFFBOARD
        assert (await pilot.execute(Command.MOVE_FORWARD)).ok
        peer.silent = True
        lost = monitor.wait_for(lambda: monitor.state.phase is Phase.DISCONNECTED, timeout_s=6.0)
        assert await lost
        refused = await pilot.execute(Command.MOVE_FORWARD)
        assert "udpin" in refused.message
        peer.setpoints.clear()
        peer.silent = False
        back = monitor.wait_for(lambda: monitor.state.phase is Phase.OFFBOARD, timeout_s=6.0)
        assert await back
        await asyncio.sleep(0.3)
        assert peer.setpoints == []

    fly(peer, port, script)


def test_another_station_that_takes_over_is_not_fought(port: int) -> None:
    """Once the heartbeat shows another mode for a while, MAVSDK stops its setpoints."""
    peer = Px4Peer(port, in_air=True)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        peer.custom_mode = OFFBOARD
        assert (await pilot.execute(Command.MOVE_FORWARD)).ok
        asked = peer.commands.count(SET_MODE)
        await asyncio.sleep(3.2)  # MAVSDK takes other modes for stale within 3 s of its start
        peer.custom_mode = POSCTL
        assert await monitor.wait_for(lambda: monitor.state.mode == "POSCTL", timeout_s=3.0)
        await asyncio.sleep(0.2)
        peer.setpoints.clear()
        await asyncio.sleep(0.3)
        assert peer.setpoints == []
        assert peer.commands.count(SET_MODE) == asked

    fly(peer, port, script)


def test_every_pre_empted_command_says_by_what_and_the_last_one_acts(port: int) -> None:
    peer = Px4Peer(port, in_air=False)  # it arms, and then never climbs

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        first = asyncio.create_task(pilot.execute(Command.TAKEOFF))
        assert await until(lambda: TAKEOFF in peer.commands)
        refused = await pilot.execute(Command.MOVE_FORWARD)
        assert "take off first" in refused.message
        assert not first.done()  # what makes no sense disturbs nothing
        waiting = [asyncio.create_task(pilot.execute(c)) for c in (Command.LAND, Command.TAKEOFF)]
        last = asyncio.create_task(pilot.execute(Command.STOP))
        results = await asyncio.gather(first, *waiting, last)
        assert [r.ok for r in results] == [False, False, False, True]
        assert [r.message.split(".")[0] for r in results[:3]] == [
            "Pre-empted by land",
            "Pre-empted by takeoff",
            "Pre-empted by stop",
        ]
        assert "motors off" in results[3].message
        assert not peer.armed

    fly(peer, port, script)


def test_what_is_pre_empted_twice_still_waits_for_its_request(port: int) -> None:
    """Or the late Offboard of the first would act after the Hold of the last."""
    peer = Px4Peer(port, in_air=True)
    peer.answers[SET_MODE] = []  # MAVSDK asks again for a while

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        forward = asyncio.create_task(pilot.execute(Command.MOVE_FORWARD))
        assert await until(lambda: SET_MODE in peer.commands)
        turn = asyncio.create_task(pilot.execute(Command.TURN_LEFT))
        await asyncio.sleep(0.05)
        stop = asyncio.create_task(pilot.execute(Command.STOP))
        await asyncio.sleep(0.1)
        assert not forward.done()
        peer.answers[SET_MODE] = [ACCEPTED]
        results = await asyncio.gather(forward, turn, stop)
        assert [r.message for r in results[:2]] == [
            "Pre-empted by turn_left.",
            "Pre-empted by stop.",
        ]
        assert results[2].ok, results[2]
        peer.setpoints.clear()
        await asyncio.sleep(0.3)
        assert peer.setpoints == []

    fly(peer, port, script)


def test_a_request_comes_after_the_end_of_the_repetition_that_a_loss_started() -> None:
    async def script() -> None:
        link, gate = MavsdkLink("udpin://127.0.0.1:0", FlightMonitor()), asyncio.Event()

        async def stopping() -> None:
            await gate.wait()

        link._stopping = asyncio.create_task(stopping())
        request = asyncio.create_task(link.arm())
        await asyncio.sleep(0.01)
        assert not request.done()
        gate.set()
        with pytest.raises(AutopilotError, match="No vehicle"):
            await request

    asyncio.run(script())


def test_a_setpoint_on_its_way_comes_before_the_end_of_the_repetition(port: int) -> None:
    """After the end it would begin the repetition anew, to a vehicle that is lost."""
    peer = Px4Peer(port, in_air=True, obeys=True)

    async def script() -> None:
        monitor = FlightMonitor()
        async with MavsdkLink(f"udpin://127.0.0.1:{port}", monitor) as link:
            with peer:
                assert await until(lambda: "MIS_TAKEOFF_ALT" in peer.parameters)
                await link.fly(BodyVelocity())
                late = link._setpoint = asyncio.get_running_loop().create_future()
                held = peer.commands.count(SET_MODE)
                await link._lost("a test")
                await asyncio.sleep(0.2)
                assert peer.commands.count(SET_MODE) == held
                late.set_result(None)
                assert await until(lambda: peer.commands.count(SET_MODE) > held)

    asyncio.run(script())


def test_a_setpoint_that_found_no_vehicle_is_not_repeated() -> None:
    async def script() -> None:
        link = MavsdkLink("udpin://127.0.0.1:0", FlightMonitor())
        with pytest.raises(AutopilotError, match="No vehicle"):
            await link.steer(BodyVelocity())
        assert not link.streaming

    asyncio.run(script())


def test_who_took_over_keeps_the_vehicle_when_the_controller_leaves(port: int) -> None:
    peer = Px4Peer(port, in_air=True, obeys=True)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        assert (await pilot.execute(Command.MOVE_FORWARD)).ok
        peer.custom_mode = POSCTL
        assert await monitor.wait_for(lambda: monitor.state.mode == "POSCTL", timeout_s=3.0)
        await pilot.leave()
        assert peer.custom_mode == POSCTL

    fly(peer, port, script)


def unknown_landed(peer: Px4Peer) -> Px4Peer:
    peer.landed_state = 0  # MAV_LANDED_STATE_UNDEFINED, as before its first report
    return peer


def test_stop_only_holds_a_vehicle_that_does_not_say_whether_it_flies(port: int) -> None:
    peer = unknown_landed(Px4Peer(port, in_air=True))
    peer.answers[ARM] = [REJECTED]  # a disarming in the air

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        result = await pilot.execute(Command.STOP)
        assert result.ok, result
        assert "does not say whether it is on the ground" in result.message
        assert SET_MODE in peer.commands  # Hold
        assert LAND not in peer.commands
        assert ARM not in peer.commands

    fly(peer, port, script)


def test_land_lands_a_vehicle_that_says_late_that_it_flies(port: int) -> None:
    peer = unknown_landed(Px4Peer(port, in_air=True))

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        landing = asyncio.create_task(pilot.execute(Command.LAND))
        await asyncio.sleep(0.3)
        peer.landed_state = None
        assert await until(lambda: LAND in peer.commands)
        assert ARM not in peer.commands
        peer.in_air = peer.armed = False
        result = await landing
        assert result.ok, result

    fly(peer, port, script)


def test_a_link_lost_during_a_command_ends_it(port: int) -> None:
    peer = Px4Peer(port, in_air=False)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        takeoff = asyncio.create_task(pilot.execute(Command.TAKEOFF))
        assert await until(lambda: TAKEOFF in peer.commands)
        peer.silent = True
        result = await asyncio.wait_for(takeoff, timeout=6.0)
        assert not result.ok
        assert "connection to the vehicle was lost" in result.message

    fly(peer, port, script)


def test_a_second_listener_is_told_who_holds_the_port(port: int) -> None:
    async def second() -> None:
        url = f"udpin://127.0.0.1:{port}"
        async with open_vehicle(url), open_vehicle(url):
            raise AssertionError("both listen")

    with pytest.raises(ConfigurationError, match=f"UDP port {port} is held by "):
        asyncio.run(second())


@pytest.mark.parametrize("url", ["carrier-pigeon://coop", "udpin://0.0.0.0:99999999"])
def test_a_url_that_cannot_be_opened_is_a_configuration_error(url: str) -> None:
    async def listen() -> None:
        async with open_vehicle(url):
            raise AssertionError("opened")

    with pytest.raises(ConfigurationError):
        asyncio.run(listen())


def test_a_vehicle_that_no_longer_tells_its_position_is_not_flown_by_hand(port: int) -> None:
    peer = Px4Peer(port, in_air=True, obeys=True)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        now = asyncio.get_running_loop().time
        assert (await pilot.execute(Command.MOVE_FORWARD)).ok
        assert pilot.silence(now()) is None
        peer.reports_motion = False
        assert await until(lambda: pilot.silence(now()) is not None, timeout_s=2.0)
        assert "does not tell its position" in str(pilot.silence(now()))
        assert pilot.moving
        assert (await pilot.execute(Command.STOP)).ok
        assert pilot.silence(now()) is None
        refused = await pilot.execute(Command.MOVE_FORWARD)
        assert "does not tell its position" in refused.message

    fly(peer, port, script)


def test_a_vehicle_that_somebody_else_flies_is_not_ours_to_stop(port: int) -> None:
    peer = Px4Peer(port, in_air=True, obeys=True)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        assert (await pilot.execute(Command.MOVE_FORWARD)).ok
        assert pilot.moving
        peer.custom_mode = POSCTL
        assert await until(lambda: monitor.state.mode == "POSCTL")
        assert not pilot.moving

    fly(peer, port, script)


def test_a_vehicle_that_another_station_held_is_sent_no_more_setpoints(port: int) -> None:
    peer = Px4Peer(port, in_air=True, obeys=True)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        now = asyncio.get_running_loop().time
        assert (await pilot.execute(Command.MOVE_FORWARD)).ok
        peer.custom_mode = HOLD
        assert await until(lambda: monitor.state.mode == "HOLD")
        assert "HOLD by somebody else" in str(pilot.silence(now()))
        assert "Nobody steers" in str(pilot.silence(now()))  # until somebody did something
        assert pilot.moving
        assert (await pilot.execute(Command.STOP)).ok
        assert pilot.silence(now()) is None
        peer.setpoints.clear()
        await asyncio.sleep(0.3)  # nothing comes
        assert peer.setpoints == []

    fly(peer, port, script)


def test_a_failsafe_is_not_overruled_and_comes_back_to_a_standstill(port: int) -> None:
    """A change of mode would end it: PX4 holds before it lands with an empty battery. And a new
    setpoint ends one that a lost link began."""
    peer = Px4Peer(port, in_air=True, obeys=True)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        wish, now = BodyVelocity(1.0), asyncio.get_running_loop().time
        assert pilot.sticks_refused(wish, now()) is None
        assert await pilot.steer(wish) is None
        assert await until(lambda: peer.setpoints and peer.setpoints[-1].vx == 1.0)
        asked = peer.commands.count(SET_MODE)
        peer.critical, peer.custom_mode = True, HOLD
        assert await until(lambda: monitor.state.mode == "HOLD")
        assert "Centre the sticks" in str(pilot.sticks_refused(wish, now()))
        stalled = now() + 1.5  # a link that brought nothing for so long does not let go of them
        assert "Centre the sticks" in str(pilot.sticks_refused(wish, stalled))
        assert "HOLD by its failsafe" in str(pilot.silence(now()))
        assert pilot.silence(now()) is None
        assert not pilot.moving
        assert await until(lambda: peer.setpoints[-1].vx == 0.0)
        await pilot.leave()
        assert peer.commands.count(SET_MODE) == asked
        peer.critical, peer.custom_mode = False, OFFBOARD
        assert await until(lambda: monitor.state.mode == "OFFBOARD")
        assert "Nobody steers" in str(pilot.silence(now()))
        assert pilot.moving
        assert (await pilot.execute(Command.STOP)).ok
        assert peer.custom_mode == HOLD

    fly(peer, port, script)


def test_nothing_begins_with_an_empty_battery(port: int) -> None:
    peer = Px4Peer(port, in_air=False)

    async def script(pilot: Pilot, monitor: FlightMonitor) -> None:
        monitor.observe(BatterySample(voltage_v=14.0, current_a=0.8, remaining=0.05, critical=True))
        refused = await pilot.execute(Command.TAKEOFF)
        assert refused.message.startswith("The battery is too low for takeoff (5 % left)")
        assert ARM not in peer.commands
        assert (await pilot.execute(Command.STOP)).ok

    fly(peer, port, script)
