"""Every parameter that a reward function is given, as data: the docs' table is this one.

All names of AWS DeepRacer keep their meaning, with a drone in place of the car: the *track* is
the centre line that leads from the start through all gates, and a corridor around it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from racer.rewards.graph import Kind, Node
from racer.rewards.machine import Machine
from racer.rewards.values import Table, Tup, Value

Sort: TypeAlias = Literal["number", "pair", "point", "list", "points"]
MIN_WAYPOINTS = 16  # on every course: so many lie on each leg


@dataclass(frozen=True)
class Parameter:
    """One entry of `params`."""

    name: str
    kind: Kind
    unit: str
    span: str  # the range of its values
    meaning: str
    sort: Sort = "number"  # a pair has two indices, a point three coordinates
    ours: bool = False  # not one of DeepRacer's

    @property
    def type_text(self) -> str:
        """Its Python type."""
        return {
            "number": self.kind,
            "pair": f"[{self.kind}, {self.kind}]",
            "point": "(float, float, float)",
            "list": f"list of {self.kind}",
            "points": "list of (float, float)",
        }[self.sort]


def _ours(  # noqa: PLR0917 - all belong together
    name: str, kind: Kind, unit: str, span: str, meaning: str, sort: Sort = "number"
) -> Parameter:
    return Parameter(name, kind, unit, span, meaning, sort, ours=True)


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "all_wheels_on_track", "bool", "", "",
        "the whole hull is inside the corridor around the centre line"),
    Parameter("x", "float", "m", "within the course's bounds", "position, east"),
    Parameter("y", "float", "m", "within the course's bounds", "position, north"),
    Parameter(
        "closest_objects", "int", "", "0 to number of objects - 1",
        "indices of the nearest obstacle and the one nearest after it; 0, 0 without obstacles",
        "pair"),
    Parameter(
        "closest_waypoints", "int", "", "0 to len(waypoints) - 1",
        "indices of the waypoint behind the drone and of the one ahead of it", "pair"),
    Parameter(
        "distance_from_center", "float", "m", "0 or more",
        "distance to the centre line, in space"),
    Parameter("is_crashed", "bool", "", "", "this step ended in a crash"),
    Parameter(
        "is_left_of_center", "bool", "", "",
        "the drone is to the left of the centre line, seen along the course"),
    Parameter(
        "is_offtrack", "bool", "", "",
        "the drone's centre is farther than track_width / 2 from the centre line, or it crashed"),
    Parameter("is_reversed", "bool", "", "", "it flies against the direction of the course"),
    Parameter(
        "heading", "float", "°", "-180 to 180",
        "where the nose points: 0 is east, 90 north"),
    Parameter("objects_distance", "float", "m", "0 to track_length",
              "along the centre line from the start to each obstacle", "list"),
    Parameter("objects_heading", "float", "°", "0", "obstacles stand still", "list"),
    Parameter("objects_left_of_center", "bool", "", "",
              "which obstacles stand to the left of the centre line", "list"),
    Parameter("objects_location", "float", "m", "within the course's bounds",
              "(x, y) of each obstacle", "points"),
    Parameter("objects_speed", "float", "m/s", "0", "obstacles stand still", "list"),
    Parameter("progress", "float", "%", "0 to 100", "how much of the course is flown"),
    Parameter("speed", "float", "m/s", "0 or more", "over ground, vertical part included"),
    Parameter(
        "steering_angle", "float", "°/s", "-yaw limit to +yaw limit, or a little beyond",
        "yaw rate, positive to the left"),
    Parameter("steps", "int", "", "1 or more", "control steps since the start of this flight"),
    Parameter("track_length", "float", "m", "more than 0",
              "of the centre line, through all waypoints"),
    Parameter(
        "track_width", "float", "m", "0.4 to 20",
        "of the corridor: twice the opening of the gate that is flown to"),
    Parameter(
        "waypoints", "float", "m", "within the course's bounds",
        f"(x, y) along the centre line, at least {MIN_WAYPOINTS} of them", "points"),
    _ours("z", "float", "m", "within the course's bounds", "height above the ground's origin"),
    _ours("vertical_speed", "float", "m/s", "", "positive upwards"),
    _ours("roll", "float", "°", "-180 to 180", "positive with the left side up"),
    _ours("pitch", "float", "°", "-90 to 90", "positive with the nose down"),
    _ours("roll_rate", "float", "°/s", "", "about the body's forward axis"),
    _ours("pitch_rate", "float", "°/s", "", "about the body's left axis"),
    _ours("yaw_rate", "float", "°/s", "", "about the body's up axis, positive to the left"),
    _ours("gates_passed", "int", "", "0 to gates_total", "since the start of the course"),
    _ours("gates_total", "int", "", "1 or more", "gates from start to finish, all laps"),
    _ours("gate_passed", "bool", "", "", "a gate was passed in this step"),
    _ours("distance_to_gate", "float", "m", "0 or more", "to the centre of the next gate"),
    _ours("gate_alignment", "float", "", "-1 to 1",
          "cosine between the velocity and the next gate's direction of flight; 0 at rest"),
    _ours("gate_position", "float", "m", "within the course's bounds",
          "(x, y, z) of the next gate's centre", "point"),
    _ours("gate_heading", "float", "°", "-180 to 180", "direction of flight through that gate"),
    _ours("gate_size", "float", "m", "0.2 to 10", "its opening's edge or diameter"),
    _ours("is_finished", "bool", "", "", "the last gate was passed in this step"),
    _ours("lap", "int", "", "1 or more", "the lap that is flown"),
    _ours("laps", "int", "", "1 to 20", "of the course"),
    _ours("time", "float", "s", "0 or more", "since the start of this flight"),
    _ours("speed_limit", "float", "m/s", "0.5 to 20", "of the drone model"),
    _ours("waypoints_z", "float", "m", "within the course's bounds",
          "height of each waypoint", "list"),
)  # fmt: skip
BY_NAME = {parameter.name: parameter for parameter in PARAMETERS}


def inputs(machine: Machine) -> dict[str, Value]:
    """What `params[name]` stands for."""
    return {parameter.name: _input(machine, parameter) for parameter in PARAMETERS}


def _input(machine: Machine, parameter: Parameter) -> Value:
    name, kind = parameter.name, parameter.kind

    def number(name: str) -> Node:
        return machine.graph.make("input", kind, data=name)

    if parameter.sort == "number":
        return number(name)
    if parameter.sort == "pair":
        return machine.new_list((number(f"{name}.0"), number(f"{name}.1")))
    if parameter.sort == "point":
        return Tup(tuple(number(f"{name}.{axis}") for axis in "xyz"))
    course = name.startswith("waypoints")
    length = machine.graph.make(
        "input", "int", data="waypoints.length" if course else "objects.length"
    )
    columns = (f"{name}.x", f"{name}.y") if parameter.sort == "points" else (name,)
    return Table(name, columns, kind, length, MIN_WAYPOINTS if course else 0)
