"""The WebSocket protocol over a real server and real ROS 2, against a peer that only answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from threading import Thread

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.sync.client import connect

from racer.control.sockets import BURST, MAX_IN_FLIGHT
from racer.errors import NotFoundError
from racer.flight.commands import Command
from racer.settings import Settings
from racer.web.origins import origin_allowed
from tests.control.controller_peer import ControllerPeer, peer_thread
from tests.control.rig import heard, run, serving, slot_settings, until


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with slot_settings(tmp_path, cors_origins=["https://racing.example"]) as settings:
        yield settings


@pytest.fixture
def peer(settings: Settings) -> Iterator[ControllerPeer]:
    with peer_thread(settings) as peer:
        yield peer


def test_a_command_is_acknowledged_at_once_and_then_answered(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            for text in ("takeoff", "  TakeOff\n", "TAKEOFF"):
                await pilot.send(text)
                sent, result = json.loads(await pilot.recv()), json.loads(await pilot.recv())
                assert sent == {"type": "command_sent", "command": "takeoff"}
                assert result == {
                    "type": "command_result",
                    "command": "takeoff",
                    "ok": True,
                    "message": "did takeoff",
                }
        assert peer.heard == ["takeoff"] * 3

    run(story())


def test_stop_does_not_wait_for_a_command_that_is_still_flown(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            await pilot.send("turn_left")  # the peer answers it after a second
            await pilot.send("stop")
            first = await heard(pilot, "command_result")
            second = await heard(pilot, "command_result")
            assert [first["command"], second["command"]] == ["stop", "turn_left"]
            assert [first["ok"], second["ok"]] == [True, True]

    run(story())


def test_a_stop_is_published_although_its_pilot_left_at_once(
    settings: Settings, peer: ControllerPeer
) -> None:
    """`stop` waits for its turn after `move_forward` when the disconnect is read."""

    async def story() -> None:
        async with serving(settings) as rig:
            async with rig.socket("/ws/control") as pilot:
                await pilot.send("takeoff")
                await heard(pilot, "command_result")
            for turn in range(1, 6):
                async with rig.socket("/ws/control") as pilot:
                    await pilot.send("move_forward")
                    await pilot.send("stop")
                await until("both", lambda turn=turn: len(peer.heard) >= 1 + 2 * turn, within_s=2)
        assert peer.heard == ["takeoff", *["move_forward", "stop"] * 5]

    run(story())


NO_COMMANDS: list[str | bytes] = [
    "",
    "fly me to the moon",
    "takeoff land",
    '{"type": "velocity"',
    '{"command": "fly me to the moon"}',
    '{"command": ["takeoff"]}',
    '{"type": "takeoff"}',
    '{"command": "takeoff", "policy": "7"}',
    '{"command": "fly_policy"}',
    '{"command": "fly_policy", "policy": 7}',
    "fly_policy",
    "{" * 200,
    "\0",
    "NaN",
    "a" * 300,
    "🚁" * 5000,
    b"takeoff",
    b"",
    b"\xff" * 100_000,
]


def test_what_is_no_command_gets_a_polite_answer_that_names_them(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            for frame in NO_COMMANDS:
                await pilot.send(frame)
                answer = json.loads(await pilot.recv())
                assert answer["type"] == "error"
                assert all(command in answer["message"] for command in Command)
                assert len(answer["message"]) < 400

    run(story())


RUN = "1b4e28ba-2fa1-41d2-883f-0016d3cca427"


def test_commands_may_come_as_json_and_a_policy_with_its_id(
    settings: Settings, peer: ControllerPeer
) -> None:
    """A drone model's id stands for its newest policy; the answers name what the pilot named."""

    async def find(name: str) -> str:
        if name == "nobody":
            raise NotFoundError("This drone model has no trained policy yet.")
        return RUN if name == "my-drone" else name

    async def story() -> None:
        async with (
            serving(settings, find_policy=find) as rig,
            rig.socket("/ws/control") as pilot,
        ):
            for frame, policy in (
                ('{"command": "takeoff"}', None),
                (f"Fly_Policy {RUN}", RUN),
                ('{"command": "fly_policy", "policy": "my-drone"}', "my-drone"),
            ):
                await pilot.send(frame)
                sent = await heard(pilot, "command_sent")
                result = await heard(pilot, "command_result")
                assert sent.get("policy") == result.get("policy") == policy
                assert result["ok"]
            await pilot.send("fly_policy nobody")
            result = await heard(pilot, "command_result")
            assert not result["ok"]
            assert "no trained policy" in result["message"]
        assert peer.heard == ["takeoff", f"fly_policy {RUN}", f"fly_policy {RUN}"]

    run(story())


def test_a_stop_that_was_sent_while_a_policy_is_looked_up_is_not_overtaken_by_it(
    settings: Settings, peer: ControllerPeer
) -> None:
    found = asyncio.Event()

    async def find(name: str) -> str:
        await found.wait()
        return name

    async def story() -> None:
        async with (
            serving(settings, find_policy=find) as rig,
            rig.socket("/ws/control") as pilot,
        ):
            await pilot.send(f"fly_policy {RUN}")
            await pilot.send("stop")
            assert (await heard(pilot, "command_result"))["command"] == "stop"
            found.set()
            late = await heard(pilot, "command_result")
            assert (late["command"], late["ok"]) == ("fly_policy", False)
            assert late["message"] == "Pre-empted by stop."
        assert peer.heard == ["stop"]

    run(story())


def test_a_frame_of_16_mb_closes_that_socket_and_nothing_else(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as other:
            async with rig.socket("/ws/control") as vandal:
                sending = asyncio.create_task(vandal.send("a" * (16 << 20)))
                with pytest.raises(ConnectionClosedError) as closed:
                    await vandal.recv()
                await asyncio.gather(sending, return_exceptions=True)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1009  # message too big (RFC 6455)
            await other.send("?")
            assert (await heard(other, "error"))["message"]

    run(story())


def flood(port: int) -> tuple[list[str], int | None, str | None]:
    """Send 10,000 commands as fast as the socket takes them; what was answered, how it ended."""
    kinds = []
    with connect(f"ws://127.0.0.1:{port}/ws/control") as vandal:

        def shout() -> None:
            with suppress(ConnectionClosed):
                for _ in range(10_000):
                    vandal.send("move_forward")

        shouting = Thread(target=shout)
        shouting.start()
        with suppress(ConnectionClosed):
            for frame in vandal:
                kinds.append(json.loads(frame)["type"])
        shouting.join()
        return kinds, vandal.close_code, vandal.close_reason


def test_a_flood_is_bounded_closed_politely_and_slows_nobody_else(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as other:
            await other.send("stop")
            await heard(other, "command_result")
            memory = psutil.Process().memory_info().rss
            floods = asyncio.gather(*(asyncio.to_thread(flood, rig.port) for _ in range(3)))
            answered_meanwhile = 0
            while not floods.done():
                await other.send("stop")
                await heard(other, "command_result")
                answered_meanwhile += not floods.done()
                await asyncio.sleep(0.01)
            for kinds, code, reason in await floods:
                assert code == 1008
                assert "Too many messages" in reason
                assert 0 < kinds.count("command_sent") < 5 * BURST
                assert kinds.count("error") > 100
            # During the floods, not after them; seconds would measure this machine's load.
            assert answered_meanwhile, "another pilot's stop waited for the floods"
            assert psutil.Process().memory_info().rss - memory < 50 << 20
            assert BURST <= peer.heard.count("move_forward") < 15 * BURST

    run(story())


def test_a_flooding_pilot_can_still_stop(settings: Settings, peer: ControllerPeer) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            for _ in range(int(BURST) + 100):
                await pilot.send("?")
            await pilot.send("stop")
            assert (await heard(pilot, "command_result"))["command"] == "stop"

    run(story())


def test_commands_that_are_never_answered_are_bounded(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            for _ in range(MAX_IN_FLIGHT + 1):
                await pilot.send("land")  # the peer never answers it
            refusal = await heard(pilot, "error")
            assert "wait for results" in refusal["message"]
            await pilot.send("stop")
            assert (await heard(pilot, "command_result"))["ok"] is True
        assert peer.heard.count("land") == MAX_IN_FLIGHT
        assert rig.control._courier.pending == 0, "a pilot who leaves leaves nothing behind"

    run(story())


def test_without_a_controller_the_result_says_what_to_do(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            await pilot.send("takeoff")
            assert (await heard(pilot, "command_sent"))["command"] == "takeoff"
            result = await heard(pilot, "command_result", within_s=20)
            assert result["ok"] is False
            assert "python drone_controller.py" in result["message"]
            state = await rig.http.get(f"/drones/{rig.control.drone}/state")
            assert state.status_code == 503
            assert "/readyz" in state.json()["detail"]

    run(story())


def test_pages_of_other_origins_may_not_open_sockets(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            for path in ("/ws/control", "/ws/telemetry"):
                with pytest.raises(InvalidStatus) as refused:
                    async with rig.socket(path, origin="https://evil.example"):
                        pass
                assert refused.value.response.status_code == 403
            async with rig.socket("/ws/control", origin="https://racing.example") as pilot:
                await pilot.send("?")
                await heard(pilot, "error")

    run(story())


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("https://racing.example", True),
        ("http://racing.example", False),
        ("http://drones.lan:5000", True),
        ("http://drones.lan:5001", False),
        ("http://localhost:3000", True),
        ("http://127.0.0.1", True),
        ("http://[::1]:8080", True),
        ("http://localhost.evil.example", False),
        ("https://evil.example", False),
        ("null", False),
        ("file://localhost", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_which_origins_are_ours(origin: str | None, allowed: bool) -> None:
    settings = Settings(_env_file=None, cors_origins=["https://racing.example"])
    assert origin_allowed(origin, host="drones.lan:5000", settings=settings) is allowed
    anyone = Settings(_env_file=None, cors_origins=["*"])
    assert origin_allowed(origin, host=None, settings=anyone)


def test_viewers_see_the_newest_telemetry(settings: Settings, peer: ControllerPeer) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/telemetry?hz=20") as viewer:
            first = json.loads(await viewer.recv())
            assert first.keys() == {
                *("stamp", "age_s", "connected", "armed", "in_air", "flight_mode", "phase"),
                *("message", "position", "velocity", "velocity_body", "quaternion", "yaw_deg"),
                *("heading_deg", "angular_velocity", "battery"),
            }
            await viewer.send("a viewer may talk, nobody listens")
            start = time.perf_counter()
            frames = [json.loads(await viewer.recv()) for _ in range(20)]
            assert 0.8 < time.perf_counter() - start < 1.5
            assert max(frame["age_s"] for frame in frames) < 0.2
            stamps = [frame["stamp"] for frame in frames]
            assert stamps == sorted(stamps)
            assert frames[-1]["yaw_deg"] == pytest.approx(90.0)
            assert frames[-1]["heading_deg"] == pytest.approx(0.0)
            assert frames[-1]["velocity"] == pytest.approx([0.0, 2.0, 0.0], abs=1e-5)
            assert frames[-1]["battery"] == {"voltage_v": None, "remaining": 0.5}
            state = await rig.http.get(f"/drones/{rig.control.drone}/state")
            assert state.status_code == 200
            assert state.json().keys() == first.keys()
            assert (await rig.http.get("/drones")).json() == [
                {
                    "drone": rig.control.drone,
                    "connected": True,
                    "pilot": None,
                    "pilot_id": None,
                    "commands_topic": rig.control.topics.commands,
                }
            ]
            for other in ("2", "0", "one"):
                assert (await rig.http.get(f"/drones/{other}/state")).status_code == 404

    run(story())


def test_a_rate_that_means_nothing_is_refused_with_the_range(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            for hz in ("0", "-1", "51", "0.09", "nan", "inf", "fast", ""):
                async with rig.socket(f"/ws/telemetry?hz={hz}") as viewer:
                    with pytest.raises(ConnectionClosedError):
                        await viewer.recv()
                    assert viewer.close_code == 1008
                    assert "0.1 to 50" in (viewer.close_reason or "")

    run(story())


def test_open_sockets_do_not_hold_up_the_end(settings: Settings, peer: ControllerPeer) -> None:
    async def story() -> None:
        async with AsyncExitStack() as sockets:
            async with serving(settings) as rig:
                viewer = await sockets.enter_async_context(rig.socket("/ws/telemetry"))
                pilot = await sockets.enter_async_context(rig.socket("/ws/control"))
                await viewer.recv()
                await pilot.send("land")  # never answered
                await until("the command to be published", lambda: "land" in peer.heard)
                leaving = time.perf_counter()
            assert time.perf_counter() - leaving < 2.0
            await asyncio.gather(viewer.wait_closed(), pilot.wait_closed())
            assert {viewer.close_code, pilot.close_code} == {1012}  # service restart

    run(story())
