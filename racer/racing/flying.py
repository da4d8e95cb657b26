"""Fly entrants, each by the very program that evaluates policies.

Drones of one world do not see each other and do not stir each other's air: until two of them touch,
each flies as if it were alone. So every drone is flown by itself, at its own control rate, and
racer.racing.collisions then finds, in the order of time, who met whom. That is the same race as one
simulation of all of them together, and a single drone flies exactly as in an evaluation.

The air of a heat is one: all its drones draw starts, wind, gusts and displaced gates from one key.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
import onnx
from numpy.typing import NDArray

from racer.errors import RacerError
from racer.learning.evaluation import Evaluation, make_flights
from racer.learning.onnx_network import Weights, network_of
from racer.racing.competitors import manner_of
from racer.racing.entrants import Entrant
from racer.racing.flight import Cause, Flight, FloatArray, Place
from racer.racing.rules import time_limit_s
from racer.sim.airframe import Airframe
from racer.sim.interface import ACTION_SIZE
from racer.sim.task import (
    MAX_FLIGHT_STEPS,
    REFERENCE_VELOCITY_M_S,
    CrashCause,
    Settings,
    StartSpread,
    Task,
    course_ranges,
    make_task,
    spread_within,
)
from racer.sim.track import Track
from racer.sim.wind import dryden

_Fly: TypeAlias = Callable[[Weights, Task, jax.Array], Evaluation]
_STRAY_M = 10.0  # a path that leaves the bounds further is cut there: it is the crash's last step
RACE_SPREAD = spread_within(10.0, 0.25)  # degrees off the heading and m off the place at most


def key_of(seed: int, *purpose: str | int) -> jax.Array:
    """A key for one purpose of a race: nobody who knows the one learns another, or the seed."""
    text = "/".join(str(part) for part in (seed, *purpose))
    words = np.frombuffer(hashlib.sha256(text.encode()).digest()[:8], "<u4")
    return cast(jax.Array, jax.random.wrap_key_data(jnp.asarray(words.astype(np.uint32))))


class Stadium:
    """A course, an airframe and a wind, with the compiled programs of those who fly there."""

    def __init__(
        self,
        track: Track,
        airframe: Airframe,
        *,
        wind_speed_m_s: float = 0.0,
        spread: StartSpread = RACE_SPREAD,
    ) -> None:
        track.check_room(airframe.body.collision_radius_m)
        self.track = track
        self.airframe = airframe
        self.wind_speed_m_s = wind_speed_m_s
        self.time_limit_s = time_limit_s(track)
        self._spread = spread
        self._programs: dict[tuple[Settings, bytes], _Fly] = {}
        self._ready: dict[int, tuple[_Fly, Weights]] = {}  # of each entrant

    def fly(self, entrant: Entrant, key: jax.Array, place: Place | None = None) -> Flight:
        """One flight from the start, or from a place of a grid.

        Raises InvalidInputError when the airframe or the course does not allow the policy's rates
        or limits.
        """
        settings = self._settings(entrant)
        task = self._task(entrant, settings)
        if place is not None:
            task = task._replace(start=np.array([*place.position, self.track.start_yaw], "f4"))
        program, weights = self._program(entrant, settings)
        result: Evaluation = jax.device_get(program(weights, task, key))
        return self._flight(result, dt=settings.dt, start_s=place.start_s if place else 0.0)

    def refusal(self, entrant: Entrant) -> str | None:
        """Why the entrant cannot fly here, for a person; None when it can. Nothing is flown."""
        try:
            self._task(entrant, self._settings(entrant))
            weights, act = network_of(entrant.network)
            seen = jnp.zeros((1, len(entrant.manifest.observation)), jnp.float32)
            shape = jax.eval_shape(act, weights, seen).shape
        except RacerError as error:
            return str(error.message)
        except Exception as error:  # noqa: BLE001 - a stranger's graph: the others race all the same
            return f"Its network does not act on what it would see ({type(error).__name__})."
        if shape != (1, ACTION_SIZE):
            return f"Its network has an output of shape {shape} instead of (1, {ACTION_SIZE})."
        return None

    def _settings(self, entrant: Entrant) -> Settings:
        manner = manner_of(entrant.manifest)
        return Settings(
            action_space=manner.action_space,
            control_hz=manner.control_hz,
            substeps=manner.substeps,
            randomise=_varies(self.track),
            seen_obstacles=manner.seen_obstacles,
        )

    def _task(self, entrant: Entrant, settings: Settings) -> Task:
        manner = manner_of(entrant.manifest)
        task = make_task(
            self.track,
            settings,
            velocity_limit_m_s=manner.velocity_limit_m_s,
            yaw_limit_deg_s=float(np.degrees(manner.yaw_limit_rad_s)),
            wind_speed_m_s=self.wind_speed_m_s,
            start_spread=self._spread,
            ranges=course_ranges(self.track),
            time_limit_s=self.time_limit_s,
        )
        # Gusts pass by quicker the faster one may fly: here everybody flies in the same air.
        height = float(np.mean([gate.position[2] for gate in self.track.gates]))
        gusts = dryden(
            wind_speed_m_s=self.wind_speed_m_s,
            height_m=height,
            vehicle_speed_m_s=REFERENCE_VELOCITY_M_S,
            dt=settings.dt,
        )
        return task._replace(gusts=gusts)

    def _program(self, entrant: Entrant, settings: Settings) -> tuple[_Fly, Weights]:
        """One program for all policies of a shape; what differs are its arguments."""
        if entrant.id not in self._ready:
            kind = settings, _shape_of(entrant.network)
            weights, act = network_of(entrant.network)
            if kind not in self._programs:
                steps = self._most_steps(settings)
                fly = make_flights(self.airframe, settings, act, starts=1, most_steps=steps)
                self._programs[kind] = jax.jit(fly)
            self._ready[entrant.id] = self._programs[kind], weights
        return self._ready[entrant.id]

    def _most_steps(self, settings: Settings) -> int:
        """Enough for the time limit, in few sizes: each is a program of its own."""
        needed = self.time_limit_s * settings.control_hz
        return MAX_FLIGHT_STEPS * math.ceil(needed / MAX_FLIGHT_STEPS)

    def _flight(self, result: Evaluation, *, dt: float, start_s: float) -> Flight:
        steps = int(result.steps[0])
        recorded = np.asarray(result.flights, np.float64)[:steps, 0]
        position = np.concatenate([recorded[:, 0:3], np.asarray(result.place, np.float64)])
        flight = Flight(
            time=start_s + dt * np.arange(steps + 1, dtype=np.float64),
            position=self._within_reach(position),
            attitude=np.concatenate([recorded[:, 3:7], recorded[-1:, 3:7]]),
            passages=np.asarray(result.times[0], np.float64)[: int(result.passed[0])],
            end="crashed" if result.crashed[0] else "timed_out",
            cause=_cause(result),
        )
        if not result.finished[0]:
            return flight
        return flight.ended(start_s + float(flight.passages[-1]), end="finished")

    def _within_reach(self, position: FloatArray) -> FloatArray:
        """Numbers that a file can hold: only the last step of a crash may lie beyond all bounds."""
        if not np.all(np.isfinite(position[-1])):
            position[-1] = position[-2]
        low, high = self.track.bounds_min - _STRAY_M, self.track.bounds_max + _STRAY_M
        return np.clip(position, low, high)


def _varies(track: Track) -> bool:
    """Whether the course's own protocol displaces anything."""
    spread = track.randomisation
    parts: list[NDArray[Any]] = [spread.gate_position, spread.obstacle_position]
    numbers = np.concatenate([*parts, spread.start_position, [spread.gate_yaw, spread.mass]])
    return bool(np.any(numbers > 0.0))


def _shape_of(network: bytes) -> bytes:
    """The graph without its weights."""
    model = onnx.load_model_from_string(network)
    names = [(t.name, tuple(t.dims)) for t in model.graph.initializer]
    model.graph.ClearField("initializer")
    graph: bytes = model.graph.SerializeToString(deterministic=True)
    return graph + repr(names).encode()


def _cause(result: Evaluation) -> Cause | None:
    if not result.crashed[0]:
        return None
    return cast(Cause, CrashCause(int(result.cause[0])).name.lower())
