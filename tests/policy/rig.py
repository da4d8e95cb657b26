"""Policies with random weights, for whoever needs one without training it. No JAX."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from racer.policy.export import Network, Origin, origin_of, write_policy
from racer.policy.manifest import Manifest
from racer.sim.interface import ActionSpace, observation_size

CONFIG: dict[str, Any] = {
    "algorithm": "ppo",
    "seed": 3,
    "track": "toledo",
    "airframe": "x500",
    "altitude_m": 2.5,
    "laps": None,
    "action_space": "velocity",
    "control_hz": 25.0,
    "substeps": 8,
    "velocity_limit_m_s": 8.0,
    "yaw_limit_deg_s": 90.0,
    "wind_speed_m_s": 0.0,
}


def random_network(
    space: ActionSpace = "velocity",
    *,
    output: Literal["linear", "tanh"] = "linear",
    hidden: int = 64,
    seed: int = 0,
    seen_obstacles: int = 0,
) -> Network:
    """Weights of the size that training leaves."""
    rng = np.random.default_rng(seed)
    sizes = (observation_size(space, seen_obstacles), hidden, hidden, 4)
    layers = tuple(
        (
            (rng.normal(size=(inputs, outputs)) * (1.4 / inputs**0.5)).astype(np.float32),
            (0.1 * rng.normal(size=outputs)).astype(np.float32),
        )
        for inputs, outputs in pairwise(sizes)
    )
    mean = rng.normal(size=sizes[0]).astype(np.float32)
    variance = rng.uniform(0.0, 2.0, sizes[0]).astype(np.float32)
    return Network(mean, variance, layers, output)


def origin(**changes: Any) -> Origin:
    """What such a policy was trained on."""
    return origin_of(CONFIG | changes)


def write_random_policy(folder: Path, **changes: Any) -> Manifest:
    """A whole policy folder; `changes` to CONFIG."""
    config = CONFIG | changes
    home = origin(**changes)
    network = random_network(config["action_space"], seen_obstacles=home.simulation.seen_obstacles)
    report = {"epoch": 2, "env_steps": 1024, "accuracy": 0.5, "mean_lap_time_s": None}
    return write_policy(folder, network, home, config=config, epoch=2, report=report)
