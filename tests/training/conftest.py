"""A training service on a real database, with a training program that obeys the test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
import uvicorn

from database import Database
from models import TrainingEpoch, TrainingRun, User, UserDroneModel
from racer.settings import Settings
from racer.training.service import TrainingService
from tests.served import migrated

DONE = {"done": True, "message": "Training completed!"}

FAKE_WORKER = (sys.executable, "-m", "tests.training.fake_worker")
T = TypeVar("T")
DETAILS = {"raceType": "time-trial", "algorithm": "ppo", "velocityLimit": "15", "windSpeed": ""}


@dataclass
class Bench:
    """What most tests here do, in a word each."""

    database_url: str
    database: Database
    data_dir: Path
    users: dict[str, int] = field(default_factory=dict)

    def settings(self, **changes: Any) -> Settings:
        """Programs that train nothing need no memory, whatever is estimated."""
        given = {"training_memory_mb": 10**6} | changes
        return Settings(_env_file=None, data_dir=self.data_dir, **given)

    def service(
        self, behaviour: str = "good", *, hold_after: int = 0, max_trainings: int = 1
    ) -> TrainingService:
        worker = (
            *FAKE_WORKER,
            *("--behaviour", behaviour, "--hold-after", str(hold_after)),
        )
        settings = self.settings(max_trainings=max_trainings)
        return TrainingService(settings, self.database.session_factory, worker=worker)

    def new_model(
        self, *, epochs: int = 4, owner: str = "ada", password_hash: str | None = None
    ) -> str:
        with self.database.session() as session:
            if owner not in self.users:
                user = User(username=owner, password_hash=password_hash)
                session.add(user)
                session.flush()
                self.users[owner] = user.id
            model = UserDroneModel(
                user_id=self.users[owner],
                title="First",
                training_epochs=epochs,
                drone_details=DETAILS,
            )
            session.add(model)
        return model.drone_id

    def model(self, drone_id: str) -> UserDroneModel:
        with self.database.session(read_only=True) as session:
            return session.query(UserDroneModel).filter_by(drone_id=drone_id).one()

    def runs(self, drone_id: str) -> list[TrainingRun]:
        with self.database.session(read_only=True) as session:
            runs = session.query(TrainingRun).join(UserDroneModel).filter_by(drone_id=drone_id)
            return runs.order_by(TrainingRun.created_at).all()

    def epochs(self, run_id: str) -> list[int]:
        with self.database.session(read_only=True) as session:
            rows = session.query(TrainingEpoch.epoch).filter_by(run_id=run_id)
            return [epoch for (epoch,) in rows.order_by(TrainingEpoch.id)]

    def directory(self, run_id: str) -> Path:
        return self.data_dir / "runs" / run_id

    def go(self) -> None:
        """Let every held training program continue."""
        (self.data_dir / "runs" / "go").touch()

    async def holding(self, run_id: str) -> int:
        """Wait until the program of that run holds; its process id."""
        await until((self.directory(run_id) / "holding").exists)
        return int((self.directory(run_id) / "pid").read_text())


def play(main: Coroutine[Any, Any, T]) -> T:
    """Run on the loop that the product runs on (uvloop, where uvicorn finds it)."""
    with asyncio.Runner(loop_factory=uvicorn.Config("").get_loop_factory()) as runner:
        return runner.run(main)


async def until(condition: Callable[[], T]) -> T:
    """Wait for something another process does, which cannot ring a bell here."""
    async with asyncio.timeout(15):
        while not (value := condition()):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return value


async def collect(
    service: TrainingService, drone_id: str, *, within_s: float = 20
) -> list[dict[str, Any]]:
    """Every message of the model's newest training."""
    async with asyncio.timeout(within_s):
        return [message async for message in service.follow(drone_id)]


@contextmanager
def bench_on(database_url: str, data_dir: Path) -> Iterator[Bench]:
    """A bench with a migrated database."""
    with migrated(database_url) as database:
        yield Bench(database_url, database, data_dir)


@pytest.fixture
def bench(migrated_url: str, tmp_path: Path) -> Iterator[Bench]:
    """Once on each database."""
    with bench_on(migrated_url, tmp_path) as bench:
        yield bench


@pytest.fixture
def sqlite_bench(migrated_sqlite_url: str, tmp_path: Path) -> Iterator[Bench]:
    """For what SQL has no part in."""
    with bench_on(migrated_sqlite_url, tmp_path) as bench:
        yield bench


def numbers(messages: list[dict[str, Any]]) -> list[int]:
    """Epochs told, in order."""
    return [message["epoch"] for message in messages if "epoch" in message]


def gone(pid: int) -> bool:
    """Whether a process has ended."""
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
