"""Many drones through Gymnasium: same-step autoreset, seeds, spaces, and agreement with one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from racer.errors import InvalidInputError
from racer.gym import ENVIRONMENT, RacerVectorEnv

N = 8
PAGE = Path(__file__).parents[2] / "docs" / "gymnasium.md"


def vector(**arguments: Any) -> Any:
    """Randomised flights; plain ones are flown by test_single.py and by the page's example."""
    return gymnasium.make_vec(ENVIRONMENT, num_envs=N, randomise=True, **arguments)


def actions(seed: int, steps: int) -> Any:
    """(T, N, 4): up or down, so that some flights end soon."""
    found = np.random.default_rng(seed).uniform(-0.3, 0.3, (steps, N, 4)).astype(np.float32)
    found[:, : N // 2, 2] = -1.0
    return found


def test_it_declares_what_gymnasium_asks_for() -> None:
    envs = vector()
    assert isinstance(envs.unwrapped, RacerVectorEnv)
    assert envs.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    assert envs.num_envs == N
    assert envs.single_observation_space.shape == (23,)
    assert envs.observation_space.shape == (N, 23)
    assert envs.action_space.shape == (N, 4)
    for space in (envs.observation_space, envs.action_space):
        assert space.dtype == np.float32
        assert np.all(np.isfinite(space.low))
        assert np.all(np.isfinite(space.high))
    envs.close()
    assert envs.closed


def test_flights_that_end_go_on_in_the_same_step_and_their_end_is_kept() -> None:
    envs = vector()
    envs.reset(seed=5)
    endings = 0
    for command in actions(1, 120):
        seen, reward, terminated, truncated, info = envs.step(command)
        assert envs.observation_space.contains(seen)
        assert (reward.shape, reward.dtype) == ((N,), np.float64)
        assert (terminated.dtype, truncated.dtype) == (bool, bool)
        ended = terminated | truncated
        assert ("final_obs" in info) == bool(ended.any())
        if not ended.any():
            continue
        endings += int(ended.sum())
        assert info["_final_obs"].tolist() == ended.tolist()
        for i in range(N):
            if ended[i]:
                assert envs.single_observation_space.contains(info["final_obs"][i])
                assert not np.array_equal(info["final_obs"][i], seen[i])
                assert info["final_info"]["crash_cause"][i] == 1  # the ground
                assert info["final_info"]["time_s"][i] > 0.3
                assert info["gates_passed"][i] == 0
            else:
                assert info["final_obs"][i] is None
        assert info["final_info"]["_crash_cause"].tolist() == ended.tolist()
    assert endings >= N // 2


def test_a_seed_repeats_to_the_last_bit_and_another_does_not() -> None:
    runs = []
    for seed in (7, 7, 8):
        envs = vector(wind_speed_m_s=4.0, along_course=0.5)
        rows = [envs.reset(seed=seed)[0]]
        for command in actions(2, 60):
            rows.append(envs.step(command)[0])
        runs.append(np.array(rows))
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])
    again = envs.reset()[0]
    assert not np.array_equal(again, runs[2][0])  # without a seed the next flights are others


def test_returned_arrays_belong_to_the_caller() -> None:
    envs = vector()
    first, _ = envs.reset(seed=1)
    kept = first.copy()
    second, *_ = envs.step(np.zeros((N, 4), np.float32))
    second[:] = 99.0
    assert np.array_equal(first, kept)
    third, *_ = envs.step(np.zeros((N, 4), np.float32))
    assert third.max() < 50.0


@pytest.mark.parametrize(
    "wrong", [np.zeros((N, 3)), np.zeros(4), np.full((N, 4), np.nan), np.full((N, 4), -1e30)]
)
def test_wrong_actions_are_refused(wrong: Any) -> None:
    envs = vector()
    envs.reset(seed=1)
    with pytest.raises(InvalidInputError, match="finite numbers"):
        envs.step(wrong)


def test_the_pages_example_runs() -> None:
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    code = found.group(1)
    assert len(code.strip().splitlines()) <= 15
    scope: dict[str, Any] = {}
    few = code.replace("num_envs=64", "num_envs=1").replace("range(200)", "range(1200)")
    exec(compile(few, str(PAGE), "exec"), scope)  # noqa: S102
    assert scope["flights"] > 0
