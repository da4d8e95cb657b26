"""Deleting an account ends what runs and leaves no file of its own, and the races that were."""

from __future__ import annotations

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import select

from models import AuditEntry, Job, JobStatus, Policy, Race, TrainingRun, User, UserDroneModel
from racer.accounts import deletion
from racer.evaluations.routes import router as evaluations
from racer.evaluations.service import evaluation_kind, policies_folder
from racer.flights.service import FlightService
from racer.jobs.service import JobService
from racer.policies.routes import router as policies
from racer.policies.service import PolicyService
from racer.races.desk import RaceDesk
from racer.races.result_routes import router as results
from racer.races.routes import router as races
from racer.races.service import race_kind, reference_kind
from racer.settings import Settings
from racer.tracks.routes import router as tracks
from racer.training.routes import router as trainings
from racer.training.run_routes import router as runs
from racer.training.service import TrainingService
from racer.web.app import assemble, spine
from tests.accounts.people import PASSWORD
from tests.evaluations.conftest import MANIFEST
from tests.races.rig import Rig, accounts
from tests.tracks.texts import LOOP
from tests.training.conftest import DETAILS, FAKE_WORKER


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Rig]:
    """Trainings hold after their first epoch; evaluations fly nothing."""
    settings = settings.model_copy(update={"training_memory_mb": 10**6, "max_jobs": 1})
    worker = (*FAKE_WORKER, "--behaviour", "good", "--hold-after", "1")
    fake = (sys.executable, "-m", "tests.evaluations.fake_evaluation")
    program = (*fake, "--policies", str(policies_folder(settings)))
    evaluation = dataclasses.replace(evaluation_kind(settings), program=program)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        factory = app.state.database.session_factory
        kinds = [evaluation, race_kind(settings), reference_kind()]
        app.state.control = SimpleNamespace(active_drone_id=None)  # nothing flies here
        async with (
            FlightService(settings) as app.state.flights,
            PolicyService(settings, app.state.database) as app.state.policies,
            TrainingService(settings, factory, worker=worker) as app.state.training,
            RaceDesk(settings, app.state.database) as app.state.races,
            JobService(settings, factory, kinds) as app.state.jobs,
        ):
            yield

    routers = (accounts, trainings, runs, policies, evaluations, tracks, races, results)
    app = assemble(settings, routers=routers, lifespan=spine)
    transport = httpx.ASGITransport(app=app)
    async with (
        spine(app),
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        yield Rig(app, http, settings)


def run(story: Any) -> None:
    asyncio.run(story)


async def until(what: str, found: Any) -> Any:
    """Wait for it."""
    async with asyncio.timeout(60):
        while True:
            if value := await found():
                return value
            await asyncio.sleep(0.05)


async def training(rig: Rig, name: str, headers: dict[str, str]) -> str:
    """The id of a run of theirs that has trained an epoch."""
    body = {"title": "First", "training_epochs": 4, "drone_details": DETAILS}
    path = f"/users/{name}/drone-models/"
    model = (await rig.http.post(path, json=body, headers=headers)).json()
    run_id: str = await rig.app.state.training.start(model["drone_id"])

    async def trained() -> bool:
        epochs = await rig.http.get(f"/runs/{run_id}/epochs", headers=headers)
        return bool(epochs.json())

    await until("an epoch", trained)
    return run_id


def files(rig: Rig, *ids: str) -> list[str]:
    """Whatever there is on the disk that is named by these."""
    found = (path for path in rig.settings.data_dir.rglob("*") if path.name in ids)
    return sorted(str(path.relative_to(rig.settings.data_dir)) for path in found)


def rows(rig: Rig, kind: Any) -> list[Any]:
    with rig.app.state.database.session(read_only=True) as session:
        return list(session.scalars(select(kind)))


def test_nothing_of_an_account_is_left_but_the_races_that_were(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            ada = await rig.account("ada", password=True)
            await rig.account("bob")
            run_id = await training(rig, "ada", ada)
            policy, rival = rig.keep("ada", 3.0), rig.keep("bob", 2.0)
            with rig.app.state.database.session() as session:
                session.get_one(Policy, policy).manifest = MANIFEST
            first = await rig.http.post(f"/policies/{policy}/evaluations", json={}, headers=ada)
            assert first.status_code == 202
            made: list[str] = []
            for owner in ("ada", "ada", "bob"):
                wanted = {"name": "Cup", "username": owner, "format": "time_trial"}
                wanted |= {"track": "toledo"}
                answer = await rig.http.post("/races", json=wanted, headers=ada)
                if owner == "bob":
                    answer = await rig.http.post("/races", json=wanted)
                assert answer.status_code == 201, answer.text
                made.append(answer.json()["id"])
            for race_id in made:
                for one, headers in ((policy, ada), (rival, None)):
                    assert (await rig.enter(race_id, one, headers)).status_code == 201
            ours, flown, theirs = made
            with rig.app.state.database.session() as session:
                race = session.get_one(Race, flown)
                race.status, race.copies_bytes = "finished", 1
            track = await rig.http.post(
                "/users/ada/tracks", content=LOOP, headers=ada | {"Content-Type": "text/plain"}
            )
            assert track.status_code == 201, track.text
            assert files(rig, run_id, policy, ours)

            assert (await rig.http.delete("/users/ada")).status_code == 401
            answer = await rig.http.delete("/users/ada", headers=ada)
            assert answer.status_code == 204, answer.text

            assert files(rig, run_id, policy, ours) == []
            assert [user.username for user in rows(rig, User)] == ["bob"]
            for kind in (TrainingRun, UserDroneModel, Job):
                assert rows(rig, kind) == []
            assert [kept.id for kept in rows(rig, Policy)] == [rival]
            assert (await rig.http.get(f"/races/{ours}")).status_code == 404
            for race_id in (flown, theirs):
                entries = (await rig.http.get(f"/races/{race_id}")).json()["entries"]
                assert [entry["username"] for entry in entries] == ["ada", "bob"]
                assert len(rig.copies(race_id)) == 2
            assert (await rig.http.get("/users/me", headers=ada)).status_code == 401
            told = {(e.actor, e.action) for e in rows(rig, AuditEntry)}
            assert {("ada", "run.delete"), ("ada", "policy.delete")} < told
            assert {("ada", "race.delete"), ("ada", "account.delete")} < told
            assert ("ada", "drone_model.delete") in told
            # Who takes the name has nothing of it.
            again = await rig.http.post("/users/", json={"username": "ada", "password": PASSWORD})
            assert again.json()["drone_models"] == []

    run(story())


def test_a_race_under_way_is_cancelled_first(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            policy = rig.keep("ada", 3.0)
            race = await rig.race("ada")
            assert (await rig.enter(race["id"], policy)).status_code == 201
            started = await rig.http.post(f"/races/{race['id']}/start")
            assert started.status_code == 202, started.text
            assert (await rig.http.delete("/users/ada")).status_code == 204
            assert rows(rig, Race) == []
            assert rig.copies(race["id"]) == []

            async def over() -> bool:
                return all(j.status is not JobStatus.RUNNING for j in rows(rig, Job))

            await until("its job to be over", over)

    run(story())


def test_what_is_begun_meanwhile_goes_too(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            rig.keep("ada", 3.0)
            real, late = deletion._remove, list[str]()

            async def remove(*arguments: Any) -> None:
                await real(*arguments)
                if not late:
                    late.append(rig.keep("ada", 2.0))

            monkeypatch.setattr(deletion, "_remove", remove)
            assert (await rig.http.delete("/users/ada")).status_code == 204
            assert files(rig, *late) == []
            assert rows(rig, Policy) == rows(rig, User) == []

    run(story())


def test_an_account_that_never_rests_is_a_409(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            rig.keep("ada", 3.0)

            async def remove(*_: Any) -> None:
                """Somebody begins as much as is removed."""

            monkeypatch.setattr(deletion, "_remove", remove)
            answer = await rig.http.delete("/users/ada")
            assert answer.status_code == 409
            assert "Try again" in answer.json()["detail"]
            assert len(rows(rig, Policy)) == 1

    run(story())


def test_who_deletes_nobody_gets_a_404(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            for name in ("nobody", "me", "%00"):
                assert (await rig.http.delete(f"/users/{name}")).status_code == 404

    run(story())
