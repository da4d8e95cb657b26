"""The controller's policy pilot sees and does what the training environment does, to the number.

Both go through racer.sim.interface; this holds together what each of them wires around it: gates by
passages, the actions' units and limits, the telemetry's frames.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from racer.flight.commands import BodyRates, BodyVelocity
from racer.flight.driver import Action, Driver
from racer.flight.estimate import Motion
from racer.flight.plan import RacePlan, make_plan
from racer.policy.loading import load_policy
from racer.sim.airframe import load_airframe
from racer.sim.environment import observe, reset
from racer.sim.interface import ActionSpace, heading, rate_setpoint, velocity_setpoint
from racer.sim.task import Settings, make_task, seen_obstacles
from tests.policy.rig import CONFIG, write_random_policy

N = 8


@pytest.mark.parametrize("space", ["velocity", "ctbr"])
@pytest.mark.parametrize(("track", "poles"), [("toledo", 0), ("lsy_level2", 2)])
def test_observations_and_setpoints_are_the_environments(
    tmp_path: Path, space: ActionSpace, track: str, poles: int
) -> None:
    write_random_policy(tmp_path, action_space=space, track=track, altitude_m=None)
    policy = load_policy(tmp_path)
    plan = make_plan(policy)
    settings = Settings(
        space,
        CONFIG["control_hz"],
        CONFIG["substeps"],
        seen_obstacles=seen_obstacles(policy.track),
    )
    assert settings.seen_obstacles == plan.seen_obstacles == poles
    task = make_task(
        policy.track,
        settings,
        velocity_limit_m_s=CONFIG["velocity_limit_m_s"],
        yaw_limit_deg_s=CONFIG["yaw_limit_deg_s"],
    )
    airframe = load_airframe("x500")
    key = jax.random.key(5)
    states = reset(task, key, (N,), airframe=airframe, along_course=1.0)
    turned = jax.random.normal(key, (4, N)) * 0.2
    vehicle = states.vehicle._replace(qx=turned[0], qy=turned[1], wx=turned[2], wz=turned[3])
    norm = jnp.sqrt(sum(part * part for part in vehicle.attitude))
    vehicle = vehicle._replace(
        **{name: getattr(vehicle, name) / norm for name in ("qw", "qx", "qy", "qz")}
    )
    states = states._replace(vehicle=vehicle)
    expected = np.asarray(observe(task, states, settings))
    assert expected.shape == (N, settings.observation_size)
    for drone in range(N):
        seen: list[NDArray[np.float32]] = []

        def act(observation: NDArray[np.float32]) -> NDArray[np.float32]:
            seen.append(observation)  # noqa: B023 - called before the next drone's turn
            return policy.act(observation)

        driver = Driver(replace(plan, act=act))
        motion = Motion(
            *(
                tuple(float(part[drone]) for part in parts)
                for parts in (
                    vehicle.position,
                    vehicle.velocity,
                    vehicle.attitude,
                    vehicle.rates,
                )
            )
        )
        action = driver.act(motion, passed=int(states.passed[drone]), now_s=0.0)
        np.testing.assert_allclose(seen[0], expected[drone], atol=2e-5)
        _same_setpoint(driver.setpoint(action), action, motion, plan)


def _same_setpoint(
    setpoint: BodyVelocity | BodyRates, action: Action, motion: Motion, plan: RacePlan
) -> None:
    if isinstance(setpoint, BodyRates):
        rates, collective = rate_setpoint(action, plan.rate_limits, jnp)
        given = (setpoint.roll_rad_s, setpoint.pitch_rad_s, setpoint.yaw_rad_s)
        assert given == pytest.approx([float(rate) for rate in rates], abs=1e-5)
        assert setpoint.collective == pytest.approx(float(collective), abs=1e-5)
        return
    assert isinstance(setpoint, BodyVelocity)
    velocity, turn = velocity_setpoint(action, motion.attitude, plan.limits, jnp)
    cos_yaw, sin_yaw = (float(part) for part in heading(motion.attitude, np))
    east = cos_yaw * setpoint.forward_m_s - sin_yaw * setpoint.left_m_s
    north = sin_yaw * setpoint.forward_m_s + cos_yaw * setpoint.left_m_s
    given = (east, north, setpoint.up_m_s, setpoint.yaw_rate_rad_s)
    assert given == pytest.approx([*(float(part) for part in velocity), float(turn)], abs=1e-4)
