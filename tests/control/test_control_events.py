"""Broadcasts reach everyone who listens, in order, and nobody can make us keep them for ever."""

from __future__ import annotations

import asyncio
import gc

from racer.control.events import MAX_WAITING, Events


def test_everyone_hears_everything_from_the_subscription_on() -> None:
    async def story() -> None:
        events = Events()
        events.broadcast({"n": -1})
        with events.subscribe() as one, events.subscribe() as two:
            for number in range(3):
                events.broadcast({"n": number})
            for subscription in (one, two):
                assert [(await anext(subscription))["n"] for _ in range(3)] == [0, 1, 2]

    asyncio.run(story())


def test_a_listener_that_hangs_loses_the_oldest() -> None:
    async def story() -> None:
        events = Events()
        with events.subscribe() as slow:
            for number in range(MAX_WAITING + 10):
                events.broadcast({"n": number})
            assert (await anext(slow))["n"] == 10

    asyncio.run(story())


def test_an_abandoned_subscription_is_forgotten() -> None:
    async def story() -> None:
        events = Events()
        with events.subscribe():
            pass
        abandoned = events.subscribe()
        del abandoned
        gc.collect()
        assert len(events._subscribers) == 0

    asyncio.run(story())


def test_an_event_wakes_a_waiting_listener() -> None:
    async def story() -> None:
        events = Events()
        with events.subscribe() as subscription:
            waiting = asyncio.create_task(anext(subscription))
            await asyncio.sleep(0)
            events.broadcast({"n": 1})
            assert await asyncio.wait_for(waiting, 1) == {"n": 1}

    asyncio.run(story())
