"""Courses and airframes as plain tables, and back through the same checks as any TOML file."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from racer.errors import InvalidInputError
from racer.sim.airframe import Airframe
from racer.sim.track import Gate, Obstacle, Randomisation, Track, parse_track

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DEEPEST = 3


def airframe_table(airframe: Airframe) -> dict[str, Any]:
    """What racer.sim.airframe.parse_airframe reads; what the airframe lacks is left out."""
    table = dataclasses.asdict(airframe)
    return {key: value for key, value in table.items() if value is not None}


def track_table(track: Track) -> dict[str, Any]:
    """What `track_from_table` reads: everything where it stands now, heights included."""
    return {
        "name": track.name,
        "laps": track.laps,
        "start": {
            "position": track.start_position.tolist(),
            "yaw_deg": _degrees(track.start_yaw),
            "on_ground": track.on_ground,
        },
        "bounds": {"min": track.bounds_min.tolist(), "max": track.bounds_max.tolist()},
        "randomisation": _randomisation_table(track.randomisation),
        "gates": [_gate_table(gate) for gate in track.gates],
        "obstacles": [_obstacle_table(pole) for pole in track.obstacles],
    }


def _gate_table(gate: Gate) -> dict[str, Any]:
    return {
        "position": gate.position.tolist(),
        "yaw_deg": _degrees(gate.yaw),
        "pitch_deg": _degrees(gate.pitch),
        "size_m": gate.size,
        "frame_m": gate.frame,
        "shape": gate.shape,
    }


def _obstacle_table(pole: Obstacle) -> dict[str, Any]:
    return {
        "position": pole.position.tolist(),
        "radius_m": pole.radius,
        "height_m": pole.height,
    }


def _randomisation_table(spread: Randomisation) -> dict[str, Any]:
    return {
        "gate_position_m": spread.gate_position.tolist(),
        "gate_yaw_deg": _degrees(spread.gate_yaw),
        "obstacle_position_m": spread.obstacle_position.tolist(),
        "start_position_m": spread.start_position.tolist(),
        "mass_kg": spread.mass,
        "seen_within_m": spread.seen_within,
    }


def _degrees(angle: float) -> float:
    """Without the last digits, which would push an angle at the end of its range out of it."""
    return round(math.degrees(angle), 12)


def track_from_table(table: Mapping[str, Any]) -> Track:
    """The course that a table describes; InvalidInputError names the key that is wrong."""
    return parse_track(to_toml(table))


def to_toml(table: Mapping[str, Any]) -> str:
    """A table of scalars, lists of scalars, tables and lists of tables as TOML text.

    Raises InvalidInputError for anything else, for instance a null.
    """
    lines: list[str] = []
    _write(table, (), lines)
    return "\n".join(lines) + "\n"


def _write(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str]) -> None:
    """Scalars first: TOML gives them to the table whose heading stands above them."""
    inner = {key: value for key, value in table.items() if _is_inner(value)}
    for key, value in table.items():
        if not _KEY.fullmatch(key) or len(path) > _DEEPEST:
            raise InvalidInputError(f"Track: the key {json.dumps(key[:80])} cannot be one.")
        if key not in inner:
            lines.append(f"{key} = {_scalar(value, '.'.join((*path, key)))}")
    for key, value in inner.items():
        heading = ".".join((*path, key))
        several = isinstance(value, list)
        for part in value if several else [value]:
            lines.append(f"[[{heading}]]" if several else f"[{heading}]")
            _write(part, (*path, key), lines)


def _is_inner(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, Mapping) for part in value)
    return isinstance(value, Mapping)


def _scalar(value: object, where: str) -> str:
    if isinstance(value, list) and not any(isinstance(part, list) for part in value):
        return f"[{', '.join(_scalar(part, where) for part in value)}]"
    if isinstance(value, (bool, str)):
        return json.dumps(value)
    if isinstance(value, (int, float)) and -1e15 < value < 1e15:  # also refuses NaN
        return repr(value)
    raise InvalidInputError(f"Track: '{where}' must be a text, a number or a list of them.")
