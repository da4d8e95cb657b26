"""Several servers, killed ones and fenced ones: each job ends once."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest

from models import Job, JobStatus, utc_now
from racer.jobs import executor, leases
from racer.jobs.leases import End
from tests.jobs.conftest import FAKE, Bench
from tests.support import REPOSITORY, ending, wait_for
from tests.training.conftest import gone, play, until

_SERVER = """
import asyncio
from database import Database
from racer.jobs.service import JobService
from racer.settings import Settings
from tests.jobs.conftest import FAKE

async def serve():
    settings = Settings(_env_file=None)
    database = Database(settings.effective_database_url)
    async with JobService(settings, database.session_factory, [FAKE]):
        await asyncio.Event().wait()

asyncio.run(serve())
"""


def test_kill_9_of_the_server_takes_the_child_along_and_the_job_is_tried_again(
    bench: Bench,
) -> None:
    job_id = bench.submit(do="hold")
    places = {"DATA_DIR": str(bench.data_dir), "DATABASE_URL": bench.database_url}
    command = [sys.executable, "-c", _SERVER]
    with ending(subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | places)) as server:
        [pid] = wait_for("the job's program", lambda: bench.starts(job_id), timeout_s=15)
        server.kill()
    wait_for("the job's program to die too", lambda: gone(pid), timeout_s=5)
    assert bench.job(job_id).status is JobStatus.RUNNING
    bench.go()

    async def next_server() -> None:
        async with bench.service():
            job = await bench.ended(job_id)
            assert (job.status, job.attempt, job.interruptions) == (JobStatus.FINISHED, 2, 0)

    play(next_server())
    assert bench.ends(job_id) == ["finished 0"]


def test_two_servers_share_the_jobs_and_each_is_done_once(bench: Bench) -> None:
    jobs = [bench.submit(do="hold") for _ in range(6)]

    async def scenario() -> None:
        async with bench.service(max_jobs=2), bench.service(max_jobs=2):
            await until(lambda: sum(len(bench.starts(job_id)) for job_id in jobs) == 4)
            bench.go()
            for job_id in jobs:
                assert (await bench.ended(job_id)).attempt == 1
                assert len(bench.starts(job_id)) == 1
                assert bench.ends(job_id) == ["finished 0"]

    play(scenario())


def test_a_server_that_lost_its_lease_stops_its_child(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.submit(do="hold")
    monkeypatch.setattr(executor, "LEASE_S", 0.3)

    async def scenario() -> None:
        async with bench.service():
            pid = await bench.at_work(job_id)
            with bench.database.session() as session:
                taken_over = {"attempt": 2, "lease_holder": "elsewhere boot 1 0.0 x"}
                later = utc_now() + timedelta(hours=1)
                session.query(Job).update(taken_over | {"lease_until": later})
            await until(lambda: gone(pid))
            assert (bench.job(job_id).attempt, bench.ends(job_id)) == (2, [])

    play(scenario())


def test_a_job_that_another_server_cancels_ends_here_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = bench.submit(do="hold")
    monkeypatch.setattr(executor, "LEASE_S", 1.0)

    async def scenario() -> None:
        async with bench.service():
            pid = await bench.at_work(job_id)
            await bench.service().cancel(job_id)  # one that executes nothing
            await until(lambda: gone(pid))
            assert bench.job(job_id).status is JobStatus.CANCELLED
            assert bench.ends(job_id) == ["cancelled 0"]

    play(scenario())


def test_an_older_attempt_writes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = bench.submit()

    def do(statement, *args, **kwargs):  # type: ignore[no-untyped-def]
        with bench.database.session() as session:
            return statement(session, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(executor, "LEASE_S", -1.0)
        old = do(leases.claim, "elsewhere boot 1 0.0 x", executing=[], kinds=[FAKE])
    new = do(leases.claim, "here", executing=[], kinds=[FAKE])
    assert (old.id, old.number, new.id, new.number) == (job_id, 1, job_id, 2)
    assert do(leases.claim, "here", executing=[job_id], kinds=[FAKE]) is None
    assert do(leases.claim, "another", executing=[], kinds=[FAKE]) is None
    assert not do(leases.renew, old)
    assert not do(leases.record_progress, old, 0.5)
    do(leases.release, old)
    done = End(JobStatus.FINISHED, result={"answer": 1})
    assert do(leases.end, old, done) is None
    assert do(leases.end, old, End(None, "killed")) is None
    assert bench.ends(job_id) == []
    assert do(leases.end, new, done) is JobStatus.FINISHED
    assert do(leases.end, new, done) is None  # a commit that went unheard is repeated
    assert bench.ends(job_id) == ["finished 0"]


def test_jobs_of_dead_processes_are_free_at_once_others_are_not(bench: Bench) -> None:
    first, second = bench.submit(), bench.submit()
    with bench.database.session() as session:
        leases.claim(session, "dead", executing=[], kinds=[FAKE])
    with bench.database.session() as session:
        leases.claim(session, "alive", executing=[], kinds=[FAKE])
    with bench.database.session() as session:
        assert leases.free_jobs_of_the_dead(session, lambda name: name == "dead") == [first]
    assert bench.job(first).status is JobStatus.QUEUED
    assert bench.job(second).status is JobStatus.RUNNING
