"""Frames are made once for all viewers, newest first, and only while somebody watches."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from racer.cameras.shared_source import SharedSource


class Camera:
    """Makes numbered frames and counts them."""

    def __init__(self) -> None:
        self.made = 0
        self.blank = False

    async def shoot(self) -> bytes | None:
        if self.blank:
            return None
        self.made += 1
        return str(self.made).encode()


async def watch(source: SharedSource, count: int) -> list[int]:
    numbers = []
    async with aclosing(source.frames()) as frames:
        async for frame in frames:
            numbers.append(int(frame))
            if len(numbers) == count:
                break
    return numbers


def test_viewers_share_the_frames() -> None:
    async def scenario() -> None:
        camera = Camera()
        source = SharedSource(camera.shoot, rate_hz=100)
        everybody = await asyncio.gather(*(watch(source, 10) for _ in range(20)))
        assert all(numbers == everybody[0] for numbers in everybody)
        assert camera.made <= 12  # not 200

    asyncio.run(scenario())


def test_a_slow_viewer_gets_the_newest_frame_and_no_backlog() -> None:
    async def scenario() -> None:
        camera = Camera()
        source = SharedSource(camera.shoot, rate_hz=200)
        async with aclosing(source.frames()) as slow:
            first = int(await anext(slow))
            await watch(source, 20)  # the slow one does not read meanwhile
            made = camera.made
            assert int(await anext(slow)) == made > first + 15

    asyncio.run(scenario())


def test_nothing_is_made_without_viewers_and_the_past_is_not_shown() -> None:
    async def scenario() -> None:
        camera = Camera()
        source = SharedSource(camera.shoot, rate_hz=200)
        await asyncio.sleep(0.03)
        assert camera.made == 0
        last = (await watch(source, 3))[-1]
        assert source.viewers == 0
        await asyncio.sleep(0.03)
        assert camera.made <= last + 1
        made = camera.made
        assert (await watch(source, 1))[0] > made - 1
        assert camera.made > made

    asyncio.run(scenario())


def test_the_rate_is_kept() -> None:
    async def scenario() -> None:
        camera = Camera()
        source = SharedSource(camera.shoot, rate_hz=50)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await watch(source, 11)
        assert loop.time() - began >= 10 / 50 - 0.01

    asyncio.run(scenario())


def test_none_means_nothing_new() -> None:
    async def scenario() -> None:
        camera = Camera()
        source = SharedSource(camera.shoot, rate_hz=200)
        async with aclosing(source.frames()) as frames:
            await anext(frames)
            camera.blank = True
            await asyncio.sleep(0.02)
            waiting = asyncio.ensure_future(anext(frames))
            await asyncio.sleep(0.03)
            assert camera.made == 1 or waiting.done()
            camera.blank = False
            await asyncio.wait_for(waiting, 2)

    asyncio.run(scenario())


def test_a_new_viewer_sees_a_still_picture_at_once() -> None:
    async def scenario() -> None:
        camera = Camera()
        source = SharedSource(camera.shoot, rate_hz=0.01)
        async with aclosing(source.frames()) as first:
            assert await anext(first) == b"1"
            assert await asyncio.wait_for(watch(source, 1), 1) == [1]

    asyncio.run(scenario())


def test_stop_ends_every_viewer() -> None:
    async def scenario() -> None:
        source = SharedSource(Camera().shoot, rate_hz=200)
        watching = [asyncio.create_task(watch(source, 10_000)) for _ in range(3)]
        await watch(source, 3)
        source.stop()
        async with asyncio.timeout(1):
            assert all(await asyncio.gather(*watching))

    asyncio.run(scenario())


def test_every_viewer_hears_why_there_are_no_frames() -> None:
    async def broken() -> bytes:
        raise OSError("the lens fell off")

    async def scenario() -> None:
        source = SharedSource(broken, rate_hz=10)
        results = await asyncio.gather(
            *(watch(source, 1) for _ in range(3)), return_exceptions=True
        )
        assert [str(result) for result in results] == ["the lens fell off"] * 3
        assert source.viewers == 0
        with pytest.raises(OSError, match="the lens"):
            await watch(source, 1)

    asyncio.run(scenario())
