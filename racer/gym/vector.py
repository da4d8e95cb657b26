"""Any number of drones at once: a gymnasium.vector.VectorEnv over one compiled program.

Autoreset is SAME_STEP: a flight that ends is followed by a new one in the same step, whose first
observation is returned; the observation and the infos of the end are in `final_obs`, `final_info`.
Seeds repeat: the same seed and actions give the same flights to the last bit, on one machine.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeAlias

import gymnasium
import jax
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from racer.errors import InvalidInputError
from racer.gym.world import Advance, Flights, as_actions, make_world
from racer.sim.airframe import Airframe
from racer.sim.interface import ActionSpace
from racer.sim.reward import Reward
from racer.sim.track import Track

Observations: TypeAlias = NDArray[np.float32]
Numbers: TypeAlias = NDArray[Any]


class RacerVectorEnv(VectorEnv[Observations, NDArray[np.float32], Numbers]):
    """`num_envs` drones that race the same course without meeting."""

    def __init__(
        self,
        num_envs: int = 1,
        *,
        track: str | Path | Track = "toledo",
        airframe: str | Path | Airframe = "x500",
        action_space: ActionSpace = "velocity",
        control_hz: float | None = None,
        substeps: int | None = None,
        velocity_limit_m_s: float = 8.0,
        yaw_limit_deg_s: float = 90.0,
        wind_speed_m_s: float = 0.0,
        laps: int | None = None,
        along_course: float = 0.0,
        randomise: bool = False,
        reward: Reward | None = None,
        render_mode: None = None,
    ) -> None:
        """Arguments: docs/gymnasium.md. Raises InvalidInputError or NotFoundError."""
        if not 1 <= num_envs <= 1_048_576 or not 0.0 <= along_course <= 1.0:
            raise InvalidInputError("num_envs must be 1 or more and along_course from 0 to 1.")
        if render_mode is not None:
            raise InvalidInputError("This environment does not render: render_mode must be None.")
        self._world = make_world(
            track=track,
            airframe=airframe,
            action_space=action_space,
            control_hz=control_hz,
            substeps=substeps,
            velocity_limit_m_s=velocity_limit_m_s,
            yaw_limit_deg_s=yaw_limit_deg_s,
            wind_speed_m_s=wind_speed_m_s,
            laps=laps,
            randomise=randomise,
            reward=reward,
        )
        self._share = np.float32(along_course)
        self._flights: Flights | None = None
        self._everyone = np.ones(num_envs, bool)
        self.num_envs = num_envs
        self.single_observation_space = self._world.observation_space
        self.single_action_space = self._world.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.metadata = {
            "render_modes": [],
            "render_fps": self._world.settings.control_hz,
            "autoreset_mode": AutoresetMode.SAME_STEP,
        }

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """Start all flights anew: observations (N, O) and no infos. `options` are not used."""
        super().reset(seed=seed)
        key = jax.random.key(int(self.np_random.integers(2**32)))
        self._flights, seen = self._world.begin(self._world.task, key, self._share, self._everyone)
        return np.array(seen), {}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[Observations, Numbers, Numbers, Numbers, dict[str, Any]]:
        """One control step: observations (N, O), rewards, terminations, truncations (N,), infos."""
        if self._flights is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step().")
        self._flights, brought = self._world.go(
            self._world.task, self._flights, as_actions(actions, self.num_envs), self._share
        )
        got = Advance(*(np.array(part) for part in brought))
        return (
            got.observation,
            got.reward.astype(np.float64),
            got.terminated,
            got.truncated,
            self._infos(got),
        )

    def _infos(self, got: Advance) -> dict[str, Any]:
        """Where the drones are; of an ended flight in `final_info`, and zeros of the new one."""
        ended = got.terminated | got.truncated
        info = {
            "gates_passed": np.where(ended, 0, got.gates_passed),
            "_gates_passed": self._everyone.copy(),
        }
        if not ended.any():
            return info
        final_obs = np.full(self.num_envs, None, object)
        for index in np.flatnonzero(ended):
            final_obs[index] = got.final[index]
        final = {
            "gates_passed": got.gates_passed,
            "time_s": (got.steps - 1 + got.when) * self._world.settings.dt,
            "crash_cause": got.cause,
        }
        final_info = {key: np.where(ended, value, 0) for key, value in final.items()}
        final_info |= {f"_{key}": ended.copy() for key in final}
        return info | {
            "final_obs": final_obs,
            "_final_obs": ended.copy(),
            "final_info": final_info,
            "_final_info": ended.copy(),
        }
