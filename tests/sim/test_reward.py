"""The built-in reward's metres: what a line through the gates earns."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.sim.airframe import load_airframe
from racer.sim.environment import EnvironmentState, reset
from racer.sim.interface import ActionSpace
from racer.sim.judging import judge
from racer.sim.reward import BUILT_IN, BuiltInReward
from racer.sim.task import Rewards, Settings, make_task
from racer.sim.track import load_track

AIRFRAME = load_airframe("x500")
METRES = Rewards(*(np.float32(weight) for weight in (1.0, 0.0, 0.0, 0.0, 0.0)))
TASK = make_task(
    load_track("toledo"),
    Settings(),
    velocity_limit_m_s=8.0,
    yaw_limit_deg_s=90.0,
    rewards=METRES,
)
FIRST, SECOND = np.array([0.0, 7.0, 2.5]), np.array([5.0, 13.0, 3.1])
BLANK = reset(TASK, jax.random.key(0), (), airframe=AIRFRAME)


def at(place: np.ndarray, *, passed: int) -> EnvironmentState:
    x, y, z = (jnp.float32(part) for part in place)
    vehicle = BLANK.vehicle._replace(px=x, py=y, pz=z)
    return BLANK._replace(vehicle=vehicle, passed=jnp.int32(passed))


def earned(reward: BuiltInReward, places: list[np.ndarray]) -> float:
    """Of a flight from the start over these places, m."""
    total, passed = 0.0, 0
    for start, end in pairwise(places):
        before, after = at(start, passed=passed), at(end, passed=passed)
        judged = judge(TASK, before, after, airframe=AIRFRAME)
        passed += int(judged.passed)
        after = after._replace(passed=jnp.int32(passed))
        total += float(reward(TASK, (), before, after, judged)[1])
    assert passed == 1
    return total


@pytest.mark.parametrize("aside", [-0.4, 0.0, 0.4])
def test_whole_legs_earn_the_same_on_any_line_through_a_gate(aside: float) -> None:
    start, end = np.array([0.3, 0.5, 2.4]), np.array([3.0, 11.0, 2.9])
    shift = np.array([aside, 0.0, 0.0])
    flight = [start, FIRST + shift - [0, 0.6, 0], FIRST + shift + [0, 0.4, 0], end]
    distance = np.linalg.norm
    whole = distance(FIRST - start) + distance(SECOND - FIRST) - distance(SECOND - end)
    assert earned(BuiltInReward(whole_legs=True), flight) == pytest.approx(whole, abs=1e-3)
    assert earned(BUILT_IN, flight) < whole - 0.3


@pytest.mark.parametrize(("space", "yaw"), [("velocity", 3), ("ctbr", 2)])
def test_only_the_yaw_action_is_paid_for(space: ActionSpace, yaw: int) -> None:
    weights = METRES._replace(progress=np.float32(0.0), turn=np.float32(-1.0))
    still = at(FIRST - [0, 3, 0], passed=0)
    judged = judge(TASK, still, still, airframe=AIRFRAME)
    for index in range(4):
        action = tuple(jnp.float32(0.5 * (index == part)) for part in range(4))
        after = still._replace(action=action)
        task = TASK._replace(rewards=weights)
        paid = BuiltInReward(space=space)(task, (), still, after, judged)[1]
        assert float(paid) == pytest.approx(-0.25 if index == yaw else 0.0)
