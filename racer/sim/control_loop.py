"""Flight controller and physics between two actions: delay, cascade, battery, rigid body.

An action is heard `command_delay_s` late: until then the setpoint of the action before it acts. A
delay that ends within a substep blends the two setpoints in that substep by their shares of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from racer.errors import InvalidInputError
from racer.geometry.rotation import Vector
from racer.sim.airframe import Airframe
from racer.sim.cascade import ControlState, rate_control, velocity_control
from racer.sim.dynamics import NOMINAL, RotorCommand, State
from racer.sim.dynamics import step as fly
from racer.sim.interface import Limits, RateLimits, rate_setpoint, velocity_setpoint
from racer.sim.state import Array, EnvironmentState
from racer.sim.task import Settings, Task

Action: TypeAlias = tuple[Array, Array, Array, Array]
# Of one control step: task, state, action, wind (m/s ENU) to vehicle, controller, battery drawn.
Flight: TypeAlias = Callable[
    [Task, EnvironmentState, Action, Vector], tuple[State, ControlState, Array | None]
]
_Setpoint: TypeAlias = tuple[Vector, Array]
_SECONDS_PER_HOUR = 3600.0


def make_flight(airframe: Airframe, settings: Settings) -> Flight:
    """Build it. Raises InvalidInputError when the delay is longer than a control step."""
    if airframe.command_delay_s > settings.dt * (1.0 + 1e-6):
        raise InvalidInputError(
            f"The airframe '{airframe.name}' hears commands {1e3 * airframe.command_delay_s:g} ms "
            f"late, longer than a control step at {settings.control_hz:g} Hz: choose a control "
            f"rate of {1.0 / airframe.command_delay_s:g} Hz or less."
        )
    dt = settings.dt / settings.substeps
    setpoint, follow = _make_controller(airframe, settings, dt=dt)
    delayed = airframe.command_delay_s > 0.0 or settings.randomise

    def flight(
        task: Task, state: EnvironmentState, action: Action, wind: Vector
    ) -> tuple[State, ControlState, Array | None]:
        wanted = setpoint(task, state.vehicle, action)
        earlier = setpoint(task, state.vehicle, state.action) if delayed else wanted
        delay: Array | float = airframe.command_delay_s
        if state.variation is not None:
            delay = jnp.minimum(delay + state.variation.delay, settings.dt)
        ceiling = _thrust_ceiling(state, airframe=airframe)
        scale = NOMINAL if state.variation is None else state.variation.scale

        def substep(
            carry: tuple[State, ControlState], number: Array
        ) -> tuple[tuple[State, ControlState], None]:
            vehicle, control = carry
            heard = wanted
            if delayed:
                share = jnp.clip(number + 1.0 - delay / dt, 0.0, 1.0)
                heard = jax.tree.map(lambda a, b: a + share * (b - a), earlier, wanted)
            control, rotors = follow(control, vehicle, heard)
            rotors = _limited(rotors, ceiling)
            vehicle = fly(
                vehicle,
                rotors,
                wind,
                airframe=airframe,
                dt=dt,
                integrator=settings.integrator,
                scale=scale,
            )
            return (vehicle, control), None

        numbers = jnp.arange(settings.substeps, dtype=jnp.float32)
        (vehicle, control), _ = jax.lax.scan(substep, (state.vehicle, state.control), numbers)
        return vehicle, control, _drawn(state, vehicle, airframe=airframe, dt=settings.dt)

    return flight


def _make_controller(
    airframe: Airframe, settings: Settings, *, dt: float
) -> tuple[
    Callable[[Task, State, Action], _Setpoint],
    Callable[[ControlState, State, _Setpoint], tuple[ControlState, RotorCommand]],
]:
    """(what an action asks for when it comes, what follows that in every substep)."""
    gains = airframe.control
    rate_limits = RateLimits(
        hover=airframe.hover_thrust,
        tilt_rate=math.radians(gains.rate_max_xy_deg_s),
        yaw_rate=math.radians(gains.rate_max_z_deg_s),
    )

    def rates(task: Task, vehicle: State, action: Action) -> _Setpoint:
        return rate_setpoint(action, rate_limits, jnp)

    def velocity(task: Task, vehicle: State, action: Action) -> _Setpoint:
        limits = Limits(
            velocity=task.velocity_limit,
            velocity_unit=task.velocity_unit,
            climb=gains.velocity_max_up_m_s,
            descent=gains.velocity_max_down_m_s,
            yaw=task.yaw_limit,
            yaw_unit=task.yaw_unit,
        )
        return velocity_setpoint(action, vehicle.attitude, limits, jnp)

    law: Any = rate_control if settings.action_space == "ctbr" else velocity_control

    def follow(
        control: ControlState, vehicle: State, wanted: _Setpoint
    ) -> tuple[ControlState, RotorCommand]:
        followed: tuple[ControlState, RotorCommand] = law(
            control, vehicle, *wanted, airframe=airframe, dt=dt
        )
        return followed

    return rates if settings.action_space == "ctbr" else velocity, follow


def _limited(rotors: RotorCommand, ceiling: Array | None) -> RotorCommand:
    """Commands are shares of the thrust that the battery gives now."""
    if ceiling is None:
        return rotors
    r0, r1, r2, r3 = (jnp.clip(share, 0.0, 1.0) * ceiling for share in rotors)
    return r0, r1, r2, r3


def _current(vehicle: State, *, airframe: Airframe) -> Array | float:
    """A: goes with the cube of the rotor speeds. 0 without a battery."""
    if airframe.battery is None:
        return 0.0
    top = airframe.rotors.max_speed_rad_s
    r0, r1, r2, r3 = ((speed / top) ** 3 for speed in vehicle.rotors)
    return 0.25 * airframe.battery.current_full_a * (r0 + r1 + r2 + r3)


def _thrust_ceiling(state: EnvironmentState, *, airframe: Airframe) -> Array | None:
    """Full thrust now, of full thrust with a full battery: the square of the voltages' ratio."""
    battery = airframe.battery
    if battery is None or state.drawn is None:
        return None
    fall = battery.voltage_full_v - battery.voltage_empty_v
    current = _current(state.vehicle, airframe=airframe)
    voltage = battery.voltage_full_v - fall * state.drawn - battery.resistance_ohm * current
    ceiling: Array = (jnp.maximum(voltage, 0.0) / battery.voltage_full_v) ** 2
    return ceiling


def _drawn(
    state: EnvironmentState, vehicle: State, *, airframe: Airframe, dt: float
) -> Array | None:
    """The share of the charge that is gone after the step."""
    battery = airframe.battery
    if battery is None or state.drawn is None:
        return None
    used = _current(vehicle, airframe=airframe) * dt / (_SECONDS_PER_HOUR * battery.capacity_ah)
    return jnp.minimum(state.drawn + used, 1.0)
