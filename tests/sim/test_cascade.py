"""The flight controller: PX4's measured responses, wind, limits, and saturation."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racer.geometry.rotation import body_x_axis, rotate
from racer.sim.airframe import GRAVITY_M_S2, load_airframe
from racer.sim.cascade import (
    acceleration_to_attitude,
    attitude_control,
    attitude_to_rates,
    initial_control,
    limit_acceleration,
    mix,
    rate_control,
    velocity_control,
)
from racer.sim.dynamics import ROTOR_SPIN, ROTOR_X, ROTOR_Y, State, rest_state, step

X500 = load_airframe("x500")
DT = 0.004  # PX4's rate loop
LINK_MS = 6.0  # half a period of the 100 Hz telemetry and the way there: in PX4's numbers


def numbers(*values: float) -> tuple[jax.Array, ...]:
    return tuple(jnp.float32(value) for value in values)


def fly(controller: Any, start: State, seconds: float, *, wind: tuple[float, ...]) -> State:
    """States after each 4 ms, (N,) in every field."""

    @jax.jit
    def run(state: State) -> State:
        def once(carry: Any, _: None) -> Any:
            control, state = carry
            control, rotors = controller(control, state)
            state = step(state, rotors, numbers(*wind), airframe=X500, dt=DT)
            return (control, state), state

        return jax.lax.scan(once, (initial_control(), state), None, length=round(seconds / DT))[1]

    return run(start)


def hovering(yaw: float = 0.0) -> State:
    return rest_state(X500, position=(0.0, 0.0, 50.0), yaw=yaw, hovering=True)


@jax.jit
def _fly_velocity(
    velocity: tuple[jax.Array, ...], yaw_rate: jax.Array, start: State, wind: tuple[jax.Array, ...]
) -> State:
    """25 s; one program for all tests."""

    def once(carry: Any, _: None) -> Any:
        control, state = carry
        control, rotors = velocity_control(control, state, velocity, yaw_rate, airframe=X500, dt=DT)
        state = step(state, rotors, wind, airframe=X500, dt=DT)
        return (control, state), state

    return jax.lax.scan(once, (initial_control(), start), None, length=round(25.0 / DT))[1]


def fly_velocity(
    velocity: tuple[float, float, float],
    yaw_rate: float,
    seconds: float,
    *,
    yaw: float = 0.0,
    wind: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> State:
    states = _fly_velocity(numbers(*velocity), jnp.float32(yaw_rate), hovering(yaw), numbers(*wind))
    return State(*(field[: round(seconds / DT)] for field in jax.device_get(states)))


def rate_step(axis: int, seconds: float) -> tuple[dict[int, float], np.ndarray[Any, Any]]:
    """Milliseconds to 5, 50 and 90 % of a 60 °/s step, and the response."""
    wanted = [0.0, 0.0, 0.0]
    wanted[axis] = math.radians(60.0)

    def controller(control: Any, state: State) -> Any:
        hover = jnp.float32(X500.hover_thrust)
        return rate_control(control, state, numbers(*wanted), hover, airframe=X500, dt=DT)

    response = np.asarray(fly(controller, hovering(), seconds, wind=(0, 0, 0)).rates[axis])
    response = response / wanted[axis]
    times = {
        percent: DT * 1000.0 * (1 + int(np.argmax(response >= percent / 100.0)))
        for percent in (5, 50, 90)
    }
    return times, response


def test_a_roll_rate_step_answers_like_px4s() -> None:
    times, response = rate_step(0, 1.0)
    assert times[5] + LINK_MS == pytest.approx(26.0, abs=4.0)
    assert times[50] + LINK_MS == pytest.approx(79.0, abs=4.0)
    assert times[90] + LINK_MS == pytest.approx(137.0, abs=5.0)
    assert response.max() < 1.08
    assert response[-1] == pytest.approx(1.0, abs=0.03)


def test_a_yaw_rate_step_is_as_slow_as_px4s() -> None:
    """PX4's 40 steps spread from 97 to 165 ms at 5 % and from 352 to 431 ms at 50 %."""
    times, response = rate_step(2, 2.0)
    assert times[5] + LINK_MS == pytest.approx(146.0, abs=22.0)
    assert times[50] + LINK_MS == pytest.approx(374.0, abs=20.0)
    assert response.max() < 1.1


def test_two_metres_a_second_forward() -> None:
    states = fly_velocity((0.0, 2.0, 0.0), 0.0, 10.0, yaw=math.pi / 2)
    speed = np.asarray(states.vy)
    assert speed[round(2.0 / DT) - 1] == pytest.approx(1.5, abs=0.03)
    assert speed[round(6.0 / DT) - 1] == pytest.approx(1.73, abs=0.03)
    assert np.all(np.diff(speed[round(2.0 / DT) :]) > 0.0)  # and on towards 2 without overshoot
    assert np.abs(states.vx).max() < 0.01
    assert np.asarray(states.pz) == pytest.approx(50.0, abs=0.05)


@pytest.mark.parametrize(
    ("wish", "speeds"),  # after 1, 2, 4, 6 and 8 s, flown by PX4 v1.17 in sihsim_quadx
    [
        (5.0, (3.09, 3.75, 4.07, 4.22, 4.40)),
        (8.0, (4.57, 6.05, 6.56, 6.89, 7.22)),
        (12.0, (5.03, 8.02, 9.32, 9.46, 9.50)),  # 45° of tilt are its limit
    ],
)
def test_faster_flight_is_as_slow_as_px4s(wish: float, speeds: tuple[float, ...]) -> None:
    states = fly_velocity((wish, 0.0, 0.0), 0.0, 8.0)
    found = [float(states.vx[round(second / DT) - 1]) for second in (1, 2, 4, 6, 8)]
    assert found[0] == pytest.approx(speeds[0], rel=0.12)
    assert found[1:] == pytest.approx(speeds[1:], rel=0.05)


def test_thirty_degrees_a_second_left() -> None:
    states = fly_velocity((0.0, 0.0, 0.0), math.radians(30.0), 6.0)
    turned = np.unwrap(np.arctan2(*np.array(body_x_axis(states.attitude))[[1, 0]]))[-1]
    assert math.degrees(turned) == pytest.approx(169.0, abs=2.0)
    assert np.hypot(states.px, states.py).max() < 0.2


@pytest.mark.parametrize("wind", [(5.0, -5.0, 0.0), (-5.0, 2.0, 0.0), (0.0, 3.0, 1.0)])
def test_constant_wind_is_rejected(wind: tuple[float, float, float]) -> None:
    states = fly_velocity((1.0, 1.0, 0.5), 0.0, 25.0, yaw=0.7, wind=wind)
    end = [float(v[-1]) for v in states.velocity]
    assert end == pytest.approx((1.0, 1.0, 0.5), abs=0.06)


def test_an_impossible_wish_does_not_wind_the_integrators_up() -> None:
    wish = jnp.float32(20.0)

    def controller(control: Any, state: State) -> Any:
        far = jnp.where(state.px < 100.0, wish, 0.0)  # full speed, then stop
        return velocity_control(
            control, state, (far, *numbers(0.0, 0.0)), jnp.float32(0.0), airframe=X500, dt=DT
        )

    states = fly(controller, hovering(), 25.0, wind=(0, 0, 0))
    speed = np.asarray(states.vx)
    assert speed.max() == pytest.approx(GRAVITY_M_S2, rel=0.04)  # 45° against 1 N s/m per kg
    assert speed[-1] == pytest.approx(0.0, abs=0.2)
    assert speed.min() > -1.0  # hardly swings back
    assert np.asarray(states.pz) == pytest.approx(50.0, abs=1.0)


def test_an_attitude_is_held() -> None:
    angle = math.radians(20.0)
    wanted = numbers(math.cos(angle / 2), math.sin(angle / 2), 0.0, 0.0)  # right side down

    def controller(control: Any, state: State) -> Any:
        lift = jnp.float32(X500.hover_thrust / math.cos(angle))
        return attitude_control(
            control, state, wanted, lift, jnp.float32(0.0), airframe=X500, dt=DT
        )

    states = fly(controller, hovering(), 1.5, wind=(0, 0, 0))
    assert [float(q[-1]) for q in states.attitude] == pytest.approx(
        [float(q) for q in wanted], abs=0.01
    )
    assert float(states.vy[-1]) < -2.0


accelerations = st.tuples(*(st.floats(-4.0, 4.0) for _ in range(3)))


@given(accelerations, st.floats(-math.pi, math.pi))
@settings(max_examples=50, deadline=None)
def test_the_attitude_gives_the_acceleration_and_keeps_the_heading(
    acceleration: tuple[float, float, float], yaw: float
) -> None:
    nose = numbers(math.cos(yaw), math.sin(yaw))
    attitude, collective = acceleration_to_attitude(numbers(*acceleration), nose, airframe=X500)
    thrust = float(collective) * X500.thrust_max_n / X500.body.mass_kg
    given_ = [float(part) for part in rotate(attitude, numbers(0.0, 0.0, thrust))]
    assert given_ == pytest.approx(
        (acceleration[0], acceleration[1], acceleration[2] + GRAVITY_M_S2), abs=1e-4
    )
    x, y, _ = body_x_axis(attitude)
    assert float(x * nose[1] - y * nose[0]) == pytest.approx(0.0, abs=1e-5)
    assert float(x * nose[0] + y * nose[1]) > 0.0


@given(st.tuples(*(st.floats(-50.0, 50.0) for _ in range(3))))
@settings(max_examples=50, deadline=None)
def test_limits_keep_thrust_and_tilt_possible(wish: tuple[float, float, float]) -> None:
    x, y, z = (float(a) for a in limit_acceleration(numbers(*wish), airframe=X500))
    lift, aside = z + GRAVITY_M_S2, math.hypot(x, y)
    full = X500.thrust_max_n / X500.body.mass_kg
    assert lift > 0.0
    assert math.hypot(lift, aside) <= full * X500.control.thrust_max * 1.001
    assert math.degrees(math.atan2(aside, lift)) <= X500.control.tilt_max_deg + 0.01
    assert x * wish[1] == pytest.approx(y * wish[0], abs=2e-3)  # same direction


@given(st.floats(0.0, 1.0), st.tuples(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.floats(-1, 1)))
@settings(max_examples=80, deadline=None)
def test_the_mixer_stays_in_range_and_gives_what_it_can(
    collective: float, torque: tuple[float, float, float]
) -> None:
    command, yaw_share = mix(jnp.float32(collective), numbers(*torque), airframe=X500)
    shares = np.array([float(share) for share in command])
    assert shares.min() >= -1e-6
    assert shares.max() <= 1.0 + 1e-6
    assert shares.mean() <= collective + 1e-6
    thrust = shares * X500.rotor_thrust_max_n
    arms = X500.rotors.arm_y_m * np.array(ROTOR_Y), -X500.rotors.arm_x_m * np.array(ROTOR_X)
    roll, pitch = (float(arm @ thrust) for arm in arms)
    yaw = -X500.rotors.torque_per_thrust_m * float(np.array(ROTOR_SPIN) @ thrust)
    assert abs(roll) <= abs(torque[0]) + 1e-4
    assert abs(pitch) <= abs(torque[1]) + 1e-4
    assert yaw == pytest.approx(float(yaw_share) * torque[2], abs=1e-4)


def test_yaw_yields_before_roll() -> None:
    command, yaw_share = mix(jnp.float32(0.5), numbers(3.0, 0.0, 2.0), airframe=X500)
    thrust = np.array([float(share) for share in command]) * X500.rotor_thrust_max_n
    assert X500.rotors.arm_y_m * np.array(ROTOR_Y) @ thrust == pytest.approx(3.0, abs=1e-3)
    assert float(yaw_share) < 1.0


def test_stopped_rotors_stay_stopped_without_collective() -> None:
    command, _ = mix(jnp.float32(0.0), numbers(1.0, -0.5, 0.1), airframe=X500)
    assert [float(share) for share in command] == pytest.approx([0.0] * 4, abs=1e-6)


def test_turning_back_takes_the_short_way() -> None:
    """170° left of the wanted attitude is corrected to the right, whatever the sign of q."""
    half = math.radians(85.0)
    for sign in (1.0, -1.0):
        state = hovering()._replace(
            qw=jnp.float32(sign * math.cos(half)), qz=jnp.float32(sign * math.sin(half))
        )
        rates = attitude_to_rates(
            state, numbers(1.0, 0.0, 0.0, 0.0), jnp.float32(0.0), airframe=X500
        )
        assert float(rates[2]) < 0.0


def test_gains_of_another_size_of_vehicle_give_the_same_response() -> None:
    """Gains act on angular acceleration: twice the inertia asks for twice the torque."""
    heavy = dataclasses.replace(
        X500, body=dataclasses.replace(X500.body, inertia_x_kg_m2=2 * X500.body.inertia_x_kg_m2)
    )
    outputs = [
        rate_control(
            initial_control(),
            hovering(),
            numbers(0.2, 0.0, 0.0),
            jnp.float32(0.5),
            airframe=airframe,
            dt=DT,
        )[1]
        for airframe in (X500, heavy)
    ]
    light_roll, heavy_roll = (float(command[2] - command[0]) for command in outputs)
    assert heavy_roll == pytest.approx(2.0 * light_roll, rel=1e-4)


@jax.jit
def _gather_speed(start: State) -> tuple[jax.Array, jax.Array]:
    """Two seconds towards 6 m/s: as the fits were made, and as the environment flies; (2,) m/s."""
    velocity, still = numbers(6.0, 1.0, 0.5), jnp.float32(0.5)
    ends = []
    for dt, integrator in ((DT, "rk4"), (0.005, "midpoint")):

        def once(carry: Any, _: None, dt: Any = dt, integrator: Any = integrator) -> Any:
            control, state = carry
            control, rotors = velocity_control(
                control, state, velocity, still, airframe=X500, dt=dt
            )
            calm = numbers(0.0, 0.0, 0.0)
            state = step(state, rotors, calm, airframe=X500, dt=dt, integrator=integrator)
            return (control, state), jnp.stack([*state.velocity, *state.attitude])

        carry = (initial_control(), start)
        ends.append(jax.lax.scan(once, carry, None, length=round(2.0 / dt))[1])
    return ends[0], ends[1]


def test_the_environments_integrator_answers_like_the_fitted_one() -> None:
    fitted, flown = (np.asarray(track) for track in _gather_speed(hovering()))
    for seconds in (0.2, 0.5, 1.0, 2.0):
        one = fitted[round(seconds / DT) - 1]
        other = flown[round(seconds / 0.005) - 1]
        assert one == pytest.approx(other, abs=0.03)
