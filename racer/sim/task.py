"""What is flown: a course, a user's limits, the wind and the reward, as arrays.

Everything that a user may change is data here, not a constant of the compiled program, so that a
training with other settings reuses the program of the last one. NumPy only.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import NamedTuple

import numpy as np

from racer.errors import InvalidInputError
from racer.geometry.gates import GateFrame
from racer.geometry.rotation import Real
from racer.sim.interface import OBSERVATION_SIZES, ActionSpace
from racer.sim.track import Track
from racer.sim.wind import GustModel, dryden

REFERENCE_VELOCITY_M_S = 8.0  # where limits stop to scale actions and rewards
REFERENCE_YAW_DEG_S = 90.0
MAX_FLIGHT_STEPS = 8192  # of one flight: bounds the memory of a recorded one


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is compiled into the program."""

    action_space: ActionSpace = "velocity"
    control_hz: float = 25.0  # actions per second
    substeps: int = 8  # of flight controller and physics per action

    @property
    def dt(self) -> float:
        """Seconds between actions."""
        return 1.0 / self.control_hz

    @property
    def observation_size(self) -> int:
        """Numbers in one observation."""
        return OBSERVATION_SIZES[self.action_space]


class CrashCause(enum.IntEnum):
    """What ended a flight by a crash."""

    NONE = 0
    GROUND = 1
    BOUNDS = 2  # left the box around the course
    FRAME = 3  # of any gate
    OBSTACLE = 4


class Rewards(NamedTuple):
    """Weights of the reward of one control step. A good flight's discounted sum is a few units."""

    progress: Real  # per metre nearer to the target gate
    gate: Real  # per gate passed
    crash: Real  # once
    rates: Real  # per (rad/s)² of body rates: calm flight
    turn: Real  # per squared unit of yaw-rate action


def default_rewards(velocity_limit_m_s: float) -> Rewards:
    """Slow vehicles earn more per metre, so that returns have one size for every limit."""
    reference = min(velocity_limit_m_s, REFERENCE_VELOCITY_M_S)
    return Rewards(*(np.float32(weight) for weight in (1.6 / reference, 0.2, -0.3, -2e-4, -1e-3)))


class Task(NamedTuple):
    """Course, limits and wind as NumPy (or JAX) arrays. G gates, K poses along the course."""

    gates: GateFrame  # every component (G,)
    passages: Real  # () int32: gates from start to finish
    bounds_min: Real  # (3,) m
    bounds_max: Real  # (3,) m
    start: Real  # (4,) m and rad: x, y, z, yaw
    line: Real  # (K, 5): x, y, z, unit tangent x, y of the centre line
    line_gate: Real  # (K,) int32: gates already passed there
    velocity_limit: Real  # () m/s
    velocity_unit: Real  # () m/s that an action of one asks for
    yaw_limit: Real  # () rad/s
    yaw_unit: Real  # () rad/s that an action of one asks for
    wind_speed: Real  # () m/s
    gusts: GustModel
    time_limit: Real  # () int32 control steps
    rewards: Rewards


def make_task(
    track: Track,
    settings: Settings,
    *,
    velocity_limit_m_s: float,
    yaw_limit_deg_s: float,
    wind_speed_m_s: float = 0.0,
    rewards: Rewards | None = None,
) -> Task:
    """Turn a course and a user's limits into arrays.

    The time limit is generous and finite: the centre line at half the speed limit (never counted
    above 3 m/s of average), plus ten seconds, but no more than MAX_FLIGHT_STEPS. Raises
    InvalidInputError when even 80 % of the speed limit would not be enough for the course.
    """
    line = track.centre_line()
    steps = np.diff(line, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    length = track.laps * float(lengths.sum())
    longest = MAX_FLIGHT_STEPS / settings.control_hz
    if length / (0.8 * velocity_limit_m_s) > longest:
        raise InvalidInputError(
            f"The course '{track.name}' of {length:.0f} m takes too long at "
            f"{velocity_limit_m_s:g} m/s: choose a higher velocity limit or fewer laps."
        )
    seconds = min(length / min(0.5 * velocity_limit_m_s, 3.0) + 10.0, longest)
    tangents = steps[:, :2] / np.maximum(np.linalg.norm(steps[:, :2], axis=1), 1e-6)[:, None]
    per_gate = len(steps) // len(track.gates)
    height = float(np.mean([gate.position[2] for gate in track.gates]))
    f32 = np.float32
    return Task(
        gates=_gate_arrays(track),
        passages=np.int32(track.passages),
        bounds_min=track.bounds_min.astype(f32),
        bounds_max=track.bounds_max.astype(f32),
        start=np.array([*track.start_position, track.start_yaw], f32),
        line=np.concatenate([line[:-1], tangents], axis=1).astype(f32),
        line_gate=(np.arange(len(steps)) // per_gate).astype(np.int32),
        velocity_limit=f32(velocity_limit_m_s),
        velocity_unit=f32(min(velocity_limit_m_s, REFERENCE_VELOCITY_M_S)),
        yaw_limit=f32(math.radians(yaw_limit_deg_s)),
        yaw_unit=f32(math.radians(min(yaw_limit_deg_s, REFERENCE_YAW_DEG_S))),
        wind_speed=f32(wind_speed_m_s),
        gusts=dryden(
            wind_speed_m_s=wind_speed_m_s,
            height_m=height,
            vehicle_speed_m_s=velocity_limit_m_s,
            dt=settings.dt,
        ),
        time_limit=np.int32(seconds * settings.control_hz),
        rewards=rewards or default_rewards(velocity_limit_m_s),
    )


def _gate_arrays(track: Track) -> GateFrame:
    axes = np.array([gate.axes for gate in track.gates], np.float32)  # (G, axis, component)
    centres = np.array([gate.position for gate in track.gates], np.float32)
    forward, left, up = ((axes[:, row, 0], axes[:, row, 1], axes[:, row, 2]) for row in range(3))
    return GateFrame(
        centre=(centres[:, 0], centres[:, 1], centres[:, 2]),
        forward=forward,
        left=left,
        up=up,
        half_size=np.array([0.5 * gate.size for gate in track.gates], np.float32),
        frame=np.array([gate.frame for gate in track.gates], np.float32),
        round=np.array([gate.shape == "round" for gate in track.gates], np.float32),
    )
