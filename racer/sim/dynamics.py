"""Free flight of a quadrotor: one pure step of the rigid body, its rotors and its drag.

Newton-Euler equations about the centre of mass, ENU world and FLU body (Mahony, Kumar, Corke,
"Multirotor aerial vehicles", IEEE RAM 2012; rotor drag after Faessler et al., RA-L 2018):

    m v̇ = R (Σ T_i ẑ + F_drag) − m g ẑ              T_i = k_T ω_i²
    J ẇ = τ − w × (J w + h ẑ) − ḣ ẑ                 h   = J_r Σ s_i ω_i,  τ_z = −Σ s_i κ T_i
    ω̇_i = (ω_i,cmd − ω_i) / τ_m                      s_i = +1 for a rotor turning counter-clockwise

Choices:
- Struct of arrays: one array per scalar, any common batch shape. On a CPU this is what lets XLA
  fuse a whole step into a few vectorised loops.
- Classical Runge-Kutta of fourth order for the body (energy and momentum hold to float32 at
  5 ms), the exact exponential for the rotors, which do not feel the body and may be stiff.
- The airframe's numbers are compile-time constants.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from racer.geometry.rotation import multiply, rotate, rotate_inverse
from racer.sim.airframe import GRAVITY_M_S2, Airframe

Array: TypeAlias = jax.Array
Wind: TypeAlias = tuple[Array, Array, Array]
RotorCommand: TypeAlias = tuple[Array, Array, Array, Array]

# PX4 quad-x: 0 front-right, 1 back-left, 2 front-left, 3 back-right; arms in FLU.
ROTOR_X = (1.0, -1.0, 1.0, -1.0)
ROTOR_Y = (-1.0, 1.0, 1.0, -1.0)
ROTOR_SPIN = (1.0, 1.0, -1.0, -1.0)  # +1 turns counter-clockwise seen from above
_COMMAND_MIN = 1e-6  # keeps the square root differentiable; a thrust of micronewtons


class State(NamedTuple):
    """A vehicle, or a batch: every field has the same shape (...)."""

    px: Array  # position, m, ENU
    py: Array
    pz: Array
    vx: Array  # velocity, m/s, ENU
    vy: Array
    vz: Array
    qw: Array  # attitude, body FLU to world ENU
    qx: Array
    qy: Array
    qz: Array
    wx: Array  # angular velocity, rad/s, FLU
    wy: Array
    wz: Array
    r0: Array  # rotor speeds, rad/s: front-right, back-left, front-left, back-right
    r1: Array
    r2: Array
    r3: Array

    @property
    def position(self) -> tuple[Array, Array, Array]:
        """(px, py, pz)."""
        return self[0], self[1], self[2]

    @property
    def velocity(self) -> tuple[Array, Array, Array]:
        """(vx, vy, vz)."""
        return self[3], self[4], self[5]

    @property
    def attitude(self) -> tuple[Array, Array, Array, Array]:
        """(qw, qx, qy, qz)."""
        return self[6], self[7], self[8], self[9]

    @property
    def rates(self) -> tuple[Array, Array, Array]:
        """(wx, wy, wz)."""
        return self[10], self[11], self[12]

    @property
    def rotors(self) -> tuple[Array, Array, Array, Array]:
        """(r0, r1, r2, r3)."""
        return self[13], self[14], self[15], self[16]


def rest_state(
    airframe: Airframe,
    *,
    position: tuple[float, float, float] = (0.0, 0.0, 0.0),
    yaw: float = 0.0,
    shape: tuple[int, ...] = (),
    hovering: bool = False,
) -> State:
    """A level vehicle that does not move: `position` in m ENU, `yaw` in rad from east.

    Its rotors stand still, or turn at hover speed when `hovering`.
    """
    share = math.sqrt(airframe.hover_thrust) if hovering else 0.0
    rotor = share * airframe.rotors.max_speed_rad_s
    half = 0.5 * yaw
    attitude = (math.cos(half), 0.0, 0.0, math.sin(half))
    numbers = (*position, *(0.0,) * 3, *attitude, *(0.0,) * 3, *(rotor,) * 4)
    return State(*(jnp.full(shape, number, jnp.float32) for number in numbers))


def step(
    state: State, command: RotorCommand, wind: Wind, *, airframe: Airframe, dt: float
) -> State:
    """Fly for `dt` seconds with constant rotor commands and wind.

    `command`: four thrusts in [0, 1] of full, PX4 order; values outside are clipped.
    `wind`: velocity of the air, m/s ENU. `dt`: s; 5 ms or less resolves the motors.
    """
    half_speeds, end_speeds = _rotor_speeds(state, command, airframe=airframe, dt=dt)
    targets = _target_speeds(command, airframe=airframe)
    body = tuple(state[:13])
    k1 = _derivative(body, state.rotors, targets, wind, airframe=airframe)
    k2 = _derivative(_advance(body, k1, 0.5 * dt), half_speeds, targets, wind, airframe=airframe)
    k3 = _derivative(_advance(body, k2, 0.5 * dt), half_speeds, targets, wind, airframe=airframe)
    k4 = _derivative(_advance(body, k3, dt), end_speeds, targets, wind, airframe=airframe)
    sixth = dt / 6.0
    new = [
        x + sixth * (a + 2.0 * (b + c) + d)
        for x, a, b, c, d in zip(body, k1, k2, k3, k4, strict=True)
    ]
    norm = jax.lax.rsqrt(new[6] ** 2 + new[7] ** 2 + new[8] ** 2 + new[9] ** 2)
    new[6:10] = [component * norm for component in new[6:10]]
    return State(*new, *end_speeds)


def forces_and_torques(
    body: tuple[Array, ...],
    rotors: tuple[Array, ...],
    targets: tuple[Array, ...],
    wind: Wind,
    *,
    airframe: Airframe,
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """Force (without weight), N, and torque about the centre of mass, N m, both in FLU.

    `body`: the first 13 fields of State; `rotors`, `targets`: rotor speeds and where they head.
    """
    r, d = airframe.rotors, airframe.drag
    thrust = [r.thrust_coefficient * speed * speed for speed in rotors]
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
    momentum = r.inertia_kg_m2 * _signed(rotors, ROTOR_SPIN)
    momentum_rate = (
        r.inertia_kg_m2 * lag * (_signed(targets, ROTOR_SPIN) - _signed(rotors, ROTOR_SPIN))
    )
    torque = (
        r.arm_y_m * _signed(thrust, ROTOR_Y) - body[11] * momentum,
        -r.arm_x_m * _signed(thrust, ROTOR_X) + body[10] * momentum,
        -r.torque_per_thrust_m * _signed(thrust, ROTOR_SPIN) - momentum_rate,
    )
    return force, torque


def _derivative(
    body: tuple[Array, ...],
    rotors: tuple[Array, ...],
    targets: tuple[Array, ...],
    wind: Wind,
    *,
    airframe: Airframe,
) -> tuple[Array, ...]:
    """Time derivative of the 13 body fields."""
    quaternion = (body[6], body[7], body[8], body[9])
    wx, wy, wz = body[10], body[11], body[12]
    force, torque = forces_and_torques(body, rotors, targets, wind, airframe=airframe)
    fx, fy, fz = rotate(quaternion, force)
    per_mass = 1.0 / airframe.body.mass_kg
    zero = jnp.zeros_like(wx)
    spin = multiply(quaternion, (zero, wx, wy, wz))
    jx, jy, jz = inertia(airframe)
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
        (torque[0] - (jz - jy) * wy * wz) / jx,
        (torque[1] - (jx - jz) * wz * wx) / jy,
        (torque[2] - (jy - jx) * wx * wy) / jz,
    )


def inertia(airframe: Airframe) -> tuple[float, float, float]:
    """Principal moments of inertia (x, y, z), kg m²."""
    body = airframe.body
    return body.inertia_x_kg_m2, body.inertia_y_kg_m2, body.inertia_z_kg_m2


def _target_speeds(command: RotorCommand, *, airframe: Airframe) -> tuple[Array, ...]:
    """The rotor speeds, rad/s, that give the commanded shares of full thrust."""
    top = airframe.rotors.max_speed_rad_s
    return tuple(top * jnp.sqrt(jnp.clip(share, _COMMAND_MIN, 1.0)) for share in command)


def _rotor_speeds(
    state: State, command: RotorCommand, *, airframe: Airframe, dt: float
) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Rotor speeds after half the step and after all of it: the lag's exact solution."""
    targets = _target_speeds(command, airframe=airframe)
    half = math.exp(-0.5 * dt / airframe.rotors.time_constant_s)
    pairs = list(zip(targets, state.rotors, strict=True))
    middle = tuple(target + half * (speed - target) for target, speed in pairs)
    end = tuple(target + half * half * (speed - target) for target, speed in pairs)
    return middle, end


def _advance(body: tuple[Array, ...], rate: tuple[Array, ...], dt: float) -> tuple[Array, ...]:
    return tuple(x + dt * k for x, k in zip(body, rate, strict=True))


def _signed(values: tuple[Array, ...] | list[Array], signs: tuple[float, ...]) -> Array:
    """Σ sign·value of the four rotors."""
    total = signs[0] * values[0]
    for sign, value in zip(signs[1:], values[1:], strict=True):
        total = total + sign * value
    return total
