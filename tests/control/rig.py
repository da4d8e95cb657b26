"""What the control tests share: the slice behind a real server, real sockets, real ROS 2."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from racer.accounts.routes import router as accounts
from racer.control.child import Program
from racer.control.routes import router as control
from racer.control.service import ControlService, FindPolicy
from racer.process import PARENT_VARIABLE
from racer.settings import Settings
from racer.web.app import assemble, spine
from racer.web.server import listen
from tests.support import REPOSITORY, claim_slot

PEER = REPOSITORY / "tests" / "control" / "controller_peer.py"
ASLEEP = "import sys; sys.path.insert(0, '.'); from racer.process import die_with_parent; "
ASLEEP += "die_with_parent(); import signal; signal.pause()"


@contextmanager
def slot_settings(tmp_path: Path, **changes: Any) -> Iterator[Settings]:
    """Settings of a slot that nobody else uses, read from nothing else."""
    with claim_slot(tmp_path) as slot:
        yield Settings(
            _env_file=None,
            data_dir=tmp_path,
            database_url="",
            secret_key="",
            port=0,
            vehicle_instance=int(slot["VEHICLE_INSTANCE"]),
            ros_domain_id=int(slot["ROS_DOMAIN_ID"]),
            **({"stack": "external"} | changes),
        )


@dataclass
class Rig:
    """A running service and how to reach it."""

    app: FastAPI
    http: httpx.AsyncClient
    port: int

    @property
    def control(self) -> ControlService:
        return self.app.state.control

    @asynccontextmanager
    async def socket(self, path: str, **options: Any) -> AsyncIterator[ClientConnection]:
        async with connect(f"ws://127.0.0.1:{self.port}{path}", **options) as socket:
            yield socket

    async def new_model(self, username: str, title: str = "Ada's racer") -> str:
        """A drone model of that account (made if need be); returns the path of its REST routes."""
        await self.http.post("/users/", json={"username": username})
        body = {"title": title, "description": "", "training_epochs": 1, "drone_details": DETAILS}
        answer = await self.http.post(f"/users/{username}/drone-models/", json=body)
        answer.raise_for_status()
        return f"/users/{username}/drone-models/{answer.json()['drone_id']}"


DETAILS = {
    "raceType": "time-trial",
    "algorithm": "ppo",
    "flightAltitude": "",
    "velocityLimit": "",
    "yawLimit": "",
    "enableWind": "",
    "windSpeed": "",
}


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run on the loop that the product runs on (uvloop, where uvicorn finds it)."""
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        runner.run(main)


@asynccontextmanager
async def serving(
    settings: Settings, *, find_policy: FindPolicy | None = None, **programs: Program
) -> AsyncIterator[Rig]:
    """The slice with accounts and database behind uvicorn, configured as the product does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with spine(app):
            service = ControlService(
                settings, find_policy=find_policy, database=app.state.database, **programs
            )
            async with service as app.state.control:
                yield

    app = assemble(settings, routers=(accounts, control), lifespan=lifespan)
    config = uvicorn.Config(
        app,
        log_config=None,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=1 << 20,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        async with lifespan(app):
            task = asyncio.create_task(server.serve(sockets=[listener]))
            try:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
                    yield Rig(app, http, port)
            finally:
                server.should_exit = True
                await task


async def heard(socket: ClientConnection, kind: str, *, within_s: float = 15.0) -> dict[str, Any]:
    """The next frame of that type; others are skipped."""
    async with asyncio.timeout(within_s):
        while True:
            frame = json.loads(await socket.recv())
            if frame["type"] == kind:
                return frame


async def until(what: str, condition: Callable[[], Any], *, within_s: float = 15.0) -> Any:
    """Poll until the condition is truthy; an assertion with `what` otherwise."""
    try:
        async with asyncio.timeout(within_s):
            while not (value := condition()):  # noqa: ASYNC110 - processes send no events
                await asyncio.sleep(0.02)
            return value
    except TimeoutError:
        raise AssertionError(f"Waited {within_s} s in vain for: {what}") from None


def peer_program(settings: Settings, name: str = "controller") -> Program:
    """A child that answers like the controller."""
    return Program(
        name=name,
        arguments=(str(PEER),),
        environment={
            "PYTHONPATH": str(REPOSITORY),
            "ROS_DOMAIN_ID": str(settings.ros_domain_id),
            "VEHICLE_INSTANCE": str(settings.vehicle_instance),
            "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        },
        directory=REPOSITORY,
    )


def script(name: str, source: str) -> Program:
    """A child that runs a few lines of Python."""
    return Program(name=name, arguments=("-c", source), environment={}, directory=REPOSITORY)


def children() -> list[psutil.Process]:
    """Living processes that our supervisor started, and theirs; not a test database's server."""
    return [process for process in psutil.Process().children(recursive=True) if _is_ours(process)]


def _is_ours(process: psutil.Process) -> bool:
    try:
        return process.environ().get(PARENT_VARIABLE) == str(os.getpid())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False
