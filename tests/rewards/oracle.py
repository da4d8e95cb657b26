"""CPython as the judge: random steps of a flight, what `exec` makes of them, and what we do."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from racer.rewards.check import Program
from racer.rewards.evaluate import evaluate
from racer.rewards.parameters import MIN_WAYPOINTS, PARAMETERS

PUBLISHED = {
    path.stem: path.read_text() for path in sorted(Path(__file__).parent.glob("published/*.txt"))
}
WAYPOINTS = 70
OBJECTS = 3
Numbers = dict[str, NDArray[Any]]
_SPANS = {
    "bool": (0, 2), "steps": (1, 400), "gates_passed": (0, 7), "gates_total": (6, 7),
    "lap": (1, 3), "laps": (2, 3), "speed": (0.0, 9.0), "progress": (0.0, 100.0),
    "heading": (-180.0, 180.0), "gate_heading": (-180.0, 180.0), "track_width": (1.0, 4.0),
    "distance_from_center": (0.0, 2.0), "steering_angle": (-90.0, 90.0), "time": (0.0, 20.0),
    "x": (-10.0, 15.0), "y": (-10.0, 15.0), "roll": (-90.0, 90.0), "pitch": (-90.0, 90.0),
    "gate_alignment": (-1.0, 1.0), "distance_to_gate": (0.0, 15.0), "track_length": (50.0, 60.0),
}  # fmt: skip


def random_steps(generator: np.random.Generator, drones: int) -> Numbers:
    """One step of many drones: every input of a program, (drones,) or (rows,) each."""
    numbers: Numbers = {
        "waypoints.length": np.full(drones, float(WAYPOINTS)),
        "objects.length": np.full(drones, float(OBJECTS)),
    }
    for parameter in PARAMETERS:
        name = parameter.name
        if parameter.sort == "number":
            numbers[name] = _draw(generator, parameter.kind, name, drones)
        elif parameter.sort == "pair":
            count = WAYPOINTS if name == "closest_waypoints" else OBJECTS
            for part in "01":
                numbers[f"{name}.{part}"] = generator.integers(0, count, drones).astype(float)
        elif parameter.sort == "point":
            for axis in "xyz":
                numbers[f"{name}.{axis}"] = generator.uniform(-10, 10, drones)
        else:
            rows = WAYPOINTS if name.startswith("waypoints") else OBJECTS
            for column in (f"{name}.x", f"{name}.y") if parameter.sort == "points" else (name,):
                numbers[column] = _draw(generator, parameter.kind, name, rows)
    return numbers


def _draw(generator: np.random.Generator, kind: str, name: str, count: int) -> NDArray[Any]:
    if kind == "bool":
        return generator.integers(0, 2, count).astype(bool)
    low, high = _SPANS.get(name, (-5.0, 5.0))
    if kind == "int":
        return generator.integers(int(low), int(high), count).astype(float)
    return generator.uniform(low, high, count)


def params_of(numbers: Numbers, drone: int) -> dict[str, Any]:
    """What CPython is given for one drone."""
    params: dict[str, Any] = {}
    for parameter in PARAMETERS:
        name = parameter.name
        kind = {"bool": bool, "int": int, "float": float}[parameter.kind]
        if parameter.sort == "number":
            params[name] = kind(numbers[name][drone])
        elif parameter.sort == "pair":
            params[name] = [int(numbers[f"{name}.{part}"][drone]) for part in "01"]
        elif parameter.sort == "point":
            params[name] = tuple(float(numbers[f"{name}.{axis}"][drone]) for axis in "xyz")
        elif parameter.sort == "points":
            pairs = zip(numbers[f"{name}.x"], numbers[f"{name}.y"], strict=True)
            params[name] = [(float(x), float(y)) for x, y in pairs]
        else:
            params[name] = [kind(value) for value in numbers[name]]
    return params


class ArrayInputs:
    """The same numbers for a compiled program."""

    def __init__(self, numbers: Any) -> None:
        self.numbers = numbers

    def value(self, name: str) -> Any:
        """(drones,)."""
        return self.numbers[name]

    def row(self, column: str, index: Any) -> Any:
        """A table's component."""
        return self.numbers[column][index.astype("int32")]


def by_cpython(source: str, flight: Sequence[Numbers], drones: int) -> NDArray[np.float64]:
    """(steps, drones) rewards; NaN where Python raises or the reward is not a finite number."""
    rewards = np.full((len(flight), drones), np.nan)
    code = compile(source, "reward", "exec")
    for drone in range(drones):
        namespace: dict[str, Any] = {}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(code, namespace)  # noqa: S102 - our own text
            for step, numbers in enumerate(flight):
                try:
                    reward = namespace["reward_function"](params_of(numbers, drone))
                    rewards[step, drone] = float(reward)
                except (ArithmeticError, ValueError, TypeError, LookupError, NameError):
                    break  # what is carried differs from here on
    rewards[~np.isfinite(rewards)] = np.nan
    return rewards


def by_us(program: Program, flight: Sequence[Numbers], drones: int) -> NDArray[np.float64]:
    """The same from the compiled program in float64; NaN from a drone's first fault on."""
    memory: list[Any] = [
        np.full(drones, first, bool if kind == "bool" else float)
        for kind, first in zip(program.memory_kinds, program.memory_first, strict=True)
    ]
    rewards = np.full((len(flight), drones), np.nan)
    failed = np.zeros(drones, bool)
    for step, numbers in enumerate(flight):
        with np.errstate(all="ignore"):
            found, fault, memory = evaluate(program, ArrayInputs(numbers), memory, np)
        reward = np.broadcast_to(np.asarray(found, float), drones)
        bad = np.broadcast_to(fault, drones)
        failed = failed | bad
        rewards[step] = np.where(failed | ~np.isfinite(reward), math.nan, reward)
    return rewards


def flights(seed: int, *, steps: int, drones: int) -> list[Numbers]:
    """Steps of one flight of many drones; the course stays the same."""
    generator = np.random.default_rng(seed)
    flight = [random_steps(generator, drones) for _ in range(steps)]
    for numbers in flight[1:]:
        for name, values in flight[0].items():
            if values.shape[0] != drones:
                numbers[name] = values
    return flight


assert WAYPOINTS >= MIN_WAYPOINTS
