"""Trainings that are submitted in the evening are policies with a place on the board next morning,
although the server was killed twice in the night. As a client sees it: `main.py`, the rest is HTTP.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.acceptance.main_job import DRONE_DETAILS
from tests.program import running, said
from tests.support import claim_slot, wait_for

pytestmark = pytest.mark.slow
EPOCHS = 12


def test_trainings_of_a_night_race_in_the_morning(tmp_path: Path) -> None:
    with claim_slot(tmp_path / "data") as slot:
        slot |= {"MAX_TRAININGS": "2"}
        with running(slot) as (client, server):
            run_ids = submit(client)
            for_epochs(client, run_ids, 4)
            kill(server)
        with running(slot) as (client, server):
            for_epochs(client, run_ids, 20)
            kill(server)
        with running(slot) as (client, _):
            policies = finished_policies(client, run_ids)
            compare(client, policies[:2])
            race_them(client, policies)


def submit(client: httpx.Client) -> list[str]:
    """Two seeds of two settings."""
    said(client.post("/users/", json={"username": "ada"}))
    model = {"title": "Night", "description": "", "drone_details": DRONE_DETAILS}
    created = said(client.post("/users/ada/drone-models/", json=model))
    sweep = {
        "seeds": [0, 1],
        "variants": [{"velocityLimit": "8"}, {"velocityLimit": "6"}],
        "training_epochs": EPOCHS,
    }
    path = f"/users/ada/drone-models/{created['drone_id']}/runs"
    runs = said(client.post(path, json=sweep))
    assert len(runs) == 4
    return [str(run["id"]) for run in runs]


def kill(server: subprocess.Popen[bytes]) -> None:
    """The power goes: the server, and the trainings that it started, end without a word."""
    family = psutil.Process(server.pid).children(recursive=True)
    os.killpg(server.pid, signal.SIGKILL)
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    server.wait()


def for_epochs(client: httpx.Client, run_ids: list[str], number: int) -> None:
    """Until so many epochs of all runs together are on record."""

    def passed() -> bool:
        return sum(len(epochs(client, run_id)) for run_id in run_ids) >= number

    wait_for(f"{number} epochs", passed, timeout_s=240, every_s=0.2)


def epochs(client: httpx.Client, run_id: str) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = said(client.get(f"/runs/{run_id}/epochs"))
    return told


def finished_policies(client: httpx.Client, run_ids: list[str]) -> list[str]:
    """Of each run a policy and every epoch once."""

    def over() -> list[dict[str, Any]] | None:
        runs = [said(client.get(f"/runs/{run_id}")) for run_id in run_ids]
        return runs if all(run["status"] in ("finished", "failed") for run in runs) else None

    runs = wait_for("the trainings' end", over, timeout_s=300, every_s=0.5)
    assert [run["status"] for run in runs] == ["finished"] * 4, runs
    for run_id in run_ids:
        assert [row["epoch"] for row in epochs(client, run_id)] == list(range(1, EPOCHS + 1))

    def kept() -> dict[str, str] | None:
        policies = said(client.get("/policies", params={"username": "ada"}))["policies"]
        by_run = {policy["run_id"]: str(policy["id"]) for policy in policies}
        return by_run if set(by_run) == set(run_ids) else None

    by_run = wait_for("a policy of each run", kept, timeout_s=60)
    return [by_run[run_id] for run_id in run_ids]


def compare(client: httpx.Client, policies: list[str]) -> None:
    """Two seeds of one setting, flown from the same starts."""
    settings = {"track": "toledo", "starts": 32, "seed": 5}
    ids = [
        said(client.post(f"/policies/{policy}/evaluations", json=settings))["id"]
        for policy in policies
    ]

    def done() -> bool:
        told = [said(client.get(f"/evaluations/{one}")) for one in ids]
        assert all(row["status"] in ("queued", "running", "finished") for row in told), told
        return all(row["status"] == "finished" for row in told)

    wait_for("the evaluations", done, timeout_s=240, every_s=0.5)
    told = said(client.get("/evaluations/compare", params={"a": ids[0], "b": ids[1]}))
    assert len(told["starts"]) == 32


def race_them(client: httpx.Client, policies: list[str]) -> None:
    """All four enter; the board has whoever got round, and none beats physics."""
    wanted = {"name": "Morning", "username": "ada", "track": "toledo", "format": "time_trial"}
    race = said(client.post("/races", json=wanted | {"attempts": 3}))
    path = f"/races/{race['id']}"
    for policy in policies:
        said(client.post(f"{path}/entries", json={"policy_id": policy}))
    said(client.post(f"{path}/start"))

    def over() -> dict[str, Any] | None:
        told: dict[str, Any] = said(client.get(path))
        return told if told["status"] not in ("open", "running") else None

    told = wait_for("the race", over, timeout_s=300, every_s=0.5)
    assert told["status"] == "finished", told
    ranking = said(client.get(f"{path}/results"))["ranking"]
    round_the_course = [row for row in ranking if row["score_s"] is not None]
    assert round_the_course, f"nobody got round: {ranking}"

    def referred() -> dict[str, Any] | None:
        board: dict[str, Any] = said(client.get("/leaderboards/toledo"))
        return board if all(board["reference"].values()) else None

    board = wait_for("the reference", referred, timeout_s=240, every_s=0.5)
    assert [row["score_s"] for row in board["rows"]] == [row["score_s"] for row in round_the_course]
    assert all(row["ratio"] > 1.0 for row in board["rows"])
