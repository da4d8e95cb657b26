"""A flight as the race sees it: a path in the race's time, its gates and how it ended. No JAX."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from racer.sim.track import Track

FloatArray: TypeAlias = NDArray[np.float64]
End: TypeAlias = Literal["finished", "crashed", "timed_out"]
Cause: TypeAlias = Literal["ground", "bounds", "frame", "obstacle", "drone"]


class Place(NamedTuple):
    """Where and when a drone starts."""

    position: tuple[float, float, float]  # m ENU
    start_s: float  # of the race's time


@dataclasses.dataclass(frozen=True, eq=False)
class Flight:
    """One drone's, from its start to its end. S samples, between which it flew straight.

    `time` is the race's; `passages` are seconds since the drone's own start.
    """

    time: FloatArray  # (S,) s, increasing; the first is the start, the last the end
    position: FloatArray  # (S, 3) m ENU
    attitude: FloatArray  # (S, 4) quaternion wxyz, body to world
    passages: FloatArray  # (P,) s, of every gate passed
    end: End
    cause: Cause | None = None  # of a crash
    collided_with: tuple[int, ...] = ()  # places in the heat of those it crashed into

    @property
    def start_s(self) -> float:
        """When it started."""
        return float(self.time[0])

    @property
    def end_s(self) -> float:
        """When it finished, crashed or ran out of time."""
        return float(self.time[-1])

    @property
    def course_time_s(self) -> float | None:
        """From its start to its last gate; None unless it finished."""
        return float(self.passages[-1]) if self.end == "finished" else None

    @property
    def distance_m(self) -> float:
        """How far it flew."""
        return float(np.linalg.norm(np.diff(self.position, axis=0), axis=1).sum())

    def to_next_gate_m(self, track: Track) -> float:
        """From where it ended to the centre of the gate it was flying to; 0 if it finished."""
        if self.end == "finished":
            return 0.0
        gate = track.gates[len(self.passages) % len(track.gates)]
        return float(np.linalg.norm(self.position[-1] - gate.position))

    def laps_s(self, track: Track) -> FloatArray:
        """Flying laps, from each passage of the first gate to the next.

        A course of one lap has no flying lap: its lap is the whole course.
        """
        if track.laps == 1:
            return self.passages[-1:] if self.end == "finished" else np.zeros(0)
        return np.diff(self.passages[:: len(track.gates)])

    def best_three_s(self, track: Track) -> float | None:
        """The least time of three consecutive flying laps; None when there were none."""
        laps = self.laps_s(track)
        if track.laps == 1 or len(laps) < 3:
            return None
        return float(np.convolve(laps, np.ones(3), mode="valid").min())

    def ended(self, moment_s: float, **how: Any) -> Flight:
        """The same flight up to a moment of the race, with another end.

        It lasts a millisecond at least, also where somebody hovers in the start's place.
        """
        moment_s = max(moment_s, self.start_s + 1e-3)
        keep = self.time < moment_s
        keep[0] = True
        there = [np.interp(moment_s, self.time, axis) for axis in self.position.T]
        nearest = min(int(np.searchsorted(self.time, moment_s)), len(self.time) - 1)
        until: dict[str, Any] = {
            "time": np.append(self.time[keep], moment_s),
            "position": np.concatenate([self.position[keep], [there]]),
            "attitude": np.concatenate([self.attitude[keep], self.attitude[nearest, None]]),
            "passages": self.passages[self.start_s + self.passages <= moment_s],
        }
        return dataclasses.replace(self, **(until | how))
