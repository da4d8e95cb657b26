"""The real program: two policies that steer for the gates, flown from the same starts."""

from __future__ import annotations

import argparse
import io
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from racer.errors import InvalidInputError
from racer.learning import evaluation_job
from racer.settings import Settings
from tests.evaluations.conftest import OVER, Rig, running
from tests.flight.policies import COURSE, SPEED_LIMIT_M_S, write_steering_policy
from tests.policy.rig import write_random_policy
from tests.training.conftest import play

STARTS = 16
SLOWER = (-0.1, 0.0, 0.0, 0.0)  # added to each action


async def until_over(rig: Rig, evaluation_id: str) -> Any:
    while (found := await rig.read(evaluation_id))["status"] not in OVER:
        pass  # each reading takes its time, and pytest's time-out ends it
    assert found["error"] is None
    return found


def arrays(answer: httpx.Response) -> dict[str, Any]:
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as file:
        return dict(file)


@pytest.mark.slow
def test_two_policies_fly_from_the_same_starts(tmp_path: Path, sqlite_url: str) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=sqlite_url)

    async def scenario() -> None:
        async with running(settings, fake=False) as rig:
            await rig.new_user("ada")
            fast = rig.new_policy("ada", write_steering_policy)
            slow = rig.new_policy("ada", partial(write_steering_policy, bias=SLOWER))
            asked = {"starts": STARTS, "seed": 3, "recorded": 4}
            a, b = await rig.ask(fast, **asked), await rig.ask(slow, **asked)
            found, other = await until_over(rig, a), await until_over(rig, b)
            assert found["completion"] == 1.0, found["report"]
            assert found["conditions"] == other["conditions"]
            assert found["conditions"]["starts"] == STARTS
            own = {"control_hz": 25.0, "physics_hz": 200.0, "velocity_limit_m_s": SPEED_LIMIT_M_S}
            assert own.items() <= found["conditions"].items()

            answer = await rig.http.get("/evaluations/compare", params={"a": a, "b": b})
            assert answer.status_code == 200, answer.text
            compared = answer.json()
            times = np.array([pair["a_s"] for pair in compared["starts"]])
            lap = found["report"]["course_time"]
            assert (times.min(), np.median(times)) == (lap["best"], lap["median"])
            assert compared["a"]["faster"] + compared["b"]["faster"] == STARTS
            assert compared["both_finished"] >= 8
            assert own.items() <= compared["b"].items()
            difference = compared["difference"]
            assert difference["low_s"] < difference["mean_s"] < difference["high_s"]

            flown, others = [
                arrays(await rig.http.get(f"/evaluations/{one}/trajectories")) for one in (a, b)
            ]
            begins = np.cumsum(flown["steps"]) - flown["steps"]
            assert len(flown["steps"]) == 4
            assert flown["steps"].sum() == len(flown["t"]) == len(flown["position"])
            assert (flown["t"][begins] == 0.0).all()
            assert np.allclose(np.linalg.norm(flown["quaternion"], axis=1), 1.0, atol=1e-3)
            places = flown["position"][begins]
            assert len(np.unique(places, axis=0)) == 4
            others_begin = np.cumsum(others["steps"]) - others["steps"]
            assert np.array_equal(places, others["position"][others_begin])
            # The recorded flights are those of the first starts.
            dt = 1.0 / found["conditions"]["control_hz"]
            assert np.allclose(flown["steps"] * dt, times[:4], atol=dt)

    play(scenario())


@pytest.mark.slow
def test_an_own_track_is_flown_and_is_the_same_course_as_the_training_s(
    tmp_path: Path, sqlite_url: str
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=sqlite_url)

    async def scenario() -> None:
        async with running(settings, fake=False) as rig:
            await rig.new_user("ada")
            (await rig.http.post("/users/ada/tracks", content=COURSE)).raise_for_status()
            policy_id = rig.new_policy("ada", write_steering_policy)
            asked = {"starts": STARTS, "seed": 3}
            a, b = (
                await rig.ask(policy_id, **asked, track="ada/short"),
                await rig.ask(policy_id, **asked),
            )
            found, other = await until_over(rig, a), await until_over(rig, b)
            assert found["completion"] == 1.0
            assert found["conditions"] == other["conditions"]  # also the course, by its SHA-256
            assert found["report"] == other["report"]

    play(scenario())


def test_the_program_refuses_what_the_server_would_before_it_loads_jax(tmp_path: Path) -> None:
    (tmp_path / "fine").mkdir()
    write_random_policy(tmp_path / "fine", substeps=81)
    options = argparse.Namespace(policies=tmp_path)
    with pytest.raises(InvalidInputError, match="2025 steps of the simulation"):
        evaluation_job._evaluate({"policy_id": "fine", "starts": 1, "seed": 0}, options)
