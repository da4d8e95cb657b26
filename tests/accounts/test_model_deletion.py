"""Deleting a drone model: with its trainings, while none of them lasts; what was kept stays."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest
from sqlalchemy import text

import crud
from database import Database
from models import AuditEntry, Policy, RaceEntry, TrainingRun, UserDroneModel
from racer.errors import NotFoundError
from racer.settings import Settings
from tests.accounts.test_deletion import files, rows, run, serving, training, until
from tests.races.rig import Rig

NEW = {"title": "First", "training_epochs": 4}


async def ended(rig: Rig, headers: dict[str, str] | None = None) -> tuple[str, str]:
    """The path of a model of ada's and its run, which has trained an epoch and was cancelled."""
    run_id = await training(rig, "ada", headers or {})
    answer = await rig.http.post(f"/runs/{run_id}/cancel", headers=headers)
    assert answer.status_code == 200, answer.text
    return f"/users/ada/drone-models/{answer.json()['drone_id']}", run_id


async def new_model(rig: Rig) -> str:
    """The path of a model of ada's that was never trained."""
    answer = await rig.http.post("/users/ada/drone-models/", json=NEW)
    assert answer.status_code == 200, answer.text
    return f"/users/ada/drone-models/{answer.json()['drone_id']}"


def test_it_goes_with_its_runs_and_what_was_kept_stays(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            ada = await rig.account("ada", password=True)
            path, run_id = await ended(rig, ada)
            policy, race = rig.keep("ada", 3.0), await race_of(rig, ada)
            with rig.app.state.database.session() as session:
                model = session.query(UserDroneModel).one()
                kept = session.get_one(Policy, policy)
                kept.drone_model_id, kept.run_id = model.id, run_id
            assert (await rig.enter(race, policy, ada)).status_code == 201
            assert files(rig, run_id) == [f"runs/{run_id}"]

            answer = await rig.http.delete(path, headers=ada)
            assert (answer.status_code, answer.content) == (204, b"")

            for gone in (path, f"/runs/{run_id}"):
                assert (await rig.http.get(gone, headers=ada)).status_code == 404
            assert rows(rig, TrainingRun) == rows(rig, UserDroneModel) == []
            assert files(rig, run_id) == []
            left = (await rig.http.get(f"/policies/{policy}", headers=ada)).json()
            assert (left["drone_id"], left["run_id"]) == (None, None)
            assert [entry.policy_id for entry in rows(rig, RaceEntry)] == [policy]
            told = {(e.actor, e.action, e.target) for e in rows(rig, AuditEntry)}
            drone_id = path.rpartition("/")[2]
            assert {
                ("ada", "run.delete", run_id),
                ("ada", "drone_model.delete", drone_id),
            } < told
            assert (await rig.http.delete(path, headers=ada)).status_code == 404

    run(story())


async def race_of(rig: Rig, headers: dict[str, str]) -> str:
    wanted = {"name": "Cup", "username": "ada", "format": "time_trial", "track": "toledo"}
    answer = await rig.http.post("/races", json=wanted, headers=headers)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def test_a_training_that_lasts_is_cancelled_first(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            run_id = await training(rig, "ada", {})
            drone_id = (await rig.http.get(f"/runs/{run_id}")).json()["drone_id"]
            path = f"/users/ada/drone-models/{drone_id}"
            for change in (None, "pause", "resume"):
                if change is not None:
                    changed = await rig.http.post(f"/runs/{run_id}/{change}")
                    assert changed.status_code == 200, changed.text
                answer = await rig.http.delete(path)
                assert answer.status_code == 409
                assert run_id in answer.json()["detail"]
                assert "Cancel it" in answer.json()["detail"]
                assert (await rig.http.get(path)).status_code == 200
            await rig.http.post(f"/runs/{run_id}/cancel")
            assert (await rig.http.delete(path)).status_code == 204

    run(story())


def test_nobody_deletes_what_they_have_not_seen(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            path = await new_model(rig)
            model = await rig.http.get(path)
            seen = {"If-Match": model.headers["ETag"]}
            change = f"/drone-models/{model.json()['id']}/"
            assert (await rig.http.put(change, json={"train_loss": 0.5})).status_code == 200
            assert (await rig.http.delete(path, headers=seen)).status_code == 412
            now = {"If-Match": (await rig.http.get(path)).headers["ETag"]}
            assert (await rig.http.delete(path, headers=now)).status_code == 204

            # The account likewise.
            account = (await rig.http.get("/users/ada")).headers["ETag"]
            await new_model(rig)
            late = await rig.http.delete("/users/ada", headers={"If-Match": account})
            assert late.status_code == 412
            now = {"If-Match": (await rig.http.get("/users/ada")).headers["ETag"]}
            assert (await rig.http.delete("/users/ada", headers=now)).status_code == 204

    run(story())


def test_the_vehicle_that_flies_for_it_is_taken_back_first(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            path = await new_model(rig)
            rig.app.state.control = SimpleNamespace(active_drone_id=path.rpartition("/")[2])
            answer = await rig.http.delete(path)
            assert answer.status_code == 409
            assert "Stop its simulation" in answer.json()["detail"]
            rig.app.state.control = SimpleNamespace(active_drone_id=None)
            assert (await rig.http.delete(path)).status_code == 204

    run(story())


def test_a_full_account_has_room_again(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crud, "MOST_DRONE_MODELS", 1)

    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            path = await new_model(rig)
            full = await rig.http.post("/users/ada/drone-models/", json=NEW)
            assert full.status_code == 409
            assert "Delete one of them" in full.json()["detail"]
            assert (await rig.http.delete(path)).status_code == 204
            await new_model(rig)

    run(story())


def test_of_a_start_and_a_deletion_at_once_one_wins(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            for _ in range(12):
                path = await new_model(rig)
                drone_id = path.rpartition("/")[2]
                started, deleted = await asyncio.gather(
                    rig.app.state.training.start(drone_id),
                    rig.http.delete(path),
                    return_exceptions=True,
                )
                assert not isinstance(deleted, BaseException), deleted
                if deleted.status_code == 204:
                    assert isinstance(started, NotFoundError), started
                    assert (await rig.http.get(path)).status_code == 404
                else:
                    assert deleted.status_code == 409, deleted.text
                    assert isinstance(started, str)
                    await rig.http.post(f"/runs/{started}/cancel")

    run(story())


def test_a_training_that_waits_for_a_deletion_finds_nothing(
    postgres_url: str, tmp_path: Path
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=postgres_url)

    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            drone_id = (await new_model(rig)).rpartition("/")[2]
            database: Database = rig.app.state.database

            async def waits() -> bool:
                with database.session(read_only=True) as session:
                    return bool(
                        session.scalar(
                            text(
                                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type='Lock'"
                            )
                        )
                    )

            with database.session() as session:
                crud.delete_drone_model(session, crud.get_drone_model(session, drone_id, lock=True))
                start = asyncio.create_task(rig.app.state.training.start(drone_id))
                await until("the start to wait", waits)
            with pytest.raises(NotFoundError):
                await start

    run(story())
