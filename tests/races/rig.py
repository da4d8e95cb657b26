"""Races behind the product's routes, on a real database, flown by the real program."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from models import JobStatus, Policy, Race, User, new_uuid
from racer.accounts.routes import router as accounts
from racer.flights.routes import router as flights
from racer.flights.service import FlightService
from racer.jobs.service import JobService
from racer.policies.routes import router as policies
from racer.policies.service import PolicyService
from racer.races.desk import RaceDesk
from racer.races.result_routes import router as race_results
from racer.races.routes import router as races
from racer.races.service import race_kind, reference_kind
from racer.settings import Settings
from racer.tracks.routes import router as tracks
from racer.web.app import assemble, spine
from tests.racing.pilots import write_pilot

PASSWORD = "correct horse"
OVER = ("finished", "failed", "cancelled")


@dataclass
class Rig:
    """A running service and how to reach it."""

    app: FastAPI
    http: httpx.AsyncClient
    settings: Settings

    async def account(self, username: str, *, password: bool = False) -> dict[str, str]:
        """A new account; the header that says who asks."""
        form = {"username": username} | ({"password": PASSWORD} if password else {})
        (await self.http.post("/users/", json=form)).raise_for_status()
        if not password:
            return {}
        return await self.signed_in(username)

    async def signed_in(self, username: str) -> dict[str, str]:
        """The header that says that the account with a password asks."""
        form = {"username": username, "password": PASSWORD}
        answer = await self.http.post("/token", data=form)
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def keep(self, owner: str, speed_m_s: float, name: str = "", **changes: Any) -> str:
        """The id of a new kept policy that flies so fast, as if it had been uploaded."""
        policy_id = new_uuid()
        folder = self.settings.data_dir / "policies" / policy_id
        manifest = write_pilot(folder, speed_m_s, **changes)
        with self.app.state.database.session() as session:
            user = session.query(User).filter_by(username=owner).one()
            policy = Policy(
                id=policy_id,
                user_id=user.id,
                name=name or f"{speed_m_s:g} m/s",
                version=1 + session.query(Policy).count(),
                origin="uploaded",
                sha256=manifest.policy.sha256,
                size_bytes=manifest.policy.size_bytes,
                track="toledo",
                manifest={},
                metrics={},
            )
            session.add(policy)
        return policy_id

    async def race(self, username: str | None = "ada", **changes: Any) -> dict[str, Any]:
        """A new race on the shipped course; everybody flies once."""
        wanted = {
            **{"name": "Cup", "username": username, "format": "time_trial"},
            **{"track": "toledo", "attempts": 1},
        }
        answer = await self.http.post("/races", json=wanted | changes)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def enter(
        self, race_id: str, policy_id: str, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        path = f"/races/{race_id}/entries"
        return await self.http.post(path, json={"policy_id": policy_id}, headers=headers)

    async def ended(self, race_id: str) -> dict[str, Any]:
        """Wait until the race has ended."""
        async with asyncio.timeout(120):
            while True:
                race: dict[str, Any] = (await self.http.get(f"/races/{race_id}")).json()
                if race["status"] in OVER:
                    return race
                await asyncio.sleep(0.2)

    async def flown(self, race_id: str, *policy_ids: str) -> dict[str, Any]:
        """Enter these, start, and wait for the results."""
        for policy_id in policy_ids:
            answer = await self.enter(race_id, policy_id)
            assert answer.status_code == 201, answer.text
        answer = await self.http.post(f"/races/{race_id}/start")
        assert answer.status_code == 202, answer.text
        race = await self.ended(race_id)
        assert race["status"] == "finished", race
        results: dict[str, Any] = (await self.http.get(f"/races/{race_id}/results")).json()
        return results

    def finish(self, race_id: str, *scores_s: float) -> None:
        """End a race under way that nobody flies as its job would: times in the entries' order."""
        order = sorted(scores_s)
        rows = [
            {"id": number, "rank": 1 + order.index(score), "score_s": score, "status": "finished"}
            for number, score in enumerate(scores_s, start=1)
        ]
        with self.app.state.database.session() as session:
            job = session.get_one(Race, race_id).job
            job.status, job.result = JobStatus.FINISHED, {"heats": [], "ranking": rows}
            race_kind(self.settings).ended(session, job)

    def copies(self, race_id: str) -> list[str]:
        """What lies among the race's copies."""
        return sorted(f.name for f in (self.settings.data_dir / "races" / race_id).glob("*"))

    def staged(self) -> list[str]:
        """What lies in the folder of all races and is no race's."""
        return [f.name for f in (self.settings.data_dir / "races").glob(".staged-*")]

    def counted(self, race_id: str) -> int:
        """What the database says that the race's copies take, bytes."""
        with self.app.state.database.session(read_only=True) as session:
            return int(session.get_one(Race, race_id).copies_bytes)

    def measured(self, race_id: str) -> int:
        """What they take, bytes."""
        files = (self.settings.data_dir / "races" / race_id).rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file())


@asynccontextmanager
async def serving(
    settings: Settings, *, programs: Path | None = None, executes: bool = True
) -> AsyncIterator[Rig]:
    """Serve until the block ends. `programs`: a folder of compiled programs instead of the data
    folder's own; without `executes` nobody flies what is started."""
    kind = race_kind(settings)
    if programs is not None:
        kind = dataclasses.replace(kind, program=(*kind.program[:-1], str(programs)))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        kinds = [kind, reference_kind()] if executes else []
        async with (
            spine(app),
            FlightService(settings) as app.state.flights,
            PolicyService(settings, app.state.database) as app.state.policies,
            RaceDesk(settings, app.state.database) as app.state.races,
            JobService(settings, app.state.database.session_factory, kinds) as app.state.jobs,
        ):
            yield

    routers = (accounts, flights, policies, tracks, races, race_results)
    app = assemble(settings, routers=routers, lifespan=lifespan)
    transport = httpx.ASGITransport(app=app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost") as http,
    ):
        yield Rig(app, http, settings)
