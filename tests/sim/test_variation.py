"""Randomised flights, poles, delays and batteries in the environment."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.sim.airframe import Airframe, Battery, load_airframe
from racer.sim.environment import EnvironmentState, make_step, observe, reset
from racer.sim.judging import real_gate
from racer.sim.task import (
    NO_SPREAD,
    CrashCause,
    Settings,
    Task,
    course_ranges,
    make_task,
    seen_obstacles,
)
from racer.sim.track import load_track, parse_track
from racer.sim.variation import draw
from racer.sim.vehicle import Scale

N = 64
VARIED = Settings(control_hz=50.0, substeps=4, action_space="ctbr", randomise=True)
PLAIN = dataclasses.replace(VARIED, randomise=False)
X500 = load_airframe("x500")
COURSE = parse_track(
    """
    name = "poles"
    start = { position = [0, 0, 2], yaw_deg = 0 }
    bounds = { min = [-20, -20, 0], max = [30, 20, 9] }
    [[gates]]
    position = [10, 0, 2]
    yaw_deg = 0
    size_m = 2
    [[gates]]
    position = [20, 0, 2]
    yaw_deg = 0
    size_m = 2
    [[obstacles]]
    position = [5, 3, 0]
    radius_m = 0.1
    height_m = 3
    [randomisation]
    gate_position_m = [0.2, 0.3, 0.1]
    gate_yaw_deg = 10
    obstacle_position_m = [0.5, 0.5, 0]
    start_position_m = [0.1, 0.1, 0.0]
    mass_kg = 0.1
    seen_within_m = 3
    """
)


def course(settings: Settings = VARIED, **changes: Any) -> Task:
    return make_task(
        COURSE,
        settings,
        velocity_limit_m_s=8.0,
        yaw_limit_deg_s=90.0,
        wind_speed_m_s=2.0,
        **changes,
    )


VARIED_STEP = jax.jit(make_step(X500, VARIED))
PLAIN_STEP = jax.jit(make_step(X500, PLAIN))
HOVER, CALM = jnp.zeros((N, 4)), jnp.zeros((N, 3))


def start(task: Task, *, seed: int = 0, airframe: Airframe = X500) -> EnvironmentState:
    return reset(task, jax.random.key(seed), (N,), airframe=airframe)


def placed(state: EnvironmentState, x: float, y: float, z: float, vx: float) -> EnvironmentState:
    level = {"qw": 1.0, "qx": 0.0, "qy": 0.0, "qz": 0.0, "vx": vx, "vy": 0.0, "vz": 0.0}
    values = {"px": x, "py": y, "pz": z} | level
    vehicle = state.vehicle._replace(**{k: jnp.full(N, v) for k, v in values.items()})
    return state._replace(vehicle=vehicle)


def test_every_flight_draws_within_its_ranges_and_a_seed_repeats() -> None:
    task = course()
    drawn, again, other = (start(task, seed=seed).variation for seed in (3, 3, 4))
    assert drawn is not None
    for one, same in zip(jax.tree.leaves(drawn), jax.tree.leaves(again), strict=True):
        assert np.array_equal(one, same)
    assert other is not None
    assert not np.array_equal(drawn.gate_x, other.gate_x)
    limits = {"gate_x": 0.2, "gate_y": 0.3, "gate_z": 0.1, "gate_yaw": 0.1746, "obstacle_x": 0.5}
    for name, most in limits.items():
        values = np.abs(getattr(drawn, name))
        assert values.max() <= most
        assert values.max() > 0.8 * most
    mass = np.asarray(drawn.scale.mass)
    assert np.abs(mass - 1.0).max() <= 0.05 + 0.1 / X500.body.mass_kg
    assert mass.std() > 0.02
    assert np.hypot(start(task, seed=3).wind_x, start(task, seed=3).wind_y) == pytest.approx(
        2.0 * np.asarray(drawn.wind), rel=1e-4
    )
    assert np.std(drawn.wind) > 0.2
    assert drawn.delay.min() >= 0.0
    assert drawn.delay.max() <= 0.01


def test_a_flights_variation_has_a_stream_of_its_own() -> None:
    """None of those that place it on the course: JAX's fold_in(key, i) is split(key, n)[i]."""
    task, key = course(), jax.random.key(3)
    drawn = start(task, seed=3).variation
    assert drawn is not None
    assert task.ranges is not None
    for used in jax.random.split(key, 5):
        same = draw(task, task.ranges, jax.random.split(used)[1], (N,), airframe=X500)
        assert not np.array_equal(drawn.gate_x, same.gate_x)


def test_a_published_protocol_varies_only_what_the_course_says() -> None:
    task = course(ranges=course_ranges(COURSE), start_spread=NO_SPREAD)
    state = start(task)
    assert state.variation is not None
    for value in (state.variation.scale.inertia, state.variation.scale.thrust):
        assert np.all(value == 1.0)
    assert np.all(state.variation.delay == 0.0)
    assert np.abs(state.vehicle.px).max() <= 0.1
    assert np.all(state.vehicle.vx == 0.0)


def test_an_ended_flight_goes_on_with_the_spares_variation_and_others_keep_theirs() -> None:
    task = course()
    state, spare = start(task), start(task, seed=7)
    fallen = jnp.where(jnp.arange(N) % 2 == 0, -1.0, 3.0)
    state = state._replace(vehicle=state.vehicle._replace(pz=fallen))
    after, outcome = VARIED_STEP(task, state, HOVER, CALM, spare)
    assert np.array_equal(outcome.crashed, np.arange(N) % 2 == 0)
    assert after.variation is not None
    assert state.variation is not None
    assert spare.variation is not None
    assert np.array_equal(after.variation.gate_x[::2], spare.variation.gate_x[::2])
    assert np.array_equal(after.variation.gate_x[1::2], state.variation.gate_x[1::2])


def test_gates_are_judged_where_they_stand_and_seen_there_from_near_only() -> None:
    task = course()
    state = placed(start(task), 9.9, 0.0, 2.0, 8.0)
    gate = real_gate(task, state, state.passed)
    _, outcome = VARIED_STEP(task, state, HOVER, CALM, state)
    plane, passed = np.asarray(gate.centre[0]), np.asarray(outcome.passed)
    crossed = np.abs(plane - 9.98) < 0.025  # 9.9 to 10.06 is flown; gates are up to 10° askew
    assert 2 <= int(np.sum(crossed)) < N // 2
    assert np.all(passed[crossed])
    assert not np.any(passed[np.abs(plane - 9.98) > 0.14])
    near = np.asarray(observe(task, state, VARIED))[:, 0]
    assert near == pytest.approx(0.1 * (np.asarray(gate.centre[0]) - 9.9), abs=1e-4)
    far = np.asarray(observe(task, placed(state, 2.0, 0.0, 2.0, 0.0), VARIED))[:, 0]
    assert far == pytest.approx(np.full(N, 0.8), abs=1e-4)


def test_poles_are_seen_where_they_stand_from_near_only() -> None:
    task, sees = course(), dataclasses.replace(VARIED, seen_obstacles=1)
    state = start(task)
    assert state.variation is not None
    moved_x, moved_y = (
        np.asarray(moved)[:, 0]
        for moved in (state.variation.obstacle_x, state.variation.obstacle_y)
    )
    for x, share in ((2.6, (1.0, 1.0)), (2.0, (0.2, 0.8)), (1.4, (0.0, 0.0))):
        hovering = placed(state, x, 3.0, 2.0, 0.0)
        ahead, left, up, clearance = np.asarray(observe(task, hovering, sees))[:, 29:].T
        shown = np.hypot(5.0 + moved_x - x, moved_y) < 3.0  # where it stands, not where it should
        assert share[0] <= shown.mean() <= share[1]
        east, north = 5.0 + shown * moved_x - x, shown * moved_y
        assert ahead == pytest.approx(np.clip(0.5 * east, -2.0, 2.0), abs=1e-5)
        assert left == pytest.approx(0.5 * north, abs=1e-5)
        assert np.all(up == 0.0)
        expected = np.minimum(np.hypot(east, north) - 0.1, 2.0)
        assert clearance == pytest.approx(expected, abs=1e-5)


def test_a_batch_sees_the_poles_that_each_drone_sees_alone() -> None:
    course_ = load_track("lsy_level2")
    settings = dataclasses.replace(VARIED, seen_obstacles=seen_obstacles(course_))
    task = make_task(course_, settings, velocity_limit_m_s=4.0, yaw_limit_deg_s=90.0)
    states = reset(task, jax.random.key(2), (N,), airframe=X500, along_course=1.0)
    see = jax.jit(lambda state: observe(task, state, settings))
    together = np.asarray(see(states))
    assert together.shape == (N, 29 + 2 * 4)
    assert len(np.unique(together[:, 29])) > N // 2
    for drone in range(8):
        alone = jax.tree.map(lambda leaf: leaf[drone], states)  # noqa: B023 - called at once
        assert np.asarray(see(alone)) == pytest.approx(together[drone], abs=1e-5)


def test_a_course_cannot_make_a_vehicle_weigh_nothing() -> None:
    heavy = course(ranges=course_ranges(COURSE)._replace(mass_kg=np.float32(10.0)))
    variation = start(heavy).variation
    assert variation is not None
    mass = np.asarray(variation.scale.mass)
    assert 0.5 <= mass.min() < mass.max() <= 1.5


def test_gusts_vary_with_the_wind() -> None:
    """The same gust pushes twice as hard where a flight drew twice the wind."""
    task = course(ranges=course_ranges(COURSE))
    state = placed(start(task), 0.0, 0.0, 5.0, 0.0)
    assert state.variation is not None
    factor, calm = jnp.linspace(0.5, 1.5, N), jnp.zeros(N)
    nominal = jax.tree.map(jnp.zeros_like, state.variation)._replace(
        scale=Scale(jnp.ones(N), jnp.ones(N), jnp.ones(N)), wind=factor
    )
    gusts = jax.tree.map(jnp.zeros_like, state.gusts)._replace(across=calm + 2.0)
    state = state._replace(variation=nominal, wind_x=calm + 1e-3, wind_y=calm, gusts=gusts)
    after, _ = VARIED_STEP(task, state, HOVER, CALM, state)
    pushed = np.asarray(after.vehicle.vy)
    assert pushed[0] > 0.005
    assert pushed / pushed[0] == pytest.approx(np.asarray(factor) / 0.5, rel=1e-3)


def test_mass_and_thrust_are_felt() -> None:
    task = course(ranges=course_ranges(COURSE)._replace(thrust=np.float32(0.1)))
    state = start(task)
    assert state.variation is not None
    scale = state.variation.scale
    calm, still = jnp.zeros(N), jax.tree.map(jnp.zeros_like, state.gusts)
    state = placed(state, 0.0, 0.0, 2.0, 0.0)._replace(wind_x=calm, wind_y=calm, gusts=still)
    before = state.vehicle.vz
    after, _ = VARIED_STEP(task, state, HOVER, CALM, state)
    gained = np.asarray(after.vehicle.vz - before) / VARIED.dt
    expected = 9.80665 * (np.asarray(scale.thrust) / np.asarray(scale.mass) - 1.0)
    assert gained == pytest.approx(expected, abs=0.05)


def test_a_pole_is_hit_where_it_stands() -> None:
    task = course(PLAIN)
    for y, cause in ((3.0, CrashCause.OBSTACLE), (3.6, CrashCause.NONE)):
        state = placed(start(task), 4.9, y, 2.0, 8.0)
        _, outcome = PLAIN_STEP(task, state, HOVER, CALM, state)
        assert np.all(outcome.cause == cause)


def delayed(seconds: float) -> Airframe:
    return dataclasses.replace(X500, command_delay_s=seconds)


def test_a_delayed_command_acts_later() -> None:
    """A whole step late is the prompt vehicle's flight with the action before; half is between."""
    task = course(PLAIN)
    state = placed(start(task), 0.0, 0.0, 5.0, 0.0)
    first, then = HOVER.at[:, 0].set(0.5), HOVER.at[:, 1].set(-0.5)
    late_step = jax.jit(make_step(delayed(PLAIN.dt), PLAIN))
    late, _ = late_step(task, state, first, CALM, state)
    late, _ = late_step(task, late, then, CALM, state)
    prompt, _ = PLAIN_STEP(task, state, HOVER, CALM, state)
    prompt, _ = PLAIN_STEP(task, prompt, first, CALM, state)
    for one, other in zip(late.vehicle, prompt.vehicle, strict=True):
        assert np.asarray(one) == pytest.approx(np.asarray(other), abs=1e-5)
    half_step = jax.jit(make_step(delayed(0.5 * PLAIN.dt), PLAIN))
    rates = [
        float(step(task, state, first, CALM, state)[0].vehicle.wx[0])
        for step in (late_step, half_step, PLAIN_STEP)
    ]
    assert abs(rates[0]) < 1e-4
    assert 0.0 < rates[1] < 0.6 * rates[2]


def test_a_delay_longer_than_a_control_step_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="30 ms late"):
        make_step(delayed(0.03), PLAIN)


def test_a_battery_sags_and_empties() -> None:
    battery = Battery(
        capacity_ah=5.0,
        voltage_full_v=16.8,
        voltage_empty_v=13.2,
        resistance_ohm=0.02,
        current_full_a=80.0,
    )
    airframe = dataclasses.replace(X500, battery=battery)
    task = course(PLAIN)
    step = jax.jit(make_step(airframe, PLAIN))
    state = start(task, airframe=airframe)
    assert state.drawn is not None
    assert start(task).drawn is None
    empty = state._replace(drawn=jnp.ones(N))
    full, _ = step(task, state, HOVER, CALM, state)
    weak, _ = step(task, empty, HOVER, CALM, empty)
    assert float(jnp.max(weak.vehicle.vz - full.vehicle.vz)) < -0.01
    # Hovering takes (0.497)^1.5 of the full current.
    expected = 80.0 * X500.hover_thrust**1.5 * PLAIN.dt / 3600.0 / 5.0
    assert np.asarray(full.drawn) == pytest.approx(np.full(N, expected), rel=0.05)
    assert np.all(weak.drawn == 1.0)
