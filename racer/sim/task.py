"""What is flown: a course, a user's limits, the wind and the reward, as arrays.

Everything that a user may change is data here, not a constant of the compiled program, so that a
training with other settings reuses the program of the last one. NumPy only.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from typing import Literal, NamedTuple

import numpy as np

from racer.errors import InvalidInputError
from racer.geometry.gates import GateFrame
from racer.geometry.obstacles import Cylinder
from racer.geometry.rotation import Real
from racer.sim.interface import ActionSpace, observation_size
from racer.sim.track import Track
from racer.sim.wind import GustModel, dryden

REFERENCE_VELOCITY_M_S = 8.0  # where limits stop to scale actions and rewards
REFERENCE_YAW_DEG_S = 90.0
MAX_FLIGHT_STEPS = 8192  # of one flight: bounds the memory of a recorded one
MAX_SEEN_OBSTACLES = 2
_STANDING_S = 0.5  # for which the ground carries who starts on it; for longer, policies brake on it


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is compiled into the program."""

    action_space: ActionSpace = "velocity"
    control_hz: float = 25.0  # actions per second
    substeps: int = 8  # of flight controller and physics per action
    integrator: Literal["midpoint", "rk4"] = "midpoint"  # racer.sim.dynamics
    randomise: bool = False  # every flight has a vehicle, wind and gate poses of its own
    seen_obstacles: int = 0  # nearest poles in an observation; see the function of this name

    @property
    def dt(self) -> float:
        """Seconds between actions."""
        return 1.0 / self.control_hz

    @property
    def observation_size(self) -> int:
        """Numbers in one observation."""
        return observation_size(self.action_space, self.seen_obstacles)


def seen_obstacles(track: Track) -> int:
    """How many poles a policy for this course sees: the two that it may fly between, if any."""
    return min(MAX_SEEN_OBSTACLES, len(track.obstacles))


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


def default_rewards(velocity_limit_m_s: float, *, calm: float = 1.0) -> Rewards:
    """Slow vehicles earn more per metre, so that returns have one size for every limit.

    `calm` scales what body rates cost: an airframe that turns at 15 rad/s would rather not move.
    """
    reference = min(velocity_limit_m_s, REFERENCE_VELOCITY_M_S)
    weights = (1.6 / reference, 0.2, -0.3, -2e-4 * calm, -1e-3 * calm)
    return Rewards(*(np.float32(weight) for weight in weights))


class StartSpread(NamedTuple):
    """How flights from the start begin: standard deviations about it, cut at twice of each."""

    horizontal: Real  # m, along x and along y
    vertical: Real  # m
    yaw: Real  # rad
    speed: Real  # m/s, along each axis
    turned: Real  # 1: flights along the course look any way, roughly along it; 0: as starts do


DEFAULT_SPREAD = StartSpread(*(np.float32(value) for value in (0.75, 0.3, 0.5, 0.1, 1.0)))
NO_SPREAD = StartSpread(*(np.float32(0.0) for _ in range(5)))  # every flight the same


def spread_within(heading_deg: float | None, place_m: float | None = None) -> StartSpread:
    """Starts as usual, but looking at most so far off the start's heading; None: as usual.

    Flights along the course keep to it as well. For vehicles that hardly yaw: they have their
    heading of the start for the whole race, and must learn the same line anew for each.

    `place_m`: the farthest from the start along each horizontal axis instead of the usual 1.5 m;
    heights and speeds shrink with it.
    """
    spread = DEFAULT_SPREAD
    if heading_deg is not None:
        yaw = np.float32(0.5 * math.radians(heading_deg))
        spread = spread._replace(yaw=yaw, turned=np.float32(0.0))
    if place_m is not None:
        share = np.float32(0.5 * place_m / spread.horizontal)
        spread = spread._replace(
            horizontal=share * spread.horizontal,
            vertical=share * spread.vertical,
            speed=share * spread.speed,
        )
    return spread


class Ranges(NamedTuple):
    """What may differ between flights under `Settings.randomise`: uniform, either way."""

    mass: Real  # share of the airframe's
    mass_kg: Real  # on top, kg
    inertia: Real  # share, all axes together
    thrust: Real  # share, of thrust at a given rotor speed
    delay: Real  # s, 0 to this is added to the airframe's command delay, up to one control step
    wind: Real  # share of the mean wind and its gusts
    gate_position: Real  # (3,) m
    gate_yaw: Real  # rad
    obstacle_position: Real  # (3,) m
    start_position: Real  # (3,) m


def course_ranges(track: Track) -> Ranges:
    """What the course itself says, and a nominal vehicle: a published protocol."""
    own = track.randomisation
    zero, f32 = np.float32(0.0), np.float32
    return Ranges(
        mass=zero,
        mass_kg=f32(own.mass),
        inertia=zero,
        thrust=zero,
        delay=zero,
        wind=zero,
        gate_position=own.gate_position.astype(f32),
        gate_yaw=f32(own.gate_yaw),
        obstacle_position=own.obstacle_position.astype(f32),
        start_position=own.start_position.astype(f32),
    )


def default_ranges(track: Track) -> Ranges:
    """The course's own, and vehicles as they differ in a hangar: what transfer asks for."""
    shares = {"mass": 0.05, "inertia": 0.15, "thrust": 0.05, "delay": 0.01, "wind": 0.5}
    return course_ranges(track)._replace(**{k: np.float32(v) for k, v in shares.items()})


class Task(NamedTuple):
    """Course, limits and wind as NumPy (or JAX) arrays.

    G gates, P obstacles (poles), K poses along the course.
    """

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
    obstacles: Cylinder  # every component (P,)
    start_spread: StartSpread
    sight_range: Real  # () m: gates farther than this are seen at their nominal pose
    standing: Real | None  # () int32: control steps on a ground that carries; None: starts hover
    ranges: Ranges | None  # None unless Settings.randomise


def make_task(
    track: Track,
    settings: Settings,
    *,
    velocity_limit_m_s: float,
    yaw_limit_deg_s: float,
    wind_speed_m_s: float = 0.0,
    rewards: Rewards | None = None,
    start_spread: StartSpread = DEFAULT_SPREAD,
    ranges: Ranges | None = None,
    sight_range_m: float | None = None,
    time_limit_s: float | None = None,
) -> Task:
    """Turn a course and a user's limits into arrays.

    The time limit is generous and finite: the centre line at half the speed limit (never counted
    above 3 m/s of average), plus ten seconds, but no more than MAX_FLIGHT_STEPS. Who needs another
    one says so (`time_limit_s`), and flies as many steps as that takes. Raises InvalidInputError
    when even 80 % of the speed limit would not be enough for the course.

    `ranges` (default: default_ranges) are used when `settings.randomise`; `sight_range_m` (default:
    the course's own) is then how near a displaced gate must be to be seen where it really stands.
    """
    line = track.centre_line()
    steps = np.diff(line, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    length = track.laps * float(lengths.sum())
    longest = time_limit_s or MAX_FLIGHT_STEPS / settings.control_hz
    if length / (0.8 * velocity_limit_m_s) > longest:
        raise InvalidInputError(
            f"The course '{track.name}' of {length:.0f} m takes too long at "
            f"{velocity_limit_m_s:g} m/s: choose a higher velocity limit or fewer laps."
        )
    generous = length / min(0.5 * velocity_limit_m_s, 3.0) + 10.0
    seconds = time_limit_s or min(generous, longest)
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
        obstacles=_obstacle_arrays(track),
        start_spread=_within_bounds(start_spread, track),
        sight_range=f32(sight_range_m or track.randomisation.seen_within or math.inf),
        standing=np.int32(_STANDING_S * settings.control_hz) if track.on_ground else None,
        ranges=(ranges or default_ranges(track)) if settings.randomise else None,
    )


def _within_bounds(spread: StartSpread, track: Track) -> StartSpread:
    """On a small course starts are spread less, so that none lies outside: the cut is at twice."""
    room = np.minimum(
        track.start_position - track.bounds_min, track.bounds_max - track.start_position
    )
    x, y, _ = np.maximum(room - track.randomisation.start_position, 0.0)
    return spread._replace(horizontal=np.float32(min(float(spread.horizontal), 0.45 * min(x, y))))


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


def _obstacle_arrays(track: Track) -> Cylinder:
    poles = [(*pole.position, pole.radius, pole.height) for pole in track.obstacles]
    x, y, z, radius, height = np.array(poles, np.float32).reshape(-1, 5).T
    return Cylinder(base=(x, y, z), radius=radius, height=height)
