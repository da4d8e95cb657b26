"""What becomes of a job: its result, its error, and that its end is told once."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from models import Job, JobStatus, User
from racer.errors import ConflictError, NotFoundError
from racer.folders import doubt
from racer.jobs import leases
from racer.jobs.leases import Attempt
from racer.jobs.service import JobKind, JobService
from racer.settings import Settings
from tests.jobs.conftest import FAKE, FAKE_JOB, Bench, note_the_end
from tests.support import REPOSITORY
from tests.training.conftest import gone, play


def test_a_job_finishes_with_its_result_and_its_files(bench: Bench) -> None:
    job_id = bench.submit(answer=7)

    async def scenario() -> None:
        async with bench.service() as service:
            job = await bench.ended(job_id)
            assert (job.status, job.result) == (JobStatus.FINISHED, {"answer": 7, "begun": 1})
            assert (job.error, job.progress, job.attempt) == (None, 1.0, 1)
            assert job.finished_at is not None
            assert job.lease_holder is None
            folder = service.folder_of(job_id)
            assert (folder / "answer.txt").read_text() == "42"
            assert int((folder / "niceness").read_text()) >= 10
        assert bench.ends(job_id) == ["finished 0"]

    play(scenario())


def test_a_submission_is_heard_at_once_and_the_oldest_goes_first(sqlite_bench: Bench) -> None:
    bench = sqlite_bench

    async def scenario() -> None:
        async with bench.service() as service:
            first = bench.submit(do="hold")
            service.wake()
            await bench.at_work(first)
            second, third = bench.submit(), bench.submit()
            assert bench.job(second).status is JobStatus.QUEUED  # one at a time
            bench.go()
            await bench.ended(third)
            ended = [bench.job(job_id).finished_at for job_id in (first, second, third)]
            assert ended == sorted(ended)

    play(scenario())


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("refuse", "There is no track called 'moon'."),
        ("fall", "unexpected fault (ArithmeticError)"),
        ("fill-disk", "cannot write its files: No space left on device"),
        ("leave", "The fake process ended early with exit code 3."),
    ],
)
def test_a_failure_is_told_in_words(sqlite_bench: Bench, what: str, words: str) -> None:
    job_id = sqlite_bench.submit(do=what)

    async def scenario() -> None:
        async with sqlite_bench.service():
            job = await sqlite_bench.ended(job_id)
            assert job.status is JobStatus.FAILED
            assert words in (job.error or "")
            assert job.result is None
        assert sqlite_bench.ends(job_id) == ["failed 0"]

    play(scenario())


def test_a_job_that_takes_too_long_makes_room(sqlite_bench: Bench) -> None:
    job_id = sqlite_bench.submit(do="hold")

    async def scenario() -> None:
        async with sqlite_bench.service(dataclasses.replace(FAKE, limit_s=2.0)):
            job = await sqlite_bench.ended(job_id)
            assert job.status is JobStatus.FAILED
            assert "ask for less" in (job.error or "")
            assert all(gone(pid) for pid in sqlite_bench.starts(job_id))

    play(scenario())


def test_a_result_may_be_longer_than_other_messages(sqlite_bench: Bench) -> None:
    job_id = sqlite_bench.submit()
    program = (sys.executable, "-c", """print('{"result": {"text": "' + "x" * (4 << 20) + '"}}')""")

    async def scenario() -> None:
        async with sqlite_bench.service(JobKind("fake", program, note_the_end)):
            job = await sqlite_bench.ended(job_id)
            assert job.status is JobStatus.FINISHED
            assert len((job.result or {})["text"]) == 4 << 20

    play(scenario())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"progress": 2}', "from 0 to 1, not to 2"),
        ('{"result": {"lap_s": Infinity}}', "holds NaN or infinity"),
        ('{"result": 42}', "ended early with exit code 0"),
    ],
)
def test_a_program_that_tells_nonsense_fails_the_job(
    sqlite_bench: Bench, line: str, words: str
) -> None:
    job_id = sqlite_bench.submit()
    program = (sys.executable, "-c", f"print({line!r})")

    async def scenario() -> None:
        async with sqlite_bench.service(JobKind("fake", program, note_the_end)):
            job = await sqlite_bench.ended(job_id)
            assert job.status is JobStatus.FAILED
            assert words in (job.error or "")

    play(scenario())


def test_a_program_that_tells_its_progress_all_the_time_makes_few_writes(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = sqlite_bench.submit()
    lines = (
        """for n in range(1000): print('{"progress": %f}' % (n / 1000)); print('{"result": {}}')"""
    )
    program = (sys.executable, "-c", lines.replace("; print", "\nprint"))
    written, begun_s = [], time.monotonic()  # type: list[float], float

    def record(session: Session, attempt: Attempt, progress: float) -> bool:
        written.append(progress)
        return record_progress(session, attempt, progress)

    record_progress = leases.record_progress
    monkeypatch.setattr(leases, "record_progress", record)

    async def scenario() -> None:
        async with sqlite_bench.service(JobKind("fake", program, note_the_end)):
            assert (await sqlite_bench.ended(job_id)).status is JobStatus.FINISHED

    play(scenario())
    assert 1 <= len(written) <= 2.0 + (time.monotonic() - begun_s)  # one a second


def test_a_program_that_is_missing_fails_the_job(sqlite_bench: Bench) -> None:
    job_id = sqlite_bench.submit()

    async def scenario() -> None:
        async with sqlite_bench.service(JobKind("fake", ("/no/such/program",), note_the_end)):
            job = await sqlite_bench.ended(job_id)
            assert "could not be run" in (job.error or "")

    play(scenario())


def test_a_killed_child_is_tried_again(bench: Bench) -> None:
    job_id = bench.submit(do="die", times=2)

    async def scenario() -> None:
        async with bench.service():
            job = await bench.ended(job_id)
            assert (job.status, job.attempt) == (JobStatus.FINISHED, 3)
            assert job.result == {"answer": 42, "begun": 3}
        assert bench.ends(job_id) == ["finished 0"]

    play(scenario())


def test_a_child_that_is_killed_from_outside_is_tried_again(sqlite_bench: Bench) -> None:
    bench = sqlite_bench
    job_id = bench.submit(do="hold")

    async def scenario() -> None:
        async with bench.service():
            os.kill(await bench.at_work(job_id), signal.SIGKILL)
            await bench.at_work(job_id, attempt=2)
            bench.go()
            assert (await bench.ended(job_id)).attempt == 2

    play(scenario())


def test_three_kills_are_the_jobs_own_fault(sqlite_bench: Bench) -> None:
    job_id = sqlite_bench.submit(do="die", times=99)

    async def scenario() -> None:
        async with sqlite_bench.service():
            job = await sqlite_bench.ended(job_id)
            assert (job.status, job.attempt) == (JobStatus.FAILED, 3)
            assert "most likely because memory ran out" in (job.error or "")
        assert sqlite_bench.ends(job_id) == ["failed 0"]

    play(scenario())


def test_cancelling_ends_the_child_and_is_told_once(bench: Bench) -> None:
    running, waiting = bench.submit(do="hold"), bench.submit()

    async def scenario() -> None:
        async with bench.service() as service:
            pid = await bench.at_work(running)
            await service.cancel(waiting)
            await service.cancel(running)
            assert gone(pid)
            for job_id in (running, waiting):
                assert bench.job(job_id).status is JobStatus.CANCELLED
                assert bench.ends(job_id) == ["cancelled 0"]
                with pytest.raises(ConflictError, match="has cancelled"):
                    await service.cancel(job_id)
            for unknown in (str(uuid4()), "../../etc", "\0"):
                with pytest.raises(NotFoundError):
                    await service.cancel(unknown)

    play(scenario())


STUBBORN = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
(pathlib.Path(sys.argv[-1]) / "starts").write_text(str(os.getpid()))
print('{"progress": 0.5}', flush=True)
time.sleep(600)
"""


def test_who_deletes_what_is_being_cancelled_does_not_save_a_stubborn_child(
    sqlite_bench: Bench,
) -> None:
    """A second cancellation of the work broke off the wait before the kill."""
    job_id = sqlite_bench.submit()
    kind = JobKind("fake", (sys.executable, "-c", STUBBORN), note_the_end)

    async def scenario() -> None:
        async with sqlite_bench.service(kind) as service:
            pid = await sqlite_bench.at_work(job_id)
            cancelling = asyncio.create_task(service.cancel(job_id))
            await sqlite_bench.ended(job_id)
            await service.delete(job_id)
            await cancelling
            assert gone(pid)

    play(scenario())


def test_deleting_takes_the_row_the_child_and_the_files(bench: Bench) -> None:
    running, finished = bench.submit(do="hold"), bench.submit()

    async def scenario() -> None:
        async with bench.service(max_jobs=2) as service:
            pid = await bench.at_work(running)
            await bench.ended(finished)
            for job_id in (running, finished):
                await service.delete(job_id)
                assert not bench.exists(job_id)
                assert not bench.folder(job_id).exists()
            assert gone(pid)
            await service.delete(running)  # once more changes nothing
            assert bench.ends(running) == []

    play(scenario())


def test_an_end_that_nobody_can_hear_fails_the_job_and_is_not_told_for_ever(
    bench: Bench,
) -> None:
    job_id = bench.submit(stumble=True)

    async def scenario() -> None:
        async with bench.service():
            job = await bench.ended(job_id)
            assert (job.status, job.attempt) == (JobStatus.FAILED, 1)
            assert "stumbled over ArithmeticError" in (job.error or "")
        assert bench.ends(job_id) == []  # what it wrote is undone

    play(scenario())


def test_jobs_of_kinds_that_this_server_does_not_know_wait(sqlite_bench: Bench) -> None:
    job_id = sqlite_bench.submit()

    async def scenario() -> None:
        other = JobKind("other", FAKE_JOB, note_the_end)
        async with sqlite_bench.service(other):
            with sqlite_bench.database.session() as session:
                session.add(Job(kind="other", config={}, id=(known := str(uuid4()))))
            await sqlite_bench.ended(known)
            assert sqlite_bench.job(job_id).status is JobStatus.QUEUED

    play(scenario())


def test_jobs_that_nobody_wants_any_more_are_deleted(bench: Bench) -> None:
    """Here an account of the job's name wants it."""
    kind = JobKind("fake", FAKE_JOB, note_the_end, wanted=select(User.username))
    with bench.database.session() as session:
        session.add(Job(kind="fake", config={"do": "hold"}, id=(kept := str(uuid4()))))
        session.add(Job(kind="fake", config={}, id=(left := str(uuid4()))))
        session.add(User(username=kept))
    bench.folder(left).mkdir(parents=True)

    async def scenario() -> None:
        async with bench.service(kind):
            assert not bench.exists(left)
            assert not bench.folder(left).exists()
            await bench.at_work(kept)

    play(scenario())


def test_a_start_removes_the_files_of_deleted_jobs_and_no_others(sqlite_bench: Bench) -> None:
    """A database that is another one than yesterday's knows none of the jobs, and costs none."""
    bench = sqlite_bench
    job_id, deleted, another_database = bench.submit(do="hold"), str(uuid4()), str(uuid4())
    for name in (job_id, deleted, another_database, "somebody's notes"):
        bench.folder(name).mkdir(parents=True)
    for name in (job_id, deleted):
        doubt(bench.folder(name))

    async def scenario() -> None:
        async with bench.service():
            assert bench.folder(job_id).exists()
            assert not bench.folder(deleted).exists()
            assert bench.folder(another_database).exists()
            assert bench.folder("somebody's notes").exists()

    play(scenario())


DELETING = """
import os, signal, sys
from pathlib import Path
from racer.jobs import workers
from tests.jobs.conftest import bench_on
from tests.training.conftest import play

url, data_dir, job_id, moment = sys.argv[1:]
doubt = workers.doubt_if_possible

def killed(*told):
    if moment == "before the commit":
        doubt(*told)
    os.kill(os.getpid(), signal.SIGKILL)

async def main():
    with bench_on(url, Path(data_dir)) as bench:
        async with bench.service() as service:
            if moment == "before the commit":
                workers.doubt_if_possible = killed
            else:
                workers.Folders.discard = killed
            await service.delete(job_id)

play(main())
"""


@pytest.mark.parametrize("moment", ["before the commit", "after the commit"])
def test_a_kill_while_a_job_is_deleted_leaves_all_of_it_or_nothing(
    bench: Bench, moment: str
) -> None:
    job_id = bench.submit()

    async def finish() -> None:
        async with bench.service():
            await bench.ended(job_id)

    async def start_again() -> None:
        async with bench.service():
            stays = moment == "before the commit"
            assert bench.exists(job_id) == bench.folder(job_id).exists() == stays
            assert not (bench.folder(job_id) / ".unrecorded").exists()

    play(finish())
    command = [sys.executable, "-c", DELETING, bench.database_url, str(bench.data_dir), job_id]
    died = subprocess.run([*command, moment], cwd=REPOSITORY, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert (bench.folder(job_id) / "answer.txt").exists()
    play(start_again())


def test_a_stop_takes_under_a_second_and_the_job_is_tried_again(bench: Bench) -> None:
    job_id = bench.submit(do="hold")

    async def scenario() -> None:
        async with bench.service():
            pid = await bench.at_work(job_id)
            stop = time.monotonic()
        assert time.monotonic() - stop < 1.0
        assert gone(pid)
        assert bench.ends(job_id) == []
        bench.go()
        async with bench.service():
            job = await bench.ended(job_id)
            assert (job.attempt, job.interruptions) == (2, 0)
        assert bench.ends(job_id) == ["finished 0"]

    play(scenario())


def test_a_full_disk_is_told_and_the_next_job_goes_on(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that takes the job's log is a device that is always full."""
    bench = sqlite_bench
    job_id = bench.submit()
    bench.folder(job_id).mkdir(parents=True)
    (bench.folder(job_id) / "config.json").symlink_to("/dev/full")

    async def scenario() -> None:
        async with bench.service():
            job = await bench.ended(job_id)
            assert job.error == "The disk is full. Make room and start it again."
            assert (await bench.ended(bench.submit())).status is JobStatus.FINISHED

    play(scenario())


def test_kinds_need_names_of_their_own(sqlite_bench: Bench, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path)
    with pytest.raises(ValueError, match="names of their own"):
        JobService(settings, sqlite_bench.database.session_factory, [FAKE, FAKE])
