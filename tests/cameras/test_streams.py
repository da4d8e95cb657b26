"""MJPEG streams over real HTTP: live, replayed, still."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from nav_msgs.msg import Odometry
from PIL import Image, ImageChops

from racer.cameras import service as camera_service
from racer.settings import Settings
from tests.training.conftest import play, until
from tests.training.rig import Rig, serving


@pytest.fixture
def sqlite_settings(migrated_sqlite_url: str, tmp_path: Any) -> Settings:
    return Settings(
        _env_file=None, data_dir=tmp_path, database_url=migrated_sqlite_url, secret_key=""
    )


async def frames(rig: Rig, path: str) -> AsyncGenerator[bytes, None]:
    """The JPEGs of a stream, cut by its boundary and checked against their stated length."""
    async with rig.http.stream("GET", path) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
        assert answer.headers["cache-control"] == "no-store"
        buffer = b""
        async for chunk in answer.aiter_bytes():
            buffer += chunk
            while buffer.count(b"--frame\r\n") > 1:
                part, buffer = buffer.removeprefix(b"--frame\r\n").split(b"--frame\r\n", 1)
                buffer = b"--frame\r\n" + buffer
                head, jpeg = part.split(b"\r\n\r\n", 1)
                jpeg = jpeg.removesuffix(b"\r\n")
                assert f"Content-Length: {len(jpeg)}".encode() in head
                yield jpeg


async def take(rig: Rig, path: str, count: int) -> list[bytes]:
    taken = []
    async with asyncio.timeout(10), aclosing(frames(rig, path)) as stream:
        async for jpeg in stream:
            taken.append(jpeg)
            if len(taken) == count:
                break
    return taken


def changed(a: bytes, b: bytes, box: tuple[int, int, int, int]) -> bool:
    images = [Image.open(BytesIO(jpeg)).convert("L").crop(box) for jpeg in (a, b)]
    high = ImageChops.difference(*images).getextrema()[1]
    return bool(high > 40)  # type: ignore[operator]  # one channel: numbers


CAPTION, WORLD = (0, 335, 400, 360), (0, 0, 640, 330)


def fly(rig: Rig, *, north_m: float) -> None:
    """Telemetry as the ROS 2 node hands it over."""
    message = Odometry()
    message.pose.pose.position.y = north_m
    message.pose.pose.position.z = 2.5
    message.pose.pose.orientation.w = message.pose.pose.orientation.z = 0.7071067811865476
    rig.vehicle.telemetry.update_odometry(message)


def record(settings: Settings, run_id: str, *, epoch: int) -> None:
    path = settings.data_dir / "runs" / run_id / "flight.npz"
    beside = path.with_name("new.npz")
    steps = np.arange(100)
    np.savez(
        beside,
        t=steps / 25,
        position=np.stack([0 * steps, steps * 0.2, 0 * steps + 2.5], axis=1),
        quaternion=np.tile([0.7071, 0, 0, 0.7071], (100, 1)),
        gates_passed=(steps > 35).astype(int),
        epoch=epoch,
    )
    beside.replace(path)


async def trained(rig: Rig) -> tuple[str, str]:
    """A model with a finished training: its stream's path and its run's id."""
    drone_id = await rig.new_model()
    async with rig.socket(f"/ws/train?drone_id={drone_id}") as socket:
        async for _ in socket:
            pass
    path = rig.app.state.training.flight_path(drone_id)
    return f"/gazebo-stream/{drone_id}?username=ada", path.parent.name


def test_unknown_users_models_and_drones_are_404_with_a_detail(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model("ada")
            await rig.new_model("bob")
            for path in (
                f"/gazebo-stream/{drone_id}?username=nobody",
                f"/gazebo-stream/{drone_id}?username=bob",
                f"/gazebo-stream/{uuid.UUID(int=1)}?username=ada",
                "/gazebo-stream/nonsense?username=ada",
                "/drones/2/stream",
            ):
                answer = await rig.http.get(path)
                assert answer.status_code == 404
                assert isinstance(answer.json()["detail"], str)
            assert (await rig.http.get(f"/gazebo-stream/{drone_id}")).status_code == 422

    play(scenario())


def test_without_anything_to_show_there_is_a_still_picture(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            path = f"/gazebo-stream/{await rig.new_model()}?username=ada"
            began = time.monotonic()
            first, second = await take(rig, path, 2)
            assert Image.open(BytesIO(first)).size == (640, 360)
            assert first == second
            assert time.monotonic() - began > 0.9  # it is sent again, but not drawn without end

    play(scenario())


def test_the_live_vehicle_is_shown_while_its_simulation_runs(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            drone_id = await rig.new_model()
            path = f"/gazebo-stream/{drone_id}?username=ada"
            async with aclosing(frames(rig, path)) as stream:
                still = await anext(stream)
                fly(rig, north_m=0.0)
                rig.vehicle.active_drone_id = drone_id
                here = await anext(stream)
                assert changed(still, here, CAPTION)
                fly(rig, north_m=5.0)
                there = await anext(stream)
                assert changed(here, there, WORLD)
                rig.vehicle.active_drone_id = str(uuid.UUID(int=2))
                assert not changed(still, await anext(stream), CAPTION)

    play(scenario())


def test_telemetry_with_holes_or_silence_is_no_crash(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            [waiting] = await take(rig, "/drones/1/stream", 1)
            fly(rig, north_m=float("nan"))
            assert await take(rig, "/drones/1/stream", 1) == [waiting]
            fly(rig, north_m=0.0)
            [live] = await take(rig, "/drones/1/stream", 1)
            assert changed(waiting, live, CAPTION)
            monkeypatch.setattr(camera_service, "_SILENCE_S", -1.0)  # any age is too old
            [silent] = await take(rig, "/drones/1/stream", 1)
            assert changed(silent, live, CAPTION)
            rig.vehicle.telemetry.forget_vehicle()
            assert len(await take(rig, "/drones/1/stream", 1)) == 1

    play(scenario())


def test_a_trained_model_replays_its_newest_flight(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            path, run_id = await trained(rig)  # its flight.npz is a text: shown as none
            async with aclosing(frames(rig, path)) as stream:
                still = await anext(stream)
                record(sqlite_settings, run_id, epoch=7)
                async with asyncio.timeout(5):
                    replay = await anext(stream)
                    while not changed(still, replay, CAPTION):
                        replay = await anext(stream)
                    moved = [await anext(stream) for _ in range(8)][-1]
                    assert changed(replay, moved, WORLD)
                    record(sqlite_settings, run_id, epoch=88)
                    while not changed(moved, await anext(stream), (40, 335, 120, 360)):
                        pass

    play(scenario())


def test_many_viewers_cost_one_picture_each_and_none_costs_nothing(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = 0
    render = camera_service.render_chase

    def counted(*args: Any, **kwargs: Any) -> bytes:
        nonlocal drawn
        drawn += 1
        return render(*args, **kwargs)

    monkeypatch.setattr(camera_service, "render_chase", counted)

    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            path, run_id = await trained(rig)
            record(sqlite_settings, run_id, epoch=1)
            began = time.monotonic()
            await asyncio.gather(*(take(rig, path, 10) for _ in range(12)))
            took = time.monotonic() - began
            assert 10 <= drawn <= took * camera_service.FRAME_RATE_HZ + 2
            await until(lambda: rig.app.state.cameras.watched == 0)
            before = drawn
            await asyncio.sleep(0.2)
            assert drawn == before

    play(scenario())


def test_a_database_that_hangs_for_one_stream_leaves_the_others_flowing(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered = threading.Event(), threading.Event()

    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            drone_id = await rig.new_model()

            def hang(drone_id_asked: str) -> None:
                if drone_id_asked == drone_id:
                    asked.set()
                    answered.wait(20)

            monkeypatch.setattr(rig.app.state.training, "flight_path", hang)
            path = f"/gazebo-stream/{drone_id}?username=ada"
            waiting = asyncio.create_task(take(rig, path, 1))
            try:
                await until(asked.is_set)
                async with asyncio.timeout(5):
                    assert len(await take(rig, "/drones/1/stream", 2)) == 2
            finally:
                answered.set()
            assert len(await waiting) == 1

    play(scenario())


def test_a_viewer_that_does_not_read_is_waited_for_and_nothing_piles_up(
    sqlite_settings: Settings,
) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            path, run_id = await trained(rig)
            record(sqlite_settings, run_id, epoch=1)
            with socket.socket() as lazy:
                lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                lazy.connect(("127.0.0.1", rig.port))
                lazy.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert len(await take(rig, path, 20)) == 20  # others see it flow
            await until(lambda: rig.app.state.cameras.watched == 0)

    play(scenario())


def test_a_stopping_server_ends_streams_at_once(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            path = f"/gazebo-stream/{await rig.new_model()}?username=ada"
            async with aclosing(frames(rig, path)) as stream:
                await anext(stream)
                began = time.monotonic()
                rig.stop()
                async for _ in stream:
                    pass
                assert time.monotonic() - began < 1.0

    play(scenario())
