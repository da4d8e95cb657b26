"""How a vehicle answers an action, simply: what analytic gradients look through.

Differentiating the simulation itself (a controller and a Runge-Kutta step, eight times per
action) is exact, but compiles for a minute and runs twenty times slower than flying. What the
gradient has to know is far less: which way and how much the next state moves when the state or
the action does. So a step is simulated exactly, and only its derivative is taken from these
first-order lags, one step per action (the idea of Zhang et al., "Learning vision-based agile
flight via differentiable physics", Nature Machine Intelligence 2025, with the lags of the
airframe's own control loops). tests/learning/test_apg.py measures how well they agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp

from racer.geometry.rotation import body_z_axis, multiply, rotate
from racer.sim.airframe import GRAVITY_M_S2, Airframe
from racer.sim.dynamics import State
from racer.sim.interface import Limits, RateLimits, rate_setpoint, velocity_setpoint
from racer.sim.task import Settings, Task

Array: TypeAlias = jax.Array
Action: TypeAlias = tuple[Array, Array, Array, Array]
Response: TypeAlias = Callable[[Task, State, Action], State]
_SMALL = 1e-6


def make_response(airframe: Airframe, settings: Settings) -> Response:
    """The model of one control step for an airframe's action space."""
    if settings.action_space == "velocity":
        return _velocity_response(airframe, settings.dt)
    return _rate_response(airframe, settings.dt)


def graft(flown: State, modelled: State) -> State:
    """The values of `flown` with the derivatives of `modelled`."""
    stop = jax.lax.stop_gradient
    grafted: State = jax.tree.map(lambda f, m: stop(f) + (m - stop(m)), flown, modelled)
    return grafted


def _velocity_response(airframe: Airframe, dt: float) -> Response:
    """Tilt follows the wanted acceleration, velocity follows the tilt; climb and yaw lag."""
    gains = airframe.control
    lag = airframe.rotors.time_constant_s
    tilt_share = _share(1.0 / gains.attitude_p_xy + 1.0 / gains.rate_p_xy + lag, dt)
    climb_share = _share(1.0 / gains.velocity_p_z + lag, dt)
    turn_share = _share(1.0 / gains.rate_p_z + lag, dt)
    drag_rate = _drag_rate(airframe)
    most = math.tan(math.radians(gains.tilt_max_deg))

    def response(task: Task, s: State, action: Action) -> State:
        limits = Limits(
            velocity=task.velocity_limit,
            velocity_unit=task.velocity_unit,
            climb=gains.velocity_max_up_m_s,
            descent=gains.velocity_max_down_m_s,
            yaw=task.yaw_limit,
            yaw_unit=task.yaw_unit,
        )
        (east, north, up), yaw_rate = velocity_setpoint(action, s.attitude, limits, jnp)
        tilt_x, tilt_y, _ = body_z_axis(s.attitude)
        wish_x = gains.velocity_p_xy / GRAVITY_M_S2 * (east - s.vx)
        wish_y = gains.velocity_p_xy / GRAVITY_M_S2 * (north - s.vy)
        possible = jnp.minimum(1.0, most / jnp.sqrt(wish_x**2 + wish_y**2 + _SMALL))
        lean_x = tilt_share * (possible * wish_x - tilt_x)
        lean_y = tilt_share * (possible * wish_y - tilt_y)
        slower = drag_rate(s)
        velocity = (
            s.vx + dt * (GRAVITY_M_S2 * (tilt_x + 0.5 * lean_x) - slower * s.vx),
            s.vy + dt * (GRAVITY_M_S2 * (tilt_y + 0.5 * lean_y) - slower * s.vy),
            s.vz + climb_share * (up - s.vz),
        )
        wz = s.wz + turn_share * (yaw_rate - s.wz)
        turn = dt * (s.wz + 0.5 * (wz - s.wz))
        rotation = (jnp.ones_like(turn), -0.5 * lean_y, 0.5 * lean_x, 0.5 * turn)
        attitude = multiply(rotation, s.attitude)
        return _moved(s, velocity, attitude, (s.wx, s.wy, wz), dt)

    return response


def _rate_response(airframe: Airframe, dt: float) -> Response:
    """Body rates lag, the attitude integrates them, thrust acts at once along the body's axis."""
    gains = airframe.control
    lag = airframe.rotors.time_constant_s
    tilt_share = _share(1.0 / gains.rate_p_xy + lag, dt)
    yaw_share = _share(1.0 / gains.rate_p_z + lag, dt)
    limits = RateLimits(
        hover=airframe.hover_thrust,
        tilt_rate=math.radians(gains.rate_max_xy_deg_s),
        yaw_rate=math.radians(gains.rate_max_z_deg_s),
    )
    drag_rate = _drag_rate(airframe)
    full = airframe.thrust_max_n / airframe.body.mass_kg

    def response(task: Task, s: State, action: Action) -> State:
        want, collective = rate_setpoint(action, limits, jnp)
        shares = (tilt_share, tilt_share, yaw_share)
        rates = tuple(w + k * (c - w) for w, c, k in zip(s.rates, want, shares, strict=True))
        turn = tuple(0.25 * dt * (w + after) for w, after in zip(s.rates, rates, strict=True))
        attitude = multiply(s.attitude, (jnp.ones_like(turn[0]), *turn))
        between = tuple(0.5 * (a + b) for a, b in zip(s.attitude, attitude, strict=True))
        zero = jnp.zeros_like(collective)
        push = rotate(
            (between[0], between[1], between[2], between[3]), (zero, zero, full * collective)
        )
        slower = drag_rate(s)
        velocity = tuple(v + dt * (a - slower * v) for v, a in zip(s.velocity, push, strict=True))
        return _moved(
            s,
            (velocity[0], velocity[1], velocity[2]),
            attitude,
            (rates[0], rates[1], rates[2]),
            dt,
        )

    return response


def _drag_rate(airframe: Airframe) -> Callable[[State], Array]:
    """What share of its speed a vehicle loses to drag in a second, along the body's x."""
    drag, mass = airframe.drag, airframe.body.mass_kg
    rotors = 4.0 * math.sqrt(airframe.hover_thrust) * airframe.rotors.max_speed_rad_s
    linear = (drag.linear_x + airframe.rotors.drag_coefficient * rotors) / mass
    quadratic = drag.quadratic_x / mass

    def rate(s: State) -> Array:
        return linear + quadratic * jnp.sqrt(s.vx**2 + s.vy**2 + s.vz**2 + _SMALL)

    return rate


def _moved(
    s: State,
    velocity: tuple[Array, Array, Array],
    attitude: tuple[Array, Array, Array, Array],
    rates: tuple[Array, Array, Array],
    dt: float,
) -> State:
    """Where that leads; rotor speeds are not modelled and hold no gradient."""
    px, py, pz = (
        x + 0.5 * dt * (v + after)
        for x, v, after in zip(s.position, s.velocity, velocity, strict=True)
    )
    rotors = jax.lax.stop_gradient(s.rotors)
    return State(px, py, pz, *velocity, *attitude, *rates, *rotors)


def _share(time_constant_s: float, dt: float) -> float:
    """How much of the way a first-order lag goes in one step."""
    return 1.0 - math.exp(-dt / time_constant_s)
