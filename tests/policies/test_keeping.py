"""What becomes a version, once, whoever is killed when."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from database import Database
from models import Policy, Status, TrainingRun, User, UserDroneModel, new_uuid
from racer.policies import service
from racer.policies.service import PolicyService
from racer.policy.loading import load_policy
from racer.process import PARENT_VARIABLE
from racer.settings import Settings
from tests.policies.rig import (
    FILES,
    Rig,
    folders,
    give_policy,
    policy_folder,
    policy_with_weights,
    serving,
    until,
)
from tests.support import ending, wait_for
from tests.training.conftest import DETAILS, play


async def held(rig: Rig, drone_id: str) -> str:
    """A run that waits after its first epoch."""
    run_id = await rig.started(drone_id)
    await until((rig.data_dir / "runs" / run_id / "holding").exists)
    return run_id


def go(rig: Rig) -> None:
    (rig.data_dir / "runs" / "go").touch()


def test_a_finished_run_becomes_a_version_once(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LOOK_S", 1000.0)  # the training tells of its end
    made = policy_with_weights(tmp_path / "made")

    async def first() -> tuple[str, str]:
        async with serving(settings, hold_after=1) as rig:
            drone_id = await rig.new_model()
            run_id = await held(rig, drone_id)
            await give_policy(rig, run_id, made)
            go(rig)
            (policy,) = await rig.kept(1)
            assert (policy["name"], policy["version"], policy["origin"]) == ("First", 1, "trained")
            assert (policy["run_id"], policy["drone_id"]) == (run_id, drone_id)
            assert (policy["username"], policy["track"]) == ("ada", "toledo")
            assert policy["metrics"]["epoch"] == 2
            folder = rig.app.state.policies.folder_of(policy["id"])
            assert sorted(file.name for file in folder.iterdir()) == sorted(
                [*FILES, "policy.safetensors"]
            )
            for name in (*FILES, "policy.safetensors"):
                assert (folder / name).read_bytes() == (made / name).read_bytes()
            assert policy["size_bytes"] == sum(file.stat().st_size for file in made.iterdir())
            detail = (await rig.http.get(f"/policies/{policy['id']}")).json()
            assert detail["manifest"]["policy"]["sha256"] == policy["sha256"]
            again = await rig.http.post(f"/runs/{run_id}/policy")
            assert (again.status_code, again.json()["id"]) == (200, policy["id"])
            assert rig.folders() == [policy["id"]]
            return run_id, policy["id"]

    async def later(run_id: str, kept: str) -> None:
        async with serving(settings) as rig:
            await looked(rig)
            assert [policy["id"] for policy in await rig.policies()] == [kept]
            assert (await rig.http.delete(f"/policies/{kept}")).status_code == 204
            assert rig.folders() == []
        async with serving(settings) as rig:
            await looked(rig)
            assert await rig.policies() == []  # deleted is deleted
            anew = await rig.http.post(f"/runs/{run_id}/policy")
            assert (anew.status_code, anew.json()["version"]) == (201, 1)
            assert anew.json()["id"] != kept

    run_id, kept = play(first())
    play(later(run_id, kept))


async def looked(rig: Rig) -> None:
    """Let the server look for finished runs, and keep what it finds: another one is found."""
    database: Database = rig.app.state.database
    run_id = finished_run(database, rig.data_dir, made=None)
    policies: PolicyService = rig.app.state.policies
    policies.wake()
    await until(lambda: run_id in policies._passed_over)  # it has no files
    with database.session() as session:
        session.delete(session.get(TrainingRun, run_id))


def test_a_run_that_continued_another_one_has_that_ones_policy_as_parent(
    settings: Settings, tmp_path: Path
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            database = rig.app.state.database
            made = [policy_folder(tmp_path / name) for name in ("one", "two")]
            first = finished_run(database, rig.data_dir, made=made[0])
            rig.app.state.policies.wake()
            (parent,) = await rig.kept(1)
            assert parent["parent_id"] is None
            finished_run(database, rig.data_dir, made=made[1], continued=first)
            rig.app.state.policies.wake()
            child, _ = await rig.kept(2)
            assert child["parent_id"] == parent["id"]

    play(story())


def finished_run(
    database: Database, data_dir: Path, *, made: Path | None, continued: str | None = None
) -> str:
    """A run as an earlier server left it."""
    with database.session() as session:
        user = session.query(User).filter_by(username="ada").one_or_none() or User(username="ada")
        model = UserDroneModel(user=user, title="Left", drone_details=DETAILS)
        run = TrainingRun(
            id=new_uuid(),
            drone_model=model,
            config={"epochs": 2},
            status=Status.FINISHED,
            parent_run_id=continued,
        )
        session.add(run)
        session.flush()
        if made is not None:  # before the row says that it has finished
            (data_dir / "runs").mkdir(exist_ok=True)
            made.rename(data_dir / "runs" / run.id)
        return run.id


def test_a_run_that_has_not_ended_is_kept_when_asked(settings: Settings, tmp_path: Path) -> None:
    """While it trains only its weights are sure to be of one epoch: they are exported."""
    made = policy_with_weights(tmp_path / "made")
    original = load_policy(made)
    for name in FILES:
        (made / name).rename(tmp_path / name)

    async def scenario() -> None:
        async with serving(settings, hold_after=1) as rig:
            run_id = await held(rig, await rig.new_model())
            answer = await rig.http.post(f"/runs/{run_id}/policy")
            assert answer.status_code == 409
            assert "has not finished an epoch" in answer.json()["detail"]
            assert rig.folders() == []
            await give_policy(rig, run_id, made)
            first = await rig.http.post(f"/runs/{run_id}/policy")
            assert first.status_code == 201
            assert first.json()["metrics"]["epoch"] == 1
            await rig.http.post(f"/runs/{run_id}/pause")
            again = await rig.http.post(f"/runs/{run_id}/policy")
            assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
            kept = load_policy(rig.app.state.policies.folder_of(first.json()["id"]))
            observations = np.random.default_rng(5).normal(size=(32, 23)).astype(np.float32)
            np.testing.assert_array_equal(kept.act(observations), original.act(observations))
            policy_with_weights(rig.data_dir / "runs" / run_id, seed=1)  # it has learnt since
            later = await rig.http.post(f"/runs/{run_id}/policy")
            assert (later.status_code, later.json()["version"]) == (201, 2)

    play(scenario())


def test_only_the_owner_keeps_policies_of_a_run(settings: Settings, tmp_path: Path) -> None:
    made = policy_folder(tmp_path / "made")

    async def scenario() -> None:
        async with serving(settings) as rig:
            await rig.account("eve")
            with rig.app.state.database.session() as session:
                eve = session.query(User).filter_by(username="eve").one()
                session.add(User(username="ada", password_hash=eve.password_hash))
            mine, theirs = await rig.signed_in("ada"), await rig.signed_in("eve")
            run_id = finished_run(rig.app.state.database, rig.data_dir, made=made)
            path = f"/runs/{run_id}/policy"
            assert (await rig.http.post(path)).status_code == 401
            assert (await rig.http.post(path, headers=theirs)).status_code == 404
            assert (await rig.http.post(path, headers=mine)).status_code in (
                200,
                201,
            )
            for unknown in (new_uuid(), "x", "%00", "a" * 100, ".."):
                assert (await rig.http.post(f"/runs/{unknown}/policy")).status_code == 404

    play(scenario())


def block(database: Database) -> Any:
    """A transaction that lets everybody read and nobody write."""
    connection = database.engine.connect()
    connection.begin()  # on SQLite this takes the write lock
    if database.engine.dialect.name == "postgresql":
        connection.execute(text("LOCK TABLE policies IN EXCLUSIVE MODE"))
    return connection


def test_a_server_killed_between_the_files_and_the_row_leaves_neither_twice(
    settings: Settings, tmp_path: Path
) -> None:
    made = policy_folder(tmp_path / "made")
    content = (made / "policy.onnx").read_bytes()
    database = Database(settings.effective_database_url)
    database.upgrade()
    run_id = finished_run(database, settings.data_dir, made=made)
    writer = block(database)
    try:
        command = [sys.executable, "-m", "tests.policies.keeper", str(settings.data_dir)]
        command.append(settings.effective_database_url)
        environment = os.environ | {PARENT_VARIABLE: str(os.getpid())}
        with ending(subprocess.Popen(command, env=environment)) as keeper:
            place = wait_for(
                "the copied folder",
                lambda: next((settings.data_dir / "policies").glob("[!.]*/.unrecorded"), None),
                timeout_s=90,
            ).parent
            keeper.kill()
            keeper.wait()
        assert (place / "policy.onnx").read_bytes() == content
    finally:
        writer.close()
    with database.session(read_only=True) as session:
        assert session.query(Policy).count() == 0

    async def scenario() -> None:
        async with serving(settings) as rig:
            (policy,) = await rig.kept(1)
            assert policy["run_id"] == run_id
            assert policy["id"] != place.name
            assert rig.folders() == [policy["id"]]
            folder = rig.app.state.policies.folder_of(policy["id"])
            assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
            assert (folder / "policy.onnx").read_bytes() == content

    play(scenario())
    database.dispose()


def test_a_server_killed_after_the_row_keeps_the_files(settings: Settings, tmp_path: Path) -> None:
    """The mark says only that there may be no row; here there is one."""

    async def scenario() -> None:
        async with serving(settings) as rig:
            finished_run(rig.app.state.database, rig.data_dir, made=policy_folder(tmp_path / "m"))
            rig.app.state.policies.wake()
            (policy,) = await rig.kept(1)
            await until(lambda: not list(rig.data_dir.glob("policies/*/.unrecorded")))
            (rig.data_dir / "policies" / policy["id"] / ".unrecorded").touch()
        async with serving(settings) as rig:
            assert rig.folders() == [policy["id"]]
            assert (await rig.http.get(f"/policies/{policy['id']}/download")).status_code == 200
            assert not list(rig.data_dir.glob("policies/*/.unrecorded"))

    play(scenario())


def test_two_servers_keep_a_run_once(settings: Settings, tmp_path: Path) -> None:
    databases = [Database(settings.effective_database_url) for _ in range(2)]
    databases[0].upgrade()
    run_id = finished_run(databases[0], settings.data_dir, made=policy_folder(tmp_path / "made"))

    async def scenario() -> None:
        async with (
            PolicyService(settings, databases[0]) as one,
            PolicyService(settings, databases[1]) as other,
        ):
            kept = await asyncio.gather(*(server.keep_run(run_id) for server in (one, other, one)))
            assert len({policy_id for policy_id, _ in kept}) == 1
            await until(lambda: len(folders(settings.data_dir)) == 1)

    play(scenario())
    with databases[0].session(read_only=True) as session:
        assert [policy.version for policy in session.query(Policy)] == [1]
        (policy,) = session.query(Policy)
        assert folders(settings.data_dir) == [policy.id]
    for database in databases:
        database.dispose()


def test_a_run_that_cannot_be_kept_does_not_stop_the_others(
    migrated_sqlite_url: str, tmp_path: Path
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=migrated_sqlite_url)
    broken, whole = (policy_folder(tmp_path / name) for name in ("broken", "whole"))
    (broken / "policy.onnx").write_bytes(b"no network")

    async def scenario() -> None:
        async with serving(settings) as rig:
            database = rig.app.state.database
            for made in (None, broken, whole):
                finished_run(database, rig.data_dir, made=made)
            rig.app.state.policies.wake()
            (policy,) = await rig.kept(1)
            assert rig.folders() == [policy["id"]]

    play(scenario())
