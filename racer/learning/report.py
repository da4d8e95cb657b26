"""What an evaluation found, in numbers that a person, a table and a program can read. No JAX.

Words. *Course time*: from the start to the last gate of the last lap. *Lap time*: on a course of
one lap the course time; on a course of several laps the flying laps, each from one passage of the
first gate to the next, so that neither the standing start nor the finish is in it. Times are
interpolated to the moment at which a gate's plane was crossed, and only flights that passed every
gate without a crash count. *Gate error*: distance from the gate's centre, in its plane, at that
moment; every passage counts.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from racer.sim.task import CrashCause

MAX_PLACES = 1000  # crash places that a report lists


class Flights(Protocol):
    """What is summarised (racer.learning.evaluation.Evaluation). N flights, P passages or more."""

    @property
    def finished(self) -> ArrayLike:
        """(N,) bool: every gate in order, no crash, in time."""

    @property
    def crashed(self) -> ArrayLike:
        """(N,) bool."""

    @property
    def cause(self) -> ArrayLike:
        """(N,) CrashCause of the end, NONE unless crashed."""

    @property
    def passed(self) -> ArrayLike:
        """(N,) gates passed."""

    @property
    def times(self) -> ArrayLike:
        """(N, P) s since the start, of every passage; meaningful up to `passed`."""

    @property
    def offsets(self) -> ArrayLike:
        """(N, P) m from the gate's centre, likewise."""

    @property
    def place(self) -> ArrayLike:
        """(N, 3) m ENU, where the flight ended."""


@dataclasses.dataclass(frozen=True)
class Times:
    """Of `count` laps or courses, s."""

    count: int
    best: float
    median: float
    p95: float  # 95 % are as fast or faster
    mean: float

    @classmethod
    def of(cls, seconds: ArrayLike) -> Times | None:
        """None when there are none."""
        values = np.asarray(seconds, np.float64).ravel()
        if not values.size:
            return None
        return cls(
            count=int(values.size),
            best=float(values.min()),
            median=float(np.median(values)),
            p95=float(np.percentile(values, 95.0)),
            mean=float(values.mean()),
        )


@dataclasses.dataclass(frozen=True)
class GateReport:
    """One gate of the course, over all laps."""

    gate: int  # 1, 2, …
    passes: int
    split_s: float | None  # mean time from the gate before it (gate 1 of lap 1: from the start)
    offset_mean_m: float | None
    offset_p95_m: float | None
    crashes: int  # of flights on their way to it


@dataclasses.dataclass(frozen=True)
class CrashPlace:
    """Where a flight ended."""

    position: tuple[float, float, float]  # m ENU
    cause: str
    gate: int  # that it was flying to, 1, 2, …


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of an evaluation."""

    starts: int
    completion: float  # share of the starts that passed every gate without a crash, in time
    crashed: float  # share
    timed_out: float  # share: neither finished nor crashed
    crash_causes: dict[str, int]  # flights by cause: ground, bounds, frame, obstacle
    gates_passed: float  # mean per flight
    laps: int
    lap_time: Times | None
    course_time: Times | None
    flying_laps: tuple[Times, ...]  # lap by lap, of a course of several laps
    offset_mean_m: float | None
    offset_p95_m: float | None
    gates: tuple[GateReport, ...]
    crash_places: tuple[CrashPlace, ...]

    def to_json(self) -> str:
        """One object, field by field."""
        return json.dumps(dataclasses.asdict(self), allow_nan=False)

    def scalars(self) -> dict[str, float | None]:
        """What a training tells of an epoch; docs/training.md says what each means."""
        lap = self.lap_time
        return {
            "accuracy": self.completion,
            "mean_lap_time_s": lap.mean if lap else None,
            "best_lap_time_s": lap.best if lap else None,
            "median_lap_time_s": lap.median if lap else None,
            "p95_lap_time_s": lap.p95 if lap else None,
            "gates_passed": self.gates_passed,
            "gate_error_m": self.offset_mean_m,
            "crashed": self.crashed,
            "timed_out": self.timed_out,
            **{f"crashed_{name}": n / self.starts for name, n in self.crash_causes.items()},
        }


def merit_of(scalars: Mapping[str, Any]) -> tuple[float, float]:
    """How good an epoch's policy is, of its scalars: the starts it finishes, then how fast it is.

    Of equal ones the later counts. A training keeps its best policy by this.
    """
    lap = scalars.get("mean_lap_time_s")
    return scalars["accuracy"], -math.inf if lap is None else -lap


def summarise(flights: Flights, *, gates: int, laps: int) -> Report:
    """Numbers of N flights over a course of `gates` gates, flown `laps` times."""
    finished, crashed = np.asarray(flights.finished, bool), np.asarray(flights.crashed, bool)
    cause, passed = np.asarray(flights.cause), np.asarray(flights.passed)
    passages = gates * laps
    times = np.asarray(flights.times, np.float64)[:, :passages]
    flown = np.arange(passages) < passed[:, None]  # (N, P)
    offsets = np.asarray(flights.offsets, np.float64)[:, :passages]
    courses = times[finished]
    starts_of_laps = courses[:, ::gates]  # passages of the first gate
    flying = np.diff(starts_of_laps, axis=1)
    course_time = Times.of(courses[:, -1])
    mean, p95 = _offsets(offsets[flown])
    return Report(
        starts=len(finished),
        completion=float(finished.mean()),
        crashed=float(crashed.mean()),
        timed_out=float((~finished & ~crashed).mean()),
        crash_causes={
            kind.name.lower(): int(np.sum(crashed & (cause == kind)))
            for kind in CrashCause
            if kind is not CrashCause.NONE
        },
        gates_passed=float(passed.mean()),
        laps=laps,
        lap_time=Times.of(flying) if laps > 1 else course_time,
        course_time=course_time,
        flying_laps=tuple(lap for column in flying.T if (lap := Times.of(column))),
        offset_mean_m=mean,
        offset_p95_m=p95,
        gates=_gates(times, offsets, flown, passed[crashed], gates=gates),
        crash_places=_places(
            np.asarray(flights.place)[crashed], cause[crashed], passed[crashed], gates
        ),
    )


def _gates(
    times: NDArray[Any],
    offsets: NDArray[Any],
    flown: NDArray[Any],
    crashed_after: NDArray[Any],
    *,
    gates: int,
) -> tuple[GateReport, ...]:
    splits = np.diff(times, axis=1, prepend=0.0)
    reports = []
    for gate in range(gates):
        here = flown[:, gate::gates]
        mean, p95 = _offsets(offsets[:, gate::gates][here])
        split = splits[:, gate::gates][here]
        reports.append(
            GateReport(
                gate=gate + 1,
                passes=int(here.sum()),
                split_s=float(split.mean()) if split.size else None,
                offset_mean_m=mean,
                offset_p95_m=p95,
                crashes=int(np.sum(crashed_after % gates == gate)),
            )
        )
    return tuple(reports)


def _offsets(metres: NDArray[Any]) -> tuple[float | None, float | None]:
    if not metres.size:
        return None, None
    return float(metres.mean()), float(np.percentile(metres, 95.0))


def _places(
    places: NDArray[Any], causes: NDArray[Any], passed: NDArray[Any], gates: int
) -> tuple[CrashPlace, ...]:
    rows = zip(places[:MAX_PLACES], causes, passed, strict=False)
    return tuple(
        CrashPlace(
            position=(float(x), float(y), float(z)),
            cause=CrashCause(int(cause)).name.lower(),
            gate=int(count) % gates + 1,
        )
        for (x, y, z), cause, count in rows
    )
