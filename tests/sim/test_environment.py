"""The racing environment: gates, crashes, rewards, resets, limits, repeatability."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.sim.airframe import load_airframe
from racer.sim.environment import (
    EnvironmentState,
    Outcome,
    make_step,
    observe,
    reset,
)
from racer.sim.judging import nominal_gate
from racer.sim.task import DEFAULT_SPREAD, CrashCause, Settings, Task, make_task, spread_within
from racer.sim.track import load_track, parse_track
from racer.sim.wind import speeds

X500 = load_airframe("x500")
SETTINGS = Settings()
STEP = jax.jit(make_step(X500, SETTINGS))
N = 16
ONE = np.zeros((N,), bool)


def task(**changes: float) -> Task:
    limits = {"velocity_limit_m_s": 8.0, "yaw_limit_deg_s": 90.0} | changes
    return make_task(load_track("toledo", altitude_m=2.5), SETTINGS, **limits)


def states(the_task: Task, *, seed: int = 0, along_course: float = 0.0) -> EnvironmentState:
    return reset(the_task, jax.random.key(seed), (N,), airframe=X500, along_course=along_course)


def action(forward: float = 0.0, left: float = 0.0, up: float = 0.0, turn: float = 0.0) -> Any:
    return jnp.tile(jnp.array([forward, left, up, turn], jnp.float32), (N, 1))


def advance(
    the_task: Task, state: EnvironmentState, command: Any, *, spare: EnvironmentState | None = None
) -> tuple[EnvironmentState, Outcome]:
    return STEP(the_task, state, command, jnp.zeros((N, 3)), state if spare is None else spare)


def placed(
    state: EnvironmentState, position: tuple[float, float, float], velocity: Any = (0, 0, 0)
) -> EnvironmentState:
    """All drones at one place, heading east."""
    names = ("px", "py", "pz", "vx", "vy", "vz")
    values = {
        name: jnp.full(N, value, jnp.float32)
        for name, value in zip(names, (*position, *velocity), strict=True)
    }
    vehicle = state.vehicle._replace(qw=jnp.ones(N), qz=jnp.zeros(N), **values)
    return state._replace(vehicle=vehicle)


def test_flying_through_the_gate_counts_and_leads_to_the_next() -> None:
    course = task()
    before = placed(states(course), (0.0, 6.9, 2.5), (0.0, 6.0, 0.0))
    after, outcome = advance(course, before, action(left=1.0))
    assert np.all(outcome.passed)
    assert not np.any(outcome.done)
    assert np.all(after.passed == 1)
    assert float(outcome.reward[0]) > 0.15
    assert float(nominal_gate(course, after.passed).centre[0][0]) == 5.0


def test_a_passage_is_timed_within_the_step_and_measured_in_the_gates_plane() -> None:
    """From 10 cm before the plane at 6 m/s: 0.1 m / 0.24 m of the step, and 0.3 m right of it."""
    course = task()
    before = placed(states(course), (0.3, 6.9, 2.5), (0.0, 6.0, 0.0))
    _, outcome = advance(course, before, action(left=0.75))
    assert np.all(outcome.passed)
    assert np.all(outcome.cause == CrashCause.NONE)
    assert float(outcome.when[0]) == pytest.approx(0.1 / 0.24, abs=0.02)
    assert float(outcome.offset[0]) == pytest.approx(0.3, abs=0.02)


class CountingReward:
    """A reward with memory: the number of steps of this flight."""

    def initial(self, shape: tuple[int, ...]) -> Any:
        return jnp.zeros(shape)

    def __call__(self, task: Any, memory: Any, before: Any, after: Any, judged: Any) -> Any:
        return memory + 1.0, memory + 1.0 + 100.0 * (judged.cause == CrashCause.BOUNDS)


def test_a_reward_of_ones_own_remembers_one_flight() -> None:
    course, reward = task(), CountingReward()
    own_step = jax.jit(make_step(X500, SETTINGS, reward))
    spare = reset(course, jax.random.key(1), (N,), airframe=X500, reward=reward)
    there = np.arange(N) == 3
    leaving = jnp.where(there, 21.95, 5.0), jnp.where(there, 20.0, 0.0)
    state = placed(spare, (5.0, 0.0, 2.5))
    state, outcome = own_step(course, state, action(), jnp.zeros((N, 3)), spare)
    vehicle = state.vehicle._replace(px=leaving[0], vx=leaving[1])
    state, outcome = own_step(
        course, state._replace(vehicle=vehicle), action(), jnp.zeros((N, 3)), spare
    )
    assert np.array_equal(outcome.reward, np.where(there, 102.0, 2.0))
    assert np.array_equal(state.memory, np.where(there, 0.0, 2.0))


@pytest.mark.parametrize(
    ("start", "velocity"),
    [
        ((0.0, 7.1, 2.5), (0.0, -6.0, 0.0)),  # backwards through the target
        ((10.0, 2.1, 1.9), (0.0, -6.0, 0.0)),  # through a later gate
        ((3.0, 6.9, 2.5), (0.0, 6.0, 0.0)),  # past the target, outside its frame
    ],
)
def test_other_crossings_do_not_count(start: Any, velocity: Any) -> None:
    course = task()
    after, outcome = advance(course, placed(states(course), start, velocity), action())
    assert not np.any(outcome.passed | outcome.done)
    assert np.all(after.passed == 0)


@pytest.mark.parametrize(
    ("start", "velocity", "cause"),
    [
        ((0.7, 6.9, 2.5), (0.0, 6.0, 0.0), CrashCause.FRAME),  # the target's
        ((12.35, -6.4, 2.7), (0.0, -6.0, 0.0), CrashCause.FRAME),  # a later gate's
        ((5.0, 0.0, 0.3), (0.0, 0.0, -3.0), CrashCause.GROUND),
        ((21.95, 0.0, 2.5), (5.0, 0.0, 0.0), CrashCause.BOUNDS),
        ((5.0, 0.0, 7.95), (0.0, 0.0, 5.0), CrashCause.BOUNDS),  # the ceiling
    ],
)
def test_crashes_end_the_flight_and_go_on_from_the_spare(
    start: Any, velocity: Any, cause: CrashCause
) -> None:
    course = task()
    spare = states(course, seed=9)
    after, outcome = advance(course, placed(states(course), start, velocity), action(), spare=spare)
    assert np.all(outcome.crashed & outcome.done)
    assert np.all(outcome.cause == cause)
    assert not np.any(outcome.finished)
    assert float(outcome.reward[0]) < -0.2
    assert np.array_equal(after.vehicle.px, spare.vehicle.px)
    assert np.all(after.elapsed == 0)


def test_the_last_gate_finishes_and_time_runs_out() -> None:
    course = task()
    last = load_track("toledo", altitude_m=2.5).gates[-1]
    towards = 6.0 * last.axes[0]
    at = last.position - 0.1 * last.axes[0]
    before = placed(states(course), tuple(at), tuple(towards))
    before = before._replace(passed=jnp.full(N, 5, jnp.int32))
    _, outcome = advance(course, before, action())
    assert np.all(outcome.finished & outcome.done)
    assert not np.any(outcome.crashed)
    late = states(course)._replace(elapsed=jnp.full(N, course.time_limit - 1, jnp.int32))
    _, outcome = advance(course, late, action())
    assert np.all(outcome.done)
    assert not np.any(outcome.finished | outcome.crashed)


def test_laps_are_the_same_gates_again() -> None:
    track = dataclasses.replace(load_track("toledo", altitude_m=2.5), laps=2)
    course = make_task(track, SETTINGS, velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
    last = track.gates[-1]
    before = placed(
        states(course), tuple(last.position - 0.1 * last.axes[0]), tuple(6.0 * last.axes[0])
    )
    laps = before._replace(passed=jnp.where(np.arange(N) < N // 2, 5, 11))
    after, outcome = advance(course, laps, action(), spare=states(course))
    assert np.all(outcome.passed)
    assert np.array_equal(outcome.finished, np.arange(N) >= N // 2)
    assert np.array_equal(after.passed, np.where(outcome.finished, 0, 6))
    assert np.all(nominal_gate(course, after.passed).centre[1] == 7.0)  # the first gate


def test_a_vehicle_that_is_nowhere_has_crashed() -> None:
    """Numbers that overflowed must not fly on until the time is up."""
    course = task()
    lost = states(course)
    lost = lost._replace(vehicle=lost.vehicle._replace(vx=jnp.full(N, jnp.nan)))
    after, outcome = advance(course, lost, action(), spare=states(course))
    assert np.all(outcome.crashed & outcome.done)
    assert np.all(outcome.cause == CrashCause.BOUNDS)
    assert np.all(np.isfinite(after.vehicle.vx))


def test_the_action_is_a_velocity_along_the_nose_within_the_limits() -> None:
    course = task(velocity_limit_m_s=3.0, yaw_limit_deg_s=45.0)
    high = course._replace(bounds_max=np.float32([500, 500, 500]))
    before = placed(states(course), (50.0, 0.0, 100.0))
    yaw = math.radians(30.0)
    before = before._replace(
        vehicle=before.vehicle._replace(
            qw=jnp.full(N, math.cos(yaw / 2)), qz=jnp.full(N, math.sin(yaw / 2))
        )
    )
    state = before
    for _ in range(600):
        state, _ = advance(high, state, action(forward=5.0, left=5.0), spare=before)
    v = state.vehicle
    assert float(jnp.hypot(v.vx, v.vy)[0]) == pytest.approx(3.0, rel=0.03)
    assert math.degrees(math.atan2(float(v.vy[0]), float(v.vx[0]))) == pytest.approx(75.0, abs=2.0)
    state = before
    for _ in range(75):
        state, _ = advance(high, state, action(turn=9.0), spare=before)
    assert math.degrees(float(state.vehicle.wz[0])) == pytest.approx(45.0, rel=0.1)


def test_a_higher_limit_does_not_make_the_same_action_wilder() -> None:
    ends = []
    for limit in (8.0, 15.0):
        course = task(velocity_limit_m_s=limit, yaw_limit_deg_s=10.0 * limit)
        after, _ = advance(course, states(course), action(0.5, -0.5, 0.1, 0.3))
        ends.append(np.asarray(after.vehicle.vx))
    assert ends[0] == pytest.approx(ends[1], abs=1e-4)
    free, fast = task(velocity_limit_m_s=15.0), action(forward=1.1)
    high = free._replace(bounds_max=np.float32([500, 500, 500]))
    before = placed(states(high), (50.0, 0.0, 100.0))
    state = before
    for _ in range(600):
        state, _ = advance(high, state, fast, spare=before)
    assert float(state.vehicle.vx[0]) == pytest.approx(8.8, rel=0.03)  # 1.1 × 8 m/s


def test_observations_say_what_their_table_says() -> None:
    course = task()
    state = placed(states(course), (2.0, 5.0, 2.0), (1.0, 2.0, -0.5))
    seen = np.asarray(observe(course, state, SETTINGS)[0])
    assert seen.shape == (SETTINGS.observation_size,)
    assert seen[0:3] == pytest.approx((-0.2, 0.2, 0.05), abs=1e-5)  # gate 1 at (0, 7, 2.5)
    assert seen[3:6] == pytest.approx((0.0, 1.0, 0.0), abs=1e-5)
    assert seen[6:9] == pytest.approx((0.5, 0.6, 0.06), abs=1e-5)  # gate 2 at (5, 13, 3.1)
    assert seen[12:15] == pytest.approx((-0.4, -0.4, -0.1), abs=1e-5)  # 2 m behind, right, low
    assert seen[15:18] == pytest.approx((0.2, 0.4, -0.1), abs=1e-5)
    assert seen[18:23] == pytest.approx(np.zeros(5), abs=1e-5)


def test_observations_may_lie_drone_beside_drone() -> None:
    course = task()
    state = states(course, along_course=1.0)
    rows = np.asarray(observe(course, state, SETTINGS, axis=0))
    assert np.array_equal(rows.T, observe(course, state, SETTINGS))


@pytest.mark.parametrize("gates", [3, 32, 33, 60])
def test_a_gate_is_looked_up_in_short_tables_and_in_long_ones(gates: int) -> None:
    course = task()
    numbers = np.arange(gates, dtype=np.float32)
    frame = jax.tree.map(lambda _: numbers, course.gates)
    course = course._replace(
        gates=frame._replace(half_size=0.1 * numbers), passages=np.int32(2 * gates)
    )
    passed = jnp.array([[0, gates - 1], [gates, 2 * gates + 5]])
    found = nominal_gate(course, passed)
    expected = [[0.0, gates - 1.0], [0.0, gates - 1.0]]  # behind the last passage: the last gate
    assert np.array_equal(found.centre[2], expected)
    assert np.allclose(found.half_size, 0.1 * np.array(expected))


def test_observations_turn_with_the_drone_and_the_course() -> None:
    """Heading is relative: a course turned by 90° looks the same to a drone turned with it."""
    text = """
        name = "one"
        start = {{ position = [0, 0, 3], yaw_deg = {yaw} }}
        bounds = {{ min = [-50, -50, 0], max = [50, 50, 9] }}
        [[gates]]
        position = {position}
        yaw_deg = {yaw}
        size_m = 2
    """
    views = []
    for yaw, position in ((0, "[10, 2, 3]"), (90, "[-2, 10, 3]")):
        track = parse_track(text.format(yaw=yaw, position=position))
        course = make_task(track, SETTINGS, velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
        half = math.radians(yaw) / 2
        state = placed(states(course), (0.0, 0.0, 3.0))
        state = state._replace(
            vehicle=state.vehicle._replace(
                qw=jnp.full(N, math.cos(half)), qz=jnp.full(N, math.sin(half))
            )
        )
        views.append(np.asarray(observe(course, state, SETTINGS)[0]))
    assert views[0] == pytest.approx(views[1], abs=1e-5)


def test_a_batch_is_a_loop_and_a_seed_repeats_bit_for_bit() -> None:
    course = task(wind_speed_m_s=5.0)
    flights = []
    for _ in range(2):
        state = states(course, seed=3, along_course=0.7)
        rng = np.random.default_rng(1)
        for _ in range(20):
            command = jnp.asarray(rng.uniform(-1, 1, (N, 4)), jnp.float32)
            gusts = jnp.asarray(rng.normal(size=(N, 3)), jnp.float32)
            state, outcome = STEP(course, state, command, gusts, state)
        flights.append((state, outcome))
    for one, other in zip(*map(jax.tree.leaves, flights), strict=True):
        assert np.array_equal(one, other)
    start = states(course, seed=3, along_course=0.7)
    command, gusts = action(0.5, -0.3, 0.1, 0.4), jnp.ones((N, 3))
    together, _ = STEP(course, start, command, gusts, start)
    alone_step = jax.jit(make_step(X500, SETTINGS))
    for index in (0, N - 1):
        alone = jax.tree.map(lambda leaf, i=index: leaf[i : i + 1], start)
        alone, _ = alone_step(
            course, alone, command[index : index + 1], gusts[index : index + 1], alone
        )
        for one, other in zip(together.vehicle, alone.vehicle, strict=True):
            assert float(one[index]) == pytest.approx(float(other[0]), rel=1e-4, abs=1e-4)


def test_on_a_small_course_starts_are_spread_less() -> None:
    track = load_track("lsy_level0")
    course = make_task(track, SETTINGS, velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
    state = reset(course, jax.random.key(0), (2000,), airframe=load_airframe("cf21b"))
    for axis, position in enumerate(state.vehicle.position):
        assert np.all(position > course.bounds_min[axis])
        assert np.all(position < course.bounds_max[axis])
    assert 0.2 < np.std(state.vehicle.py) < 0.4


def test_no_flight_begins_outside_the_bounds() -> None:
    course = task()
    tight = course._replace(
        bounds_min=np.float32([-0.4, -1, 1.8]), bounds_max=np.float32([12.5, 14, 2.8])
    )
    for along in (0.0, 1.0):
        state = reset(tight, jax.random.key(0), (500,), airframe=X500, along_course=along)
        for axis, position in enumerate(state.vehicle.position):
            assert np.all(position >= tight.bounds_min[axis] + X500.body.collision_radius_m)
            assert np.all(position <= tight.bounds_max[axis] - X500.body.collision_radius_m)


def test_starts_are_spread_in_bounds_and_wind_blows_from_everywhere() -> None:
    course = task(wind_speed_m_s=5.0)
    state = reset(course, jax.random.key(0), (2000,), airframe=X500, along_course=0.5)
    assert np.hypot(state.wind_x, state.wind_y) == pytest.approx(np.full(2000, 5.0), rel=1e-4)
    assert abs(float(np.mean(state.wind_x))) < 0.3
    for gust, strength in zip(speeds(course.gusts, state.gusts), (0.98, 0.98, 0.5), strict=True):
        assert float(np.std(gust)) == pytest.approx(strength, rel=0.1)  # it blew before they came
    assert set(np.unique(state.passed)) == set(range(6))
    assert float(jnp.min(state.vehicle.pz)) > X500.body.collision_radius_m
    for axis, position in enumerate(state.vehicle.position[:2]):
        assert np.all(position > course.bounds_min[axis])
        assert np.all(position < course.bounds_max[axis])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_headings_stay_near_the_starts_where_the_task_says_so(share: float) -> None:
    course = task()._replace(start_spread=spread_within(10.0))
    vehicle = states(course, along_course=share).vehicle
    yaw = 2.0 * np.arctan2(vehicle.qz, vehicle.qw) - course.start[3]
    off = np.rad2deg(np.abs((yaw + np.pi) % (2.0 * np.pi) - np.pi))
    assert 5.0 < np.max(off) < 10.01


def test_starts_stay_near_the_start_where_the_task_says_so() -> None:
    course = task()._replace(start_spread=spread_within(None, 0.2))
    vehicle = states(course).vehicle
    off = np.abs(np.array(vehicle.position) - np.array(course.start)[:3, None]).max(axis=1)
    most = np.array([0.2, 0.2, 0.08])
    assert np.all((off > 0.7 * most) & (off < 1.0001 * most))
    assert spread_within(None, 1.5) == DEFAULT_SPREAD


def test_gusts_have_drydens_strength_and_no_wind_has_none() -> None:
    course = task(wind_speed_m_s=5.0)
    state = states(course)
    rng = np.random.default_rng(0)
    gusts = []
    for _ in range(600):
        noise = jnp.asarray(rng.normal(size=(N, 3)), jnp.float32)
        moved, _ = STEP(course, state, action(), noise, state)
        state = state._replace(gusts=moved.gusts)
        gusts.append(np.stack(speeds(course.gusts, moved.gusts)))
    along, across, vertical = np.std(np.array(gusts)[100:], axis=(0, 2))
    # MIL-F-8785C at 3 m: σ_w = 0.1 W, σ_u = σ_w / (0.177 + 0.000823 · 9.84 ft)^0.4
    assert vertical == pytest.approx(0.5, rel=0.15)
    assert (along, across) == pytest.approx((0.98, 0.98), rel=0.2)
    calm = task()
    still, _ = STEP(calm, states(calm), action(), jnp.ones((N, 3)), states(calm))
    assert not np.any(speeds(calm.gusts, still.gusts))


@pytest.mark.parametrize(
    ("limit", "seconds"), [(20.0, 28.0), (8.0, 28.0), (3.0, 46.0), (0.5, 226.0)]
)
def test_the_time_limit_is_generous(limit: float, seconds: float) -> None:
    found = task(velocity_limit_m_s=limit).time_limit * SETTINGS.dt
    assert found == pytest.approx(seconds, abs=3.0)


def test_a_hopeless_course_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="velocity limit"):
        task(velocity_limit_m_s=0.1)
