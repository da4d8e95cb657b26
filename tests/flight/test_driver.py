"""What a policy is shown and what becomes of its answer: the training's own maths, once more."""

from __future__ import annotations

from dataclasses import replace
from math import pi, radians
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from racer.flight.commands import BodyRates, BodyVelocity
from racer.flight.driver import Driver
from racer.flight.plan import RacePlan
from racer.sim.airframe import load_airframe
from tests.flight.policies import NORTH, speed_of, steering_plan, still


class Eye:
    """A network that remembers what it was shown and answers what it is told."""

    def __init__(self, *answers: tuple[float, float, float, float]) -> None:
        self.seen: list[NDArray[np.float32]] = []
        self._answers = list(answers)

    def __call__(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        self.seen.append(observation)
        return np.array(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


def test_the_steering_law_steers_towards_and_through_the_gate(tmp_path: Path) -> None:
    driver = Driver(steering_plan(tmp_path))
    for place, passed, forward, left in (
        ((0.0, 3.0, 2.5), 0, 2.5, 0.0),
        ((0.5, 3.0, 2.5), 0, 2.5, 0.5),
        ((1.0, 8.0, 2.8), 1, 1.0 + 1.5 * np.sin(radians(80)), -1.5 * np.cos(radians(80))),
    ):
        action = driver.act(still(place), passed=passed, now_s=0.0)
        setpoint = driver.setpoint(action)
        assert isinstance(setpoint, BodyVelocity)
        assert setpoint.forward_m_s == pytest.approx(forward, abs=0.01)
        assert setpoint.left_m_s == pytest.approx(left, abs=0.01)
        assert setpoint.yaw_rate_rad_s == 0.0


def test_the_nose_is_forward_wherever_it_points(tmp_path: Path) -> None:
    driver = Driver(steering_plan(tmp_path))
    east = still((0.0, 3.0, 2.5))._replace(attitude=(1.0, 0.0, 0.0, 0.0))
    setpoint = driver.setpoint(driver.act(east, passed=0, now_s=0.0))
    assert isinstance(setpoint, BodyVelocity)
    assert setpoint.forward_m_s == pytest.approx(0.0, abs=0.01)
    assert setpoint.left_m_s == pytest.approx(2.5, abs=0.01)  # the gate is north


def test_limits_hold_whatever_the_network_says(tmp_path: Path) -> None:
    plan = steering_plan(tmp_path)
    driver = Driver(plan)
    setpoint = driver.setpoint((50.0, -20.0, 90.0, -7.0))
    assert isinstance(setpoint, BodyVelocity)
    assert speed_of(setpoint) <= plan.limits.velocity + 1e-6
    assert setpoint.up_m_s <= plan.limits.climb
    assert setpoint.yaw_rate_rad_s == pytest.approx(-radians(90.0))


def test_rates_and_thrust_of_a_ctbr_policy(tmp_path: Path) -> None:
    driver = Driver(steering_plan(tmp_path, "ctbr"))
    airframe = load_airframe("x500")
    rest, full = driver.setpoint((0.0, 0.0, 0.0, 0.0)), driver.setpoint((9.0, -9.0, 1.0, 9.0))
    assert rest == BodyRates(0.0, 0.0, 0.0, pytest.approx(airframe.hover_thrust))
    most = radians(airframe.control.rate_max_xy_deg_s)
    most_yaw = radians(airframe.control.rate_max_z_deg_s)
    assert isinstance(full, BodyRates)
    assert (full.roll_rad_s, full.pitch_rad_s) == pytest.approx((most, -most))
    assert (full.yaw_rad_s, full.collective) == pytest.approx((most_yaw, 1.0))


@pytest.mark.parametrize(("period_s", "back"), [(0.01, 1), (0.02, 2), (0.04, 4)])
def test_the_action_before_is_one_training_period_old_at_any_rate(
    tmp_path: Path, period_s: float, back: int
) -> None:
    answers = [(0.01 * n, -0.01 * n, 0.0, 0.5) for n in range(1, 20)]
    eye = Eye(*answers)
    plan: RacePlan = replace(steering_plan(tmp_path, "ctbr"), act=eye, period_s=period_s)
    driver = Driver(plan)
    wobble = (0.001, -0.002, 0.0)
    for tick in range(10):
        driver.act(still((0.0, 0.0, 2.5)), passed=0, now_s=5.0 + 0.01 * tick + wobble[tick % 3])
    before = [tuple(seen[24:28]) for seen in eye.seen]
    assert before[:back] == [(0.0, 0.0, 0.0, 0.0)] * back
    for tick in range(back, 10):
        assert before[tick] == pytest.approx(answers[tick - back], abs=1e-6)


def test_what_is_not_finite_comes_out_as_it_is_for_the_envelope_to_see(tmp_path: Path) -> None:
    plan = replace(steering_plan(tmp_path), act=Eye((np.nan, 0.0, 0.0, np.inf)))
    action = Driver(plan).act(still((0.0, 0.0, 2.5)), passed=0, now_s=0.0)
    assert np.isnan(action[0])
    assert np.isinf(action[3])


def test_after_the_last_gate_the_last_gate_is_shown_twice(tmp_path: Path) -> None:
    eye = Eye((0.0, 0.0, 0.0, 0.0))
    driver = Driver(replace(steering_plan(tmp_path), act=eye))
    driver.act(still((1.0, 8.0, 2.8)), passed=1, now_s=0.0)
    [seen] = eye.seen
    assert seen[0:3] == pytest.approx([0.1, 0.0, 0.0], abs=1e-6)
    assert seen[6:9] == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert seen[9:12] == pytest.approx(seen[3:6])
    assert seen.dtype == np.float32
    assert NORTH[3] == pytest.approx(np.sin(pi / 4))
