"""Compiled rewards in the environment: JAX's numbers, flights that begin anew, faults."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.rewards.check import compile_source
from racer.rewards.compile import FAULT_REWARD, compile_reward, fault_share
from racer.rewards.drone import DroneInputs
from racer.rewards.evaluate import evaluate
from racer.rewards.parameters import MIN_WAYPOINTS, PARAMETERS
from racer.sim.airframe import load_airframe
from racer.sim.environment import make_step, reset
from racer.sim.judging import nominal_gate
from racer.sim.state import Judged
from racer.sim.task import Settings, make_task
from racer.sim.track import load_track
from tests.rewards.oracle import PUBLISHED, ArrayInputs, by_us, flights

AIRFRAME, SETTINGS = load_airframe("x500"), Settings()
TRACK = load_track("toledo")
TASK = make_task(TRACK, SETTINGS, velocity_limit_m_s=8.0, yaw_limit_deg_s=90.0)
DRONES = 32
HEAD = "def reward_function(params):\n"
build = partial(compile_reward, airframe=AIRFRAME, settings=SETTINGS)


def test_jax_in_single_precision_agrees_with_double() -> None:
    """All published functions in one program; a drone at a threshold may fall on either side."""
    [numbers] = flights(11, steps=1, drones=400)
    programs = [compile_source(source) for source in PUBLISHED.values()]

    @jax.jit
    def every(given: dict[str, Any]) -> list[Any]:
        found = []
        for program in programs:
            kinds = zip(program.memory_kinds, program.memory_first, strict=True)
            memory = [
                jnp.full(400, first, bool if kind == "bool" else jnp.float32)
                for kind, first in kinds
            ]
            reward, fault, _ = evaluate(program, ArrayInputs(given), memory, jnp)
            found.append((jnp.broadcast_to(reward, 400), jnp.broadcast_to(fault, 400)))
        return found

    single = {name: jnp.asarray(v, bool if v.dtype == bool else jnp.float32)
              for name, v in numbers.items()}  # fmt: skip
    for program, (reward, fault) in zip(programs, jax.device_get(every(single)), strict=True):
        expected = by_us(program, [numbers], 400)[0]
        found = np.where(fault | ~np.isfinite(reward), np.nan, reward)
        close = np.isclose(found, expected, rtol=1e-4, atol=1e-4, equal_nan=True)
        assert close.mean() > 0.985


@pytest.fixture(scope="module")
def flown() -> tuple[Any, Any]:
    """Drones somewhere on the course and every parameter there, from one compiled step."""
    names = [name for parameter in PARAMETERS for name in _names(parameter)]

    @jax.jit
    def fly(key: Any) -> Any:
        state = reset(TASK, key, (DRONES,), airframe=AIRFRAME, along_course=1.0)
        inputs = DroneInputs(TASK, state, _judged(state), dt=SETTINGS.dt, radius=0.25)
        first = jnp.zeros(DRONES)
        seen = {
            name: inputs.value(name) if kind == "value" else inputs.row(name, first)
            for name, kind in names
        }
        return state, seen | {"position": jnp.stack(state.vehicle.position, -1)}

    state, seen = jax.device_get(fly(jax.random.key(4)))
    return state, seen


def _judged(state: Any) -> Any:
    no = jnp.zeros(DRONES, bool)
    zero = jnp.zeros(DRONES)
    return Judged(nominal_gate(TASK, state.passed), no, no, no, no, zero, zero, zero)


def _names(parameter: Any) -> list[tuple[str, str]]:
    name = parameter.name
    suffixes = {"number": [""], "pair": [".0", ".1"], "point": [".x", ".y", ".z"],
                "list": [""], "points": [".x", ".y"]}  # fmt: skip
    kind = "row" if parameter.sort in ("list", "points") else "value"
    return [(name + suffix, kind) for suffix in suffixes[parameter.sort]]


def test_every_parameter_is_a_number_of_its_kind_for_each_drone(flown: tuple[Any, Any]) -> None:
    _, seen = flown
    for parameter in PARAMETERS:
        for name, _ in _names(parameter):
            assert seen[name].shape == (DRONES,), name
            assert np.isfinite(seen[name]).all(), name
            assert (seen[name].dtype == bool) == (parameter.kind == "bool"), name


def test_the_place_beside_the_line_is_that_of_a_search_over_the_leg(flown: tuple[Any, Any]) -> None:
    state, seen = flown
    line = np.asarray(TRACK.centre_line())
    assert len(line) > MIN_WAYPOINTS
    for drone in range(DRONES):
        leg = int(state.passed[drone])
        points = line[leg * 16 : leg * 16 + 17]
        a, d = points[:-1], np.diff(points, axis=0)
        t = np.clip(((seen["position"][drone] - a) * d).sum(1) / (d * d).sum(1), 0, 1)
        gaps = np.linalg.norm(seen["position"][drone] - a - t[:, None] * d, axis=1)
        assert seen["distance_from_center"][drone] == pytest.approx(gaps.min(), abs=1e-3)
        behind = int(seen["closest_waypoints.0"][drone])
        assert gaps[behind - leg * 16] == pytest.approx(gaps.min(), abs=1e-3)
        assert seen["closest_waypoints.1"][drone] == behind + 1


def test_angles_distances_and_progress_are_those_of_the_state(flown: tuple[Any, Any]) -> None:
    state, seen = flown
    yaw = np.degrees(2.0 * np.arctan2(state.vehicle.qz, state.vehicle.qw))
    np.testing.assert_allclose(np.cos(np.radians(yaw - seen["heading"])), 1.0, atol=1e-5)
    np.testing.assert_allclose(seen["roll"], 0.0, atol=1e-3)
    velocity = np.stack([state.vehicle.vx, state.vehicle.vy, state.vehicle.vz])
    np.testing.assert_allclose(seen["speed"], np.linalg.norm(velocity, axis=0), atol=1e-3)
    centres = np.array([gate.position for gate in TRACK.gates])[state.passed]
    gaps = np.linalg.norm(centres - seen["position"], axis=1)
    np.testing.assert_allclose(seen["distance_to_gate"], gaps, atol=1e-3)
    nodes = np.array([TRACK.start_position, *(gate.position for gate in TRACK.gates)])
    legs = np.linalg.norm(np.diff(nodes, axis=0), axis=1)
    done = np.concatenate([[0.0], np.cumsum(legs)])[state.passed]
    expected = 100.0 * (done + np.maximum(legs[state.passed] - gaps, 0.0)) / legs.sum()
    np.testing.assert_allclose(seen["progress"], expected, atol=1e-2)
    assert (seen["track_width"] == 3.0).all()
    assert seen["waypoints.x"][0] == pytest.approx(TRACK.start_position[0])


COUNTING = """\
class Memory:
    steps = 0
    last = None

def reward_function(params):
    Memory.steps += 1
    if Memory.last is not None and params["steps"] != Memory.last + 1:
        return -1.0
    Memory.last = params["steps"]
    if Memory.steps % 5 == 0:
        return 1.0 / (params["gates_total"] - 6)
    return Memory.steps
"""


def test_memory_begins_anew_with_each_flight_and_faults_are_counted() -> None:
    reward = build(COUNTING)
    step = jax.jit(make_step(AIRFRAME, SETTINGS, reward))
    start = jax.jit(partial(reset, TASK, shape=(8,), airframe=AIRFRAME, reward=reward))
    state, spare = start(jax.random.key(0)), start(jax.random.key(1))
    action = jnp.asarray([[0.0, 0.0, -1.0, 0.0]] * 4 + [[0.0] * 4] * 4)  # four of them descend
    began = np.zeros(8, int)
    for number in range(1, 90):
        state, outcome = step(TASK, state, action, jnp.zeros((8, 3)), spare)
        flight = number - began
        # The fifth step divides by zero, so its count is not kept, and neither are the next ones.
        expected = np.where(flight < 5, flight, np.where(flight == 5, FAULT_REWARD, -1.0))
        np.testing.assert_allclose(outcome.reward, expected)
        done = np.asarray(outcome.done)
        began[done] = number
        faults = np.asarray(state.memory.faults)
        np.testing.assert_array_equal(faults, (number - began >= 5).astype(int))
    flown = np.asarray(state.elapsed).sum()
    assert fault_share({"drones": state, "key": 1}) == pytest.approx(faults.sum() / flown)
    assert (began[:4] > 0).all()


def test_gradients_pass_through_a_reward_and_stay_finite() -> None:
    source = HEAD + (
        "    d = params['distance_to_gate']\n"
        "    return (params['speed'] ** 0.5 + 1 / d if d > 0 else 0) - params['z'] ** 2\n"
    )
    program = compile_source(source)

    def total(x: Any) -> Any:
        given = {"distance_to_gate": x[0], "speed": x[1], "z": x[2]}
        return jnp.sum(evaluate(program, ArrayInputs(given), [], jnp)[0])

    slope = jax.jit(jax.grad(total))(jnp.asarray([[0.0, 2.0], [0.0, 4.0], [1.0, 3.0]]))
    np.testing.assert_allclose(slope, [[0.0, -0.25], [0.0, 0.25], [-2.0, -6.0]], atol=1e-6)
