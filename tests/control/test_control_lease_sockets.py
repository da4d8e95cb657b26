"""Several pilots at their sockets: who flies, sticks, leaving, as the controller hears of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedError

from racer.settings import Settings
from tests.control.controller_peer import ControllerPeer, peer_thread
from tests.control.rig import heard, run, serving, slot_settings, until


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with slot_settings(tmp_path) as settings:
        yield settings


@pytest.fixture
def peer(settings: Settings) -> Iterator[ControllerPeer]:
    with peer_thread(settings) as peer:
        yield peer


async def say(socket: ClientConnection, kind: str, **fields: object) -> None:
    await socket.send(json.dumps({"type": kind, **fields}))


async def result(socket: ClientConnection, command: str) -> dict[str, object]:
    await socket.send(command)
    return await heard(socket, "command_result")


def test_the_first_flies_the_others_are_told_who_and_may_stop(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with (
            serving(settings) as rig,
            rig.socket("/ws/control?pilot=Ada") as ada,
            rig.socket("/ws/control?pilot=Grace") as grace,
        ):
            assert (await result(ada, "takeoff"))["ok"]
            told = await heard(grace, "lease")
            assert (told["pilot"], told["yours"]) == ("Ada", False)
            refused = await result(grace, "move_forward")
            assert not refused["ok"]
            assert "Ada has the controls" in str(refused["message"])
            assert (await result(grace, "stop"))["ok"]
            assert peer.heard == ["takeoff", "stop"]
            assert peer.tokens == [1, None]

    run(story())


def test_the_controls_are_asked_for_and_handed_over(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with (
            serving(settings) as rig,
            rig.socket("/ws/control?pilot=Ada") as ada,
            rig.socket("/ws/control?pilot=Grace") as grace,
        ):
            await say(ada, "acquire")
            assert (await heard(ada, "lease"))["yours"]
            await say(grace, "acquire")
            assert "Ada has the controls" in (await heard(grace, "error"))["message"]
            await say(grace, "hand_over", to="me")
            assert "do not have the controls" in (await heard(grace, "error"))["message"]
            await say(grace, "request")
            asked = await heard(ada, "lease_requested")
            assert asked["pilot"] == "Grace"
            await say(ada, "hand_over", to=asked["pilot_id"])
            async with asyncio.timeout(5):
                while not (await heard(grace, "lease"))["yours"]:
                    pass
            assert (await result(grace, "turn_right"))["ok"]
            assert not (await result(ada, "turn_right"))["ok"]
            await say(grace, "release")
            assert (await result(ada, "turn_right"))["ok"]
            assert peer.tokens == [2, 3]
            await say(ada, "sing")
            assert "The type is velocity" in (await heard(ada, "error"))["message"]

    run(story())


def test_of_two_who_ask_at_once_one_flies_and_nothing_of_the_other(
    settings: Settings, peer: ControllerPeer
) -> None:
    """Forty rounds of five pairs, as many as their sockets may send without a pause."""

    async def story() -> None:
        async with serving(settings) as rig:
            await until("the controller", lambda: rig.control.status()["controller"])
            for first in range(0, 40, 8):
                async with (
                    rig.socket("/ws/control?pilot=Ada") as ada,
                    rig.socket("/ws/control?pilot=Grace") as grace,
                ):
                    for turn in range(first, first + 8):
                        await race(peer, turn, [ada, grace] if turn % 2 else [grace, ada])

    async def race(peer: ControllerPeer, turn: int, pair: list[ClientConnection]) -> None:
        words = ("move_forward", "move_backward")
        answers = await asyncio.gather(*map(result, pair, words))
        assert sum(bool(answer["ok"]) for answer in answers) == 1
        winner = 0 if answers[0]["ok"] else 1
        assert peer.heard[turn:] == [words[winner]]
        assert peer.tokens[turn:] == [turn + 1]
        await say(pair[winner], "release")
        while (await heard(pair[winner], "lease"))["pilot"] is not None:
            pass

    run(story())


def test_who_leaves_is_told_at_once(settings: Settings, peer: ControllerPeer) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            async with rig.socket("/ws/control") as ada:
                assert (await result(ada, "takeoff"))["ok"]
                await until("heartbeats", lambda: len(peer.presence) > 5)
                assert set(peer.presence) == {(1, True)}
            await until("the goodbye", lambda: peer.presence[-1] == (1, False))
            async with rig.socket("/ws/control") as grace:
                assert (await result(grace, "takeoff"))["ok"]
                assert peer.tokens == [1, 2]

    run(story())


def test_a_frozen_page_is_gone_although_its_socket_is_open(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as ada:
            await say(ada, "heartbeat")
            assert (await result(ada, "takeoff"))["ok"]
            await until("its absence", lambda: peer.presence and not peer.presence[-1][1])
            await say(ada, "heartbeat")
            await until("its return", lambda: peer.presence[-1][1])

    run(story())


def test_sticks_arrive_as_they_stand_with_the_right_to_steer(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with (
            serving(settings) as rig,
            rig.socket("/ws/control?pilot=Ada") as ada,
            rig.socket("/ws/control") as grace,
        ):
            await until("the controller", lambda: rig.control.status()["controller"])
            await say(ada, "velocity", forward=0, right=0)  # an idle stick takes no controls
            for step in range(10):
                await say(ada, "velocity", forward=0.1 * step, yaw_rate=-20)
                await asyncio.sleep(0.02)
            await until("ten sticks", lambda: len(peer.sticks) == 10)
            assert [s["forward"] for s in peer.sticks] == [0.1 * step for step in range(10)]
            assert {s["lease"]["token"] for s in peer.sticks} == {1}
            assert all(s["yaw_rate"] == -20 for s in peer.sticks)
            for step in range(10):
                await say(grace, "velocity", forward=1.0 + step)
            assert "Ada has the controls" in (await heard(grace, "error"))["message"]
            for bad in ('{"type": "velocity", "up": NaN}', '{"type": "velocity", "up": 1e9}'):
                await ada.send(bad)
                assert "must lie between" in (await heard(ada, "error"))["message"]
            assert len(peer.sticks) == 10

    run(story())


def test_a_flood_of_sticks_is_thinned_and_then_closed(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as ada:
            await until("the controller", lambda: rig.control.status()["controller"])
            for _ in range(500):
                await say(ada, "velocity", forward=1.0)
            assert (await result(ada, "stop"))["ok"]
            assert 20 <= len(peer.sticks) < 200

    run(story())


@pytest.mark.parametrize("frame", ["{", b"takeoff", "a" * 300], ids=["json", "binary", "long"])
def test_a_flood_of_frames_that_mean_nothing_is_closed(
    settings: Settings, frame: str | bytes
) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as vandal:

            async def shout() -> None:
                with suppress(ConnectionClosed):
                    for _ in range(5_000):
                        await vandal.send(frame)

            async def listen() -> None:
                async with asyncio.timeout(20):
                    while True:
                        await vandal.recv()

            shouting = asyncio.create_task(shout())
            with pytest.raises(ConnectionClosedError) as closed:
                await listen()
            await shouting
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008

    run(story())
