"""Trainings outlive their server: stopped, killed or cut off, nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from models import Status, TrainingRun, utc_now
from racer.jobs import executor
from racer.jobs.store import Store
from racer.training import leases, queries
from racer.training.queries import Wanted
from tests.support import REPOSITORY, wait_for
from tests.training.conftest import (
    DONE,
    FAKE_WORKER,
    Bench,
    collect,
    gone,
    numbers,
    play,
    until,
)


def test_a_run_of_another_machine_is_taken_up_when_its_lease_has_run_out(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a process there nobody here can say that it is dead."""
    drone_id = bench.new_model()
    with bench.database.session() as session:
        queries.start_or_join(
            session, drone_id, lambda _: Wanted({"seed": 0, "epochs": 4}, {}), again=False
        )
    monkeypatch.setattr(executor, "LEASE_S", 1.0)
    with bench.database.session() as session:
        old = leases.claim(session, "elsewhere boot 1 0.0 x", executing=[], silent=[])
    assert old is not None

    async def scenario() -> None:
        async with bench.service() as service:
            assert (await collect(service, drone_id))[-1] == DONE
        [run] = bench.runs(drone_id)
        assert (run.id, run.attempt) == (old.id, 2)

    play(scenario())


def test_two_servers_share_the_runs_and_each_run_is_trained_once(bench: Bench) -> None:
    drones = [bench.new_model(owner=f"owner{n}") for n in range(4)]

    async def scenario() -> None:
        async with (
            bench.service(hold_after=2, max_trainings=2) as one,
            bench.service(hold_after=2, max_trainings=2) as other,
        ):
            runs = [await one.start(drone_id) for drone_id in drones]
            await asyncio.gather(*(bench.holding(run_id) for run_id in runs))
            bench.go()
            for drone_id in drones:
                assert numbers(await collect(other, drone_id)) == [1, 2, 3, 4]
                [run] = bench.runs(drone_id)
                assert run.attempt == 1

    play(scenario())


def test_a_server_that_lost_its_lease_stops_training(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    drone_id = bench.new_model()
    monkeypatch.setattr(executor, "LEASE_S", 0.3)
    monkeypatch.setattr(executor.Watch, "silent", lambda *_: [])  # the other one goes on renewing

    async def scenario() -> None:
        async with bench.service(hold_after=2) as service:
            run_id = await service.start(drone_id)
            pid = await bench.holding(run_id)
            await until(lambda: len(bench.epochs(run_id)) == 2)
            with bench.database.session() as session:
                taken_over = {"attempt": 2, "lease_holder": "elsewhere boot 1 0.0 x"}
                later = utc_now() + timedelta(hours=1)
                session.query(TrainingRun).update(taken_over | {"lease_until": later})
            await until(lambda: gone(pid))
            assert bench.runs(drone_id)[0].attempt == 2
            assert bench.epochs(run_id) == [1, 2]

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
                if work is leases.claim and result is not None and not broken:
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
