"""Gate racing as pure functions over any number of drones at once.

    task = make_task(track, airframe, settings)            # numbers of the course, as arrays
    state = reset(task, key, shape=(1024,), settings=...)  # struct of arrays
    state, outcome = step(task, state, action, key, settings=..., airframe=...)

Choices:
- What a user may change (course, limits, wind, time limit) is data in `Task`, not a constant of
  the program: a training with other settings reuses the compiled program of the last one.
- Physics runs at `control_hz × substeps` with the flight controller in the loop, as on a real
  vehicle, where a policy talks to PX4 at a lower rate than PX4 talks to the motors.
- Gates are judged on the exact segment between two control steps: the frames of all gates for
  hits, the target's opening for the pass. The vehicle is a sphere of the airframe's radius.
- A finished, crashed or timed-out drone starts again inside the same step (auto-reset); rewards
  and flags in `Outcome` still tell of the flight that ended.

Observation, 23 numbers, horizontal axes turned with the vehicle's heading (forward, left, up):

| index | what | unit |
|---|---|---|
| 0-2 | centre of the target gate, relative to the vehicle | 10 m |
| 3-5 | direction of flight through the target gate | 1 |
| 6-8 | centre of the gate after it, relative to the target's (0 at the last gate) | 10 m |
| 9-11 | direction of flight through the gate after it | 1 |
| 12-14 | vehicle's position in the target gate's axes: ahead, left, up | 5 m, clipped to ±2 |
| 15-17 | velocity over ground | 5 m/s |
| 18-19 | thrust direction's forward and left part: sine of the tilt | 1 |
| 20-22 | body rates | 5 rad/s |
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from racer.errors import InvalidInputError
from racer.geometry.gates import GateFrame, cross_gate, in_gate_axes
from racer.geometry.rotation import body_z_axis, dot
from racer.sim.airframe import Airframe
from racer.sim.cascade import ControlState, heading, initial_control, velocity_control
from racer.sim.dynamics import State, rest_state
from racer.sim.dynamics import step as fly
from racer.sim.track import Track
from racer.sim.wind import GustModel, dryden

Array: TypeAlias = jax.Array
OBSERVATION_SIZE = 23
ACTION_SIZE = 4
MAX_FLIGHT_STEPS = 8192  # of one flight: bounds the memory of a recorded one


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is compiled into the program."""

    action_space: Literal["velocity"] = "velocity"
    control_hz: float = 25.0  # actions per second
    substeps: int = 8  # of flight controller and physics per action

    @property
    def dt(self) -> float:
        """Seconds between actions."""
        return 1.0 / self.control_hz


class Rewards(NamedTuple):
    """Weights of the reward of one control step."""

    progress: np.float32 = np.float32(1.0)  # per metre nearer to the target gate ...
    gate: np.float32 = np.float32(1.0)  # per gate passed
    crash: np.float32 = np.float32(-5.0)  # once
    rates: np.float32 = np.float32(-0.002)  # per (rad/s)² of body rates
    action: np.float32 = np.float32(-0.01)  # per squared unit of yaw-rate action


class Task(NamedTuple):
    """Course, limits and wind as arrays. G gates, K poses along the course."""

    gates: GateFrame  # every component (G,)
    passages: np.ndarray  # () int32: gates from start to finish
    bounds_min: np.ndarray  # (3,) m
    bounds_max: np.ndarray  # (3,) m
    start: np.ndarray  # (4,) m and rad: x, y, z, yaw
    line: np.ndarray  # (K, 5): x, y, z, unit tangent x, y of the centre line
    line_gate: np.ndarray  # (K,) int32: gates already passed there
    velocity_limit: np.ndarray  # () m/s
    yaw_limit: np.ndarray  # () rad/s
    wind_speed: np.ndarray  # () m/s
    gusts: GustModel
    time_limit: np.ndarray  # () int32 control steps
    rewards: Rewards


class EnvironmentState(NamedTuple):
    """Drones in flight; every field has the batch's shape (...)."""

    vehicle: State
    control: ControlState
    passed: Array  # int32: gates passed since the start of the course
    elapsed: Array  # int32: control steps since the start of the flight
    wind_x: Array  # mean wind, m/s
    wind_y: Array
    gust_x: Array  # m/s
    gust_y: Array
    gust_z: Array


class Outcome(NamedTuple):
    """What one control step brought, shape (...); of the flight before any auto-reset."""

    reward: Array
    done: Array  # the flight ended, for any of the three reasons
    finished: Array  # the last gate was passed
    crashed: Array  # ground, bounds or a frame
    passed: Array  # bool: a gate was passed in this step


def make_task(
    track: Track,
    airframe: Airframe,
    settings: Settings,
    *,
    velocity_limit_m_s: float,
    yaw_limit_deg_s: float,
    wind_speed_m_s: float = 0.0,
    rewards: Rewards | None = None,
) -> Task:
    """Turn a course and a user's limits into arrays.

    The time limit is generous and finite: the centre line at a third of the speed limit (never
    counted above 3 m/s of average), plus ten seconds. Raises InvalidInputError when the course
    is too long for that.
    """
    line = track.centre_line()
    steps = np.diff(line, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    seconds = track.laps * lengths.sum() / min(velocity_limit_m_s / 3.0, 3.0) + 10.0
    if seconds * settings.control_hz > MAX_FLIGHT_STEPS:
        raise InvalidInputError(
            f"The course '{track.name}' of {track.laps * lengths.sum():.0f} m takes too long at "
            f"{velocity_limit_m_s:g} m/s: choose a higher velocity limit or fewer laps."
        )
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
        yaw_limit=f32(math.radians(yaw_limit_deg_s)),
        wind_speed=f32(wind_speed_m_s),
        gusts=dryden(
            wind_speed_m_s=wind_speed_m_s,
            height_m=height,
            vehicle_speed_m_s=velocity_limit_m_s,
            dt=settings.dt,
        ),
        time_limit=np.int32(math.ceil(seconds * settings.control_hz)),
        rewards=rewards or Rewards(),
    )


def _gate_arrays(track: Track) -> GateFrame:
    axes = np.array([gate.axes for gate in track.gates], np.float32)  # (G, axis, component)
    centres = np.array([gate.position for gate in track.gates], np.float32)
    forward, left, up = (
        (axes[:, row, 0], axes[:, row, 1], axes[:, row, 2]) for row in range(3)
    )
    return GateFrame(
        centre=(centres[:, 0], centres[:, 1], centres[:, 2]),
        forward=forward,
        left=left,
        up=up,
        half_size=np.array([0.5 * gate.size for gate in track.gates], np.float32),
        frame=np.array([gate.frame for gate in track.gates], np.float32),
    )
