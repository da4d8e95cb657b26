"""One drone: a gymnasium.Env on the same compiled functions, with a batch of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np
from numpy.typing import NDArray

from racer.errors import InvalidInputError
from racer.gym.world import Advance, Flights, as_actions, make_world
from racer.sim.airframe import Airframe
from racer.sim.interface import ActionSpace
from racer.sim.reward import Reward
from racer.sim.track import Track

_ONE = np.ones(1, bool)


class RacerEnv(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A drone that races a course. For speed take many: racer.gym.vector."""

    def __init__(
        self,
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
        if not 0.0 <= along_course <= 1.0:
            raise InvalidInputError("along_course must be from 0 to 1.")
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
        self.observation_space = self._world.observation_space
        self.action_space = self._world.action_space
        self.metadata = {"render_modes": [], "render_fps": self._world.settings.control_hz}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Start a flight: observation (O,) and its infos. `options` are not used."""
        super().reset(seed=seed)
        key = jax.random.key(int(self.np_random.integers(2**32)))
        self._flights, seen = self._world.begin(self._world.task, key, self._share, _ONE)
        return np.array(seen)[0], {"gates_passed": 0, "time_s": 0.0, "crash_cause": 0}

    def step(
        self, action: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One control step: observation (O,), reward, terminated, truncated, infos.

        After the end of a flight call `reset`.
        """
        if self._flights is None:
            raise gymnasium.error.ResetNeeded("Call reset() before step(), and after each flight.")
        actions = as_actions(np.asarray(action)[None], 1)
        flights, brought = self._world.go(self._world.task, self._flights, actions, self._share)
        got = Advance(*(np.array(part)[0] for part in brought))
        terminated, truncated = bool(got.terminated), bool(got.truncated)
        self._flights = None if terminated or truncated else flights
        info = {
            "gates_passed": int(got.gates_passed),
            "time_s": float(got.steps - 1 + got.when) * self._world.settings.dt,
            "crash_cause": int(got.cause),
        }
        return got.final, float(got.reward), terminated, truncated, info
