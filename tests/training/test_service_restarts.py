"""Trainings outlive their server: stopped, killed or cut off, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from models import Status
from racer.training import queries
from racer.training.service import TrainingService
from racer.training.store import Store
from tests.support import REPOSITORY, wait_for
from tests.training.conftest import DONE, FAKE_WORKER, Bench, collect, gone, numbers, play


async def orphaned(bench: Bench, service: TrainingService, drone_id: str) -> str:
    """A run that the database takes for running though nobody executes it; its id."""
    run_id = await service.start(drone_id)
    await bench.holding(run_id)
    [task] = [task for task in asyncio.all_tasks() if task.get_name() == f"training {run_id}"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert bench.model(drone_id).status is Status.TRAINING
    return run_id


def test_an_orphaned_run_is_taken_up_again_once(bench: Bench) -> None:
    drone_id = bench.new_model()

    async def scenario() -> None:
        async with bench.service(hold_after=1) as service:
            run_id = await orphaned(bench, service, drone_id)
            (bench.directory(run_id) / "holding").unlink()
            answers = await asyncio.gather(*(service.start_again(drone_id) for _ in range(6)))
            assert sorted(answers) == [False] * 5 + [True]
            await bench.holding(run_id)
            bench.go()
            assert numbers(await collect(service, drone_id)) == [1, 2, 3, 4]
            [run] = bench.runs(drone_id)
            assert (run.id, run.attempt) == (run_id, 2)

    play(scenario())


def test_a_commit_that_went_unheard_does_not_lose_the_run(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    drone_id = sqlite_bench.new_model()

    async def scenario() -> None:
        async with sqlite_bench.service() as service:
            write, broken = Store.write, False

            async def breaking(self: Store, work: Any, *args: Any, **kwargs: Any) -> Any:
                nonlocal broken
                result = await write(self, work, *args, **kwargs)
                if work is queries.begin_attempt and not broken:
                    broken = True
                    raise OperationalError("COMMIT", {}, ConnectionError("gone"))
                return result

            monkeypatch.setattr(Store, "write", breaking)
            await service.start(drone_id)
            assert (await collect(service, drone_id))[-1] == DONE
            assert broken

    play(scenario())


@pytest.mark.parametrize("behaviour", ["good", "stubborn"])
def test_a_stop_takes_under_a_second_and_the_next_start_loses_nothing(
    bench: Bench, behaviour: str
) -> None:
    training, waiting = bench.new_model(epochs=6), bench.new_model(epochs=6)

    async def scenario() -> None:
        async with bench.service(behaviour, hold_after=3) as service:
            run_id = await service.start(training)
            await service.start(waiting)
            pid = await bench.holding(run_id)
            follower = service.follow(training)
            before = [await anext(follower) for _ in range(3)]
            stop = time.monotonic()
        assert time.monotonic() - stop < 1.0
        assert gone(pid)
        assert [message async for message in follower] == []  # no invented end
        bench.go()
        async with bench.service() as service:
            after = await collect(service, training)
            assert after[:3] == before
            assert numbers(after) == [1, 2, 3, 4, 5, 6]
            assert numbers(await collect(service, waiting)) == [1, 2, 3, 4, 5, 6]
        [run] = bench.runs(training)
        assert (run.attempt, run.status) == (2, Status.FINISHED)
        assert bench.epochs(run.id) == [1, 2, 3, 4, 5, 6]

    play(scenario())


_SERVER = """
import asyncio, sys
from database import Database
from racer.settings import Settings
from racer.training.service import TrainingService

async def serve(drone_id, *worker):
    settings = Settings()
    database = Database(settings.effective_database_url)
    async with TrainingService(settings, database.session_factory, worker=worker) as service:
        await service.start(drone_id)
        await asyncio.Event().wait()

asyncio.run(serve(*sys.argv[1:]))
"""


def test_kill_9_of_the_server_takes_the_training_along_and_it_begins_again(
    bench: Bench,
) -> None:
    drone_id = bench.new_model(epochs=6)
    worker = (*FAKE_WORKER, "--hold-after", "3")
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, drone_id, *worker],
        cwd=REPOSITORY,
        env=os.environ | {"DATA_DIR": str(bench.data_dir), "DATABASE_URL": bench.database_url},
    )
    try:
        [run] = wait_for("the run", lambda: bench.runs(drone_id), timeout_s=15)
        wait_for("three epochs", lambda: len(bench.epochs(run.id)) == 3, timeout_s=15)
        pid = int((bench.directory(run.id) / "pid").read_text())
    finally:
        server.kill()
        server.wait()
    wait_for("the training process to die too", lambda: gone(pid), timeout_s=5)
    bench.go()

    async def next_server() -> list[dict[str, Any]]:
        async with bench.service() as service:
            return await collect(service, drone_id)

    assert numbers(play(next_server())) == [1, 2, 3, 4, 5, 6]
    assert bench.epochs(run.id) == [1, 2, 3, 4, 5, 6]
    assert bench.runs(drone_id)[0].attempt == 2
