"""Free flight of a quadrotor: one pure step of the rigid body, its rotors and its drag.

Newton-Euler equations about the centre of mass, ENU world and FLU body (Mahony, Kumar, Corke,
"Multirotor aerial vehicles", IEEE RAM 2012; rotor drag after Faessler et al., RA-L 2018):

    m v̇ = R (Σ T_i ẑ + F_drag) − m g ẑ              T_i = k_T ω_i²
    J ẇ = τ − w × (J w + h ẑ) − ḣ ẑ                 h   = J_r Σ s_i ω_i,  τ_z = −Σ s_i κ T_i
    ω̇_i = (ω_i,cmd − ω_i) / τ_m                      s_i = +1 for a rotor turning counter-clockwise

Choices:
- Struct of arrays: one array per scalar, any common batch shape. On a CPU this is what lets XLA
  fuse a whole step into a few vectorised loops.
- Two integrators for the body: `rk4`, classical Runge-Kutta of fourth order (energy and momentum
  hold to float32 at 5 ms), and `midpoint`, second order at one evaluation of the forces: attitude
  half a step ahead, thrust and gyroscopic terms in the middle of the step, drag by the linearly
  implicit midpoint rule (Rosenbrock), so that it needs no look ahead and stays stable.
- The exact exponential for the rotors, which do not feel the body and may be stiff.
- The airframe's numbers are compile-time constants.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp

from racer.geometry.rotation import multiply, rotate, rotate_inverse
from racer.sim.airframe import GRAVITY_M_S2, Airframe
from racer.sim.vehicle import (
    NOMINAL,
    ROTOR_SPIN,
    ROTOR_X,
    ROTOR_Y,
    Array,
    Scale,
    State,
    inertia,
    rest_state,
)

Wind: TypeAlias = tuple[Array, Array, Array]
Quaternion: TypeAlias = tuple[Array, Array, Array, Array]
Integrator: TypeAlias = Literal["rk4", "midpoint"]
RotorCommand: TypeAlias = tuple[Array, Array, Array, Array]

__all__ = [
    "NOMINAL",
    "ROTOR_SPIN",
    "ROTOR_X",
    "ROTOR_Y",
    "Array",
    "Integrator",
    "RotorCommand",
    "Scale",
    "State",
    "Wind",
    "forces_and_torques",
    "inertia",
    "rest_state",
    "step",
]

_COMMAND_MIN = 1e-6  # keeps the square root differentiable; a thrust of micronewtons


def step(
    state: State,
    command: RotorCommand,
    wind: Wind,
    *,
    airframe: Airframe,
    dt: float,
    integrator: Integrator = "rk4",
    scale: Scale = NOMINAL,
) -> State:
    """Fly for `dt` seconds with constant rotor commands and wind.

    `command`: four thrusts in [0, 1] of full, PX4 order; values outside are clipped.
    `wind`: velocity of the air, m/s ENU. `dt`: s; 5 ms or less resolves the motors.
    `scale`: this vehicle's own mass, inertia and thrust, as factors.
    """
    targets = _target_speeds(command, airframe=airframe)
    half_speeds, end_speeds = _rotor_speeds(state, targets, airframe=airframe, dt=dt)
    if integrator == "midpoint":
        body = _midpoint(
            state, half_speeds, end_speeds, wind, airframe=airframe, dt=dt, scale=scale
        )
    else:
        body = _runge_kutta(
            state, targets, (half_speeds, end_speeds), wind, airframe=airframe, dt=dt, scale=scale
        )
    return State(*body, *end_speeds)


def _runge_kutta(
    state: State,
    targets: tuple[Array, ...],
    speeds: tuple[tuple[Array, ...], tuple[Array, ...]],
    wind: Wind,
    *,
    airframe: Airframe,
    dt: float,
    scale: Scale,
) -> list[Array]:
    """The 13 body fields after dt."""
    middle, end = speeds

    def rate(body: tuple[Array, ...], rotors: tuple[Array, ...]) -> tuple[Array, ...]:
        return _derivative(body, rotors, targets, wind, airframe=airframe, scale=scale)

    body = tuple(state[:13])
    k1 = rate(body, state.rotors)
    k2 = rate(_advance(body, k1, 0.5 * dt), middle)
    k3 = rate(_advance(body, k2, 0.5 * dt), middle)
    k4 = rate(_advance(body, k3, dt), end)
    new = [
        x + dt / 6.0 * (a + 2.0 * (b + c) + d)
        for x, a, b, c, d in zip(body, k1, k2, k3, k4, strict=True)
    ]
    new[6:10] = _unit((new[6], new[7], new[8], new[9]))
    return new


def _midpoint(
    state: State,
    middle: tuple[Array, ...],
    end: tuple[Array, ...],
    wind: Wind,
    *,
    airframe: Airframe,
    dt: float,
    scale: Scale,
) -> list[Array]:
    """The 13 body fields after dt; `middle`, `end`: rotor speeds after half of it and all."""
    half = 0.5 * dt
    thrust = _thrusts(middle, airframe=airframe, scale=scale)
    spin_up = (_signed(end, ROTOR_SPIN) - _signed(state.rotors, ROTOR_SPIN)) * (1.0 / dt)
    tx, ty, tz = _motor_torque(thrust, spin_up, airframe=airframe)

    def accelerate(rates: Wind) -> Wind:
        gx, gy = _gyroscopic(rates, middle, airframe=airframe)
        torque = (tx + gx, ty + gy, tz)
        return _angular_acceleration(rates, torque, airframe=airframe, scale=scale)

    rates = state.rates
    first = accelerate(rates)
    mean_rates = _moved(rates, first, half)
    new_rates = _moved(rates, accelerate(mean_rates), dt)
    attitude = _turned(state.attitude, rates, half)
    kick = rotate(
        attitude,
        _implicit_kick(state, attitude, middle, wind, airframe=airframe, dt=dt, scale=scale),
    )
    velocity = _moved(state.velocity, kick, 1.0)
    position = _moved(state.position, _moved(state.velocity, velocity, 1.0), half)
    return [*position, *velocity, *_turned(state.attitude, mean_rates, dt), *new_rates]


def _implicit_kick(
    state: State,
    attitude: Quaternion,
    rotors: tuple[Array, ...],
    wind: Wind,
    *,
    airframe: Airframe,
    dt: float,
    scale: Scale,
) -> Wind:
    """Change of velocity in dt, m/s in body axes: dt·(1 − ½dt·∂a/∂v)⁻¹ a, diagonal there."""
    vx, vy, vz = state.velocity
    air = rotate_inverse(attitude, (vx - wind[0], vy - wind[1], vz - wind[2]))
    zero = jnp.zeros_like(vx)
    weight = rotate_inverse(attitude, (zero, zero, zero - GRAVITY_M_S2))
    t0, t1, t2, t3 = _thrusts(rotors, airframe=airframe, scale=scale)
    per_mass = 1.0 / (airframe.body.mass_kg * scale.mass)
    d = airframe.drag
    in_plane = airframe.rotors.drag_coefficient * (rotors[0] + rotors[1] + rotors[2] + rotors[3])
    linear: Wind = (d.linear_x + in_plane, d.linear_y + in_plane, zero + d.linear_z)
    quadratic = (d.quadratic_x, d.quadratic_y, d.quadratic_z)
    kicks = []
    for speed, gravity, push, one, two in zip(
        air, weight, (zero, zero, t0 + t1 + t2 + t3), linear, quadratic, strict=True
    ):
        size = two * jnp.abs(speed)
        change = gravity + per_mass * (push - speed * (one + size))
        kicks.append(dt * change / (1.0 + 0.5 * dt * per_mass * (one + 2.0 * size)))
    return kicks[0], kicks[1], kicks[2]


def forces_and_torques(
    body: tuple[Array, ...],
    rotors: tuple[Array, ...],
    targets: tuple[Array, ...],
    wind: Wind,
    *,
    airframe: Airframe,
    scale: Scale = NOMINAL,
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """Force (without weight), N, and torque about the centre of mass, N m, both in FLU.

    `body`: the first 13 fields of State; `rotors`, `targets`: rotor speeds and where they head.
    """
    r, d = airframe.rotors, airframe.drag
    thrust = _thrusts(rotors, airframe=airframe, scale=scale)
    ax, ay, az = rotate_inverse(
        (body[6], body[7], body[8], body[9]),
        (body[3] - wind[0], body[4] - wind[1], body[5] - wind[2]),
    )
    in_plane = r.drag_coefficient * (rotors[0] + rotors[1] + rotors[2] + rotors[3])
    force = (
        -ax * (d.linear_x + d.quadratic_x * jnp.abs(ax) + in_plane),
        -ay * (d.linear_y + d.quadratic_y * jnp.abs(ay) + in_plane),
        sum(thrust) - az * (d.linear_z + d.quadratic_z * jnp.abs(az)),
    )
    lag = 1.0 / r.time_constant_s
    spin_up = lag * (_signed(targets, ROTOR_SPIN) - _signed(rotors, ROTOR_SPIN))
    tx, ty, tz = _motor_torque(thrust, spin_up, airframe=airframe)
    gx, gy = _gyroscopic((body[10], body[11], body[12]), rotors, airframe=airframe)
    return force, (tx + gx, ty + gy, tz)


def _thrusts(rotors: tuple[Array, ...], *, airframe: Airframe, scale: Scale) -> list[Array]:
    """N, of each rotor."""
    coefficient = airframe.rotors.thrust_coefficient * scale.thrust
    return [coefficient * speed * speed for speed in rotors]


def _motor_torque(thrust: list[Array], spin_up: Array, *, airframe: Airframe) -> Wind:
    """N m FLU, of thrust, drag and acceleration of the rotors; `spin_up`: rad/s², signed sum."""
    r = airframe.rotors
    return (
        r.arm_y_m * _signed(thrust, ROTOR_Y),
        -r.arm_x_m * _signed(thrust, ROTOR_X),
        -r.torque_per_thrust_m * _signed(thrust, ROTOR_SPIN) - r.inertia_kg_m2 * spin_up,
    )


def _gyroscopic(
    rates: Wind, rotors: tuple[Array, ...], *, airframe: Airframe
) -> tuple[Array, Array]:
    """N m about x and y that turning the rotors' angular momentum takes: −w × h ẑ."""
    momentum = airframe.rotors.inertia_kg_m2 * _signed(rotors, ROTOR_SPIN)
    return -rates[1] * momentum, rates[0] * momentum


def _angular_acceleration(rates: Wind, torque: Wind, *, airframe: Airframe, scale: Scale) -> Wind:
    """rad/s²: Euler's equations."""
    wx, wy, wz = rates
    jx, jy, jz = inertia(airframe)
    per = 1.0 / scale.inertia
    return (
        torque[0] * (per / jx) - ((jz - jy) / jx) * wy * wz,
        torque[1] * (per / jy) - ((jx - jz) / jy) * wz * wx,
        torque[2] * (per / jz) - ((jy - jx) / jz) * wx * wy,
    )


def _derivative(
    body: tuple[Array, ...],
    rotors: tuple[Array, ...],
    targets: tuple[Array, ...],
    wind: Wind,
    *,
    airframe: Airframe,
    scale: Scale,
) -> tuple[Array, ...]:
    """Time derivative of the 13 body fields."""
    quaternion = (body[6], body[7], body[8], body[9])
    wx, wy, wz = body[10], body[11], body[12]
    force, torque = forces_and_torques(body, rotors, targets, wind, airframe=airframe, scale=scale)
    fx, fy, fz = rotate(quaternion, force)
    per_mass = 1.0 / (airframe.body.mass_kg * scale.mass)
    spin = multiply(quaternion, (jnp.zeros_like(wx), wx, wy, wz))
    return (
        body[3],
        body[4],
        body[5],
        fx * per_mass,
        fy * per_mass,
        fz * per_mass - GRAVITY_M_S2,
        0.5 * spin[0],
        0.5 * spin[1],
        0.5 * spin[2],
        0.5 * spin[3],
        *_angular_acceleration((wx, wy, wz), torque, airframe=airframe, scale=scale),
    )


def _target_speeds(command: RotorCommand, *, airframe: Airframe) -> tuple[Array, ...]:
    """The rotor speeds, rad/s, that give the commanded shares of full thrust."""
    top = airframe.rotors.max_speed_rad_s
    return tuple(top * jnp.sqrt(jnp.clip(share, _COMMAND_MIN, 1.0)) for share in command)


def _rotor_speeds(
    state: State, targets: tuple[Array, ...], *, airframe: Airframe, dt: float
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Rotor speeds after half the step and after all of it: the lag's exact solution."""
    half = math.exp(-0.5 * dt / airframe.rotors.time_constant_s)
    pairs = list(zip(targets, state.rotors, strict=True))
    middle = tuple(target + half * (speed - target) for target, speed in pairs)
    end = tuple(target + half * half * (speed - target) for target, speed in pairs)
    return middle, end


def _turned(q: Quaternion, rates: Wind, dt: float) -> Quaternion:
    """The attitude after turning at body `rates` for dt; its error is of third order in dt."""
    x, y, z = (0.5 * dt * rate for rate in rates)
    return _unit(multiply(q, (1.0 - 0.5 * (x * x + y * y + z * z), x, y, z)))


def _unit(q: Quaternion) -> Quaternion:
    w, x, y, z = q
    norm = jax.lax.rsqrt(w * w + x * x + y * y + z * z)
    return w * norm, x * norm, y * norm, z * norm


def _moved(x: Wind, rate: Wind, dt: float) -> Wind:
    return x[0] + dt * rate[0], x[1] + dt * rate[1], x[2] + dt * rate[2]


def _advance(body: tuple[Array, ...], rate: tuple[Array, ...], dt: float) -> tuple[Array, ...]:
    return tuple(x + dt * k for x, k in zip(body, rate, strict=True))


def _signed(values: tuple[Array, ...] | list[Array], signs: tuple[float, ...]) -> Array:
    """Σ sign·value of the four rotors."""
    total = signs[0] * values[0]
    for sign, value in zip(signs[1:], values[1:], strict=True):
        total = total + sign * value
    return total
