"""Accounts, evaluations and their jobs as one app, asked without a network."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from models import Policy, User
from racer.accounts.routes import router as accounts
from racer.evaluations.routes import router as evaluations
from racer.evaluations.service import evaluation_kind, policies_folder
from racer.jobs.service import JobService
from racer.policy.tables import airframe_table
from racer.settings import Settings
from racer.sim.airframe import load_airframe
from racer.tracks.routes import router as tracks
from racer.web.app import assemble, spine

OVER = ("finished", "failed", "cancelled")
# What the routes look at.
MANIFEST = {
    "control_hz": 25.0,
    "substeps": 8,
    "airframe": airframe_table(load_airframe("x500")),
}


@dataclass
class Rig:
    """The running app and how to reach it."""

    app: FastAPI
    http: httpx.AsyncClient
    policies: Path

    async def new_user(self, username: str, password: str | None = None) -> dict[str, str]:
        """An account; the header that says that its owner asks."""
        account = {"username": username} | ({"password": password} if password else {})
        (await self.http.post("/users/", json=account)).raise_for_status()
        if password is None:
            return {}
        answer = await self.http.post("/token", data=account)
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def new_policy(
        self,
        username: str,
        write: Callable[[Path], Any],
        *,
        manifest: dict[str, Any] | None = None,
    ) -> str:
        """A policy of that account whose folder `write` fills; its id. `manifest`: what its row
        says otherwise than others'."""
        with self.app.state.database.session() as session:
            user = session.query(User).filter_by(username=username).one()
            version = 1 + session.query(Policy).filter_by(user_id=user.id).count()
            policy = Policy(
                user_id=user.id,
                name="Racer",
                version=version,
                origin="uploaded",
                sha256="0" * 64,
                size_bytes=1,
                track="toledo",
                manifest=MANIFEST | (manifest or {}),
                metrics={},
            )
            session.add(policy)
            session.flush()
            folder = self.policies / policy.id
            folder.mkdir(parents=True)
            write(folder)
            return policy.id

    async def ask(self, policy_id: str, **settings: Any) -> str:
        """Ask for an evaluation; its id."""
        answer = await self.http.post(f"/policies/{policy_id}/evaluations", json=settings)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    async def read(self, evaluation_id: str, **headers: str) -> Any:
        answer = await self.http.get(f"/evaluations/{evaluation_id}", headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def running(settings: Settings, *, fake: bool = True) -> AsyncIterator[Rig]:
    """Until the block ends. `fake`: no policy is flown, see fake_evaluation."""
    kind = evaluation_kind(settings)
    policies = policies_folder(settings)
    if fake:
        program = (sys.executable, "-m", "tests.evaluations.fake_evaluation")
        kind = dataclasses.replace(kind, program=(*program, "--policies", str(policies)))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        factory = app.state.database.session_factory
        async with JobService(settings, factory, [kind]) as app.state.jobs:
            yield

    app = assemble(settings, routers=(accounts, tracks, evaluations), lifespan=spine)
    transport = httpx.ASGITransport(app)
    async with (
        spine(app),
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
    ):
        yield Rig(app, http, policies)
