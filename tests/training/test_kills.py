"""Six runs, killed at random ten times: all finish as their undisturbed twins do, bit for bit."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from database import Database
from models import Status, TrainingEpoch, TrainingRun, User, UserDroneModel
from tests.postgres import postgres_cluster
from tests.support import REPOSITORY, wait_for
from tests.training.conftest import DETAILS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
RUNS, EPOCHS, KILLS = 6, 60, 10
SERVER = """
import asyncio, sys
from database import Database
from racer.settings import Settings
from racer.training.service import TrainingService

async def serve():
    settings = Settings(_env_file=None)
    database = Database(settings.effective_database_url)
    worker = (sys.executable, "-m", "tests.training.small_worker")
    async with TrainingService(settings, database.session_factory, worker=worker):
        await asyncio.Event().wait()

asyncio.run(serve())
"""


class Servers:
    """Server processes on one database and one folder."""

    def __init__(self, url: str, data_dir: Path, *, count: int, **environment: str) -> None:
        self.database = Database(url)
        self.database.upgrade()
        self.data_dir = data_dir
        self._environment = (
            os.environ
            | {
                "DATABASE_URL": url,
                "DATA_DIR": str(data_dir),
                "MAX_TRAININGS": str(2 // count),
                "TRAINING_MEMORY_MB": "10000",  # small ones need less than is estimated
            }
            | environment
        )
        self._log = (data_dir / "log").open("w")
        self._servers = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", SERVER]
        return subprocess.Popen(
            command, cwd=REPOSITORY, env=self._environment, stdout=self._log, stderr=self._log
        )

    def kill_one(self, chance: random.Random) -> None:
        """A server, which takes its trainings along, or a training alone."""
        which = chance.randrange(len(self._servers))
        trainings = psutil.Process(self._servers[which].pid).children()
        if trainings and chance.random() < 0.5:
            chance.choice(trainings).kill()
            return
        self._servers[which].kill()
        self._servers[which].wait()
        self._servers[which] = self._start()

    def queue(self, *, runs: int = RUNS, epochs: int = EPOCHS) -> None:
        self._queued = runs
        with self.database.session() as session:
            user = User(username="ada")
            session.add(user)
            for number in range(runs):
                model = UserDroneModel(
                    user=user,
                    title=f"Model {number}",
                    drone_details=DETAILS,
                    training_epochs=epochs,
                )
                config = {"epochs": epochs, "seed": number}
                config["compile_cache"] = str(self.data_dir / "jax_cache")
                session.add(TrainingRun(drone_model=model, config=config, seed=number))

    def recorded(self) -> int:
        with self.database.session(read_only=True) as session:
            return session.query(TrainingEpoch).count()

    def all_ended(self) -> bool:
        with self.database.session(read_only=True) as session:
            over = Status.FINISHED, Status.FAILED
            ended = session.query(TrainingRun).filter(TrainingRun.status.in_(over)).count()
            return ended == self._queued

    def outcome(self) -> dict[int, Any]:
        """By seed: what became of the run, its epochs in the order of their rows, its policy."""
        found = {}
        with self.database.session(read_only=True) as session:
            for run in session.query(TrainingRun):
                rows = sorted(run.epochs, key=lambda row: row.id)
                epochs = [{k: v for k, v in row.metrics.items() if k != "seconds"} for row in rows]
                policy = self.data_dir / "runs" / run.id / "policy.onnx"
                digest = hashlib.sha256(policy.read_bytes()).hexdigest()
                found[run.seed] = (run.status, run.error, epochs, digest)
        return found

    def run_ids(self) -> list[str]:
        with self.database.session(read_only=True) as session:
            return [run.id for run in session.query(TrainingRun)]

    def attempts(self) -> int:
        with self.database.session(read_only=True) as session:
            return sum(run.attempt for run in session.query(TrainingRun))

    def close(self) -> None:
        for server in self._servers:
            server.kill()
            server.wait()
        self.database.dispose()
        self._log.close()


@contextmanager
def servers(url: str, data_dir: Path, *, count: int, **environment: str) -> Iterator[Servers]:
    """Their environment is ours, changed by `environment`."""
    data_dir.mkdir()
    running = Servers(url, data_dir, count=count, **environment)
    try:
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[int, Any], Path]:
    """What becomes of the runs undisturbed, and the programs that were compiled for them."""
    folder = tmp_path_factory.mktemp("twins")
    with servers(f"sqlite:///{folder / 'test.db'}", folder / "data", count=1) as undisturbed:
        undisturbed.queue()
        wait_for("the end of all runs", undisturbed.all_ended, timeout_s=120)
        assert undisturbed.attempts() == RUNS
        return undisturbed.outcome(), folder / "data" / "jax_cache"


def disturbed(url: str, folder: Path, cache: Path, *, count: int, middle: Any) -> dict[int, Any]:
    """What becomes of them when something is killed each time that some more epochs are done."""
    chance = random.Random(7)
    with servers(url, folder / "data", count=count) as running:
        (running.data_dir / "jax_cache").symlink_to(cache)
        running.queue()
        for kill in range(KILLS):
            goal = (kill + 1) * RUNS * EPOCHS // (KILLS + 2)
            wait_for("epochs", lambda goal=goal: running.recorded() >= goal, timeout_s=60)
            running.kill_one(chance)
            if kill == KILLS // 2:
                middle()
        wait_for("the end of all runs", running.all_ended, timeout_s=120)
        assert running.attempts() > RUNS
        return running.outcome()


def compare(found: dict[int, Any], twins: dict[int, Any], *, epochs: int = EPOCHS) -> None:
    assert found.keys() == twins.keys()
    for seed, (status, error, told, digest) in found.items():
        assert (status, error) == (Status.FINISHED, None)
        assert [metrics["epoch"] for metrics in told] == list(range(1, epochs + 1))
        assert (told, digest) == twins[seed][2:], seed


def test_on_sqlite(twins: tuple[dict[int, Any], Path], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'test.db'}"
    found = disturbed(url, tmp_path, twins[1], count=1, middle=lambda: None)
    compare(found, twins[0])


def test_on_postgresql_with_two_servers_and_a_restart_of_the_database(
    twins: tuple[dict[int, Any], Path], tmp_path: Path
) -> None:
    with postgres_cluster(tmp_path / "postgres") as serve, ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        url = first.enter_context(serve())

        def restart() -> None:
            first.close()
            stack.enter_context(serve())

        found = disturbed(url, tmp_path, twins[1], count=2, middle=restart)
        compare(found, twins[0])
