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
  hold to float32 at 5 ms), and `midpoint`, second order at one evaluation of the forces: body
  rates first, the attitude by the mean of old and new ones, forces at the attitude half-way, drag
  by the linearly implicit midpoint rule (Rosenbrock), which is stable without a look ahead.
- Each of these takes what the one before it ends with. XLA keeps on a CPU what a loop hands on,
  and computes everything else that two results share once for each of them.
- What an airframe's zeros leave out is left out when the program is made.
- The exact exponential for the rotors, which do not feel the body and may be stiff.
- The airframe's numbers are compile-time constants.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import jax.numpy as jnp

from racer.geometry.rotation import body_axes, body_z_axis, dot, multiply, rotate, rotate_inverse
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
    spin_up = (_signed(end, ROTOR_SPIN) - _signed(state.rotors, ROTOR_SPIN)) * (1.0 / dt)
    tx, ty, tz = _motor_torque(middle, spin_up, airframe=airframe, scale=scale)

    def accelerate(rates: Wind) -> Wind:
        gx, gy = _gyroscopic(rates, middle, airframe=airframe)
        torque = (tx + gx, ty + gy, tz)
        return _angular_acceleration(rates, torque, airframe=airframe, scale=scale)

    rates = state.rates
    new_rates = _moved(rates, accelerate(_moved(rates, accelerate(rates), half)), dt)
    attitude = _turned(state.attitude, _mean(rates, new_rates), dt)
    half_way = _half_way(state.attitude, attitude)
    kick = _axial_kick if _same_in_plane(airframe) else _implicit_kick
    change = kick(state, half_way, middle, wind, airframe=airframe, dt=dt, scale=scale)
    velocity = _moved(state.velocity, change, 1.0)
    position = _moved(state.position, _mean(state.velocity, velocity), dt)
    return [*position, *velocity, *attitude, *new_rates]


def _same_in_plane(airframe: Airframe) -> bool:
    """Whether the drag is the same in all directions of the rotors' plane, wherever air comes."""
    d = airframe.drag
    return d.linear_x == d.linear_y and not (d.quadratic_x or d.quadratic_y)


def _axial_kick(
    state: State,
    attitude: Quaternion,
    rotors: tuple[Array, ...],
    wind: Wind,
    *,
    airframe: Airframe,
    dt: float,
    scale: Scale,
) -> Wind:
    """What `_implicit_kick` gives if the drag is the same in the plane; half its operations.

    The plane's share of a force is the force less its share along the rotors' axis, so that no
    other axis is needed.
    """
    up = body_z_axis(attitude)
    air = (state.vx - wind[0], state.vy - wind[1], state.vz - wind[2])
    (plane, _), _, (one, two) = _drag(rotors, airframe=airframe)
    per_mass = 1.0 / (airframe.body.mass_kg * scale.mass)
    speed = dot(up, air)
    size = two * jnp.abs(speed) if two else 0.0
    thrust = _thrust(rotors, airframe=airframe, scale=scale)
    along = per_mass * (thrust - speed * (one + size)) - GRAVITY_M_S2 * up[2]
    aside = per_mass * plane * speed + GRAVITY_M_S2 * up[2]
    stiff = 1.0 + 0.5 * dt * per_mass * (one + 2.0 * size)
    stiff_plane = 1.0 + 0.5 * dt * per_mass * plane
    axial = dt * (stiff_plane * along + stiff * aside) / (stiff_plane * stiff)
    slowing = dt * per_mass * plane / stiff_plane  # so that 1/stiff_plane is 1 − slowing/2
    return (
        up[0] * axial - slowing * air[0],
        up[1] * axial - slowing * air[1],
        up[2] * axial - slowing * air[2] - dt * GRAVITY_M_S2 * (1.0 - 0.5 * slowing),
    )


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
    """Change of velocity in dt, m/s ENU: dt·(1 − ½dt·∂a/∂v)⁻¹ a, diagonal in body axes."""
    axes = body_axes(attitude)
    air = (state.vx - wind[0], state.vy - wind[1], state.vz - wind[2])
    push = (0.0, 0.0, _thrust(rotors, airframe=airframe, scale=scale))
    per_mass = 1.0 / (airframe.body.mass_kg * scale.mass)
    kicks = []
    for axis, lift, (one, two) in zip(axes, push, _drag(rotors, airframe=airframe), strict=True):
        speed = dot(axis, air)
        size = two * jnp.abs(speed) if two else 0.0
        change = per_mass * (lift - speed * (one + size)) - GRAVITY_M_S2 * axis[2]
        kicks.append(dt * change / (1.0 + 0.5 * dt * per_mass * (one + 2.0 * size)))
    return _in_world(axes, (kicks[0], kicks[1], kicks[2]))


def _drag(
    rotors: tuple[Array, ...], *, airframe: Airframe
) -> tuple[tuple[Array | float, float], ...]:
    """(linear, quadratic) drag along each body axis, N per m/s and N per (m/s)²."""
    d, of_rotors = airframe.drag, airframe.rotors.drag_coefficient
    in_plane = of_rotors * sum(rotors) if of_rotors else 0.0
    return (
        (d.linear_x + in_plane, d.quadratic_x),
        (d.linear_y + in_plane, d.quadratic_y),
        (d.linear_z, d.quadratic_z),
    )


def _in_world(axes: tuple[Wind, Wind, Wind], v: Wind) -> Wind:
    """A vector in body axes, which are given in world coordinates, in the world's."""
    x, y, z = axes
    return (
        x[0] * v[0] + y[0] * v[1] + z[0] * v[2],
        x[1] * v[0] + y[1] * v[1] + z[1] * v[2],
        x[2] * v[0] + y[2] * v[1] + z[2] * v[2],
    )


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
    air = rotate_inverse(
        (body[6], body[7], body[8], body[9]),
        (body[3] - wind[0], body[4] - wind[1], body[5] - wind[2]),
    )
    fx, fy, fz = (
        -speed * (one + two * jnp.abs(speed) if two else one)
        for speed, (one, two) in zip(air, _drag(rotors, airframe=airframe), strict=True)
    )
    force = (fx, fy, fz + _thrust(rotors, airframe=airframe, scale=scale))
    lag = 1.0 / airframe.rotors.time_constant_s
    spin_up = lag * (_signed(targets, ROTOR_SPIN) - _signed(rotors, ROTOR_SPIN))
    tx, ty, tz = _motor_torque(rotors, spin_up, airframe=airframe, scale=scale)
    gx, gy = _gyroscopic((body[10], body[11], body[12]), rotors, airframe=airframe)
    return force, (tx + gx, ty + gy, tz)


def _thrust(rotors: tuple[Array, ...], *, airframe: Airframe, scale: Scale) -> Array:
    """N, of all rotors."""
    unit = airframe.rotors.thrust_coefficient * scale.thrust
    r0, r1, r2, r3 = rotors
    return unit * (r0 * r0 + r1 * r1 + r2 * r2 + r3 * r3)


def _motor_torque(
    rotors: tuple[Array, ...], spin_up: Array, *, airframe: Airframe, scale: Scale
) -> Wind:
    """N m FLU, of thrust, drag and acceleration of the rotors; `spin_up`: rad/s², signed sum."""
    r = airframe.rotors
    unit = r.thrust_coefficient * scale.thrust
    squares = tuple(speed * speed for speed in rotors)
    reaction = r.inertia_kg_m2 * spin_up if r.inertia_kg_m2 else 0.0
    return (
        r.arm_y_m * unit * _signed(squares, ROTOR_Y),
        -r.arm_x_m * unit * _signed(squares, ROTOR_X),
        -r.torque_per_thrust_m * unit * _signed(squares, ROTOR_SPIN) - reaction,
    )


def _gyroscopic(
    rates: Wind, rotors: tuple[Array, ...], *, airframe: Airframe
) -> tuple[Array | float, Array | float]:
    """N m about x and y that turning the rotors' angular momentum takes: −w × h ẑ."""
    if not airframe.rotors.inertia_kg_m2:
        return 0.0, 0.0
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
        torque[2] * (per / jz) - (((jy - jx) / jz) * wx * wy if jx != jy else 0.0),
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
    """The attitude after turning at body `rates` for dt; its error is of third order in dt.

    Its length is one however long the old one was and however fast it turns.
    """
    x, y, z = (0.5 * dt * rate for rate in rates)
    turn = x * x + y * y + z * z
    share = 1.0 / jnp.sqrt(_square(q) * (1.0 + 0.25 * turn * turn))
    return multiply(q, (share * (1.0 - 0.5 * turn), share * x, share * y, share * z))


def _half_way(a: Quaternion, b: Quaternion) -> Quaternion:
    """The attitude between two that are not far apart."""
    w, x, y, z = (0.5 * (one + other) for one, other in zip(a, b, strict=True))
    return _unit((w, x, y, z))


def _unit(q: Quaternion) -> Quaternion:
    """A quaternion of almost length one, nearer to it: one Newton step of 1/√, with no root.

    Leaves 3/8 of the squared error of |q|²: after a step of the integrators less than float32 has.
    Far off the factor stays positive, so that lengths find back to one.
    """
    w, x, y, z = q
    share = jnp.maximum(1.5 - 0.5 * _square(q), 0.1)
    return w * share, x * share, y * share, z * share


def _square(q: Quaternion) -> Array:
    return q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]


def _mean(a: Wind, b: Wind) -> Wind:
    return 0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1]), 0.5 * (a[2] + b[2])


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
