"""Evaluate an exported policy: the file itself, on its own course or on another.

evaluated = evaluate_policy("data/runs/…", starts=64)
print(evaluated.report.completion, evaluated.report.lap_time)
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from racer.errors import InvalidInputError
from racer.learning.compile_cache import keep_compiled_programs
from racer.learning.evaluation import (
    Evaluation,
    Progress,
    first_flight,
    fresh_key,
    make_told_flights,
    recorded_flight,
)
from racer.learning.onnx_network import network_of
from racer.learning.report import Report, summarise
from racer.policy.loading import Policy, load_policy
from racer.policy.manifest import MAX_POLICY_BYTES, POLICY_FILE, read_limited
from racer.sim.task import (
    NO_SPREAD,
    Settings,
    StartSpread,
    Task,
    course_ranges,
    default_ranges,
    make_task,
    spread_within,
)
from racer.sim.track import MAX_LAPS, Track, load_track

# How flights differ beyond their starts: not at all, by what the course's [randomisation] says (a
# published protocol, with a nominal vehicle), or by that and the vehicle, as training varies it.
Variation: TypeAlias = Literal["none", "course", "full"]

MAX_STARTS = 10_000
MAX_WIND_M_S = 30.0


MAX_RECORDED = 32  # flights that are kept step by step: they take 256 KiB each


class Evaluated(NamedTuple):
    """A report, what it was made of, and the flight of the first start."""

    policy: Policy
    track: Track
    variation: Variation
    report: Report
    flight: dict[str, NDArray[Any]]  # t (T,) s, position (T, 3), quaternion (T, 4) wxyz, …
    task: Task
    result: Evaluation  # start by start

    def recorded(self) -> list[dict[str, NDArray[Any]]]:
        """The flights that were recorded, those of the first starts, as `flight` is."""
        count = np.asarray(self.result.flights).shape[1]
        dt = self.policy.manifest.dt
        return [recorded_flight(self.result, start, dt=dt) for start in range(count)]


def evaluate_policy(
    folder: str | Path,
    *,
    starts: int = 64,
    seed: int = 0,
    track: str | Path | None = None,
    altitude_m: float | None = None,
    laps: int | None = None,
    wind_speed_m_s: float | None = None,
    variation: Variation | None = None,
    spread: bool = True,
    recorded: int = 1,
    compile_cache: str | Path | None = None,
    progress: Progress = lambda share: None,
) -> Evaluated:
    """Fly a policy's folder from `starts` fresh starts.

    Without `track`, `laps`, `wind_speed_m_s` or `variation` it flies what it was trained on, and
    starts lie and look as far off the start as they did there (`start_spread_m`,
    `heading_spread_deg`). `track` is a name, a path or a TOML text (racer.sim.track.load_track).
    Without `spread` every flight begins exactly at the start. `recorded` flights are kept step by
    step, or as many as there are starts. `compile_cache` is a folder that keeps compiled programs.
    `progress` is told how far the flights are, 0 to 1. Raises RacerError when there is no such
    policy or course, or a number is out of its range.
    """
    _check_whole("starts", starts, 1, MAX_STARTS)
    _check_whole("seed", seed, 0, 2**31 - 1)
    _check_whole("recorded", recorded, 1, MAX_RECORDED)
    policy = load_policy(folder)
    manifest = policy.manifest
    course = policy.track if track is None else load_track(track, altitude_m=altitude_m)
    if track is None and altitude_m is not None:
        raise InvalidInputError("An altitude needs a track: the policy's own has one already.")
    if laps is not None:
        _check_whole("laps", laps, 1, MAX_LAPS)
        course = dataclasses.replace(course, laps=laps)
    course.check_room(policy.airframe.body.collision_radius_m)
    if variation is None:
        variation = _variation(manifest.training.config)
    settings = _settings(policy, variation)
    task = _task(
        policy, course, settings, wind_speed_m_s, course_only=variation == "course", spread=spread
    )
    if compile_cache is not None:
        keep_compiled_programs(Path(compile_cache))
    content = read_limited(Path(folder) / POLICY_FILE, MAX_POLICY_BYTES)
    weights, act = network_of(content)
    kept = min(recorded, starts)
    fly = make_told_flights(policy.airframe, settings, act, starts=starts, recorded=kept)
    result = fly(weights, task, fresh_key(seed), progress)
    return Evaluated(
        policy=policy,
        track=course,
        variation=variation,
        report=summarise(result, gates=len(course.gates), laps=course.laps),
        flight=first_flight(result, dt=manifest.dt),
        task=task,
        result=result,
    )


def _settings(policy: Policy, variation: Variation) -> Settings:
    manifest = policy.manifest
    return Settings(
        action_space=manifest.action_space,
        control_hz=manifest.control_hz,
        substeps=manifest.substeps,
        randomise=variation != "none",
        seen_obstacles=manifest.seen_obstacles,
    )


def _task(
    policy: Policy,
    course: Track,
    settings: Settings,
    wind_speed_m_s: float | None,
    *,
    course_only: bool,
    spread: bool,
) -> Task:
    limits, wind = policy.manifest.limits, policy.manifest.wind_speed_m_s
    if wind_speed_m_s is not None:
        if not 0.0 <= wind_speed_m_s <= MAX_WIND_M_S:
            raise InvalidInputError(f"The wind must be from 0 to {MAX_WIND_M_S:g} m/s.")
        wind = wind_speed_m_s
    return make_task(
        course,
        settings,
        velocity_limit_m_s=limits.velocity_m_s,
        yaw_limit_deg_s=math.degrees(limits.yaw_rate_rad_s),
        wind_speed_m_s=wind,
        start_spread=_start_spread(policy) if spread else NO_SPREAD,
        ranges=course_ranges(course) if course_only else default_ranges(course),
    )


def _variation(config: Mapping[str, Any]) -> Variation:
    """Of the training."""
    if config.get("randomise") is not True:
        return "none"
    return "course" if config.get("vary_vehicle") is False else "full"


def _start_spread(policy: Policy) -> StartSpread:
    """Of the training; policies of trainers without its keys started 1.5 m and 57 degrees off."""
    config = policy.manifest.training.config
    return spread_within(
        _within(config.get("heading_spread_deg"), 90.0), _within(config.get("start_spread_m"), 1.5)
    )


def _within(given: object, most: float) -> float | None:
    return float(given) if isinstance(given, int | float) and 0.0 <= given <= most else None


def _check_whole(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise InvalidInputError(f"'{name}' must be from {low} to {high}, not {value}.")
