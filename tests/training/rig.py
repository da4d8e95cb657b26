"""Accounts, training and cameras behind a real server on the product's event loop.

The vehicle is absent: what the cameras know of it comes from a real telemetry hub that the test
feeds as the ROS 2 node does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from racer.accounts.routes import router as accounts
from racer.cameras.routes import router as cameras
from racer.cameras.service import CameraService
from racer.control.pulse import Pulse
from racer.control.telemetry import TelemetryHub
from racer.settings import Settings
from racer.tracks.routes import router as tracks
from racer.training.routes import router as training
from racer.training.run_routes import router as runs
from racer.training.service import TrainingService
from racer.web.app import assemble, spine
from racer.web.server import EndStreams, listen
from tests.training.conftest import DETAILS, FAKE_WORKER


class Vehicle:
    """The part of the control service that cameras ask."""

    def __init__(self) -> None:
        self.active_drone_id: str | None = None
        self.telemetry = TelemetryHub(Pulse())
        self.drone = 1


@dataclass
class Rig:
    """A running service and how to reach it."""

    app: FastAPI
    http: httpx.AsyncClient
    port: int
    vehicle: Vehicle
    server: uvicorn.Server
    streams: EndStreams

    @asynccontextmanager
    async def socket(self, path: str, **options: Any) -> AsyncIterator[ClientConnection]:
        async with connect(f"ws://127.0.0.1:{self.port}{path}", **options) as socket:
            yield socket

    async def new_model(
        self,
        username: str = "ada",
        *,
        password: str | None = None,
        epochs: int = 4,
        **details: str,
    ) -> str:
        """The drone_id of a new model of that account, which is made if need be."""
        account = {"username": username} | ({"password": password} if password else {})
        await self.http.post("/users/", json=account)
        headers = await self.signed_in(username, password) if password else {}
        body = {"title": "First", "training_epochs": epochs, "drone_details": DETAILS | details}
        answer = await self.http.post(
            f"/users/{username}/drone-models/", json=body, headers=headers
        )
        answer.raise_for_status()
        return str(answer.json()["drone_id"])

    async def signed_in(self, username: str, password: str) -> dict[str, str]:
        """The header that says who asks."""
        form = {"username": username, "password": password}
        answer = await self.http.post("/token", data=form)
        answer.raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def stop(self) -> None:
        """As a Ctrl-C does in racer.web.server."""
        self.streams.stopping.set()
        self.server.should_exit = True


@asynccontextmanager
async def serving(
    settings: Settings,
    behaviour: str = "good",
    *,
    hold_after: int = 0,
    worker: Sequence[str] | None = None,
) -> AsyncIterator[Rig]:
    """Serve until the block ends; `worker`: another training program than the fake one."""
    vehicle = Vehicle()
    worker = worker or (*FAKE_WORKER, "--behaviour", behaviour, "--hold-after", str(hold_after))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            spine(app),
            TrainingService(
                settings, app.state.database.session_factory, worker=worker
            ) as app.state.training,
            CameraService(vehicle, app.state.training) as app.state.cameras,
        ):
            yield

    app = assemble(settings, routers=(accounts, training, runs, tracks, cameras), lifespan=lifespan)
    streams = EndStreams(app)
    config = uvicorn.Config(
        streams,
        log_config=None,
        lifespan="off",
        ws="websockets-sansio",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with lifespan(app):
            task = asyncio.create_task(server.serve(sockets=[listener]))
            rig: Rig | None = None
            try:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                    rig = Rig(app, http, port, vehicle, server, streams)
                    yield rig
            finally:
                streams.stopping.set()
                server.should_exit = True
                await task
