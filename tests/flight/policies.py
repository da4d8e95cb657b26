"""Policies made by hand: a linear law that steers through gates, and what the tests fly it on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from racer.flight.commands import BodyVelocity
from racer.flight.estimate import Motion
from racer.flight.plan import RacePlan, load_plan
from racer.flight.px4 import OdometrySample, Quaternion, Vector
from racer.policy.export import Network, write_policy
from racer.sim.interface import ACTION_SIZE, ActionSpace, observation_size
from tests.policy.rig import CONFIG, origin

NORTH: Quaternion = (np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5))
SPEED_LIMIT_M_S = 3.0  # slow: 0.5 s without telemetry are allowed, busy machines need some
_THROUGH_M_S, _GAIN = 1.5, 1.0  # velocity = through · gate's direction + gain · way to the gate

# Two gates and a pole beside the second, north of the place of take-off.
COURSE = """
name = "short"
start = { position = [0.0, 0.0, 2.5], yaw_deg = 90.0 }
bounds = { min = [-8.0, -6.0, 0.0], max = [8.0, 18.0, 8.0] }
gates = [
    { position = [0.0, 4.0, 2.5], yaw_deg = 90.0, size_m = 1.6 },
    { position = [1.0, 9.0, 2.8], yaw_deg = 80.0, size_m = 1.6 },
]
obstacles = [{ position = [4.0, 9.0, 0.0], radius_m = 0.2, height_m = 4.0 }]
"""


def steering_network(
    space: ActionSpace = "velocity", *, bias: tuple[float, ...] = (0.0,) * ACTION_SIZE
) -> Network:
    """One linear layer: towards the target gate and on through it, no turning. `ctbr` has no such
    law: it answers with its bias alone."""
    size = observation_size(space, 1)  # the course has one pole
    weight = np.zeros((size, ACTION_SIZE), np.float32)
    if space == "velocity":
        for axis in range(3):  # the interface tells the way in 10 m; an action of one is the limit
            weight[axis, axis] = 10.0 * _GAIN / SPEED_LIMIT_M_S
            weight[3 + axis, axis] = _THROUGH_M_S / SPEED_LIMIT_M_S
    layers = ((weight, np.array(bias, np.float32)),)
    # no normalisation: a variance of one is divided by √1.0001, which is nothing to a steersman
    return Network(np.zeros(size, np.float32), np.ones(size, np.float32), layers, "linear")


def write_steering_policy(
    folder: Path,
    space: ActionSpace = "velocity",
    *,
    course: str = COURSE,
    bias: tuple[float, ...] = (0.0,) * ACTION_SIZE,
) -> Path:
    """A policy's folder, as a training leaves it; returns it."""
    folder.mkdir(parents=True, exist_ok=True)
    track = folder / "track.toml"
    track.write_text(course)
    changes = {
        "track": str(track),
        "action_space": space,
        "velocity_limit_m_s": SPEED_LIMIT_M_S,
        "altitude_m": None,
    }
    write_policy(
        folder,
        steering_network(space, bias=bias),
        origin(**changes),
        config=CONFIG | changes,
        epoch=1,
        report={"epoch": 1, "env_steps": 0},
    )
    return folder


def steering_plan(folder: Path, space: ActionSpace = "velocity", **changes: object) -> RacePlan:
    """The same, loaded for flying; `changes` to the plan."""
    plan = load_plan(write_steering_policy(folder, space), airframe="x500")
    return replace(plan, **changes)  # type: ignore[arg-type] # the fields of RacePlan


def sample(
    stamp_s: float, position: Vector = (0.0, 0.0, 2.5), velocity: Vector = (0.0, 0.0, 0.0)
) -> OdometrySample:
    """Telemetry of a level vehicle that looks north."""
    return OdometrySample(stamp_s, position, velocity, velocity, NORTH, (0.0, 0.0, 0.0))


def still(position: Vector) -> Motion:
    """A level vehicle that hovers there and looks north."""
    return Motion(position, (0.0, 0.0, 0.0), NORTH, (0.0, 0.0, 0.0))


def speed_of(setpoint: BodyVelocity) -> float:
    return float(np.linalg.norm([setpoint.forward_m_s, setpoint.left_m_s, setpoint.up_m_s]))
