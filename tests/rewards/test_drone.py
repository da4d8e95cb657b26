"""Parameters on a course with poles and laps, where each flight displaces everything."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.rewards.check import compile_source
from racer.rewards.compile import UserReward
from racer.rewards.drone import DroneInputs
from racer.sim.airframe import load_airframe
from racer.sim.environment import reset
from racer.sim.judging import real_gate
from racer.sim.state import Judged
from racer.sim.task import Settings, make_task
from racer.sim.track import load_track

AIRFRAME, SETTINGS = load_airframe("x500"), Settings(randomise=True)
TRACK = dataclasses.replace(load_track("lsy_level2"), laps=2)
TASK = make_task(TRACK, SETTINGS, velocity_limit_m_s=4.0, yaw_limit_deg_s=90.0)
DRONES, GATES, POLES = 64, len(TRACK.gates), len(TRACK.obstacles)
LINE = np.asarray(TRACK.centre_line())
VALUES = ("distance_from_center", "closest_waypoints.0", "closest_waypoints.1", "progress",
          "waypoints.length", "track_length", "objects.length", "closest_objects.0",
          "closest_objects.1", "distance_to_gate", "lap")  # fmt: skip
ROWS = ("objects_location.x", "objects_location.y", "objects_distance", "objects_left_of_center")


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """Drones on their first or second lap, and what their parameters are."""

    @jax.jit
    def fly(key: Any) -> dict[str, Any]:
        state = reset(TASK, key, (DRONES,), airframe=AIRFRAME, along_course=1.0)
        state = state._replace(passed=jnp.arange(DRONES, dtype=jnp.int32) % (2 * GATES))
        no, zero = jnp.zeros(DRONES, bool), jnp.zeros(DRONES)
        target = real_gate(TASK, state, state.passed)
        judged = Judged(target, no, no, no, no, zero, zero, zero)
        inputs = DroneInputs(TASK, state, judged, dt=SETTINGS.dt, radius=0.1)
        found = {name: inputs.value(name) for name in VALUES}
        for name in ROWS:
            found[name] = jnp.stack(
                [jnp.broadcast_to(inputs.row(name, jnp.float32(i)), DRONES) for i in range(POLES)]
            )
        points = [inputs.row(f"waypoints{c}", jnp.arange(len(LINE) + 16.0)) for c in (".x", ".y")]
        return found | {
            "waypoints": jnp.stack(
                [*points, inputs.row("waypoints_z", jnp.arange(len(LINE) + 16.0))]
            ),
            "state": state,
            "judged": judged,
            "position": jnp.stack(state.vehicle.position, -1),
            "passed": state.passed,
            "target": jnp.stack(target.centre, -1),
            "shift": jnp.stack([state.variation.obstacle_x, state.variation.obstacle_y]),
        }

    found: dict[str, Any] = jax.device_get(fly(jax.random.key(2)))
    return found


def test_several_laps_have_waypoints_back_to_the_first_gate(seen: dict[str, Any]) -> None:
    points = seen["waypoints"].T
    np.testing.assert_allclose(points[: len(LINE)], LINE, atol=1e-5)
    np.testing.assert_allclose(points[-1], TRACK.gates[0].position, atol=1e-5)
    for at, gate in ((len(LINE) - 1, TRACK.gates[-1]), (-2, TRACK.gates[0])):
        way = points[at + 1] - points[at]
        assert np.dot(way / np.linalg.norm(way), gate.axes[0]) > 0.9
    assert (seen["waypoints.length"] == len(LINE) + 16).all()
    total = np.linalg.norm(np.diff(points, axis=0), axis=1).sum()
    np.testing.assert_allclose(seen["track_length"], total, rtol=1e-5)


def test_a_drone_is_compared_with_the_leg_that_it_flies(seen: dict[str, Any]) -> None:
    points = seen["waypoints"].T
    for drone, passed in enumerate(seen["passed"]):
        leg = GATES if passed == GATES else passed % GATES
        part = points[leg * 16 : leg * 16 + 17]
        a, d = part[:-1], np.diff(part, axis=0)
        t = np.clip(((seen["position"][drone] - a) * d).sum(1) / (d * d).sum(1), 0, 1)
        gaps = np.linalg.norm(seen["position"][drone] - a - t[:, None] * d, axis=1)
        assert seen["distance_from_center"][drone] == pytest.approx(gaps.min(), abs=1e-3)
        behind = int(seen["closest_waypoints.0"][drone])
        assert leg * 16 <= behind < leg * 16 + 16
        assert gaps[behind - leg * 16] == pytest.approx(gaps.min(), abs=1e-3)
        assert seen["closest_waypoints.1"][drone] == behind + 1


def test_progress_grows_over_all_laps(seen: dict[str, Any]) -> None:
    nodes = np.array([TRACK.start_position, *[gate.position for gate in TRACK.gates] * 2])
    legs = np.linalg.norm(np.diff(nodes, axis=0), axis=1)
    gaps = np.linalg.norm(seen["target"] - seen["position"], axis=1)
    np.testing.assert_allclose(seen["distance_to_gate"], gaps, atol=1e-3)
    done = np.concatenate([[0.0], np.cumsum(legs)])[seen["passed"]]
    expected = 100 * (done + np.maximum(legs[seen["passed"]] - gaps, 0.0)) / legs.sum()
    np.testing.assert_allclose(seen["progress"], expected, atol=0.05)
    np.testing.assert_array_equal(seen["lap"], 1 + seen["passed"] // GATES)


def test_poles_are_where_they_stand_in_this_flight(seen: dict[str, Any]) -> None:
    base = np.array([pole.position for pole in TRACK.obstacles])
    assert POLES >= 2
    assert (seen["objects.length"] == POLES).all()
    assert np.abs(seen["shift"]).max() > 0.01
    x, y = (base[:, axis, None] + seen["shift"][axis].T for axis in (0, 1))
    np.testing.assert_allclose(seen["objects_location.x"], x, atol=1e-5)
    np.testing.assert_allclose(seen["objects_location.y"], y, atol=1e-5)
    position = seen["position"]
    order = np.argsort(np.hypot(x - position[:, 0], y - position[:, 1]), axis=0)
    np.testing.assert_array_equal(seen["closest_objects.0"], order[0])
    np.testing.assert_array_equal(seen["closest_objects.1"], order[1])


def test_poles_beside_the_line(seen: dict[str, Any]) -> None:
    points = seen["waypoints"].T[:, :2].astype(float)
    way, steps = (
        np.diff(points, axis=0),
        np.linalg.norm(np.diff(seen["waypoints"].T, axis=0), axis=1),
    )
    for pole in range(POLES):
        for drone in range(0, DRONES, 9):
            x, y = (seen[f"objects_location.{axis}"][pole, drone] for axis in "xy")
            gap = np.array([x, y]) - points[:-1]
            share = np.clip((gap * way).sum(1) / (way * way).sum(1), 0, 1)
            apart = np.linalg.norm(gap - share[:, None] * way, axis=1)
            found = seen["objects_distance"][pole, drone]
            along = np.concatenate([[0], np.cumsum(steps)])[:-1] + share * steps
            assert np.abs(along - found)[apart < apart.min() + 1e-3].min() < 1e-2
            at = int(np.argmin(apart))
            across = way[at, 0] * gap[at, 1] - way[at, 1] * gap[at, 0]
            if abs(across) > 1e-3:
                assert seen["objects_left_of_center"][pole, drone] == (across > 0)


POISONS = """\
import math
def reward_function(params):
    x, z = params['x'], params['z']
    reward = 0.0
    if x > 5:
        reward += 1 / (x - x) + math.sqrt(-x) + math.log(-x)
    if z < 50:
        reward += math.exp(z)
    if z > 1000:
        reward += math.exp(z) + z ** 30.5 + math.cosh(z) + 1 / (z - 1) ** 3
    reward += math.acos(max(-1.0, min(1.0, z))) + math.asin(min(1.0, max(-1.0, z)))
    reward += math.atan2(z - 1, (z - 1) * 2)
    return reward + x * z
"""


def test_a_branch_that_is_not_taken_spoils_no_slope(seen: dict[str, Any]) -> None:
    reward = UserReward(compile_source(POISONS), airframe=AIRFRAME, settings=SETTINGS)
    state, judged = jax.tree.map(lambda leaf: leaf[:5], (seen["state"], seen["judged"]))

    @jax.jit
    @jax.grad
    def slope(point: Any) -> Any:
        vehicle = state.vehicle._replace(px=point[0], pz=point[1])
        after = state._replace(vehicle=vehicle)
        return jnp.sum(reward(TASK, reward.initial((5,)), state, after, judged)[1])

    found = slope(jnp.array([[1.0, 2.0, 3.0, 4.0, 0.0], [1.0, 200.0, -1.0, 0.0, 90.0]]))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], [1.0, 200.0, -1.0, 0.0, 90.0], rtol=1e-5)
    np.testing.assert_allclose(found[1, 1], 2.0, rtol=1e-5)
