"""Several servers, killed ones and fenced ones: each job ends once."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from alembic import command

from database import alembic_config
from models import Evaluation, Job, JobStatus, Policy, Race, User, utc_now
from racer.jobs import executor, leases
from racer.jobs.leases import Attempt, End
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
    monkeypatch.setattr(executor.Watch, "silent", lambda *_: [])  # the other one goes on renewing

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


def test_a_server_whose_clock_is_behind_keeps_its_job(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = sqlite_bench
    job_id = bench.submit(do="hold")
    monkeypatch.setattr(leases, "lease_end", lambda: utc_now() - timedelta(hours=1))
    monkeypatch.setattr(executor, "LEASE_S", 4.0)

    async def scenario() -> None:
        async with bench.service(), bench.service():
            await bench.at_work(job_id)
            await asyncio.sleep(1.5 * executor.LEASE_S)
            bench.go()
            assert (await bench.ended(job_id)).attempt == 1

    play(scenario())


def test_a_lost_server_whose_clock_was_ahead_is_noticed(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = sqlite_bench
    job_id = bench.submit()
    monkeypatch.setattr(executor, "LEASE_S", 4.0)
    with monkeypatch.context() as patch:
        patch.setattr(leases, "lease_end", lambda: utc_now() + timedelta(hours=2))
        claimed(bench, "elsewhere boot 1 0.0 x")

    async def scenario() -> None:
        async with bench.service():
            assert (await bench.ended(job_id)).attempt == 2

    play(scenario())


def test_a_lease_has_run_out_when_it_was_the_same_for_so_long() -> None:
    now_s = 0.0
    watch = executor.Watch(lambda: now_s)
    first, other = (executor.Held(name, utc_now()) for name in ("first", "other"))
    assert watch.silent([first, other]) == []
    now_s = executor.LEASE_S - 1
    renewed = first._replace(until=first.until - timedelta(hours=2))
    assert watch.silent([renewed, other]) == []
    now_s = executor.LEASE_S
    assert watch.silent([renewed, other]) == [other]
    assert watch.silent([renewed]) == []
    assert watch.silent([renewed, other]) == []  # a new one that looks like it


def test_an_older_attempt_writes_nothing(bench: Bench) -> None:
    job_id = bench.submit()

    def do(statement, *args, **kwargs):  # type: ignore[no-untyped-def]
        with bench.database.session() as session:
            return statement(session, *args, **kwargs)

    def claim(worker, executing=(), silent=()):  # type: ignore[no-untyped-def]
        return do(leases.claim, worker, executing=executing, silent=silent, kinds=[FAKE])

    old = claim("elsewhere boot 1 0.0 x")
    new = claim("here", silent=do(leases.leased))
    assert (old.id, old.number, new.id, new.number) == (job_id, 1, job_id, 2)
    assert claim("here", executing=[job_id]) is None
    assert claim("another") is None
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


def claimed(bench: Bench, worker: str | None = None) -> Attempt | None:
    """By that worker, or by one that was never heard of."""
    name = worker or str(uuid4())
    with bench.database.session() as session:
        return leases.claim(session, name, executing=[], silent=[], kinds=[FAKE])


def ended(bench: Bench, attempt: Attempt) -> None:
    with bench.database.session() as session:
        assert leases.end(session, attempt, End(JobStatus.FINISHED)) is JobStatus.FINISHED


def test_with_one_slot_owners_take_turns(bench: Bench) -> None:
    """Five jobs of one account do not go before the single one of another."""
    owners = [1, 1, 1, 1, 1, 2, 3, 3, 0, 0]
    jobs = {bench.submit(owner_id=owner): owner for owner in owners}
    order = []
    while (attempt := claimed(bench)) is not None:
        order.append(attempt.id)
        ended(bench, attempt)
    assert [jobs[job_id] for job_id in order] == [1, 2, 3, 0, 1, 3, 0, 1, 1, 1]
    for owner in (0, 1, 2, 3):  # of each the oldest first
        mine = [job_id for job_id in jobs if jobs[job_id] == owner]
        assert [job_id for job_id in order if jobs[job_id] == owner] == mine


def test_who_has_fewer_jobs_under_way_comes_first_and_what_was_begun_goes_on(
    bench: Bench,
) -> None:
    first, second, third = [bench.submit(owner_id=1) for _ in range(3)]
    other = bench.submit(owner_id=2)
    begun, claim = claimed(bench), claimed(bench)
    assert begun is not None
    assert claim is not None
    assert (begun.id, claim.id) == (first, other)
    with bench.database.session() as session:
        leases.release(session, begun)
    ended(bench, claim)
    last = bench.submit(owner_id=3)  # its first, and nothing of the others is under way
    order = [claim.id for claim in (claimed(bench) for _ in range(5)) if claim is not None]
    assert order == [first, last, second, third]


def test_simultaneous_claims_share_nothing(bench: Bench) -> None:
    jobs = [bench.submit(owner_id=owner % 2) for owner in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: claimed(bench, f"worker {n}"), range(8)))
    taken = [claim.id for claim in found if claim is not None]
    left = [claimed(bench) for _ in range(8 - len(taken))]
    taken += [claim.id for claim in left if claim is not None]
    assert sorted(taken) == sorted(jobs)


def test_jobs_of_an_older_release_take_their_owners_turns(bench: Bench) -> None:
    """What waits when 0012 is applied; a reference time is nobody's."""
    with bench.database.session() as session:
        owner = User(username="ada")
        policy = Policy(user=owner, name="one", version=1, origin="uploaded", sha256="0" * 64,
                        size_bytes=1, track="toledo", manifest={}, metrics={})  # fmt: skip
        evaluated, raced, computed = [Job(kind="fake", config={}) for _ in range(3)]
        session.add_all([evaluated, raced, computed])
        session.add(Evaluation(policy=policy, user=owner, job=evaluated, settings={}))
        session.add(Race(user=owner, username="ada", name="cup", format="time_trial", job=raced,
                         track_name="toledo", track="", track_sha256="0" * 64, laps=1,
                         airframe="x500", settings={}, max_entrants=2))  # fmt: skip
    config = alembic_config()
    with bench.database.migration_connection() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "0009")
    bench.database.upgrade()
    owners = [bench.job(job.id).owner_id for job in (evaluated, raced, computed)]
    assert owners == [owner.id, owner.id, 0]


def test_jobs_of_dead_processes_are_free_at_once_others_are_not(bench: Bench) -> None:
    first, second = bench.submit(), bench.submit()
    with bench.database.session() as session:
        leases.claim(session, "dead", executing=[], silent=[], kinds=[FAKE])
    with bench.database.session() as session:
        leases.claim(session, "alive", executing=[], silent=[], kinds=[FAKE])
    with bench.database.session() as session:
        assert leases.free_jobs_of_the_dead(session, lambda name: name == "dead") == [first]
    assert bench.job(first).status is JobStatus.QUEUED
    assert bench.job(second).status is JobStatus.RUNNING
