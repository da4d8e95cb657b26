"""Flights by hand in a race: a recording's stretches, cut into attempts and judged. No JAX.

An *attempt* begins where the vehicle was last at rest at the course's start: within START_WITHIN_M
of it and slower than AT_REST_M_S, at the moment it becomes faster (or leaves that place). It ends
at the last gate, at a crash, when the stretch ends, when the vehicle is at rest at the start again,
or after LONGEST_S. Gates, frames and poles are judged by racer.flight.judge, ground and bounds as
the simulation judges them; times are the vehicle's clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from racer.errors import InvalidInputError
from racer.files import becoming
from racer.flight.judge import Course, Judge, obstruction
from racer.flight.plan import course_of, start_of
from racer.flight.px4 import OdometrySample, Vector
from racer.flight.stretches import Stretch
from racer.racing.flight import Cause, Flight, FloatArray
from racer.sim.airframe import Airframe
from racer.sim.track import Track

FLIGHT_FILE = "flight.npz"
START_WITHIN_M = 0.5
AT_REST_M_S = 0.4
LONGEST_S = 600.0  # of an attempt; a replay holds twice that
_STILL = (0.0, 0.0, 0.0)


class Trajectory(NamedTuple):
    """A stretch that one pilot flew, T samples; world ENU."""

    time: FloatArray  # (T,) s, the vehicle's clock, increasing
    position: FloatArray  # (T, 3) m
    velocity: FloatArray  # (T, 3) m/s
    attitude: FloatArray  # (T, 4) quaternion wxyz, body to world


class _Attempt(NamedTuple):
    """Samples `first` to `last` of a trajectory, and where and when it began before `first`."""

    start_s: float
    start: FloatArray  # (3,)
    first: int
    last: int


def trajectory_of(stretch: Stretch) -> Trajectory:
    """Its numbers."""
    samples = stretch.samples
    return Trajectory(
        np.array([sample.stamp_s for sample in samples]),
        np.array([sample.position for sample in samples]),
        np.array([sample.velocity for sample in samples]),
        np.array([sample.quaternion for sample in samples]),
    )


def save(path: Path, flown: Sequence[Trajectory]) -> None:
    """An `.npz` on the disk: the trajectories after each other, `lengths` of each."""
    columns = {
        name: np.concatenate([getattr(one, name) for one in flown]) for name in Trajectory._fields
    }
    columns["lengths"] = np.array([len(one.time) for one in flown])
    with becoming(path) as file:
        np.savez_compressed(file, **columns)  # type: ignore[arg-type]  # none is allow_pickle


def load(path: Path) -> list[Trajectory]:
    """What `save` wrote. Raises InvalidInputError when the file is another."""
    try:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["lengths"])[:-1]
            columns = [np.split(file[name], ends) for name in Trajectory._fields]
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise InvalidInputError(f"Its flight cannot be read ({type(error).__name__}).") from error
    return [Trajectory(*parts) for parts in zip(*columns, strict=True)]


def attempts(flown: Sequence[Trajectory], track: Track, airframe: Airframe) -> list[Flight]:
    """Every attempt that passed a gate; if none did, the one that came nearest to the first.

    Empty when the vehicle never left the start from rest.
    """
    radius = airframe.body.collision_radius_m
    course, start = course_of(track, radius_m=radius), start_of(track, radius_m=radius)
    found = [
        _judged(one, attempt, track, course)
        for one in flown
        for attempt in _attempts(one, np.array(start))
    ]
    counting = [flight for flight in found if len(flight.passages)]
    return counting or sorted(found, key=lambda flight: flight.to_next_gate_m(track))[:1]


def _attempts(flown: Trajectory, start: FloatArray) -> Iterator[_Attempt]:
    """Where the vehicle leaves from rest at the start, until it rests there again."""
    near = np.linalg.norm(flown.position - start, axis=1) <= START_WITHIN_M
    speed = np.linalg.norm(flown.velocity, axis=1)
    ready = near & (speed < AT_REST_M_S)
    leaves = np.flatnonzero(ready[:-1] & ~ready[1:])
    returns = np.append(np.flatnonzero(ready[1:] & ~ready[:-1]) + 1, len(ready) - 1)
    for before in leaves.tolist():
        last = int(returns[np.searchsorted(returns, before, side="right")])
        rising = speed[before + 1] - speed[before]
        share = (AT_REST_M_S - speed[before]) / rising if speed[before + 1] > AT_REST_M_S else 0.0
        span = flown.time[before + 1] - flown.time[before]
        way = flown.position[before + 1] - flown.position[before]
        yield _Attempt(
            float(flown.time[before] + share * span),
            flown.position[before] + share * way,
            before + 1,
            last,
        )


def _judged(flown: Trajectory, attempt: _Attempt, track: Track, course: Course) -> Flight:
    judge = Judge(course)
    judge.start(attempt.start_s)
    before = _vector(attempt.start)
    judge.see(_sample(attempt.start_s, before, _STILL))
    cause: Cause | None = None
    last = attempt.first
    for last in range(attempt.first, attempt.last + 1):
        after = _vector(flown.position[last])
        cause = _left(track, after, radius_m=course.radius_m)
        met = obstruction(course, before, after) if cause is not None else None
        if cause is None:  # or a gate behind the end would count
            judge.see(_sample(float(flown.time[last]), after, _vector(flown.velocity[last])))
            met = judge.hit
        if met is not None:
            cause = "obstacle" if met.startswith("pole") else "frame"
        late = flown.time[last] - attempt.start_s > LONGEST_S
        if cause is not None or judge.finished or late:
            break
        before = after
    here = slice(attempt.first, last + 1)
    moments = [passage.stamp_s - attempt.start_s for passage in judge.passages]
    flight = Flight(
        time=np.append(0.0, flown.time[here] - attempt.start_s),
        position=np.concatenate([attempt.start[None], flown.position[here]]),
        attitude=np.concatenate([flown.attitude[attempt.first, None], flown.attitude[here]]),
        passages=np.array(moments, np.float64),
        end="timed_out" if cause is None else "crashed",
        cause=cause,
    )
    return flight.ended(moments[-1], end="finished", cause=None) if judge.finished else flight


def _left(track: Track, place: Vector, *, radius_m: float) -> Cause | None:
    """Whether the course ends there, as racer.sim.judging says."""
    low, high = track.bounds_min, track.bounds_max
    if place[2] < low[2] + radius_m:
        return "ground"
    inside = np.all(np.less_equal(place, high)) and np.all(np.greater_equal(place[:2], low[:2]))
    return None if inside else "bounds"


def _vector(row: NDArray[np.float64]) -> Vector:
    x, y, z = row.tolist()
    return x, y, z


def _sample(stamp_s: float, position: Vector, velocity: Vector) -> OdometrySample:
    """As the judge wants it, who asks for neither attitude nor rates."""
    return OdometrySample(stamp_s, position, velocity, _STILL, (1.0, 0.0, 0.0, 0.0), _STILL)
