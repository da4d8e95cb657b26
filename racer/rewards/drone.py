"""What `params` holds, computed from the environment's state, for every drone at once.

Each value is made when the program first asks for it and kept for the step: a reward pays only
for what it reads. Units and ranges are those of parameters.py.

The centre line (racer.rewards.centre_line) leads from the start through all gates and, on a course
of several laps, on to the first gate again. A drone is compared with the leg that leads to its
next gate, not with the whole line, so that a course that crosses itself cannot confuse it.

Gates and obstacles are where they really stand, also when every flight displaces them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp

from racer.geometry.gates import GateFrame
from racer.geometry.obstacles import Cylinder
from racer.geometry.rotation import dot, minus
from racer.rewards.centre_line import CentreLine, Place, lengths_of
from racer.sim.judging import against, gate_index, real_gate
from racer.sim.state import Array, EnvironmentState, Judged
from racer.sim.task import Task
from racer.sim.variation import every_moved_obstacle

_DEGREES = 180.0 / math.pi
_SMALL = 1e-9


class DroneInputs:
    """The values of one step; see racer.rewards.evaluate.Inputs."""

    def __init__(
        self,
        task: Task,
        after: EnvironmentState,
        judged: Judged,
        *,
        dt: float,
        radius: float,
    ) -> None:
        self._task, self._after, self._judged = task, after, judged
        self._dt, self._radius = dt, radius
        self._values: dict[str, Array] = {}
        self._next: GateFrame | None = None
        self._place: Place | None = None
        self.line = CentreLine(task)

    def value(self, name: str) -> Array:
        """A number per drone, (...)."""
        if name not in self._values:
            self._values[name] = _VALUES[name](self)
        return self._values[name]

    def row(self, column: str, index: Array) -> Array:
        """A table's component at float indices in range, of their shape."""
        whole = index.astype(jnp.int32)
        if column.startswith("waypoints"):
            axis = {"waypoints.x": 0, "waypoints.y": 1, "waypoints_z": 2}[column]
            return _at(self.line.waypoints[:, axis], whole)
        table = self._object_table(column)
        if table.ndim > 1:  # every flight has its own
            whole = jnp.broadcast_to(whole, table.shape[1:])
            return jnp.take_along_axis(table, whole[None], axis=0)[0]
        return _at(table, whole)

    # the course

    @property
    def gates(self) -> int:
        """Gates of one lap."""
        return int(jnp.shape(self._task.gates.half_size)[0])

    @property
    def target(self) -> GateFrame:
        """The gate to fly through next."""
        if self._next is None:
            self._next = real_gate(self._task, self._after, self._after.passed)
        return self._next

    @property
    def place(self) -> Place:
        """Beside the nearest segment of the present leg."""
        if self._place is None:
            self._place = self.line.beside(self._after.vehicle.position, self._after.passed)
        return self._place

    def flown_share(self) -> Array:
        """Share of the course that is flown, by the straight lengths of its legs."""
        task, passed = self._task, self._after.passed
        centres = jnp.stack([jnp.asarray(axis) for axis in task.gates.centre], axis=1)
        start = jnp.asarray(task.start)[None, :3]
        first = lengths_of(jnp.concatenate([start, centres]))
        later = lengths_of(jnp.concatenate([centres[-1:], centres]))
        before_first = jnp.concatenate([jnp.zeros(1), jnp.cumsum(first)])
        before_later = jnp.concatenate([jnp.zeros(1), jnp.cumsum(later)])
        lap = passed // self.gates
        done = jnp.where(
            lap == 0,
            before_first[passed % self.gates],
            before_first[-1] + (lap - 1) * before_later[-1] + before_later[passed % self.gates],
        )
        gate = gate_index(task, passed)
        length = jnp.where(lap == 0, first[gate], later[gate])
        total = before_first[-1] + (task.passages // self.gates - 1) * before_later[-1]
        part = jnp.maximum(length - self.value("distance_to_gate"), 0.0)
        return jnp.where(passed >= task.passages, 1.0, (done + part) / total)

    # obstacles

    @property
    def objects(self) -> Cylinder | None:
        """Obstacles where they stand, components (P,) or (P, ...); None when there are none."""
        poles = self._task.obstacles
        if jnp.shape(poles.radius)[0] == 0:
            return None
        if self._after.variation is None:
            return poles
        return every_moved_obstacle(
            against(poles, jnp.ndim(self._after.vehicle.px)), self._after.variation
        )

    def _object_table(self, column: str) -> Array:
        objects = self.objects
        if objects is None:
            return jnp.zeros(1, bool if column == "objects_left_of_center" else jnp.float32)
        x, y = jnp.asarray(objects.base[0]), jnp.asarray(objects.base[1])
        if column in ("objects_location.x", "objects_location.y"):
            return x if column.endswith(".x") else y
        if column in ("objects_heading", "objects_speed"):
            return jnp.zeros_like(x)
        along, left = self.line.on_the_map(x, y)
        return along if column == "objects_distance" else left

    def closest_objects(self) -> tuple[Array, Array]:
        """Indices of the two nearest, as floats."""
        x, y, _ = self._after.vehicle.position
        objects = self.objects
        zero = jnp.zeros_like(x)
        if objects is None:
            return zero, zero
        first = second = jnp.full_like(x, jnp.inf)
        nearest = following = zero
        for at in range(int(jnp.shape(objects.radius)[0])):
            gap = (x - objects.base[0][at]) ** 2 + (y - objects.base[1][at]) ** 2
            wins, places = gap < first, gap < second
            following = jnp.where(wins, nearest, jnp.where(places, float(at), following))
            second = jnp.where(wins, first, jnp.where(places, gap, second))
            nearest, first = jnp.where(wins, float(at), nearest), jnp.minimum(gap, first)
        return nearest, jnp.where(jnp.isinf(second), nearest, following)

    # attitude and speed

    def speed(self) -> Array:
        """m/s over ground."""
        velocity = self._after.vehicle.velocity
        return jnp.sqrt(dot(velocity, velocity) + _SMALL)

    def angles(self) -> tuple[Array, Array, Array]:
        """Roll, pitch, yaw in degrees: yaw first, then pitch, then roll."""
        w, x, y, z = self._after.vehicle.attitude
        roll = jnp.arctan2(2.0 * (w * x + y * z), 1.0 - 2.0 * (x * x + y * y))
        pitch = jnp.arcsin(jnp.clip(2.0 * (w * y - z * x), -0.999999, 0.999999))
        yaw = jnp.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
        return roll * _DEGREES, pitch * _DEGREES, yaw * _DEGREES

    def gate_distance(self) -> Array:
        """m to the next gate's centre."""
        gap = minus(self.target.centre, self._after.vehicle.position)
        return jnp.sqrt(dot(gap, gap) + _SMALL)

    def alignment(self) -> Array:
        """Cosine between velocity and the next gate's direction."""
        along: Array = dot(self._after.vehicle.velocity, self.target.forward)
        return along / jnp.maximum(self.value("speed"), 0.05)

    def count(self, number: Array) -> Array:
        """A whole number or a flag of the course, the same for every drone, as (...)."""
        return jnp.broadcast_to(jnp.asarray(number, jnp.float32), jnp.shape(self._after.vehicle.px))

    @property
    def task(self) -> Task:
        """What is flown."""
        return self._task

    @property
    def after(self) -> EnvironmentState:
        """The drones at the end of the step."""
        return self._after

    @property
    def judged(self) -> Judged:
        """What the course says about the step."""
        return self._judged

    @property
    def seconds(self) -> Array:
        """Since the start of the flight."""
        return self._after.elapsed.astype(jnp.float32) * self._dt

    @property
    def hull(self) -> float:
        """m, radius."""
        return self._radius


def _at(table: Array, rows: Array) -> Array:
    """Items at rows that are in range: checking that again would double what a look-up costs."""
    found: Array = table.at[rows].get(mode="promise_in_bounds")
    return found


def _float(number: Array) -> Array:
    return jnp.asarray(number).astype(jnp.float32)


def _outside(d: DroneInputs) -> Array:
    return (d.place.distance > 0.5 * d.value("track_width")) | d.judged.crashed


def _inside_wholly(d: DroneInputs) -> Array:
    inside = d.place.distance + d.hull <= 0.5 * d.value("track_width")
    return inside & ~d.judged.crashed


_VALUES: dict[str, Callable[[DroneInputs], Array]] = {
    "all_wheels_on_track": _inside_wholly,
    "x": lambda d: d.after.vehicle.px,
    "y": lambda d: d.after.vehicle.py,
    "z": lambda d: d.after.vehicle.pz,
    "closest_objects.0": lambda d: d.closest_objects()[0],
    "closest_objects.1": lambda d: d.closest_objects()[1],
    "closest_waypoints.0": lambda d: d.place.segment,
    "closest_waypoints.1": lambda d: d.place.segment + 1.0,
    "distance_from_center": lambda d: d.place.distance,
    "is_crashed": lambda d: d.judged.crashed,
    "is_left_of_center": lambda d: d.place.across > 0.0,
    "is_offtrack": _outside,
    "is_reversed": lambda d: dot(d.after.vehicle.velocity, d.place.direction) < 0.0,
    "is_finished": lambda d: d.judged.finished,
    "heading": lambda d: d.angles()[2],
    "roll": lambda d: d.angles()[0],
    "pitch": lambda d: d.angles()[1],
    "roll_rate": lambda d: d.after.vehicle.wx * _DEGREES,
    "pitch_rate": lambda d: d.after.vehicle.wy * _DEGREES,
    "yaw_rate": lambda d: d.after.vehicle.wz * _DEGREES,
    "steering_angle": lambda d: d.value("yaw_rate"),
    "objects.length": lambda d: d.count(
        jnp.asarray(0 if d.objects is None else jnp.shape(d.objects.radius)[0])
    ),
    "waypoints.length": lambda d: d.count(d.line.count),
    "progress": lambda d: 100.0 * d.flown_share(),
    "speed": lambda d: d.speed(),
    "vertical_speed": lambda d: d.after.vehicle.vz,
    "steps": lambda d: _float(d.after.elapsed),
    "time": lambda d: d.seconds,
    "track_length": lambda d: d.count(d.line.length),
    "track_width": lambda d: 4.0 * d.target.half_size,
    "gates_passed": lambda d: _float(d.after.passed),
    "gates_total": lambda d: d.count(d.task.passages),
    "gate_passed": lambda d: d.judged.passed,
    "distance_to_gate": lambda d: d.gate_distance(),
    "gate_alignment": lambda d: d.alignment(),
    "gate_position.x": lambda d: d.target.centre[0],
    "gate_position.y": lambda d: d.target.centre[1],
    "gate_position.z": lambda d: d.target.centre[2],
    "gate_heading": lambda d: _DEGREES * jnp.arctan2(d.target.forward[1], d.target.forward[0]),
    "gate_size": lambda d: 2.0 * d.target.half_size,
    "lap": lambda d: 1.0 + _float(
        jnp.minimum(d.after.passed, d.task.passages - 1) // d.gates
    ),
    "laps": lambda d: d.count(d.task.passages // d.gates),
    "speed_limit": lambda d: d.count(d.task.velocity_limit),
}  # fmt: skip
