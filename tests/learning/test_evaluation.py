"""Evaluation flights, judged against the geometry of the course, and reports against arithmetic."""

from __future__ import annotations

import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from racer.learning import evaluation
from racer.learning.evaluation import Evaluation, fresh_key, make_flights, make_told_flights
from racer.learning.report import Times, summarise
from racer.sim.airframe import load_airframe
from racer.sim.task import CrashCause, Settings, make_task
from racer.sim.track import load_track

STARTS = 8
TRACK = load_track("toledo")
SETTINGS = Settings()
TASK = make_task(TRACK, SETTINGS, velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)


def towards_the_gate(speed: jax.Array, observation: jax.Array) -> jax.Array:
    """A hand-made pilot: through the gate's centre line, slower when beside it."""
    to_gate, forward = observation[:, 0:3], observation[:, 3:6]
    aside = jnp.linalg.norm(observation[:, 13:15], axis=1, keepdims=True)
    ahead = jnp.clip(observation[:, 12:13], -1.0, 0.0)  # 5 m
    aim = to_gate + forward * jnp.where(ahead < -0.1, 0.3 * ahead, 0.1) * jnp.minimum(aside * 5, 1)
    direction = aim / (jnp.linalg.norm(aim, axis=1, keepdims=True) + 1e-6)
    return jnp.concatenate([speed * direction, jnp.zeros_like(ahead)], axis=1)


FLY = jax.jit(make_flights(load_airframe("x500"), SETTINGS, towards_the_gate, starts=STARTS))


def flown(seed: int = 0, speed: float = 0.45) -> Evaluation:
    return jax.device_get(FLY(jnp.float32(speed), TASK, fresh_key(seed)))


def test_flights_repeat_and_other_seeds_start_elsewhere() -> None:
    first, again, other = flown(), flown(), flown(seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.flights[0], other.flights[0])


@pytest.mark.parametrize("speed", [0.45, 0.2, 1.0])  # finished, out of time, crashed
def test_flights_that_tell_how_far_they_are_are_the_same_flights(
    speed: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "_LEG", 32)
    traces, told = [], []  # type: list[None], list[tuple[float, int]]

    def act(speed: jax.Array, observation: jax.Array) -> jax.Array:
        traces.append(None)
        return towards_the_gate(speed, observation)

    fly = make_told_flights(load_airframe("x500"), SETTINGS, act, starts=STARTS)
    found = fly(jnp.float32(speed), TASK, fresh_key(0), lambda s: told.append((s, len(traces))))
    for ours, theirs in zip(found, flown(speed=speed), strict=True):
        assert np.array_equal(ours, theirs)
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert len(shares) == -(-int(found.steps.max()) // 32)
    assert 0.0 < shares[0] < 0.5
    assert shares[-1] == 1.0
    assert len({count for _, count in told}) == 1  # compiled for the first leg and never again


def test_passages_are_timed_between_control_steps_and_measured_from_the_centre() -> None:
    result = flown()
    assert result.finished.all(), "the hand-made pilot is slow and careful"
    passages = TRACK.passages
    assert (result.passed == passages).all()
    times = result.times[:, :passages]
    assert (np.diff(times, axis=1, prepend=0.0) > 0.0).all()
    steps = times / SETTINGS.dt
    assert (steps[:, -1] <= result.steps).all()
    assert (steps[:, -1] > result.steps - 1).all()
    assert np.abs(steps - np.round(steps)).max() > 0.05  # not on the grid of control steps
    assert (result.times[:, passages:] == 0.0).all()
    # The first start's recorded positions, interpolated to those moments, lie in the gates' planes.
    path = result.flights[: result.steps[0], 0, 0:3]
    for gate, moment, offset in zip(TRACK.gates, steps[0], result.offsets[0], strict=False):
        before = int(moment)
        if before + 1 < len(path):
            share = moment - before
            place = (1 - share) * path[before] + share * path[before + 1] - gate.position
            assert float(place @ gate.axes[0]) == pytest.approx(0.0, abs=2e-3)
            assert float(np.linalg.norm(place)) == pytest.approx(float(offset), abs=2e-3)


def test_a_reckless_pilot_crashes_and_the_report_says_where_and_why() -> None:
    result = flown(speed=1.0)
    report = summarise(result, gates=len(TRACK.gates), laps=TRACK.laps)
    assert report.completion < 1.0
    crashes = int(np.sum(result.crashed))
    assert crashes > 0
    assert sum(report.crash_causes.values()) == crashes == len(report.crash_places)
    assert sum(gate.crashes for gate in report.gates) == crashes
    for place in report.crash_places:
        assert place.cause in ("ground", "bounds", "frame", "obstacle")
        assert (np.array(place.position) >= TRACK.bounds_min - 1.0).all()
        assert (np.array(place.position) <= TRACK.bounds_max + 1.0).all()
        if place.cause == "frame":
            nearest = min(np.linalg.norm(g.position - place.position) for g in TRACK.gates)
            assert nearest < 2.0


def test_a_slow_pilot_runs_out_of_time() -> None:
    result = flown(speed=0.2)
    report = summarise(result, gates=len(TRACK.gates), laps=TRACK.laps)
    assert (report.timed_out, report.crashed) == (1.0, 0.0)
    assert (result.steps == TASK.time_limit).all()
    assert report.lap_time is None


class Flights(NamedTuple):
    """Made by hand."""

    finished: NDArray[np.bool_]
    crashed: NDArray[np.bool_]
    cause: NDArray[np.int32]
    passed: NDArray[np.int32]
    times: NDArray[np.float32]
    offsets: NDArray[np.float32]
    place: NDArray[np.float32]


def by_hand() -> Flights:
    """Two gates, three laps: one finished, one hit a frame, one ran out of time."""
    times = np.zeros((3, 40), np.float32)
    times[0, :6] = [2.0, 3.0, 5.0, 6.0, 7.5, 8.0]
    times[1, :2] = [1.0, 2.0]
    offsets = np.zeros((3, 40), np.float32)
    offsets[0, :6] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    offsets[1, :2] = [0.7, 0.8]
    return Flights(
        finished=np.array([True, False, False]),
        crashed=np.array([False, True, False]),
        cause=np.array([0, CrashCause.FRAME, 0], np.int32),
        passed=np.array([6, 2, 0], np.int32),
        times=times,
        offsets=offsets,
        place=np.array([[0, 0, 0], [1, 2, 3], [0, 0, 0]], np.float32),
    )


def test_laps_are_flown_from_start_gate_to_start_gate() -> None:
    report = summarise(by_hand(), gates=2, laps=3)
    assert report.course_time == Times(count=1, best=8.0, median=8.0, p95=8.0, mean=8.0)
    assert report.lap_time is not None
    assert (report.lap_time.count, report.lap_time.best, report.lap_time.mean) == (2, 2.5, 2.75)
    assert [lap.mean for lap in report.flying_laps] == [3.0, 2.5]
    first, second = report.gates
    assert (first.passes, second.passes) == (4, 4)
    assert first.split_s == pytest.approx((2.0 + 2.0 + 1.5 + 1.0) / 4)
    assert second.split_s == pytest.approx((1.0 + 1.0 + 0.5 + 1.0) / 4)
    assert first.offset_mean_m == pytest.approx((0.1 + 0.3 + 0.5 + 0.7) / 4)
    assert (first.crashes, second.crashes) == (1, 0)
    assert report.crash_causes == {"ground": 0, "bounds": 0, "frame": 1, "obstacle": 0}
    assert report.crash_places[0].position == (1.0, 2.0, 3.0)
    assert report.crash_places[0].gate == 1
    assert (report.completion, report.crashed, report.timed_out) == pytest.approx((1 / 3,) * 3)
    assert json.loads(report.to_json())["lap_time"]["best"] == 2.5


def test_on_one_lap_the_lap_is_the_course_and_without_a_finish_there_is_no_time() -> None:
    flights = by_hand()
    one = summarise(flights, gates=6, laps=1)
    assert one.lap_time == one.course_time
    assert one.flying_laps == ()
    none = summarise(flights._replace(finished=np.zeros(3, bool)), gates=6, laps=1)
    scalars = none.scalars()
    assert scalars["accuracy"] == 0.0
    assert scalars["mean_lap_time_s"] is None
    assert scalars["crashed_frame"] == pytest.approx(1 / 3)
    assert none.gates[5].split_s == pytest.approx(0.5)
    assert "NaN" not in none.to_json()


def test_percentiles_are_of_the_sample() -> None:
    times = Times.of(np.arange(1.0, 102.0))
    assert times == Times(count=101, best=1.0, median=51.0, p95=96.0, mean=51.0)
    assert Times.of([]) is None
