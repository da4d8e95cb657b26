"""The web service: `python main.py` serves the API, the sockets and the console on port 5000.

`create_app()` builds it and touches nothing; the lifespan brings up the database, the control
service (ROS 2 node and, unless STACK says otherwise, vehicle and controller processes), the
policy, the training, the job and the camera service, and takes them down in the opposite order.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from racer.accounts.routes import router as accounts
from racer.cameras.routes import router as cameras
from racer.cameras.service import CameraService
from racer.console import page
from racer.control.routes import router as control
from racer.control.service import ControlService
from racer.errors import ConfigurationError
from racer.evaluations.routes import router as evaluations
from racer.evaluations.service import evaluation_kind
from racer.flights.routes import router as flights
from racer.flights.service import FlightService
from racer.jobs.service import JobService
from racer.policies.routes import LARGE_BODIES
from racer.policies.routes import router as policies
from racer.policies.service import PolicyService
from racer.process import configure_logging
from racer.races.desk import RaceDesk
from racer.races.result_routes import router as race_results
from racer.races.routes import router as races
from racer.races.service import race_kind, reference_kind
from racer.settings import Settings, get_settings
from racer.tracks.routes import router as tracks
from racer.training.routes import router as training
from racer.training.run_routes import router as runs
from racer.training.service import TrainingService
from racer.upkeep.seeding import sow
from racer.web.app import assemble, spine
from racer.web.health import router as health
from racer.web.metrics import router as metrics
from racer.web.server import serve

log = structlog.get_logger(__name__)
ROUTERS = (
    accounts,
    control,
    flights,
    training,
    runs,
    policies,
    evaluations,
    tracks,
    races,
    race_results,
    cameras,
    health,
    metrics,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Everything that lives as long as the service, kept on `app.state`."""
    settings: Settings = app.state.settings

    async def find_policy(name: str) -> str:  # asked when there is a training service
        training: TrainingService = app.state.training
        return await training.policy_run(name)

    async with (
        spine(app),
        ControlService(
            settings, find_policy=find_policy, database=app.state.database
        ) as app.state.control,
        FlightService(settings) as app.state.flights,
        PolicyService(settings, app.state.database) as app.state.policies,
        TrainingService(
            settings, app.state.database.session_factory, heard=app.state.policies.wake
        ) as app.state.training,
        RaceDesk(settings, app.state.database) as app.state.races,
        JobService(
            settings,
            app.state.database.session_factory,
            [evaluation_kind(settings), race_kind(settings), reference_kind()],
        ) as app.state.jobs,
        CameraService(app.state.control, app.state.training) as app.state.cameras,
    ):
        if settings.seed_db:
            await _seed(app)
        yield


async def _seed(app: FastAPI) -> None:
    """Sample data; its first model is trained unless it is already."""

    def rows() -> tuple[str, str]:
        with app.state.database.session() as session:
            return sow(session)

    username, drone_id = await run_in_threadpool(rows)
    await app.state.training.start(drone_id)
    log.info("seeded", username=username)


def create_app(settings: Settings | None = None) -> FastAPI:
    """The whole service, not yet running."""
    app = assemble(
        settings or get_settings(), routers=ROUTERS, lifespan=lifespan, large_bodies=LARGE_BODIES
    )
    page.mount(app)
    return app


def main() -> int:
    """Serve until told to stop; returns the exit code."""
    try:
        settings = get_settings()
    except ConfigurationError as error:
        print(f"Toledo Racer cannot start: {error.message}", file=sys.stderr)
        return 1
    configure_logging(settings.log_level, program="main", log_format=settings.log_format)
    for chatty in ("alembic", "uvicorn"):  # what they tell in passing, we tell in one line
        logging.getLogger(chatty).setLevel(logging.WARNING)
    return serve(create_app(settings), settings)


if __name__ == "__main__":
    sys.exit(main())
