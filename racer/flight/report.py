"""What became of a policy's race: times, gates, and how well the loop and the telemetry kept up."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from racer.flight.driver import Action
from racer.flight.judge import Passage
from racer.flight.px4 import OdometrySample


@dataclass
class Recording:
    """The race as it was flown: each telemetry sample and each action, with its time."""

    samples: list[OdometrySample] = field(default_factory=list)
    actions: list[tuple[float, Action]] = field(default_factory=list)  # vehicle's clock
    ages_s: list[float] = field(default_factory=list)  # of the telemetry, at each action
    lags_s: list[float] = field(default_factory=list)  # of the loop, at each action

    def save(self, path: Path) -> None:
        """An `.npz` file: t (T,) s, position (T, 3), velocity (T, 3), quaternion (T, 4) wxyz,
        rates (T, 3); action_t (K,) s, action (K, 4). ENU and FLU, the vehicle's clock."""
        np.savez(
            path,
            t=[sample.stamp_s for sample in self.samples],
            position=[sample.position for sample in self.samples],
            velocity=[sample.velocity for sample in self.samples],
            quaternion=[sample.quaternion for sample in self.samples],
            rates=[sample.angular_velocity for sample in self.samples],
            action_t=[stamp_s for stamp_s, _ in self.actions],
            action=[action for _, action in self.actions],
        )

    @property
    def telemetry_hz(self) -> float:
        """Samples a second, by the vehicle's clock; 0 when there are too few to say."""
        if len(self.samples) < 2:
            return 0.0
        return (len(self.samples) - 1) / (self.samples[-1].stamp_s - self.samples[0].stamp_s)


@dataclass(frozen=True)
class RaceReport:
    """One race, over."""

    course: str
    finished: bool
    why: str  # it ended before its end, or what happened while it braked after it; else empty
    passages: tuple[Passage, ...]
    all_passages: int  # of the course
    time_s: float  # from the first action to the last gate passed
    splits_s: tuple[float, ...]
    laps_s: tuple[float, ...]  # first gate to first gate
    recording: Recording

    def summary(self) -> str:
        """One or two sentences for a person."""
        gates = f"{len(self.passages)} of {self.all_passages} gates"
        splits = " ".join(f"{split:.2f}" for split in self.splits_s)
        timing = f"{gates}, splits {splits} s" if splits else gates
        if self.laps_s:
            timing += f", laps {' '.join(f'{lap:.2f}' for lap in self.laps_s)} s"
        if self.finished:
            after = f"While it braked, {self.why}." if self.why else "Holding."
            return f"Flew {self.course} in {self.time_s:.2f} s: {timing}. {after}"
        return f"The policy's flight of {self.course} ended: {self.why}. {timing}."
