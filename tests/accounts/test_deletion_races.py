"""Two servers on one PostgreSQL: one deletes an account while the other writes under it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from models import AuditEntry, Race, TrainingRun, User, UserDroneModel, UserTrack
from racer.accounts import deletion
from racer.settings import Settings
from tests.accounts.people import PASSWORD
from tests.accounts.test_deletion import rows, serving, until
from tests.races.rig import Rig
from tests.tracks.texts import LOOP
from tests.training.conftest import DETAILS

MODEL = {"title": "First", "training_epochs": 4, "drone_details": DETAILS}
RACE = {"name": "Cup", "username": "ada", "format": "time_trial", "track": "toledo"}
BESIDE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a drone model": ("POST", "/users/ada/drone-models/", {"json": MODEL}),
    "a training": ("POST", "/users/ada/drone-models/{model}/start-training", {}),
    "a sweep": ("POST", "/users/ada/drone-models/{model}/runs", {"json": {"seeds": [1, 2]}}),
    "a race": ("POST", "/races", {"json": RACE}),
    "a track": (
        "POST",
        "/users/ada/tracks",
        {"content": LOOP, "headers": {"Content-Type": "text/plain"}},
    ),
    "a password": ("PUT", "/users/ada/password", {"json": {"password": PASSWORD}}),
    "the same": ("DELETE", "/users/ada", {}),
}


@pytest.fixture
def settings(tmp_path: Path, postgres_url: str) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, database_url=postgres_url, secret_key="")


def waiting(rig: Rig) -> bool:
    """Whether a transaction waits for another one's lock."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with rig.app.state.database.session(read_only=True) as session:
        return bool(session.scalar(text(sql)))


@pytest.mark.parametrize("what", BESIDE)
def test_what_is_begun_while_an_account_goes_is_told_so(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    held, go_on, real = threading.Event(), threading.Event(), deletion._hold

    def hold(session: Session, user: User) -> bool:
        there = real(session, user)
        if not held.is_set():
            held.set()
            assert go_on.wait(30)
        return there

    async def story() -> None:
        async with serving(settings) as rig:
            await rig.account("ada")
            model = (await rig.http.post("/users/ada/drone-models/", json=MODEL)).json()
            method, path, rest = BESIDE[what]
            monkeypatch.setattr(deletion, "_hold", hold)
            deleting = asyncio.create_task(rig.http.delete("/users/ada"))
            await asyncio.to_thread(held.wait, 30)
            path = path.format(model=model["drone_id"])
            other = asyncio.create_task(rig.http.request(method, path, **rest))

            async def waits() -> bool:
                return await asyncio.to_thread(waiting, rig)

            await until("its wait for the deletion", waits)
            go_on.set()
            assert (await deleting).status_code == 204
            answer = await other
            gone = 401 if what == "a password" else 404  # what it was decided by has changed
            assert answer.status_code == gone, answer.text
            assert answer.headers["Content-Type"] == "application/problem+json"
            for kind in (User, UserDroneModel, TrainingRun, Race, UserTrack):
                assert rows(rig, kind) == []
            actions = [entry.action for entry in rows(rig, AuditEntry)]
            assert actions.count("account.delete") == 1

    asyncio.run(story())
