"""Deadlines that do not drift, and ticks that are dropped rather than bunched."""

from __future__ import annotations

import asyncio
from math import fsum

import pytest

from racer.flight.ratekeeper import Ratekeeper


class Clock:
    """Time that passes only while somebody sleeps, or works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, late_s: float = 0.0) -> None:
        self.now_s = 100.0
        self.slept: list[float] = []

        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.now_s += seconds + late_s

        monkeypatch.setattr(asyncio, "sleep", sleep)

    def __call__(self) -> float:
        return self.now_s


def run(keeper: Ratekeeper, clock: Clock, work_s: list[float]) -> list[float]:
    async def loop() -> list[float]:
        lags = []
        for seconds in work_s:
            lags.append(await keeper.wait())
            clock.now_s += seconds
        return lags

    return asyncio.run(loop())


def test_a_sleep_that_is_always_late_does_not_slow_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch, late_s=0.001)
    keeper = Ratekeeper(100.0, clock)
    lags = run(keeper, clock, [0.002] * 1000)
    assert clock.now_s == pytest.approx(100.0 + 999 * 0.01 + 0.003)
    assert fsum(lags) / len(lags) == pytest.approx(0.001)
    assert keeper.ticks == 1000
    assert keeper.dropped == 0


def test_missed_ticks_are_dropped_and_the_beat_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    keeper = Ratekeeper(100.0, clock)
    lags = run(keeper, clock, [0.0, 0.055, 0.0, 0.0])  # the second tick works for five and a half
    assert lags == pytest.approx([0.0, 0.0, 0.045, 0.0])
    assert keeper.dropped == 4
    assert keeper.worst_lag_s == pytest.approx(0.045)
    assert clock.now_s == pytest.approx(100.0 + 0.07)  # on the old beat
