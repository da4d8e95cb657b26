"""A flight controller with PX4's structure: velocity, attitude, body rates, mixer.

    velocity, yaw rate -> acceleration -> attitude, collective -> body rates -> rotor commands

Every level is a pure function that can be called alone, so that a policy, the embedded vehicle's
offboard modes and the tests enter where they need to. What has memory is in ControlState.

Follows PX4 v1.17: PositionControl (velocity PI, vertical first, tracking anti-windup),
AttitudeControl (quaternion error), RateControl (PID, integrator limit) and the sequential
desaturation of the mixer with airmode off: yaw yields first, then collective. Rate gains act on
angular acceleration; multiplying by the inertia makes them the same for every airframe size.
Like PX4 in velocity mode with a yaw rate, the attitude setpoint takes the present heading and
the yaw rate is fed forward: there is no heading to snap to.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import jax.numpy as jnp

from racer.geometry.rotation import body_z_axis, conjugate, multiply
from racer.sim.airframe import GRAVITY_M_S2, Airframe
from racer.sim.dynamics import (
    ROTOR_SPIN,
    Array,
    RotorCommand,
    State,
    inertia,
)
from racer.sim.interface import heading

Vector: TypeAlias = tuple[Array, Array, Array]
Quaternion: TypeAlias = tuple[Array, Array, Array, Array]

RATE_INTEGRAL_LIMIT = 8.0  # rad/s²: what a lost balance of the battery needs, no more
_SMALL = 1e-6


class ControlState(NamedTuple):
    """Memory of the controller; every field has the batch's shape (...)."""

    ax: Array  # integral part of the acceleration setpoint, m/s², ENU
    ay: Array
    az: Array
    alpha_x: Array  # integral part of the angular acceleration setpoint, rad/s², FLU
    alpha_y: Array
    alpha_z: Array
    wx: Array  # low-passed body rates of the derivative term, rad/s
    wy: Array
    yaw: Array  # low-passed yaw acceleration setpoint, rad/s²


def initial_control(shape: tuple[int, ...] = ()) -> ControlState:
    """A controller with empty memory."""
    return ControlState(*(jnp.zeros(shape, jnp.float32) for _ in ControlState._fields))


def velocity_control(
    control: ControlState,
    state: State,
    velocity: Vector,
    yaw_rate: Array,
    *,
    airframe: Airframe,
    dt: float,
) -> tuple[ControlState, RotorCommand]:
    """The whole cascade. `velocity`: m/s ENU; `yaw_rate`: rad/s, positive turns left."""
    control, acceleration = velocity_to_acceleration(
        control, state, velocity, airframe=airframe, dt=dt
    )
    attitude, collective = acceleration_to_attitude(
        acceleration, heading(state.attitude, jnp), airframe=airframe
    )
    return attitude_control(
        control, state, attitude, collective, yaw_rate, airframe=airframe, dt=dt
    )


def attitude_control(
    control: ControlState,
    state: State,
    attitude: Quaternion,
    collective: Array,
    yaw_rate: Array,
    *,
    airframe: Airframe,
    dt: float,
) -> tuple[ControlState, RotorCommand]:
    """Fly an attitude (body to world) with a collective thrust in [0, 1] of full."""
    rates = attitude_to_rates(state, attitude, yaw_rate, airframe=airframe)
    return rate_control(control, state, rates, collective, airframe=airframe, dt=dt)


def velocity_to_acceleration(
    control: ControlState, state: State, velocity: Vector, *, airframe: Airframe, dt: float
) -> tuple[ControlState, Vector]:
    """PI on the velocity error, m/s² ENU, limited to what thrust and tilt can give.

    Vertical has priority. The integrators see the error less twice (wanted − possible)/P,
    PX4's tracking anti-windup, so they do not run away while the vehicle is at its limits.
    """
    gains = airframe.control
    ex, ey, ez = (setpoint - now for setpoint, now in zip(velocity, state.velocity, strict=True))
    wish_x = gains.velocity_p_xy * ex + control.ax
    wish_y = gains.velocity_p_xy * ey + control.ay
    wish_z = gains.velocity_p_z * ez + control.az
    ax, ay, az = limit_acceleration((wish_x, wish_y, wish_z), airframe=airframe)
    back = 2.0 / gains.velocity_p_xy
    control = control._replace(
        ax=control.ax + dt * gains.velocity_i_xy * (ex - back * (wish_x - ax)),
        ay=control.ay + dt * gains.velocity_i_xy * (ey - back * (wish_y - ay)),
        az=jnp.clip(
            control.az + dt * gains.velocity_i_z * (ez - 2.0 / gains.velocity_p_z * (wish_z - az)),
            -GRAVITY_M_S2,
            GRAVITY_M_S2,
        ),
    )
    return control, (ax, ay, az)


def limit_acceleration(acceleration: Vector, *, airframe: Airframe) -> Vector:
    """The nearest acceleration, m/s² ENU, that the thrust and the tilt limit allow."""
    gains = airframe.control
    full = airframe.thrust_max_n / airframe.body.mass_kg
    top = gains.thrust_max * full
    tangent = math.tan(math.radians(gains.tilt_max_deg))
    ax, ay, az = acceleration
    lift = jnp.clip(az + GRAVITY_M_S2, gains.thrust_min * full, top)
    room = jnp.sqrt(jnp.maximum(top * top - lift * lift, _SMALL))
    most = jnp.minimum(room, tangent * lift)
    size = jnp.sqrt(jnp.maximum(ax * ax + ay * ay, _SMALL))
    scale = jnp.minimum(1.0, most / size)
    return ax * scale, ay * scale, lift - GRAVITY_M_S2


def acceleration_to_attitude(
    acceleration: Vector, nose: tuple[Array, Array], *, airframe: Airframe
) -> tuple[Quaternion, Array]:
    """The attitude and collective (of full thrust) that give an acceleration, m/s² ENU.

    `nose`: (cos, sin) of the yaw wanted. Roll and pitch are solved in the yawed frame, where
    both stay within ±90°; half angles come from half-angle formulas, without trigonometry.
    """
    ax, ay, az = acceleration
    cos_yaw, sin_yaw = nose
    forward = cos_yaw * ax + sin_yaw * ay
    left = cos_yaw * ay - sin_yaw * ax
    lift = jnp.maximum(az + GRAVITY_M_S2, _SMALL)
    plane = jnp.sqrt(forward * forward + lift * lift)
    size = jnp.sqrt(plane * plane + left * left)
    roll = _half_angle(plane / size, -left / size)
    pitch = _half_angle(lift / plane, forward / plane)
    yaw = _half_angle(cos_yaw, sin_yaw)
    zero = jnp.zeros_like(forward)
    tilt = multiply((pitch[0], zero, pitch[1], zero), (roll[0], roll[1], zero, zero))
    collective = size * (airframe.body.mass_kg / airframe.thrust_max_n)
    return multiply((yaw[0], zero, zero, yaw[1]), tilt), collective


def attitude_to_rates(
    state: State, attitude: Quaternion, yaw_rate: Array, *, airframe: Airframe
) -> Vector:
    """Body rates, rad/s FLU, that turn to `attitude` while turning about the vertical."""
    gains = airframe.control
    error = multiply(conjugate(state.attitude), attitude)
    sign = jnp.where(error[0] < 0.0, -2.0, 2.0)  # the short way round
    up = body_z_axis(conjugate(state.attitude))  # the world's vertical, in body axes
    most = math.radians(gains.rate_max_xy_deg_s)
    most_z = math.radians(gains.rate_max_z_deg_s)
    return (
        jnp.clip(gains.attitude_p_xy * sign * error[1] + up[0] * yaw_rate, -most, most),
        jnp.clip(gains.attitude_p_xy * sign * error[2] + up[1] * yaw_rate, -most, most),
        jnp.clip(gains.attitude_p_z * sign * error[3] + up[2] * yaw_rate, -most_z, most_z),
    )


def rate_control(
    control: ControlState,
    state: State,
    rates: Vector,
    collective: Array,
    *,
    airframe: Airframe,
    dt: float,
) -> tuple[ControlState, RotorCommand]:
    """PID on body rates, rad/s FLU, with the collective thrust in [0, 1] of full, to rotors."""
    gains = airframe.control
    wx, wy, wz = state.rates
    smooth = 1.0 - math.exp(-2.0 * math.pi * gains.rate_filter_hz * dt)
    slope_x, slope_y = smooth / dt * (wx - control.wx), smooth / dt * (wy - control.wy)
    ex, ey, ez = rates[0] - wx, rates[1] - wy, rates[2] - wz
    alpha_x = gains.rate_p_xy * ex + control.alpha_x - gains.rate_d_xy * slope_x
    alpha_y = gains.rate_p_xy * ey + control.alpha_y - gains.rate_d_xy * slope_y
    smooth_yaw = 1.0 - math.exp(-2.0 * math.pi * gains.yaw_torque_filter_hz * dt)
    alpha_z = gains.rate_p_z * ez + control.alpha_z
    alpha_z = control.yaw + smooth_yaw * (alpha_z - control.yaw)
    jx, jy, jz = inertia(airframe)
    torque = (  # the gyroscopic moment of the body is fed forward
        jx * alpha_x + (jz - jy) * wy * wz,
        jy * alpha_y + (jx - jz) * wz * wx,
        jz * alpha_z + (jy - jx) * wx * wy,
    )
    command, yaw_share = mix(collective, torque, airframe=airframe)
    limit = RATE_INTEGRAL_LIMIT
    integral_z = control.alpha_z + dt * gains.rate_i_z * ez * yaw_share
    control = control._replace(
        alpha_x=jnp.clip(control.alpha_x + dt * gains.rate_i_xy * ex, -limit, limit),
        alpha_y=jnp.clip(control.alpha_y + dt * gains.rate_i_xy * ey, -limit, limit),
        alpha_z=jnp.clip(integral_z, -limit, limit),
        wx=control.wx + smooth * (wx - control.wx),
        wy=control.wy + smooth * (wy - control.wy),
        yaw=alpha_z,
    )
    return control, command


def mix(collective: Array, torque: Vector, *, airframe: Airframe) -> tuple[RotorCommand, Array]:
    """Rotor commands in [0, 1] for a collective and a torque, N m FLU; yaw yields first.

    Also returns the share of the yaw torque that was possible, in [0, 1].
    """
    r = airframe.rotors
    unit = 0.25 / airframe.rotor_thrust_max_n
    roll = torque[0] * (unit / r.arm_y_m)
    pitch = torque[1] * (unit / r.arm_x_m)
    yaw = torque[2] * (unit / r.torque_per_thrust_m)
    spread = jnp.abs(roll) + jnp.abs(pitch)  # the largest of the four; the least is its negative
    fitting = jnp.minimum(jnp.minimum(spread, 0.5), jnp.maximum(collective, 0.0))
    spread = jnp.maximum(spread, _SMALL)
    right, left = (roll + pitch) * fitting / spread, (roll - pitch) * fitting / spread
    fitting = jnp.maximum(jnp.abs(right), jnp.abs(left))  # as before, from what is at hand
    lift = jnp.clip(collective, 0.0, 1.0 - fitting)
    room = jnp.maximum(jnp.minimum(lift, 1.0 - lift) - fitting, 0.0)
    yaw_share = jnp.minimum(1.0, room / jnp.maximum(jnp.abs(yaw), _SMALL))
    yaw = jnp.clip(yaw, -room, room)
    tilt = (-right, right, left, -left)  # ROTOR_Y·roll − ROTOR_X·pitch
    r0, r1, r2, r3 = (lift + part - spin * yaw for part, spin in zip(tilt, ROTOR_SPIN, strict=True))
    return (r0, r1, r2, r3), yaw_share


def _half_angle(cosine: Array, sine: Array) -> tuple[Array, Array]:
    """(cos, sin) of half an angle, exact near 0 and near ±180°."""
    near = cosine >= 0.0
    large = jnp.sqrt(0.5 * (1.0 + jnp.abs(cosine)))
    small = 0.5 * jnp.abs(sine) / large
    sign = jnp.where(sine < 0.0, -1.0, 1.0)
    return jnp.where(near, large, small), sign * jnp.where(near, small, large)
