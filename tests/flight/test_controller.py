"""The controller's own edges: how it leaves, and what it does when a part of it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from rclpy.executors import SingleThreadedExecutor

from racer.errors import UnavailableError
from racer.flight.commands import CommandResult
from racer.flight.connect import open_vehicle
from racer.flight.controller import Controller
from racer.flight.hangar import Hangar
from racer.flight.monitor import Update
from racer.flight.ros_node import ControllerNode
from racer.flight.serving import serve
from racer.flight.topics import topics_of
from tests.flight.px4_peer import Px4Peer
from tests.support import claim_slot

NO_POLICIES = Hangar([Path("/nowhere")], "x500")
TOPICS = topics_of(0)


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    with claim_slot(tmp_path) as environment:
        monkeypatch.setenv("ROS_DOMAIN_ID", environment["ROS_DOMAIN_ID"])
        monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        yield 14540 + int(environment["VEHICLE_INSTANCE"])


def test_a_command_that_comes_while_it_leaves_is_refused(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would start after the last Hold, with nobody left to end it."""
    answers: list[CommandResult] = []
    monkeypatch.setattr(ControllerNode, "publish_result", lambda _, result: answers.append(result))

    async def script() -> None:
        async with open_vehicle(f"udpin://127.0.0.1:{port}") as (pilot, monitor):
            controller = Controller(pilot, monitor, NO_POLICIES, pytest.fail, topics=TOPICS)
            leaving = asyncio.create_task(controller.settle())
            await asyncio.sleep(0)
            controller._on_command('{"id": "e5", "command": "move_forward"}')
            await leaving
            controller.close()

    asyncio.run(script())
    stopping = "The controller is stopping."
    assert answers == [CommandResult("move_forward", ok=False, message=stopping, id="e5")]


def test_sticks_that_come_with_a_stop_do_not_take_its_place(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are heard before either has begun."""
    answers: asyncio.Queue[CommandResult] = asyncio.Queue()
    monkeypatch.setattr(
        ControllerNode, "publish_result", lambda _, result: answers.put_nowait(result)
    )

    async def script() -> None:
        url = f"udpin://127.0.0.1:{port}"
        async with open_vehicle(url) as (pilot, monitor):
            with Px4Peer(port, in_air=True, obeys=True):
                flies = lambda: monitor.state.in_air and monitor.odometry is not None  # noqa: E731
                assert await monitor.wait_for(flies, timeout_s=10.0)
                controller = Controller(pilot, monitor, NO_POLICIES, pytest.fail, topics=TOPICS)
                controller._on_command('{"id": "e7", "command": "stop"}')
                controller._on_command('{"type": "velocity", "forward": 1.0}')
                answer = await asyncio.wait_for(answers.get(), timeout=10.0)
                while answer.id != "e7":
                    answer = await asyncio.wait_for(answers.get(), timeout=10.0)
                controller.close()
                assert answer.ok, answer

    asyncio.run(script())


def test_a_policy_that_cannot_be_read_is_an_answer_not_a_crash() -> None:
    hangar = Hangar([Path("/" + "n" * 300)], "x500")  # no disk has such a name
    with pytest.raises(UnavailableError, match="cannot be read: File name too long"):
        asyncio.run(hangar.fetch("1b4e28ba2fa141d2883f0016d3cca427"))


def test_a_dead_ros_thread_ends_the_controller(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(_: SingleThreadedExecutor) -> None:
        raise ValueError("the middleware broke")

    monkeypatch.setattr(SingleThreadedExecutor, "spin", die)
    with pytest.raises(RuntimeError, match="a part of the controller ended") as failure:
        asyncio.run(
            asyncio.wait_for(
                serve(f"udpin://127.0.0.1:{port}", NO_POLICIES, topics=TOPICS), timeout=10.0
            )
        )
    assert "the middleware broke" in str(failure.value.__cause__)


def test_a_listener_that_fails_is_not_taken_for_a_bad_message(port: int) -> None:
    """Or the reader would drop every message and the state would grow old unseen."""

    def broken(_: Update) -> None:
        raise TypeError("cannot publish this")

    async def script() -> None:
        failed: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

        def fail(error: BaseException) -> None:
            if not failed.done():
                failed.set_result(error)

        async with open_vehicle(f"udpin://127.0.0.1:{port}", fail) as (_, monitor):
            monitor.listen(broken)
            with Px4Peer(port, in_air=False):
                error = await asyncio.wait_for(failed, timeout=5.0)
        assert "cannot publish this" in str(error.__cause__)

    asyncio.run(script())
