"""Accounts, trainings and policies behind a real server, with policies of random weights.

The training program is the tests' own: it trains nothing. What it would have left in a run's folder
is put there before the run begins.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from racer.accounts.routes import router as accounts
from racer.policies.routes import LARGE_BODIES
from racer.policies.routes import router as policies
from racer.policies.service import PolicyService
from racer.policy.weights import CHECKSUM, checksum
from racer.settings import Settings
from racer.training.routes import router as training
from racer.training.run_routes import router as runs
from racer.training.service import TrainingService
from racer.web.app import assemble, spine
from tests.policy.rig import CONFIG, random_network, write_random_policy
from tests.training.conftest import DETAILS, FAKE_WORKER

ZIP = {"Content-Type": "application/zip"}
PASSWORD = "correct horse"
_PATIENCE_S = 90.0  # processes start slowly on a crowded machine
Members = Iterable[tuple[str | zipfile.ZipInfo, bytes]]
FILES = ("policy.onnx", "manifest.json")


@dataclass
class Rig:
    """A running service and how to reach it."""

    app: FastAPI
    http: httpx.AsyncClient
    data_dir: Path

    async def new_model(self) -> str:
        """The drone_id of a new model of ada's, who is made if need be."""
        await self.http.post("/users/", json={"username": "ada"})
        body = {"title": "First", "training_epochs": 2, "drone_details": DETAILS}
        answer = await self.http.post("/users/ada/drone-models/", json=body)
        answer.raise_for_status()
        return str(answer.json()["drone_id"])

    async def account(self, username: str) -> dict[str, str]:
        """A new account with a password; the header that says who asks."""
        form = {"username": username, "password": PASSWORD}
        (await self.http.post("/users/", json=form)).raise_for_status()
        return await self.signed_in(username)

    async def signed_in(self, username: str) -> dict[str, str]:
        """The header that says who asks."""
        form = {"username": username, "password": PASSWORD}
        answer = await self.http.post("/token", data=form)
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def started(self, drone_id: str, *, seed: int = 0) -> str:
        """The id of a new run of the model, whose folder has its policy already."""
        path = f"/users/ada/drone-models/{drone_id}/runs"
        answer = await self.http.post(path, json={"seeds": [seed]})
        answer.raise_for_status()
        return str(answer.json()[0]["id"])

    async def policies(self, **wanted: Any) -> list[dict[str, Any]]:
        answer = await self.http.get("/policies", params=wanted)
        answer.raise_for_status()
        found: list[dict[str, Any]] = answer.json()["policies"]
        return found

    async def kept(self, count: int) -> list[dict[str, Any]]:
        """Wait until there are so many policies."""
        async with asyncio.timeout(_PATIENCE_S):
            while len(found := await self.policies()) < count:  # noqa: ASYNC110 - a server's work
                await asyncio.sleep(0.05)
        return found

    async def upload(
        self, content: bytes, username: str = "ada", *, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        path = f"/users/{username}/policies"
        return await self.http.post(path, content=content, headers=ZIP | (headers or {}))

    def folders(self) -> list[str]:
        """What lies among the policies, the lock file apart."""
        return folders(self.data_dir)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another process or thread does."""
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def folders(data_dir: Path) -> list[str]:
    """What lies among the policies, the lock file apart."""
    return sorted(p.name for p in (data_dir / "policies").iterdir() if p.name != ".lock")


@asynccontextmanager
async def serving(
    settings: Settings, behaviour: str = "good", *, hold_after: int = 0
) -> AsyncIterator[Rig]:
    """Serve until the block ends."""
    worker = (*FAKE_WORKER, "--behaviour", behaviour, "--hold-after", str(hold_after))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            spine(app),
            PolicyService(settings, app.state.database) as app.state.policies,
            TrainingService(
                settings,
                app.state.database.session_factory,
                worker=worker,
                heard=app.state.policies.wake,
            ) as app.state.training,
        ):
            yield

    app = assemble(
        settings,
        routers=(accounts, training, runs, policies),
        lifespan=lifespan,
        large_bodies=LARGE_BODIES,
    )
    transport = httpx.ASGITransport(app)
    async with (
        lifespan(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as http,
    ):
        yield Rig(app, http, settings.data_dir)


async def give_policy(rig: Rig, run_id: str, made: Path) -> Path:
    """Put a policy into a run's folder as its training does; the folder."""
    folder = rig.data_dir / "runs" / run_id
    await until(folder.is_dir)
    shutil.copytree(made, folder, dirs_exist_ok=True)
    return folder


def zip_with(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of (name or ZipInfo, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_of_folder(folder: Path) -> bytes:
    """What a client sends."""
    return zip_with((name, (folder / name).read_bytes()) for name in FILES)


def policy_with_weights(folder: Path, *, seed: int = 0) -> Path:
    """A policy's folder as a training leaves it: network, manifest, weights."""
    import json

    import numpy as np

    from racer.learning.files import write_tensors
    from racer.policy.export import export_run

    network = random_network(seed=seed)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"observation_mean": network.mean, "observation_variance": network.variance}
    for layer, (weight, bias) in zip(("1", "2", "out"), network.layers, strict=True):
        tensors |= {f"policy_{layer}_weight": weight, f"policy_{layer}_bias": bias}
    tensors["value_1_weight"] = np.zeros((2, 2), np.float32)  # what else a training keeps
    told = {"config": json.dumps(CONFIG), "epoch": "2", "output": "linear", "report": "{}"}
    told[CHECKSUM] = checksum(tensors)
    write_tensors(folder / "policy.safetensors", tensors, metadata=told)
    export_run(folder)
    return folder


def policy_folder(folder: Path, **changes: Any) -> Path:
    """A policy's folder without weights, as somebody sends it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_random_policy(folder, **changes)
    return folder
