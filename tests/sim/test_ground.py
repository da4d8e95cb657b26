"""Courses that start on the ground: standing, taking off, coming down."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.sim.airframe import load_airframe
from racer.sim.environment import EnvironmentState, make_step, reset
from racer.sim.task import NO_SPREAD, CrashCause, Settings, Task, make_task
from racer.sim.track import load_track

CF21B = load_airframe("cf21b")
SETTINGS = Settings(action_space="ctbr", control_hz=50.0, substeps=4)
STEP = jax.jit(make_step(CF21B, SETTINGS))
N = 4
FLOOR = -0.001


def course(*, on_ground: bool = True) -> Task:
    track = dataclasses.replace(load_track("lsy_level0"), on_ground=on_ground)
    return make_task(
        track,
        SETTINGS,
        velocity_limit_m_s=2.0,
        yaw_limit_deg_s=90.0,
        start_spread=NO_SPREAD,
    )


def flown(task: Task, state: EnvironmentState, thrust: float, steps: int) -> tuple[Any, Any]:
    """The states and outcomes, (T, N), with one thrust (-1 to 1) and no body rates."""
    action, calm = jnp.zeros((N, 4)).at[:, 3].set(thrust), jnp.zeros((N, 3))

    def advance(before: EnvironmentState, _: None) -> tuple[EnvironmentState, Any]:
        after, outcome = STEP(task, before, action, calm, before)
        return after, (after, outcome)

    return jax.lax.scan(advance, state, None, length=steps)[1]


def started(task: Task, **changes: float) -> EnvironmentState:
    state = reset(task, jax.random.key(0), (N,), airframe=CF21B)
    moved = {name: jnp.full(N, value, jnp.float32) for name, value in changes.items()}
    return state._replace(vehicle=state.vehicle._replace(**moved))


def test_flights_begin_standing_with_motors_off() -> None:
    vehicle = started(course()).vehicle
    assert np.asarray(vehicle.pz) == pytest.approx(0.01)
    assert np.all(np.asarray(vehicle.px) == -1.5)
    for still in (*vehicle.velocity, *vehicle.rates, *vehicle[-4:]):
        assert np.all(np.asarray(still) == 0.0)
    hovering = started(course(on_ground=False)).vehicle
    assert np.all(np.asarray(hovering.pz) > CF21B.body.collision_radius_m)
    assert np.all(np.asarray(hovering[-1]) > 0.0)


def test_the_ground_carries_for_half_a_second() -> None:
    states, outcomes = flown(course(), started(course()), -1.0, 26)
    assert not np.any(outcomes.done[:25])
    assert np.asarray(states.vehicle.pz)[:25].min() == pytest.approx(FLOOR)
    assert np.all(np.asarray(states.vehicle.vz)[24] == 0.0)
    assert np.all(outcomes.cause[25] == CrashCause.GROUND)


def test_full_thrust_takes_off_as_soon_as_the_motors_have_spun_up() -> None:
    """Lift is 1.88 g; 0.0608 s of motor lag cost about as much time as they last, twice."""
    states, outcomes = flown(course(), started(course()), 1.0, 25)
    assert not np.any(outcomes.done)
    height = np.asarray(states.vehicle.pz)[:, 0]
    late = 0.5 - np.sqrt(2.0 * height[-1] / (0.88 * 9.81))
    assert 0.06 < late < 0.18


@pytest.mark.parametrize(
    ("changes", "crashed"),
    [
        ({"vz": -0.7}, False),
        ({"vz": -1.2}, True),
        ({"vx": 3.0, "vz": -0.7}, False),
        ({"vz": -0.5, "qw": np.cos(0.5), "qx": np.sin(0.5)}, True),  # 57° askew
    ],
)
def test_only_a_gentle_upright_landing_is_no_crash(
    changes: dict[str, float], crashed: bool
) -> None:
    task = course()
    states, outcomes = flown(task, started(task, pz=0.0, **changes), -1.0, 1)
    assert np.all(outcomes.crashed == crashed)
    assert np.all(outcomes.cause == (CrashCause.GROUND if crashed else CrashCause.NONE))
    if not crashed:
        assert np.all(np.asarray(states.vehicle.pz) == np.float32(FLOOR))
        assert np.all(np.asarray(states.vehicle.vx) == 0.0)


def test_elsewhere_the_ground_is_hit_with_the_hull() -> None:
    task = course(on_ground=False)
    _, outcomes = flown(task, started(task, pz=0.08), 0.0, 1)
    assert np.all(outcomes.crashed)
    assert np.all(outcomes.cause == CrashCause.GROUND)
