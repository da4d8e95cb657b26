"""The racing environment for trainers that speak Gymnasium: importing this registers it.

    import gymnasium, racer.gym
    envs = gymnasium.make_vec("ToledoRacer-v0", num_envs=64, track="toledo", airframe="x500")

`gymnasium.make("ToledoRacer-v0")` gives one drone, `make_vec` as many as wanted in one compiled
program. docs/gymnasium.md lists the arguments, spaces and infos.
"""

from __future__ import annotations

import gymnasium

from racer.gym.single import RacerEnv
from racer.gym.vector import RacerVectorEnv

__all__ = ["ENVIRONMENT", "RacerEnv", "RacerVectorEnv"]

ENVIRONMENT = "ToledoRacer-v0"

# The course has its own time limit and actions their own range, so Gymnasium adds no wrappers.
gymnasium.register(
    id=ENVIRONMENT,
    entry_point="racer.gym.single:RacerEnv",
    vector_entry_point="racer.gym.vector:RacerVectorEnv",
    order_enforce=False,
    disable_env_checker=True,
)
