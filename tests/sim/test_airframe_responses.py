"""The public airframes' controllers: rate steps, hover and velocity steps settle as stated.

At 200 Hz, the rate of the environment's default settings. x500: tests/sim/test_cascade.py.
"""

from __future__ import annotations

import math
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.sim.airframe import load_airframe
from racer.sim.cascade import initial_control, rate_control, velocity_control
from racer.sim.dynamics import State, rest_state, step

DT = 0.005
CALM = tuple(jnp.float32(0.0) for _ in range(3))


def numbers(*values: float) -> tuple[jax.Array, ...]:
    return tuple(jnp.float32(value) for value in values)


@cache
def flights(name: str) -> State:
    """(1200, 6): 6 s of three rate steps and three velocity steps, one program per airframe."""
    airframe = load_airframe(name)
    hover = jnp.full(6, airframe.hover_thrust, jnp.float32)
    eye = np.eye(3, dtype=np.float32)
    rates = jnp.concatenate([jnp.asarray(eye * [2.0, 2.0, 0.25]), jnp.zeros((3, 3))]).T
    velocity = jnp.concatenate([jnp.zeros((3, 3)), jnp.asarray([[0, 0, 0], [4, 0, 0], [0, 0, 1]])])
    velocity = velocity.astype(jnp.float32).T
    steers_rates = jnp.arange(6) < 3

    def once(carry: Any, _: None) -> Any:
        control, state = carry
        by_rates = rate_control(control, state, tuple(rates), hover, airframe=airframe, dt=DT)
        by_speed = velocity_control(
            control, state, tuple(velocity), jnp.zeros(6), airframe=airframe, dt=DT
        )
        control, rotors = jax.tree.map(partial(jnp.where, steers_rates), by_rates, by_speed)
        state = step(state, rotors, CALM, airframe=airframe, dt=DT)
        return (control, state), state

    start = rest_state(airframe, position=(0.0, 0.0, 50.0), shape=(6,), hovering=True)
    run = jax.jit(lambda: jax.lax.scan(once, (initial_control((6,)), start), None, length=1200)[1])
    return State(*(np.asarray(field) for field in run()))


def seconds_to(share: float, response: np.ndarray) -> float:
    return DT * (1 + int(np.argmax(response >= share)))


@pytest.mark.parametrize(
    ("name", "tilt_s", "yaw_s"), [("cpc", 0.02, 0.12), ("kolibri", 0.08, 0.3), ("cf21b", 0.13, 0.4)]
)
def test_rate_steps_are_as_quick_as_the_motors_and_hardly_overshoot(
    name: str, tilt_s: float, yaw_s: float
) -> None:
    states = flights(name)
    for axis, (wish, within) in enumerate([(2.0, tilt_s), (2.0, tilt_s), (0.25, yaw_s)]):
        response = states.rates[axis][:200, axis] / wish
        assert seconds_to(0.9, response) <= within
        assert response.max() < 1.04
        assert response[-1] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("name", ["cpc", "kolibri", "cf21b"])
def test_hover_stays_and_velocity_steps_settle(name: str) -> None:
    states = flights(name)
    away = np.hypot(states.px[:, 3], states.py[:, 3])
    assert away.max() < 1e-3
    assert states.pz[:, 3] == pytest.approx(50.0, abs=0.02)
    for column, response in [(4, states.vx[:, 4] / 4.0), (5, states.vz[:, 5])]:
        assert seconds_to(0.9, response) < 0.85
        assert response.max() < 1.06
        assert response[-1] == pytest.approx(1.0, abs=0.03)
        tilt = 1.0 - 2.0 * (states.qx[:, column] ** 2 + states.qy[:, column] ** 2)
        assert math.degrees(math.acos(tilt.min())) <= load_airframe(name).control.tilt_max_deg + 5
