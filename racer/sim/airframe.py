"""Vehicle parameters, read from TOML into frozen dataclasses of floats.

Frozen and hashable, so an airframe can be a static argument of a compiled function and its
numbers become constants there. No JAX here: the web process reads airframes too.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from racer.errors import InvalidInputError, NotFoundError

GRAVITY_M_S2 = 9.80665  # standard gravity, ISO 80000-3
_FOLDER = Path(__file__).parent / "airframes"
_MAX_TEXT_BYTES = 65_536
_MAX_THRUST_TO_WEIGHT = 100.0
_MAX_TURN_RAD_S2 = 2e4  # ten times what the quickest racers do; more would outrun the integrator
_GAIN, _INTEGRAL = (0.01, 1000.0), (0.0, 1000.0)
_RATE, _CUTOFF, _DRAG = (1.0, 1e4), (0.01, 1e4), (0.0, 100.0)
_INERTIA, _ARM, _VOLTAGE = (1e-8, 1000.0), (0.001, 10.0), (0.1, 1000.0)
_RANGES = {  # of every number in a file, since the file may come from a stranger
    "mass_kg": (0.001, 1000.0),
    "inertia_x_kg_m2": _INERTIA,
    "inertia_y_kg_m2": _INERTIA,
    "inertia_z_kg_m2": _INERTIA,
    "collision_radius_m": (0.0, 10.0),  # a hull of no size is a point
    "arm_x_m": _ARM,
    "arm_y_m": _ARM,
    "max_speed_rad_s": (1.0, 1e5),
    "thrust_coefficient": (1e-12, 1.0),
    "torque_per_thrust_m": (1e-6, 10.0),
    "inertia_kg_m2": (0.0, 1.0),
    "time_constant_s": (1e-4, 10.0),
    "drag_coefficient": (0.0, 1.0),
    "linear_x": _DRAG,
    "linear_y": _DRAG,
    "linear_z": _DRAG,
    "quadratic_x": _DRAG,
    "quadratic_y": _DRAG,
    "quadratic_z": _DRAG,
    "velocity_p_xy": _GAIN,
    "velocity_i_xy": _INTEGRAL,
    "velocity_p_z": _GAIN,
    "velocity_i_z": _INTEGRAL,
    "velocity_max_up_m_s": (0.1, 100.0),
    "velocity_max_down_m_s": (0.1, 100.0),
    "tilt_max_deg": (1.0, 85.0),
    "thrust_min": (0.0, 1.0),
    "thrust_max": (0.0, 1.0),
    "attitude_p_xy": _GAIN,
    "attitude_p_z": _GAIN,
    "rate_max_xy_deg_s": _RATE,
    "rate_max_z_deg_s": _RATE,
    "rate_p_xy": _GAIN,
    "rate_i_xy": _INTEGRAL,
    "rate_d_xy": _INTEGRAL,
    "rate_p_z": _GAIN,
    "rate_i_z": _INTEGRAL,
    "rate_filter_hz": _CUTOFF,
    "yaw_torque_filter_hz": _CUTOFF,
    "capacity_ah": (0.001, 1e4),
    "voltage_full_v": _VOLTAGE,
    "voltage_empty_v": _VOLTAGE,
    "resistance_ohm": (0.0, 100.0),
    "current_full_a": (0.0, 1e4),
}


@dataclasses.dataclass(frozen=True)
class Body:
    """The rigid body. Principal inertia in FLU axes; the hull is a sphere for collisions."""

    mass_kg: float
    inertia_x_kg_m2: float
    inertia_y_kg_m2: float
    inertia_z_kg_m2: float
    collision_radius_m: float


@dataclasses.dataclass(frozen=True)
class Rotors:
    """Four equal rotors at (±arm_x, ±arm_y), in PX4's quad-x order and spin directions."""

    arm_x_m: float
    arm_y_m: float
    max_speed_rad_s: float
    thrust_coefficient: float  # N / (rad/s)²
    torque_per_thrust_m: float  # N m / N
    inertia_kg_m2: float
    time_constant_s: float
    drag_coefficient: float  # N / (rad/s) / (m/s)


@dataclasses.dataclass(frozen=True)
class Drag:
    """Drag of the body relative to the air: N / (m/s) and N / (m/s)², along body axes."""

    linear_x: float
    linear_y: float
    linear_z: float
    quadratic_x: float
    quadratic_y: float
    quadratic_z: float


@dataclasses.dataclass(frozen=True)
class Control:
    """Gains of the cascade (racer.sim.cascade); units and PX4's names are in the TOML files."""

    velocity_p_xy: float
    velocity_i_xy: float
    velocity_p_z: float
    velocity_i_z: float
    velocity_max_up_m_s: float
    velocity_max_down_m_s: float
    tilt_max_deg: float
    thrust_min: float
    thrust_max: float
    attitude_p_xy: float
    attitude_p_z: float
    rate_max_xy_deg_s: float
    rate_max_z_deg_s: float
    rate_p_xy: float
    rate_i_xy: float
    rate_d_xy: float
    rate_p_z: float
    rate_i_z: float
    rate_filter_hz: float
    yaw_torque_filter_hz: float


@dataclasses.dataclass(frozen=True)
class Battery:
    """A battery that sags: full thrust falls with the square of its voltage.

    Open-circuit voltage falls in a straight line from full to empty; the current is
    `current_full_a` with all rotors at full speed and full voltage, and goes with speed cubed.
    """

    capacity_ah: float
    voltage_full_v: float
    voltage_empty_v: float
    resistance_ohm: float
    current_full_a: float


@dataclasses.dataclass(frozen=True)
class Airframe:
    """A quadrotor: everything the simulation and its controllers must know."""

    name: str
    body: Body
    rotors: Rotors
    drag: Drag
    control: Control
    command_delay_s: float = 0.0  # from an action to the flight controller's hearing of it
    battery: Battery | None = None  # None: full thrust is always there

    @property
    def rotor_thrust_max_n(self) -> float:
        """Thrust of one rotor at full command, N."""
        return self.rotors.thrust_coefficient * self.rotors.max_speed_rad_s**2

    @property
    def thrust_max_n(self) -> float:
        """Thrust of all four rotors at full command, N."""
        return 4.0 * self.rotor_thrust_max_n

    @property
    def hover_thrust(self) -> float:
        """Share of full thrust that carries the weight (PX4's hover thrust)."""
        return self.body.mass_kg * GRAVITY_M_S2 / self.thrust_max_n


def airframe_names() -> list[str]:
    """The airframes that ship with the product."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def load_airframe(name_or_path: str | Path) -> Airframe:
    """Read an airframe by the name of a shipped one (`x500`) or by a path to a TOML file.

    Raises NotFoundError when there is none, InvalidInputError naming the key that is wrong.
    """
    path = _FOLDER / f"{name_or_path}.toml"
    if not path.is_file():
        path = Path(name_or_path)
    if not path.is_file():
        shipped = ", ".join(airframe_names())
        raise NotFoundError(f"There is no airframe '{name_or_path}'. Shipped ones: {shipped}.")
    if path.stat().st_size > _MAX_TEXT_BYTES:
        raise InvalidInputError(f"The airframe file is larger than {_MAX_TEXT_BYTES} bytes.")
    try:  # a number of thousands of digits is a ValueError, too many brackets a RecursionError
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"The airframe file {path.name} is not TOML: {error}") from error
    return parse_airframe(table)


def parse_airframe(table: Mapping[str, Any]) -> Airframe:
    """Build an airframe from a parsed TOML table; InvalidInputError names a wrong key."""
    expected = {"name", "command_delay_s", "body", "rotors", "drag", "control", "battery"}
    if unknown := set(table) - expected:
        raise InvalidInputError(f"Airframe: unknown key '{min(unknown)}'.")
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidInputError("Airframe: 'name' must be a non-empty text.")
    airframe = Airframe(
        name=name,
        body=_section(table, "body", Body),
        rotors=_section(table, "rotors", Rotors),
        drag=_section(table, "drag", Drag),
        control=_section(table, "control", Control),
        command_delay_s=_delay(table),
        battery=_section(table, "battery", Battery) if "battery" in table else None,
    )
    if airframe.battery is not None:
        _check_battery(airframe.battery)
    _check_flies(airframe)
    return airframe


def _check_flies(airframe: Airframe) -> None:
    """Rotors that carry the vehicle, and neither throw nor spin it out of all proportion."""
    body, rotors, control = airframe.body, airframe.rotors, airframe.control
    if control.thrust_min >= control.thrust_max:
        raise InvalidInputError("Airframe: 'control.thrust_max' must exceed 'control.thrust_min'.")
    if airframe.hover_thrust >= control.thrust_max:
        raise InvalidInputError(
            f"Airframe: the rotors cannot carry {body.mass_kg} kg "
            f"(hover needs {airframe.hover_thrust:.2f} of full thrust)."
        )
    if airframe.hover_thrust * _MAX_THRUST_TO_WEIGHT < 1.0:
        raise InvalidInputError(
            f"Airframe: the rotors lift {1.0 / airframe.hover_thrust:.4g} times the weight; "
            f"{_MAX_THRUST_TO_WEIGHT:g} is the most."
        )
    half = 0.5 * airframe.thrust_max_n
    turns = {
        "x": rotors.arm_y_m * half / body.inertia_x_kg_m2,
        "y": rotors.arm_x_m * half / body.inertia_y_kg_m2,
        "z": rotors.torque_per_thrust_m * half / body.inertia_z_kg_m2,
    }
    for axis, turn in turns.items():
        if turn > _MAX_TURN_RAD_S2:
            raise InvalidInputError(
                f"Airframe: 'body.inertia_{axis}_kg_m2' is too small for these rotors: they would "
                f"turn it at {turn:.4g} rad/s², and {_MAX_TURN_RAD_S2:g} is the most."
            )


def _delay(table: Mapping[str, Any]) -> float:
    value = table.get("command_delay_s", 0.0)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value <= 0.2:
        raise InvalidInputError("Airframe: 'command_delay_s' must be a number from 0 to 0.2.")
    return float(value)


def _check_battery(battery: Battery) -> None:
    if battery.voltage_full_v <= battery.voltage_empty_v:
        raise InvalidInputError(
            "Airframe: 'battery.voltage_full_v' must exceed 'battery.voltage_empty_v'."
        )
    if battery.current_full_a * battery.resistance_ohm >= 0.5 * battery.voltage_empty_v:
        raise InvalidInputError(
            "Airframe: 'battery.resistance_ohm' would eat half of the empty battery's voltage."
        )


_Section = TypeVar("_Section", Body, Rotors, Drag, Control, Battery)


def _section(table: Mapping[str, Any], name: str, kind: type[_Section]) -> _Section:
    """One TOML table as a dataclass of floats, each within its range."""
    section = table.get(name)
    if not isinstance(section, Mapping):
        raise InvalidInputError(f"Airframe: the table [{name}] is missing.")
    keys = [field.name for field in dataclasses.fields(kind)]
    if unknown := set(section) - set(keys):
        raise InvalidInputError(f"Airframe: unknown key '{name}.{min(unknown)}'.")
    values: dict[str, float] = {}
    for key in keys:
        value = section.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidInputError(f"Airframe: '{name}.{key}' must be a number.")
        low, high = _RANGES[key]
        if not low <= value <= high:  # also refuses NaN
            raise InvalidInputError(f"Airframe: '{name}.{key}' must be from {low:g} to {high:g}.")
        values[key] = float(value)
    return kind(**values)
