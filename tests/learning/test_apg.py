"""APG's gradients against finite differences, its model against the simulation, and a training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.learning.adjoint import Flown, Guide, action_gradients
from racer.learning.algorithm import World
from racer.learning.apg import ApgSettings, build
from racer.learning.networks import (
    Normaliser,
    Parameters,
    initial_parameters,
    normalise,
    policy_mean,
)
from racer.learning.response import make_response
from racer.sim.airframe import load_airframe
from racer.sim.dynamics import State
from racer.sim.environment import EnvironmentState, make_step, observe, reset
from racer.sim.interface import ActionSpace
from racer.sim.reward import BUILT_IN, BuiltInReward
from racer.sim.state import Judged
from racer.sim.task import Settings, Task, make_task
from racer.sim.track import load_track
from tests.learning.conftest import quick_jit

AIRFRAME = load_airframe("x500")
DRONES, DISCOUNT = 6, 0.9


def course(simulation: Settings) -> Task:
    task: Task = jax.device_put(
        make_task(
            load_track("toledo", altitude_m=2.5),
            simulation,
            velocity_limit_m_s=8.0,
            yaw_limit_deg_s=90.0,
        )
    )
    return task


def returns(
    noise: jax.Array,
    first: EnvironmentState,
    *,
    task: Task,
    policy: Parameters,
    normaliser: Normaliser,
    simulation: Settings,
) -> tuple[jax.Array, tuple[Flown, EnvironmentState]]:
    """Discounted return (N,) of a few steps whose physics is the response model itself."""
    response = make_response(AIRFRAME, simulation)

    def loop(task: Task, vehicle: Any, control: Any, action: Any, wind: Any) -> tuple[Any, Any]:
        return response(task, vehicle, action), control

    step = make_step(AIRFRAME, simulation, loop=loop)

    def fly(now: EnvironmentState, nudge: jax.Array) -> tuple[EnvironmentState, Any]:
        seen = normalise(normaliser, observe(task, now, simulation))
        action = policy_mean(policy, seen) + nudge
        after, outcome = step(task, now, action, jnp.zeros((DRONES, 3)), first)
        return after, (Flown(now, seen, action, outcome.flown), outcome.reward)

    end, (flown, rewards) = jax.lax.scan(fly, first, noise)
    factors = DISCOUNT ** jnp.arange(len(noise))
    return factors @ rewards, (flown, end)


def begin(task: Task, seed: int, drones: int, *, along_course: float = 0.0) -> EnvironmentState:
    state: EnvironmentState = quick_jit(
        lambda task, key: reset(task, key, (drones,), airframe=AIRFRAME, along_course=along_course)
    )(task, jax.random.key(seed))
    return state


@pytest.mark.parametrize("space", ["velocity", "ctbr"])
def test_the_walk_back_equals_finite_differences_through_three_steps(space: ActionSpace) -> None:
    simulation = Settings(action_space=space)
    task, size = course(simulation), simulation.observation_size
    first = begin(task, 3, DRONES, along_course=1.0)
    policy = initial_parameters(1, observation_size=size, action_size=4, hidden=8, initial_std=0.1)
    policy["policy_out_weight"] *= 30.0  # a policy that answers to what it sees
    normaliser = Normaliser(jnp.zeros(size), jnp.full(size, 0.3), jnp.float32(1.0))
    noise = 0.1 * jax.random.normal(jax.random.key(4), (3, DRONES, 4))
    given: dict[str, Any] = {"task": task, "policy": policy, "normaliser": normaliser}

    @quick_jit
    def both(noise: jax.Array) -> tuple[jax.Array, jax.Array]:
        total, (flown, end) = returns(noise, first, **given, simulation=simulation)
        worth = action_gradients(
            flown,
            end,
            jnp.zeros((DRONES, size)),
            **given,
            world=World(AIRFRAME, simulation),
            reward=BuiltInReward(space=space),
            discount=DISCOUNT,
            max_slope=1e9,
        )
        return total, worth

    found = np.asarray(both(noise)[1])
    assert found.shape == (3, DRONES, 4)
    small = 2e-2
    for at in range(3):
        for part in range(4):
            nudge = np.zeros(noise.shape, np.float32)
            nudge[at, :, part] = small
            ahead, behind = (np.asarray(both(noise + sign * nudge)[0]) for sign in (1, -1))
            wanted = (ahead - behind) / (2.0 * small)
            expected = DISCOUNT**at * found[at, :, part]  # each step begins a return of its own
            assert wanted == pytest.approx(expected, rel=0.05, abs=2e-5)
    assert np.abs(found).max() > 2e-3


@pytest.mark.parametrize("space", ["velocity", "ctbr"])
def test_the_response_model_knows_which_way_the_simulation_answers(space: ActionSpace) -> None:
    """A nudge of the first action, seen in position and velocity two thirds of a second later."""
    simulation = Settings(action_space=space)
    task, response = course(simulation), make_response(AIRFRAME, simulation)
    step, length, small = make_step(AIRFRAME, simulation), 16, 0.05
    nudges = np.concatenate([small * np.eye(4), -small * np.eye(4)]).astype(np.float32)
    state = begin(task, 0, 1)
    state = jax.tree.map(lambda leaf: jnp.repeat(leaf, 8, axis=0), state)

    def exact(state: EnvironmentState, first: jax.Array) -> jax.Array:
        def fly(now: EnvironmentState, action: jax.Array) -> tuple[EnvironmentState, None]:
            return step(task, now, action, jnp.zeros((8, 3)), now)[0], None

        steady = jnp.zeros((length - 1, 8, 4))
        end, _ = jax.lax.scan(fly, state, jnp.concatenate([first[None], steady]))
        return jnp.stack([*end.vehicle.position, *end.vehicle.velocity], axis=-1)

    def modelled(first: jax.Array) -> jax.Array:
        def fly(vehicle: State, action: jax.Array) -> tuple[State, None]:
            parts = (action[:, 0], action[:, 1], action[:, 2], action[:, 3])
            return response(task, vehicle, parts), None

        steady = jnp.zeros((length - 1, 8, 4))
        vehicle, _ = jax.lax.scan(fly, state.vehicle, jnp.concatenate([first[None], steady]))
        return jnp.stack([*vehicle.position, *vehicle.velocity], axis=-1)

    true = np.asarray(quick_jit(exact)(state, jnp.asarray(nudges)))
    model = np.asarray(quick_jit(modelled)(jnp.asarray(nudges)))
    moved, expected = (each[:4] - each[4:] for each in (true, model))
    moves = (0, 1, 2) if space == "velocity" else (0, 1, 3)  # yaw moves nothing from hover
    for part in moves:
        one, other = moved[part], expected[part]
        size, other_size = np.linalg.norm(one), np.linalg.norm(other)
        assert one @ other / (size * other_size) > 0.9
        assert 0.5 < other_size / size < 2.0


def test_the_guide_pulls_to_the_middle_and_changes_no_reward() -> None:
    simulation = Settings()
    task = course(simulation)
    gate = jax.tree.map(lambda leaf: jnp.asarray(leaf)[:1], task.gates)
    state = begin(task, 0, 1)
    guide = Guide(radius_m=0.25, pull=1.0, softness_m=0.15)

    def crossing(aside: jax.Array) -> tuple[jax.Array, jax.Array]:
        def at(ahead: float) -> EnvironmentState:
            place = [
                centre[0] + ahead * forward[0] + aside * left[0]
                for centre, forward, left in zip(gate.centre, gate.forward, gate.left, strict=True)
            ]
            vehicle = state.vehicle._replace(
                **{
                    name: jnp.reshape(x, (1,))
                    for name, x in zip(("px", "py", "pz"), place, strict=True)
                }
            )
            return state._replace(vehicle=vehicle)

        no = jnp.zeros(1, bool)
        judged = Judged(
            target=gate,
            passed=~no,
            finished=no,
            crashed=no,
            done=no,
            cause=jnp.zeros(1, jnp.int32),
            when=jnp.full(1, 0.5),
            offset=jnp.abs(jnp.reshape(aside, (1,))),
        )
        before, after = at(-0.2), at(0.2)
        rewards = [each(task, (), before, after, judged)[1] for each in (guide, BUILT_IN)]
        return rewards[0][0], rewards[1][0]

    both = quick_jit(lambda aside: (crossing(aside), jax.jacrev(crossing)(aside)))
    for aside in (0.4, -0.4):
        (guided, plain), (slope, plain_slope) = both(jnp.float32(aside))
        assert float(guided) == pytest.approx(float(plain), abs=1e-6)
        assert float(slope) * aside < 0.0
        assert float(plain_slope) == 0.0


def test_a_small_training_improves_and_repeats_bit_for_bit() -> None:
    simulation = Settings(substeps=4)
    settings = ApgSettings(num_envs=64, horizon=16, iterations_per_epoch=25, hidden=32)
    algorithm, task = build(World(AIRFRAME, simulation), settings), course(simulation)
    key, parameters = jax.random.key(0), algorithm.initial_parameters(0)
    initialise = quick_jit(algorithm.initialise)
    epoch = quick_jit(algorithm.epoch)

    def train() -> list[Any]:
        state, seen = initialise(task, parameters, key), []
        for number in (1, 2, 3):
            state, metrics = epoch(state, task, algorithm.schedule(number, 3))
            seen.append(jax.device_get(metrics))
        policy, normaliser = algorithm.policy(state)
        assert set(policy) >= {f"policy_{layer}_weight" for layer in ("1", "2", "out")}
        assert float(normaliser.seen) == 64 + 3 * algorithm.steps_per_epoch
        return [seen, jax.device_get(policy)]

    first, again = train(), train()
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, first, again)))
    assert first[0][2].reward > first[0][0].reward + 0.003
    assert first[0][2].crashes_per_flight < 0.7 * first[0][0].crashes_per_flight
    assert all(np.isfinite(leaf) for leaf in jax.tree.leaves(first[0]))


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"value_minibatches": 7}, "value_minibatches"),
        ({"num_envs": 2**20}, "num_envs"),
        ({"initial_std": 0.0}, "initial_std"),
        ({"guide_softness_m": -1.0}, "guide_softness_m"),
    ],
)
def test_wrong_hyperparameters_are_refused_by_name(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        ApgSettings(**wrong)
