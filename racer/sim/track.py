"""Courses of gates, read from TOML. Shipped ones and a user's own pass the same checks.

A gate is a square or round opening in a plane; the direction of flight through it is its yaw and
pitch. An obstacle is an upright pole. docs/tracks.md describes every key.
Only NumPy and the standard library here: the web process and the chase camera read tracks too.
Every number has a range, every count a limit and every message names its key, because the text
may come from a stranger.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from racer.errors import InvalidInputError, NotFoundError
from racer.geometry.obstacles import Cylinder, touches
from racer.sim.track_keys import MAX_TEXT_BYTES, Reader

FloatArray: TypeAlias = NDArray[np.float64]
GateShape: TypeAlias = Literal["square", "round"]
MAX_GATES = 64
MAX_OBSTACLES = 64
MAX_LAPS = 20
FLOOR_CLEARANCE_M = 0.4  # lowest edge of any opening above the ground
_STANDING_M = 0.3  # how high the centre of a vehicle that stands on the ground may be
_TABLES = {"name", "laps", "start", "bounds", "gates", "obstacles", "randomisation"}
_SHAPES = ("square", "round")
_FOLDER = Path(__file__).parent / "tracks"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,63}")


@dataclasses.dataclass(frozen=True, eq=False)
class Gate:
    """One opening, flown through along its yaw and pitch."""

    position: FloatArray  # (3,) m ENU, the centre
    yaw: float  # rad, counter-clockwise from east
    pitch: float  # rad, positive flies upward through it
    size: float  # m, inner edge of a square opening, diameter of a round one
    frame: float  # m, width of the frame around the opening
    shape: GateShape = "square"

    @property
    def axes(self) -> FloatArray:
        """(3, 3): rows are the flight direction, the left and the up axis of the opening."""
        cy, sy = math.cos(self.yaw), math.sin(self.yaw)
        cp, sp = math.cos(self.pitch), math.sin(self.pitch)
        return np.array([[cp * cy, cp * sy, sp], [-sy, cy, 0.0], [-sp * cy, -sp * sy, cp]])


@dataclasses.dataclass(frozen=True, eq=False)
class Obstacle:
    """An upright pole; touching it is a crash."""

    position: FloatArray  # (3,) m ENU, the centre of its foot
    radius: float  # m
    height: float  # m

    @property
    def cylinder(self) -> Cylinder:
        """The same for racer.geometry.obstacles."""
        x, y, z = (float(part) for part in self.position)
        return Cylinder(base=(x, y, z), radius=self.radius, height=self.height)


@dataclasses.dataclass(frozen=True, eq=False)
class Randomisation:
    """How far things may stand from where the course says, uniformly either way, per flight."""

    gate_position: FloatArray  # (3,) m
    gate_yaw: float  # rad
    obstacle_position: FloatArray  # (3,) m
    start_position: FloatArray  # (3,) m
    mass: float  # kg
    seen_within: float  # m: farther gates and obstacles appear where the course says; 0 = no limit

    @property
    def displaces(self) -> bool:
        """Whether a gate or an obstacle may stand elsewhere."""
        places = np.concatenate([self.gate_position, self.obstacle_position])
        return self.gate_yaw > 0.0 or bool(np.any(places > 0.0))

    @classmethod
    def none(cls) -> Randomisation:
        """Everything stands where the course says."""
        return cls(np.zeros(3), 0.0, np.zeros(3), np.zeros(3), 0.0, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Track:
    """A course: from the start through every gate in order, `laps` times."""

    name: str
    gates: tuple[Gate, ...]
    start_position: FloatArray  # (3,) m ENU
    start_yaw: float  # rad
    bounds_min: FloatArray  # (3,) m ENU: leaving the box is a crash
    bounds_max: FloatArray  # (3,)
    laps: int
    obstacles: tuple[Obstacle, ...] = ()
    randomisation: Randomisation = dataclasses.field(default_factory=Randomisation.none)
    on_ground: bool = False  # flights begin standing there with motors off

    @property
    def passages(self) -> int:
        """Gates to pass from start to finish."""
        return len(self.gates) * self.laps

    def check_room(self, radius_m: float) -> None:
        """Raises InvalidInputError when a hull of that radius does not fit through some gate."""
        for index, gate in enumerate(self.gates):
            if gate.size <= 2.0 * radius_m:
                raise InvalidInputError(
                    f"Track: 'gates[{index}]' of {gate.size:g} m lets no airframe through whose "
                    f"hull is {2.0 * radius_m:g} m wide: choose a smaller airframe."
                )

    def centre_line(self, points_per_gate: int = 16) -> FloatArray:
        """(N, 3) m: a smooth line from the start through the gates, square to each opening.

        Cubic Hermite curves whose tangents are the gates' directions, as long as the leg.
        """
        nodes = [self.start_position, *(gate.position for gate in self.gates)]
        start = np.array([math.cos(self.start_yaw), math.sin(self.start_yaw), 0.0])
        tangents = [start, *(gate.axes[0] for gate in self.gates)]
        u = np.linspace(0.0, 1.0, points_per_gate, endpoint=False)[:, None]
        legs = []
        for i in range(len(nodes) - 1):
            length = float(np.linalg.norm(nodes[i + 1] - nodes[i]))
            h10, h11 = u**3 - 2 * u**2 + u, u**3 - u**2
            h01 = 3 * u**2 - 2 * u**3
            curve = (1 - h01) * nodes[i] + h01 * nodes[i + 1]
            legs.append(curve + length * (h10 * tangents[i] + h11 * tangents[i + 1]))
        return np.concatenate([*legs, nodes[-1][None, :]])


def track_names() -> list[str]:
    """The courses that ship with the product."""
    return sorted(file.stem for file in _FOLDER.glob("*.toml"))


def shipped_text(name: str) -> str:
    """The TOML of a course that ships with the product; NotFoundError when none has that name."""
    if name not in track_names():
        raise NotFoundError(f"There is no track '{name[:64]}'. {_those_shipped()}")
    return (_FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def _those_shipped() -> str:
    return f"Shipped ones: {', '.join(track_names())}."


def load_track(name_or_path: str | Path, *, altitude_m: float | None = None) -> Track:
    """Read a course by the name of a shipped one (`toledo`) or by a path to a TOML file; a text
    of several lines is the TOML itself, as runs on people's own courses hold it.

    `altitude_m` moves the whole course up or down so that its gates' mean height is that; a gate
    that would come too near the ground stays at a safe height. Raises NotFoundError when there
    is no such course, InvalidInputError naming what is wrong in it.
    """
    if isinstance(name_or_path, str) and "\n" in name_or_path:
        return parse_track(name_or_path, altitude_m=altitude_m)
    path = _FOLDER / f"{name_or_path}.toml" if str(name_or_path) in track_names() else None
    path = path or Path(name_or_path)
    if not path.is_file():
        raise NotFoundError(f"There is no track '{name_or_path}'. {_those_shipped()}")
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise InvalidInputError(f"Track: the file is larger than {MAX_TEXT_BYTES} bytes.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"Track: {path.name} is not UTF-8 text.") from error
    return parse_track(text, altitude_m=altitude_m)


def parse_track(text: str, *, altitude_m: float | None = None) -> Track:
    """Build a course from TOML text; track_keys.InvalidTrackError names everything wrong."""
    read = Reader()
    track = _build(read.toml(text), read)
    read.finish()  # what follows needs numbers within their ranges
    if not np.all(track.bounds_max - track.bounds_min >= 1.0):
        read.note("bounds.max", "must exceed 'bounds.min' by 1 m or more")
        read.finish()  # everything would lie outside
    if altitude_m is not None:
        track = _raise_to(track, altitude_m)
    _check_inside(track, read)
    read.finish()
    return track


def _build(table: Mapping[str, Any], read: Reader) -> Track:
    read.known(table, _TABLES, "")
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        read.note("name", "must be 1-64 letters, digits, spaces, - or _")
        name = ""
    gates = read.tables(table, "gates", at_least=1, at_most=MAX_GATES)
    obstacles = read.tables(table, "obstacles", at_least=0, at_most=MAX_OBSTACLES)
    start, bounds = read.table(table, "start"), read.table(table, "bounds")
    read.known(start, {"position", "yaw_deg", "on_ground"}, "start.")
    read.known(bounds, {"min", "max"}, "bounds.")
    return Track(
        name=name,
        laps=read.whole(table, "laps", low=1, high=MAX_LAPS, default=1),
        start_position=read.point(start, "position", "start."),
        start_yaw=math.radians(read.number(start, "yaw_deg", "start.", low=-360.0, high=360.0)),
        on_ground=read.switch(start, "on_ground", "start."),
        bounds_min=read.point(bounds, "min", "bounds."),
        bounds_max=read.point(bounds, "max", "bounds."),
        gates=tuple(_gate(gate, f"gates[{i}].", read) for i, gate in enumerate(gates)),
        obstacles=tuple(
            _obstacle(one, f"obstacles[{i}].", read) for i, one in enumerate(obstacles)
        ),
        randomisation=_randomisation(table.get("randomisation", {}), read),
    )


def _gate(value: object, where: str, read: Reader) -> Gate:
    table = read.entry(value, where)
    read.known(table, {"position", "yaw_deg", "pitch_deg", "size_m", "frame_m", "shape"}, where)
    return Gate(
        position=read.point(table, "position", where),
        yaw=math.radians(read.number(table, "yaw_deg", where, low=-360.0, high=360.0)),
        pitch=math.radians(
            read.number(table, "pitch_deg", where, low=-80.0, high=80.0, default=0.0)
        ),
        size=read.number(table, "size_m", where, low=0.2, high=10.0),
        frame=read.number(table, "frame_m", where, low=0.0, high=2.0, default=0.15),
        shape="round" if read.choice(table, "shape", where, _SHAPES) == "round" else "square",
    )


def _obstacle(value: object, where: str, read: Reader) -> Obstacle:
    table = read.entry(value, where)
    read.known(table, {"position", "radius_m", "height_m"}, where)
    return Obstacle(
        position=read.point(table, "position", where),
        radius=read.number(table, "radius_m", where, low=0.001, high=20.0),
        height=read.number(table, "height_m", where, low=0.01, high=200.0),
    )


def _randomisation(value: object, read: Reader) -> Randomisation:
    """Half-widths, all zero where left out."""
    table = read.entry(value, "randomisation", "must be a table [randomisation]")
    where = "randomisation."
    known = {"gate_position_m", "gate_yaw_deg", "obstacle_position_m", "start_position_m"}
    read.known(table, known | {"mass_kg", "seen_within_m"}, where)

    def span(key: str) -> FloatArray:
        return read.point(table, key, where, low=0.0, high=5.0, default=[0.0, 0.0, 0.0])

    def single(key: str, high: float) -> float:
        return read.number(table, key, where, low=0.0, high=high, default=0.0)

    return Randomisation(
        gate_position=span("gate_position_m"),
        gate_yaw=math.radians(single("gate_yaw_deg", 90.0)),
        obstacle_position=span("obstacle_position_m"),
        start_position=span("start_position_m"),
        mass=single("mass_kg", 10.0),
        seen_within=single("seen_within_m", 1000.0),
    )


def _raise_to(track: Track, altitude_m: float) -> Track:
    """Shift heights so that the gates' mean is `altitude_m`; no gate sinks into the ground."""
    if not math.isfinite(altitude_m) or not 0.5 <= altitude_m <= 1000.0:
        raise InvalidInputError("Track: the altitude must be from 0.5 to 1000 m.")
    shift = altitude_m - float(np.mean([gate.position[2] for gate in track.gates]))
    gates = []
    for gate in track.gates:
        x, y, z = gate.position
        lowest = FLOOR_CLEARANCE_M + 0.5 * gate.size
        gates.append(dataclasses.replace(gate, position=np.array([x, y, max(z + shift, lowest)])))
    x, y, z = track.start_position
    start = z if track.on_ground else max(z + shift, FLOOR_CLEARANCE_M)
    ceiling = track.bounds_max + np.array([0.0, 0.0, max(shift, 0.0)])
    return dataclasses.replace(
        track,
        gates=tuple(gates),
        obstacles=tuple(_raised(pole, shift) for pole in track.obstacles),
        start_position=np.array([x, y, start]),
        bounds_max=ceiling,
    )


def _raised(pole: Obstacle, shift: float) -> Obstacle:
    """A pole keeps its foot and reaches up with the course, or sinks with it."""
    return dataclasses.replace(pole, height=max(pole.height + shift, 0.01))


def _check_inside(track: Track, read: Reader) -> None:
    if track.on_ground and track.start_position[2] - track.bounds_min[2] > _STANDING_M:
        read.note(
            "start.position",
            f"must be {_STANDING_M:g} m or less above the ground, which is 'bounds.min', with "
            "'start.on_ground'",
        )
    points = {"start.position": track.start_position}
    points |= {f"gates[{i}].position": gate.position for i, gate in enumerate(track.gates)}
    for key, point in points.items():
        if not (np.all(point > track.bounds_min) and np.all(point < track.bounds_max)):
            read.note(key, "lies outside the bounds")
        place = (float(point[0]), float(point[1]), float(point[2]))
        for i, pole in enumerate(track.obstacles):
            if touches(pole.cylinder, place, place):
                read.note(key, f"lies inside 'obstacles[{i}]'")
