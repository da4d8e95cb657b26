"""Judges a race from telemetry alone, by the rules of the training simulation.

Between two telemetry samples the vehicle flew very nearly a straight segment: `cross_gate` says
whether it passed the target gate and whether it met the frame of any gate. The moment of a passage
is interpolated on the segment, in the vehicle's own clock, so neither the telemetry's rate nor its
delay is in a lap time. What the simulation counts as a crash ends a race here too.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import dist
from typing import NamedTuple

import numpy as np

from racer.flight.px4 import OdometrySample, Vector
from racer.geometry.gates import GateFrame, cross_gate, in_gate_axes
from racer.geometry.obstacles import Cylinder, touches

_STEP_M = 0.1  # between the places that a way is looked at


class Passage(NamedTuple):
    """One gate passed."""

    number: int  # of the gate on the course, from 1
    stamp_s: float  # on the vehicle's clock
    offset_m: float  # from the gate's centre, in its plane
    speed_m_s: float


@dataclass(frozen=True)
class Course:
    """What is raced: gates in order, as often as `passages` says."""

    gates: tuple[GateFrame, ...]  # of floats
    table: GateFrame  # the same as arrays (G,)
    poles: Cylinder | None  # of arrays (P,); None without any
    passages: int
    radius_m: float  # of the vehicle's hull, a sphere

    def gate(self, passed: int) -> GateFrame:
        """The gate to fly through after `passed` passages; the last one stays the last."""
        return self.gates[min(passed, self.passages - 1) % len(self.gates)]


class Judge:
    """Follows one race, sample by sample."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._last: OdometrySample | None = None
        self.started_s: float | None = None
        self.passages: list[Passage] = []
        self.hit: str | None = None  # what it met, in words

    @property
    def passed(self) -> int:
        """Gates passed so far."""
        return len(self.passages)

    @property
    def finished(self) -> bool:
        """Whether every gate was passed."""
        return self.passed >= self._course.passages

    def start(self, stamp_s: float) -> None:
        """The race begins now, on the vehicle's clock."""
        self.started_s = stamp_s
        self._last = None

    def see(self, sample: OdometrySample) -> None:
        """Judge the segment from the sample before to this one; repeated and old ones are none."""
        before = self._last
        if before is not None and sample.stamp_s <= before.stamp_s:
            return
        self._last = sample
        if before is None or self.started_s is None or self.finished or self.hit:
            return
        self.hit = obstruction(self._course, before.position, sample.position)
        if self.hit is None:
            self._count(before, sample)

    def _count(self, before: OdometrySample, sample: OdometrySample) -> None:
        """Note the passage of the target gate, if this segment is one."""
        target = self._course.gate(self.passed)
        radius = self._course.radius_m
        crossed = cross_gate(target, before.position, sample.position, radius=radius)
        if crossed.passed:
            self.passages.append(
                Passage(
                    number=self.passed % len(self._course.gates) + 1,
                    stamp_s=before.stamp_s + crossed.when * (sample.stamp_s - before.stamp_s),
                    offset_m=crossed.offset,
                    speed_m_s=dist(sample.velocity, (0.0, 0.0, 0.0)),
                )
            )

    def splits_s(self) -> list[float]:
        """From the start to the first gate, from there to the second, and so on."""
        if self.started_s is None:
            return []
        stamps = [self.started_s, *(passage.stamp_s for passage in self.passages)]
        return [after - before for before, after in pairwise(stamps)]

    def time_s(self) -> float:
        """From the start to the last passage so far; 0 before the first."""
        return sum(self.splits_s())

    def laps_s(self) -> list[float]:
        """Full laps, first gate to first gate; empty on a course of one lap."""
        each = len(self._course.gates)
        starts = [passage.stamp_s for passage in self.passages[::each]]
        return [after - before for before, after in pairwise(starts)]


def obstruction(
    course: Course, before: Vector, after: Vector, *, clearance: float = 1.0
) -> str | None:
    """What the hull, `clearance` times its radius, meets between two places; None if nothing."""
    radius = clearance * course.radius_m
    hit = np.flatnonzero(cross_gate(course.table, before, after, radius=radius).hit)
    if hit.size:
        return f"the frame of gate {int(hit[0]) + 1}"
    if course.poles is not None:
        met = np.flatnonzero(touches(course.poles, before, after, radius=radius))
        if met.size:
            return f"pole {int(met[0]) + 1}"
    return None


def scraped(course: Course, before: Vector, after: Vector) -> str | None:
    """Whose frame the hull meets on a way that need not cross a gate's plane: up along it."""
    count = 2 + int(dist(before, after) / _STEP_M)
    x, y, z = np.linspace(before, after, count).T[:, :, None]  # (points, 1) against (G,)
    gates, radius = course.table, course.radius_m
    ahead, left, up = in_gate_axes(gates, (x, y, z))
    square = np.maximum(np.abs(left), np.abs(up))
    out = np.where(gates.round > 0.0, np.hypot(left, up), square)
    inner, outer = gates.half_size - radius, gates.half_size + gates.frame + radius
    met = (np.abs(ahead) <= radius) & (inner < out) & (out < outer)
    hit = np.flatnonzero(met.any(axis=0))
    return f"the frame of gate {int(hit[0]) + 1}" if hit.size else None
