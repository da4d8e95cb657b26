"""A server that is killed at any step of a deletion leaves an account to delete, or nothing."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from models import (
    Evaluation,
    Job,
    JobStatus,
    Policy,
    Race,
    RaceEntry,
    Status,
    TrainingRun,
    User,
    UserDroneModel,
    new_uuid,
)
from racer.settings import Settings
from tests.accounts.test_deletion import files, rows, serving
from tests.races.rig import Rig
from tests.support import REPOSITORY

FEWEST, MOST = 8, 40  # steps: fewer, and the program that dies watches the wrong places
OF_ADA = (User, UserDroneModel, TrainingRun, Policy, Evaluation, Job, Race, RaceEntry)


def settings_of(data_dir: Path) -> Settings:
    return Settings(_env_file=None, data_dir=data_dir, database_url="", secret_key="")


async def belongings(rig: Rig) -> list[str]:
    """Something of each kind; the names of its folders."""
    await rig.account("ada")
    policy, job, run = rig.keep("ada", 3.0), new_uuid(), new_uuid()
    race = (await rig.race("ada"))["id"]
    assert (await rig.enter(race, policy)).status_code == 201
    for folder in (f"jobs/{job}", f"runs/{run}"):
        (rig.settings.data_dir / folder).mkdir(parents=True)
        (rig.settings.data_dir / folder / "log").touch()
    with rig.app.state.database.session() as session:
        [user] = session.query(User)
        model = UserDroneModel(user=user, title="First", drone_details={})
        session.add(
            TrainingRun(
                id=run, drone_model=model, config={"epochs": 1}, seed=0, status=Status.FAILED
            )
        )
        done = Job(id=job, kind="evaluation", config={}, status=JobStatus.FAILED, owner_id=user.id)
        session.add_all([done, Evaluation(policy_id=policy, user=user, job=done, settings={})])
    return [policy, job, run, race]


async def look(settings: Settings, names: list[str], step: int) -> None:
    """At what is left, with the next server."""
    async with serving(settings) as rig:
        if rows(rig, User):
            assert (await rig.http.get("/users/ada")).status_code == 200
            answer = await rig.http.delete("/users/ada")
            assert answer.status_code == 204, (step, answer.text)
        assert files(rig, *names) == [], step
        for kind in OF_ADA:
            assert rows(rig, kind) == [], (step, kind)


def test_killed_at_any_step_the_account_is_there_to_delete_or_gone(tmp_path: Path) -> None:
    async def begin() -> list[str]:
        async with serving(settings_of(tmp_path / "before")) as rig:
            return await belongings(rig)

    names = asyncio.run(begin())
    for step in range(1, MOST):
        data = tmp_path / str(step)
        shutil.copytree(tmp_path / "before", data)
        places = {"DATA_DIR": str(data), "DATABASE_URL": "", "SECRET_KEY": ""}
        program = [sys.executable, "-m", "tests.accounts.dying_deletion", str(step)]
        died = subprocess.run(program, cwd=REPOSITORY, env=os.environ | places, check=False)
        assert died.returncode in (0, -signal.SIGKILL)
        asyncio.run(look(settings_of(data), names, step))
        if died.returncode == 0:
            break
    assert FEWEST < step < MOST - 1
