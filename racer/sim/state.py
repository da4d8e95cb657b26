"""What the racing environment carries from step to step, and what it tells of one."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from racer.geometry.gates import GateFrame
from racer.sim.cascade import ControlState
from racer.sim.dynamics import Scale, State
from racer.sim.wind import Gusts

Array: TypeAlias = jax.Array


class Variation(NamedTuple):
    """How one flight differs from its task (racer.sim.task.Ranges); (...) or (..., G), (..., P)."""

    scale: Scale  # mass, inertia, thrust: factors
    delay: Array  # s, on top of the airframe's command delay
    wind: Array  # factor of the mean wind and its gusts
    gate_x: Array  # (..., G) m, every gate's displacement
    gate_y: Array
    gate_z: Array
    gate_yaw: Array  # (..., G) rad
    obstacle_x: Array  # (..., P) m
    obstacle_y: Array
    obstacle_z: Array


class EnvironmentState(NamedTuple):
    """Drones in flight; every array begins with the batch's shape (...)."""

    vehicle: State
    control: ControlState
    action: tuple[Array, Array, Array, Array]  # the one before, as the policy gave it
    passed: Array  # int32: gates passed since the start of the course
    elapsed: Array  # int32: control steps since the start of the flight
    wind_x: Array  # mean wind, m/s
    wind_y: Array
    gusts: Gusts
    memory: Any = ()  # of the reward: arrays (...) in whatever structure it likes
    variation: Variation | None = None  # None unless Settings.randomise
    drawn: Array | None = None  # share of the battery's charge; None when the airframe has none


class Judged(NamedTuple):
    """What the course says about one control step, shape (...); before any auto-reset."""

    target: GateFrame  # the gate that was flown to
    passed: Array  # bool: that gate was passed
    finished: Array  # bool: it was the last
    crashed: Array  # bool
    done: Array  # bool: finished, crashed or out of time
    cause: Array  # int32: a racer.sim.task.CrashCause
    when: Array  # share of the step, [0, 1], at which the target's plane was crossed
    offset: Array  # m from the target's centre, in its plane, at that moment


class Outcome(NamedTuple):
    """What one control step brought, shape (...); of the flight before any auto-reset.

    `when` and `offset` mean something where `passed`. The moment of a passage is
    (elapsed + when) control steps after the start, with `elapsed` of the state before the step.
    """

    reward: Array
    done: Array  # the flight ended, for any of the three reasons
    finished: Array  # the last gate was passed
    crashed: Array  # ground, bounds, a frame or an obstacle
    passed: Array  # bool: a gate was passed in this step
    cause: Array  # int32: a racer.sim.task.CrashCause
    when: Array  # share of the step, [0, 1], at which the gate's plane was crossed
    offset: Array  # m from the gate's centre, in its plane, at that moment
    flown: State  # the vehicle at the end of the step


def choose(mask: Array, these: EnvironmentState, those: EnvironmentState) -> EnvironmentState:
    """Drone by drone, `these` where `mask` (...) holds; arrays per gate or pole have more axes."""

    def pick(this: Array, that: Array) -> Array:
        wide = jnp.reshape(mask, mask.shape + (1,) * (this.ndim - mask.ndim))
        return jnp.where(wide, this, that)

    picked: EnvironmentState = jax.tree.map(pick, these, those)
    return picked
