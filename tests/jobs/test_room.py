"""Files of ended jobs stay within JOBS_MB, and who misses them is told why."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from models import Job, JobStatus, utc_now
from racer.folders import Folders
from racer.jobs.room import Room
from racer.jobs.service import why_no_files
from racer.jobs.store import Store
from tests.jobs.conftest import Bench
from tests.training.conftest import play

REPLAY_BYTES = 400_000


def kept(bench: Bench, status: JobStatus, *, ended_s_ago: int | None = None) -> str:
    """A job with files."""
    ended = None if ended_s_ago is None else utc_now() - timedelta(seconds=ended_s_ago)
    with bench.database.session() as session:
        session.add(
            Job(
                kind="other",
                config={},
                status=status,
                finished_at=ended,
                id=(job_id := str(uuid4())),
            )
        )
    return with_files(bench, job_id)


def with_files(bench: Bench, name: str) -> str:
    bench.folder(name).mkdir(parents=True)
    (bench.folder(name) / "replay.bin").write_bytes(bytes(REPLAY_BYTES))
    return name


def has_files(bench: Bench, *names: str) -> list[bool]:
    return [bench.folder(name).exists() for name in names]


def test_the_jobs_that_ended_longest_ago_lose_their_files_first(bench: Bench) -> None:
    """Two fit into a megabyte. What waits or runs and what is nobody's is never removed."""
    old = kept(bench, JobStatus.CANCELLED, ended_s_ago=30)
    oldest = kept(bench, JobStatus.FINISHED, ended_s_ago=40)
    new = kept(bench, JobStatus.FINISHED, ended_s_ago=10)
    newer = kept(bench, JobStatus.FAILED, ended_s_ago=20)
    strangers = [with_files(bench, str(uuid4())) for _ in range(3)]

    async def scenario() -> None:
        async with bench.service(jobs_mb=1):
            await bench.ended(job_id := bench.submit())  # a few bytes: nothing goes for it
            assert has_files(bench, job_id, new, newer) == [True, True, True]
            assert has_files(bench, old, oldest) == [False, False]
            assert has_files(bench, *strangers) == [True, True, True]
            for gone in (old, oldest):
                why = why_no_files(bench.job(gone)) or ""
                assert "to make room" in why
                assert "JOBS_MB" in why
            assert why_no_files(bench.job(new)) is None

            with_files_of_its_own = bench.submit(files_bytes=REPLAY_BYTES)
            await bench.ended(with_files_of_its_own)
            await bench.ended(bench.submit())  # claimed after there is room again
            assert has_files(bench, with_files_of_its_own, new, newer) == [True, True, False]

    play(scenario())


def test_what_is_under_way_is_counted_and_stays(bench: Bench) -> None:
    running = [kept(bench, JobStatus.RUNNING) for _ in range(3)]
    ended = [kept(bench, JobStatus.FINISHED, ended_s_ago=age) for age in (30, 20, 10)]
    store = Store(bench.database.session_factory)
    room = Room(store, Folders(bench.data_dir / "jobs"), 10**6)

    async def scenario() -> None:
        await room.keep()
        assert has_files(bench, *running) == [True, True, True]
        assert has_files(bench, *ended) == [False, False, True]  # the newest stays even so

    play(scenario())


def test_the_results_of_a_job_outlast_its_files(bench: Bench) -> None:
    jobs = [kept(bench, JobStatus.FINISHED, ended_s_ago=age) for age in (30, 20, 10)]
    with bench.database.session() as session:
        session.get_one(Job, jobs[0]).result = {"answer": 42}

    async def scenario() -> None:
        async with bench.service(jobs_mb=1):
            await bench.ended(bench.submit())
            told = bench.job(jobs[0]).result or {}
            assert told["answer"] == 42
            assert not bench.folder(jobs[0]).exists()
            assert why_no_files(bench.job(jobs[0])) is not None

    play(scenario())
