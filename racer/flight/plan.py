"""From a policy's folder to everything that its flight needs: course, limits, envelope.

The course and the limits come out of the same `make_task` that the training used, so gates, time
limit and bounds are the training's own numbers. The network is run by onnxruntime through
`racer.policy.loading`; nothing here imports JAX.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from racer.errors import ConflictError, InvalidInputError, NotFoundError
from racer.flight.envelope import (
    MARGIN_M,
    SPEED_FACTOR,
    SPEED_SLACK_M_S,
    TILT_SLACK_DEG,
    Envelope,
)
from racer.flight.fence import Fence
from racer.flight.judge import Course
from racer.flight.px4 import Vector
from racer.geometry.gates import GateFrame
from racer.geometry.obstacles import Cylinder
from racer.policy.loading import Policy, load_policy
from racer.policy.manifest import MANIFEST_FILE
from racer.sim.interface import ActionSpace, Limits, RateLimits
from racer.sim.task import Settings, Task, make_task
from racer.sim.track import Track

MAX_RACE_S = 180.0  # the longest race that a command waits for
_START_CLEARANCE_M = 0.5  # of the hull above the ground: a race starts in the air
_ANY_SPEED = 1000.0  # m/s: no course takes too long at it
_HEX = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Act = Callable[[NDArray[np.float32]], NDArray[np.float32]]


@dataclass(frozen=True)
class RacePlan:
    """One policy on its course."""

    name: str
    act: Act  # (O,) raw observation to (4,) action
    space: ActionSpace
    seen_obstacles: int  # nearest poles that an observation tells of
    period_s: float  # between actions in training: what "the action before" means
    course: Course
    start: Vector  # m ENU, where the race begins, hovering
    start_yaw: float  # rad
    ground_m: float  # height of the floor
    limits: Limits
    rate_limits: RateLimits
    envelope: Envelope
    time_limit_s: float


def policy_folder(places: Sequence[Path], policy: str) -> Path:
    """The folder of a training run or of a kept policy, in the first of `places` that has it.

    Raises InvalidInputError unless `policy` is a UUID's hex form, with or without dashes, and
    NotFoundError when there is no policy of that id.
    """
    text = policy.strip().lower()
    if not _HEX.fullmatch(text):
        raise InvalidInputError(
            "A policy's id is a run's UUID or its own, such as fly_policy 1b4e28ba-…."
        )
    uuid = UUID(text)
    for folder in (place / name for place in places for name in (str(uuid), uuid.hex)):
        if (folder / MANIFEST_FILE).is_file():
            return folder
    raise NotFoundError(
        f"The controller finds no trained policy {uuid} in its DATA_DIR (runs, policies). Train it "
        "to its end first; a controller that was started by itself needs the web service's "
        "DATA_DIR."
    )


def load_plan(folder: Path, *, airframe: str) -> RacePlan:
    """Load a policy for a vehicle that is an `airframe`.

    Raises RacerError: a file is missing, damaged or foreign, or the policy is for another airframe.
    """
    policy = load_policy(folder)
    if policy.airframe.name != airframe:
        raise ConflictError(
            f"The policy was trained for the airframe '{policy.airframe.name}', this vehicle is "
            f"'{airframe}' (AIRFRAME). Train one for it."
        )
    return make_plan(policy)


def make_plan(policy: Policy) -> RacePlan:
    """Everything that flying this policy needs. Raises InvalidInputError when its course takes
    longer than a command may."""
    manifest, track = policy.manifest, policy.track
    limits = manifest.limits
    task = make_task(
        track,
        Settings(
            manifest.action_space,
            manifest.control_hz,
            manifest.substeps,
            seen_obstacles=manifest.seen_obstacles,
        ),
        velocity_limit_m_s=limits.velocity_m_s,
        yaw_limit_deg_s=float(np.degrees(limits.yaw_rate_rad_s)),
    )
    seconds = float(task.time_limit) * manifest.dt
    if seconds > MAX_RACE_S:
        raise InvalidInputError(
            f"The course '{track.name}' may take {seconds:.0f} s; a policy is flown for "
            f"{MAX_RACE_S:.0f} s at most. Train it with fewer laps or a higher velocity limit."
        )
    radius = policy.airframe.body.collision_radius_m
    ground = float(track.bounds_min[2])
    tilt = limits.tilt_deg + TILT_SLACK_DEG if manifest.action_space == "velocity" else 180.0
    return RacePlan(
        name=track.name,
        act=policy.act,
        space=manifest.action_space,
        seen_obstacles=manifest.seen_obstacles,
        period_s=manifest.dt,
        course=make_course(task, track, radius_m=radius),
        start=start_of(track, radius_m=radius),
        start_yaw=track.start_yaw,
        ground_m=ground,
        limits=limits.velocity,
        rate_limits=limits.rates,
        envelope=make_envelope(task, radius_m=radius, speed_m_s=limits.velocity_m_s, tilt_deg=tilt),
        time_limit_s=seconds,
    )


def start_of(track: Track, *, radius_m: float) -> Vector:
    """Where a race begins, m ENU: in the air, also where the course begins on the ground."""
    x, y, z = (float(part) for part in track.start_position)
    return x, y, max(z, float(track.bounds_min[2]) + radius_m + _START_CLEARANCE_M)


def course_of(track: Track, *, radius_m: float) -> Course:
    """A track as the judge wants it, for whoever flies it without a policy."""
    task = make_task(track, Settings(), velocity_limit_m_s=_ANY_SPEED, yaw_limit_deg_s=90.0)
    return make_course(task, track, radius_m=radius_m)


def make_course(task: Task, track: Track, *, radius_m: float) -> Course:
    """The task's gates as the judge wants them."""
    table = task.gates
    count = len(np.atleast_1d(table.half_size))
    return Course(
        gates=tuple(_row(table, index) for index in range(count)),
        table=table,
        poles=_poles(track),
        passages=int(task.passages),
        radius_m=radius_m,
    )


def make_envelope(task: Task, *, radius_m: float, speed_m_s: float, tilt_deg: float) -> Envelope:
    """The course's bounds with a margin on all sides but the ground, which is a crash."""
    low = [float(part) - MARGIN_M for part in task.bounds_min]
    high = [float(part) + MARGIN_M for part in task.bounds_max]
    return Envelope(
        bounds_min=(low[0], low[1], float(task.bounds_min[2]) + radius_m),
        bounds_max=(high[0], high[1], high[2]),
        speed_m_s=SPEED_FACTOR * speed_m_s + SPEED_SLACK_M_S,
        tilt_deg=tilt_deg,
    )


def fenced(plan: RacePlan, fence: Fence) -> RacePlan:
    """The plan with an envelope that ends at the geofence. Raises ConflictError when the course
    leads out of it."""
    ground = plan.ground_m
    places = [plan.start, *(gate.centre for gate in plan.course.gates)]
    for east, north, up in places:
        if why := fence.outside((east, north, up - ground)):
            raise ConflictError(f"The course '{plan.name}' leads out of the geofence: {why}.")
    low, high = plan.envelope.bounds_min, plan.envelope.bounds_max
    envelope = replace(
        plan.envelope,
        bounds_min=(max(low[0], fence.west_m), max(low[1], fence.south_m), low[2]),
        bounds_max=(
            min(high[0], fence.east_m),
            min(high[1], fence.north_m),
            min(high[2], ground + fence.ceiling_m),
        ),
        reach_m=fence.distance_m,
    )
    return replace(plan, envelope=envelope)


def _row(table: GateFrame, index: int) -> GateFrame:
    """One gate of a table as plain floats."""

    def pick(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(pick(part) for part in value)
        return float(np.asarray(value)[index])

    return GateFrame._make(pick(value) for value in table)


def _poles(track: Track) -> Cylinder | None:
    """The course's obstacles as arrays (P,)."""
    if not track.obstacles:
        return None
    bases = np.array([pole.position for pole in track.obstacles])
    return Cylinder(
        base=(bases[:, 0], bases[:, 1], bases[:, 2]),
        radius=np.array([pole.radius for pole in track.obstacles]),
        height=np.array([pole.height for pole in track.obstacles]),
    )
