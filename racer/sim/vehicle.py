"""The vehicle as numbers: its state, how it differs from its airframe, where its rotors sit."""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from racer.sim.airframe import Airframe

Array: TypeAlias = jax.Array

# PX4 quad-x: 0 front-right, 1 back-left, 2 front-left, 3 back-right; arms in FLU.
ROTOR_X = (1.0, -1.0, 1.0, -1.0)
ROTOR_Y = (-1.0, 1.0, 1.0, -1.0)
ROTOR_SPIN = (1.0, 1.0, -1.0, -1.0)  # +1 turns counter-clockwise seen from above


class Scale(NamedTuple):
    """How a vehicle differs from its airframe's numbers: factors, floats or arrays (...)."""

    mass: Array | float = 1.0
    inertia: Array | float = 1.0
    thrust: Array | float = 1.0  # of thrust and torque at a given rotor speed


NOMINAL = Scale()


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


def inertia(airframe: Airframe) -> tuple[float, float, float]:
    """Principal moments of inertia (x, y, z), kg m²."""
    body = airframe.body
    return body.inertia_x_kg_m2, body.inertia_y_kg_m2, body.inertia_z_kg_m2
