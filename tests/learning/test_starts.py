"""Where training flights begin: only good flights are copied, and only as many as asked for."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.learning.ppo import schedule
from racer.learning.settings import PpoSettings
from racer.learning.starts import Starts, learn_starts, no_starts, restart_some, spare_states
from racer.sim.airframe import load_airframe
from racer.sim.environment import EnvironmentState, reset
from racer.sim.task import Settings, make_task
from racer.sim.track import load_track

N = 16
AIRFRAME = load_airframe("x500")
TASK = make_task(load_track("toledo"), Settings(), velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
SPARES = jax.jit(partial(spare_states, TASK, airframe=AIRFRAME), static_argnames="settings")
RESTART = jax.jit(partial(restart_some, TASK, airframe=AIRFRAME), static_argnames="settings")


@pytest.fixture(scope="module")
def flying() -> EnvironmentState:
    """Drones on the course; each has passed as many gates as its number, to be known by."""
    drones = reset(TASK, jax.random.key(0), (N,), airframe=AIRFRAME, along_course=1.0)
    return drones._replace(passed=jnp.arange(N, dtype=jnp.int32), elapsed=jnp.full(N, 100))


def settings(**changes: float) -> PpoSettings:
    return PpoSettings(num_envs=N, rollout_steps=8, minibatches=2, **changes)  # type: ignore[arg-type]  # fractions only


def test_a_flight_is_good_when_it_goes_on_and_gets_along(flying: EnvironmentState) -> None:
    reward = jnp.ones((8, N)).at[:, 2].set(0.01)  # hovers
    done = jnp.zeros((8, N), bool).at[3, 5].set(True)  # crashes or finishes
    good = np.asarray(learn_starts(flying, reward, done).good)
    assert set(np.flatnonzero(~good)) == {2, 5}


def test_a_batch_that_loses_has_no_good_flight(flying: EnvironmentState) -> None:
    starts = learn_starts(flying, -jnp.ones((8, N)), jnp.zeros((8, N), bool))
    assert not np.any(starts.good)


def test_spares_are_copies_of_good_flights(flying: EnvironmentState) -> None:
    good = jnp.zeros(N, bool).at[jnp.array([3, 11])].set(True)
    spare = SPARES(Starts(flying, good), jax.random.key(1), settings=settings(good_starts=1.0))
    passed = np.asarray(spare.passed)
    assert set(passed) == {3, 11}
    for mine, theirs in zip(spare.vehicle, flying.vehicle, strict=True):
        assert np.array_equal(mine, np.asarray(theirs)[passed])


def test_without_good_flights_spares_are_fresh(flying: EnvironmentState) -> None:
    key = jax.random.key(1)
    copied = SPARES(no_starts(flying), key, settings=settings(good_starts=1.0))
    fresh = SPARES(no_starts(flying), key, settings=settings())
    for mine, theirs in zip(jax.tree.leaves(copied), jax.tree.leaves(fresh), strict=True):
        assert np.array_equal(mine, theirs)
    assert not np.any(copied.elapsed)


def test_restarts_put_drones_back_to_the_start(flying: EnvironmentState) -> None:
    key = jax.random.key(2)
    everybody = RESTART(flying, key, settings=settings(restarts=1.0))
    assert not np.any(everybody.passed)
    assert not np.any(everybody.elapsed)
    distance = np.hypot(everybody.vehicle.px - TASK.start[0], everybody.vehicle.py - TASK.start[1])
    assert np.all(distance < 2.2)
    nobody = RESTART(flying, key, settings=settings())
    for mine, theirs in zip(jax.tree.leaves(nobody), jax.tree.leaves(flying), strict=True):
        assert np.array_equal(mine, theirs)


def test_a_schedule_runs_straight_from_the_first_to_the_last_value() -> None:
    plan = PpoSettings(
        learning_rate=1e-3,
        final_learning_rate=0.1,
        std_floor=0.4,
        final_std_floor=0.1,
        iterations_per_epoch=5,
    )
    parts = [schedule(plan, epoch=epoch, epochs=2) for epoch in (1, 2)]
    rates = np.concatenate([part.learning_rate for part in parts])
    floors = np.concatenate([part.std_floor for part in parts])
    assert rates == pytest.approx(1e-3 * np.linspace(1.0, 0.1, 11)[:-1], rel=1e-5)
    assert floors == pytest.approx(np.linspace(0.4, 0.1, 11)[:-1], rel=1e-5)
    assert [float(part.discount) for part in parts] == pytest.approx([0.98, 0.98])


def test_copies_keep_the_vehicle_and_the_gates_of_their_flight() -> None:
    varied = make_task(
        load_track("toledo"), Settings(randomise=True), velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0
    )
    drones = reset(varied, jax.random.key(0), (N,), airframe=AIRFRAME)
    good = jnp.zeros(N, bool).at[4].set(True)
    copies = settings(good_starts=1.0, restarts=1.0)
    spare = spare_states(
        varied, Starts(drones, good), jax.random.key(1), airframe=AIRFRAME, settings=copies
    )
    assert spare.variation is not None
    assert drones.variation is not None
    for mine, theirs in zip(
        jax.tree.leaves(spare.variation), jax.tree.leaves(drones.variation), strict=True
    ):
        assert np.array_equal(mine, np.broadcast_to(theirs[4], mine.shape))
    restarted = restart_some(varied, drones, jax.random.key(2), airframe=AIRFRAME, settings=copies)
    assert restarted.variation is not None
    assert not np.any(restarted.variation.scale.mass == drones.variation.scale.mass)
