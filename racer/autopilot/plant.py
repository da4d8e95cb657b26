"""The vehicle's body: racer.sim's dynamics and cascade as one compiled call per control tick.

A call takes the packed state of the last tick and a demand, and returns the packed new state with
what the telemetry wants to know. One array in, one array out, filled and read as plain bytes: the
dispatch then costs about 10 µs with the arithmetic. Forty separate scalars would cost several
times that, and NumPy on the way in and out doubles it on a processor that has slept meanwhile.

The demand enters the cascade at the level it names; the levels above are computed and discarded,
which is cheaper than a branch. Ground contact is here, not in `racer.sim`: a floor at height 0
that carries, brakes and levels the vehicle, so that it neither falls through nor tips over.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from racer.geometry.rotation import rotate_inverse
from racer.sim.airframe import GRAVITY_M_S2, Airframe
from racer.sim.cascade import (
    ControlState,
    acceleration_to_attitude,
    attitude_to_rates,
    initial_control,
    limit_acceleration,
    rate_control,
    velocity_to_acceleration,
)
from racer.sim.dynamics import State, rest_state, step
from racer.sim.interface import heading

CONTROL_HZ = 250
DT_S = 1.0 / CONTROL_HZ  # one Runge-Kutta step: fine enough for the motors, compiles in half
_IDLE_COMMAND = 0.02  # armed on the ground: PX4's idle speed, about 15 % of full speed
_FLOOR_BRAKE_HZ = 40.0  # how quickly the floor stops sliding, turning and tilting
_Numbers = TypeVar("_Numbers", bound=tuple[Any, ...])  # of one length on both sides
_STATE_SIZE = len(State._fields)


class Level(IntEnum):
    """Where a demand enters the cascade."""

    STOPPED = 0  # rotors stand still
    IDLE = 1  # rotors turn, nothing is controlled
    VELOCITY = 2  # x, y, z in m/s ENU and a yaw rate
    ACCELERATION = 3  # x, y, z in m/s² ENU and a yaw rate
    ATTITUDE = 4  # a quaternion, a collective and a yaw rate
    RATES = 5  # x, y, z in rad/s FLU and a collective


class Demand(NamedTuple):
    """What the cascade shall do during one tick; unused fields do not matter."""

    level: Level
    x: float = 0.0
    y: float = 0.0
    z: float = 0.0
    qw: float = 1.0  # body FLU to world ENU
    qx: float = 0.0
    qy: float = 0.0
    qz: float = 0.0
    collective: float = 0.0  # of full thrust
    yaw_rate: float = 0.0  # rad/s, positive turns left


class Snapshot(NamedTuple):
    """The vehicle after a tick: State, then what the tick computed on its way."""

    px: float
    py: float
    pz: float
    vx: float
    vy: float
    vz: float
    qw: float
    qx: float
    qy: float
    qz: float
    wx: float
    wy: float
    wz: float
    r0: float
    r1: float
    r2: float
    r3: float
    contact: float  # 1 while the floor carries weight
    fx: float  # specific force: what an accelerometer feels, m/s² FLU
    fy: float
    fz: float
    target_qw: float  # attitude wanted
    target_qx: float
    target_qy: float
    target_qz: float
    target_wx: float  # body rates wanted, rad/s FLU
    target_wy: float
    target_wz: float
    collective: float  # of full thrust
    c0: float  # rotor commands
    c1: float
    c2: float
    c3: float

    @property
    def yaw(self) -> float:
        """Heading of the nose, rad counter-clockwise from east."""
        return math.atan2(
            2.0 * (self.qw * self.qz + self.qx * self.qy),
            1.0 - 2.0 * (self.qy * self.qy + self.qz * self.qz),
        )


_INPUTS = struct.Struct(f"{len(Demand._fields) + 3}f")  # a demand and the wind
_OUTPUTS = struct.Struct(f"{len(Snapshot._fields)}f")  # the controller's memory follows them


class Plant:
    """The moving vehicle. Building it compiles the tick."""

    def __init__(self, airframe: Airframe, *, yaw: float = 0.5 * math.pi) -> None:
        self._tick = _tick_of(airframe)
        extras = [0.0] * (len(Snapshot._fields) - _STATE_SIZE)
        state, memory = map(float, rest_state(airframe, yaw=yaw)), map(float, initial_control())
        start = np.array([*state, *extras, *memory], np.float32)
        self._packed: Any = jnp.asarray(start)  # a JAX array can be read as a buffer
        self._inputs = np.zeros(len(Demand._fields) + 3, np.float32)
        self.snapshot = self.step(Demand(Level.STOPPED))

    def step(
        self, demand: Demand, *, wind: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ) -> Snapshot:
        """Fly one control tick (DT_S) with `demand` in air that moves with `wind`, m/s ENU."""
        _INPUTS.pack_into(self._inputs.data, 0, *demand, *wind)
        self._packed = self._tick(self._packed, self._inputs)
        self.snapshot = Snapshot._make(_OUTPUTS.unpack_from(self._packed))
        return self.snapshot


@functools.cache
def _tick_of(airframe: Airframe) -> Callable[[jax.Array, Any], jax.Array]:
    """The compiled tick: (packed state, packed demand and wind) to the packed state: what Snapshot
    names, then the controller's memory.
    """
    memory = len(Snapshot._fields)

    def tick(packed: jax.Array, inputs: jax.Array) -> jax.Array:
        state = State(*(packed[i] for i in range(_STATE_SIZE)))
        control = ControlState(*(packed[memory + i] for i in range(len(ControlState._fields))))
        level, x, y, z, qw, qx, qy, qz, collective, yaw_rate = (inputs[i] for i in range(10))
        wind = (inputs[10], inputs[11], inputs[12])
        control, acceleration = velocity_to_acceleration(
            _forget(control, level), state, (x, y, z), airframe=airframe, dt=DT_S
        )
        given = limit_acceleration((x, y, z), airframe=airframe)
        acceleration = _pick(level == Level.ACCELERATION, given, acceleration)
        attitude, lift = acceleration_to_attitude(
            acceleration, heading(state.attitude, jnp), airframe=airframe
        )
        attitude = _pick(level == Level.ATTITUDE, (qw, qx, qy, qz), attitude)
        collective = jnp.where(level >= Level.ATTITUDE, collective, lift)
        rates = attitude_to_rates(state, attitude, yaw_rate, airframe=airframe)
        rates = _pick(level == Level.RATES, (x, y, z), rates)
        control, command = rate_control(
            control, state, rates, collective, airframe=airframe, dt=DT_S
        )
        floor = jnp.where(level == Level.IDLE, _IDLE_COMMAND, 0.0)
        command = _pick(level <= Level.IDLE, (floor,) * 4, command)
        collective = jnp.where(level <= Level.IDLE, floor, collective)
        before = state
        state = step(state, command, wind, airframe=airframe, dt=DT_S)
        state, contact = _touch_floor(state)
        force = _specific_force(before, state)
        return jnp.stack(
            [*state, contact, *force, *attitude, *rates, collective, *command, *control]
        )

    return jax.jit(tick)


def _forget(control: ControlState, level: jax.Array) -> ControlState:
    """Integrators start empty whenever their level is not in use."""
    velocity = jnp.where(level == Level.VELOCITY, 1.0, 0.0)
    rates = jnp.where(level > Level.IDLE, 1.0, 0.0)
    return control._replace(
        ax=control.ax * velocity,
        ay=control.ay * velocity,
        az=control.az * velocity,
        alpha_x=control.alpha_x * rates,
        alpha_y=control.alpha_y * rates,
        alpha_z=control.alpha_z * rates,
        yaw=control.yaw * rates,
    )


def _touch_floor(state: State) -> tuple[State, jax.Array]:
    """The floor at height 0: no sinking in, and friction that stops, turns upright and holds.

    The attitude is drawn towards level with the same heading, by the shorter way.
    """
    touching = state.pz <= 0.0
    keep = jnp.where(touching, math.exp(-_FLOOR_BRAKE_HZ * DT_S), 1.0)
    cos_yaw, sin_yaw = heading(state.attitude, jnp)
    half_cos = jnp.sqrt(jnp.maximum(0.5 * (1.0 + cos_yaw), 1e-6))
    level_w, level_z = half_cos, 0.5 * sin_yaw / half_cos
    sign = jnp.where(state.qw * level_w + state.qz * level_z < 0.0, -1.0, 1.0)
    qw = keep * state.qw + (1.0 - keep) * sign * level_w
    qx, qy = keep * state.qx, keep * state.qy
    qz = keep * state.qz + (1.0 - keep) * sign * level_z
    norm = jax.lax.rsqrt(jnp.maximum(qw * qw + qx * qx + qy * qy + qz * qz, 1e-6))
    floored = state._replace(
        pz=jnp.maximum(state.pz, 0.0),
        vx=keep * state.vx,
        vy=keep * state.vy,
        vz=jnp.where(touching, jnp.maximum(state.vz, 0.0), state.vz),
        qw=qw * norm,
        qx=qx * norm,
        qy=qy * norm,
        qz=qz * norm,
        wx=keep * state.wx,
        wy=keep * state.wy,
        wz=keep * state.wz,
    )
    return floored, touching.astype(jnp.float32)


def _specific_force(before: State, after: State) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(Δv/Δt + g) in body axes, m/s² FLU."""
    ax, ay, az = ((b - a) / DT_S for a, b in zip(before.velocity, after.velocity, strict=True))
    x, y, z = rotate_inverse(after.attitude, (ax, ay, az + GRAVITY_M_S2))
    return x, y, z


def _pick(condition: jax.Array, yes: _Numbers, no: _Numbers) -> _Numbers:
    """`jnp.where` on each component of a tuple."""
    picked: _Numbers = jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
    return picked
