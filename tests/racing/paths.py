"""Flights drawn by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from racer.racing.flight import Flight


def straight(
    start: tuple[float, float, float],
    velocity: tuple[float, float, float],
    *,
    seconds: float = 4.0,
    hz: float = 25.0,
    start_s: float = 0.0,
    **changes: Any,
) -> Flight:
    """A drone that flies straight on, level."""
    time = np.arange(round(seconds * hz) + 1) / hz
    position = np.array(start) + time[:, None] * np.array(velocity)
    return flight(start_s + time, position, **changes)


def flight(time: Any, position: Any, **changes: Any) -> Flight:
    """A level flight along a path; it runs out of time unless `changes` say otherwise."""
    given: dict[str, Any] = {
        "time": np.asarray(time, np.float64),
        "position": np.asarray(position, np.float64),
        "attitude": np.tile([1.0, 0.0, 0.0, 0.0], (len(time), 1)),
        "passages": np.zeros(0),
        "end": "timed_out",
    }
    return Flight(**(given | changes))
