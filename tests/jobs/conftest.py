"""A job service on a real database, with a program that obeys the test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from database import Database
from models import Job, JobStatus, User
from racer.jobs.service import JobKind, JobService, submit
from racer.settings import Settings
from tests.served import migrated
from tests.training.conftest import until

FAKE_JOB = (sys.executable, "-m", "tests.jobs.fake_job")


def note_the_end(session: Session, job: Job) -> None:
    """A row for each call: what a job's end brings about, as a table shows it."""
    ends = session.query(User).filter(User.username.startswith(job.id)).count()
    session.add(User(username=f"{job.id} {job.status} {ends}"))
    if job.config.get("stumble"):
        raise ArithmeticError("the caller stumbles")


FAKE = JobKind("fake", FAKE_JOB, note_the_end)


@dataclass
class Bench:
    """What most tests here do, in a word each."""

    database_url: str
    database: Database
    data_dir: Path

    def service(self, kind: JobKind = FAKE, **changes: Any) -> JobService:
        settings = Settings(_env_file=None, data_dir=self.data_dir, **changes)
        return JobService(settings, self.database.session_factory, [kind])

    def submit(self, *, owner_id: int = 0, **config: Any) -> str:
        with self.database.session() as session:
            return submit(session, "fake", config, owner_id=owner_id).id

    def job(self, job_id: str) -> Job:
        with self.database.session(read_only=True) as session:
            return session.query(Job).filter_by(id=job_id).one()

    def exists(self, job_id: str) -> bool:
        with self.database.session(read_only=True) as session:
            return session.get(Job, job_id) is not None

    def ends(self, job_id: str) -> list[str]:
        """How the job ended, as its kind was told."""
        with self.database.session(read_only=True) as session:
            names = session.query(User.username).filter(User.username.startswith(job_id))
            return [name.removeprefix(job_id + " ") for (name,) in names.order_by(User.id)]

    def folder(self, job_id: str) -> Path:
        return self.data_dir / "jobs" / job_id

    def starts(self, job_id: str) -> list[int]:
        """The process ids of its attempts."""
        file = self.folder(job_id) / "starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    def go(self) -> None:
        """Let every held program continue."""
        (self.data_dir / "jobs").mkdir(exist_ok=True)
        (self.data_dir / "jobs" / "go").touch()

    async def ended(self, job_id: str) -> Job:
        """Wait until it has ended."""
        over = (JobStatus.FINISHED, JobStatus.FAILED, JobStatus.CANCELLED)
        await until(lambda: self.job(job_id).status in over)
        return self.job(job_id)

    async def at_work(self, job_id: str, *, attempt: int = 1) -> int:
        """Wait until that attempt's program works and its progress is known; its process id."""
        await until(lambda: len(self.starts(job_id)) >= attempt and self.job(job_id).progress > 0)
        return self.starts(job_id)[-1]


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
