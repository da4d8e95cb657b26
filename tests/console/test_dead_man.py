"""A held key that nobody confirms is released; everything else stays silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from racer.console.dead_man import DeadMan

TIMEOUT_S = 0.05


def _expiries(scenario: Callable[[DeadMan], Coroutine[Any, Any, None]]) -> int:
    """How often the switch fired by the end of the scenario and three time-outs after it."""
    fired: list[None] = []

    async def run() -> None:
        await scenario(DeadMan(lambda: fired.append(None), timeout_s=TIMEOUT_S))
        await asyncio.sleep(3 * TIMEOUT_S)

    asyncio.run(run())
    return len(fired)


def test_silence_while_a_key_is_held_fires_once() -> None:
    async def hold(switch: DeadMan) -> None:
        switch.arm()

    assert _expiries(hold) == 1


def test_a_released_key_never_fires() -> None:
    async def press_and_release(switch: DeadMan) -> None:
        switch.arm()
        assert switch.armed
        switch.disarm()
        assert not switch.armed

    assert _expiries(press_and_release) == 0


def test_beats_keep_it_quiet_for_many_time_outs() -> None:
    async def hold_alive(switch: DeadMan) -> None:
        switch.arm()
        for _ in range(20):
            await asyncio.sleep(TIMEOUT_S / 5)
            switch.feed()
            assert switch.armed
        switch.disarm()

    assert _expiries(hold_alive) == 0


def test_a_beat_that_comes_late_arms_nothing() -> None:
    async def late(switch: DeadMan) -> None:
        switch.feed()
        assert not switch.armed

    assert _expiries(late) == 0
