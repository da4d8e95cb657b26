"""One drone through Gymnasium: the interface's own checker, ends, infos, refusals."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from racer.errors import InvalidInputError, NotFoundError
from racer.gym import ENVIRONMENT, RacerEnv
from racer.sim.task import CrashCause
from racer.sim.track import parse_track

# Gates right ahead, wide enough to be passed from any start; six, so that the programs compiled for
# `toledo` serve.
AHEAD = """
name = "ahead"
start = { position = [0, 0, 5], yaw_deg = 0 }
bounds = { min = [-20, -20, 0], max = [20, 20, 10] }
""" + "".join(
    f"[[gates]]\nposition = [{4.0 + 0.5 * i}, 0, 5]\nyaw_deg = 0\nsize_m = 9\n" for i in range(6)
)


def fly(env: Any, action: list[float], *, seed: int) -> tuple[Any, ...]:
    """The last step of a flight with one action."""
    env.reset(seed=seed)
    while True:
        outcome = env.step(np.array(action, np.float32))
        if outcome[2] or outcome[3]:
            return tuple(outcome)


def test_gymnasiums_checker_has_nothing_to_say() -> None:
    """Warnings are errors here, so its advice counts too."""
    env = gymnasium.make(ENVIRONMENT, track=parse_track(AHEAD))
    assert isinstance(env.unwrapped, RacerEnv)
    check_env(env.unwrapped)


def test_the_last_gate_a_crash_and_the_time_limit_end_flights_differently() -> None:
    env = RacerEnv(track=parse_track(AHEAD))
    seen, reward, terminated, truncated, info = fly(env, [0.6, 0.0, 0.0, 0.0], seed=2)
    assert (terminated, truncated) == (True, False)
    assert (info["gates_passed"], info["crash_cause"]) == (6, CrashCause.NONE)
    assert reward > 0.0
    assert 0.5 < info["time_s"] < 10.0
    assert env.observation_space.contains(seen)
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(np.zeros(4, np.float32))
    _, reward, terminated, truncated, info = fly(env, [0.0, 0.0, -1.0, 0.0], seed=2)
    assert (terminated, truncated) == (True, False)
    assert (info["gates_passed"], info["crash_cause"]) == (0, CrashCause.GROUND)
    assert reward < 0.0
    _, _, terminated, truncated, info = fly(env, [0.0, 0.0, 0.0, 0.0], seed=2)
    assert (terminated, truncated) == (False, True)
    assert info["time_s"] > 10.0


def test_spaces_are_the_limits_in_the_actions_units() -> None:
    slow = RacerEnv(velocity_limit_m_s=3.0, yaw_limit_deg_s=45.0).action_space
    fast = RacerEnv(velocity_limit_m_s=16.0, yaw_limit_deg_s=180.0).action_space
    body = RacerEnv(action_space="ctbr").action_space
    assert isinstance(slow, gymnasium.spaces.Box)
    assert isinstance(fast, gymnasium.spaces.Box)
    assert isinstance(body, gymnasium.spaces.Box)
    assert slow.high.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert fast.high.tolist() == [2.0, 2.0, 2.0, 2.0]
    assert body.high.tolist() == [1.0, 1.0, 1.0, 1.0]
    assert RacerEnv(action_space="ctbr").observation_space.shape == (29,)
    assert RacerEnv(action_space="ctbr").metadata["render_fps"] == 50.0


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"action_space": "motors"}, "action_space"),
        ({"control_hz": -5.0}, "control_hz"),
        ({"control_hz": 0.0}, "control_hz"),
        ({"substeps": 0}, "substeps"),
        ({"substeps": 1000}, "substeps"),
        ({"velocity_limit_m_s": 0.0}, "Limits"),
        ({"velocity_limit_m_s": float("inf")}, "Limits"),
        ({"wind_speed_m_s": float("nan")}, "wind"),
        ({"track": "lsy_level0"}, r"'gates\[0\]' of 0.4 m"),
        ({"laps": 0}, "laps"),
        ({"along_course": 2.0}, "along_course"),
        ({"render_mode": "human"}, "render"),
    ],
)
def test_wrong_arguments_are_refused_by_name(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(InvalidInputError, match=named):
        RacerEnv(**arguments)


def test_a_course_with_poles_shows_two_of_them() -> None:
    sizes = {"velocity": 23 + 2 * 3, "ctbr": 29 + 2 * 4}
    for space, size in sizes.items():
        env = gymnasium.make(ENVIRONMENT, track="lsy_level2", airframe="cf21b", action_space=space)
        assert env.observation_space.shape == (size,)
    seen, _ = env.reset(seed=1)  # flights are tested above: here only what is seen
    assert env.observation_space.contains(seen)
    assert np.all(np.abs(seen[29:]) <= 2.0)
    assert np.all(seen[[32, 36]] > 0.0)


def test_unknown_courses_airframes_and_early_steps_are_told() -> None:
    with pytest.raises(NotFoundError, match="split_s"):
        RacerEnv(track="monza")
    with pytest.raises(NotFoundError, match="x500"):
        RacerEnv(airframe="boeing")
    with pytest.raises(gymnasium.error.ResetNeeded, match="reset"):
        RacerEnv().step(np.zeros(4, np.float32))
