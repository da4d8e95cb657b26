"""The command of a Ray job, in the shell that would run it, and what is on record of it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from racer.jobs.child import LONGEST_LOG_BYTES, ChildFailedError, ChildInterruptedError
from racer.process import PARENT_VARIABLE
from racer.program import DISK_FULL
from racer.settings import Settings
from racer.training import ray_submission
from racer.training.executors import Launch, LocalExecutor, executor_of
from racer.training.ray_executor import RayExecutor
from racer.training.ray_jobs import Job, RayJobs
from racer.training.ray_submission import (
    ENTRYPOINT_FAULTS,
    Lines,
    Submission,
    entrypoint,
    installation,
)
from racer.training.run_files import forget_results
from racer.training.transcript import Transcript
from tests.support import small_disk

_TRAINS_ON_A_FULL_DISK = """
import sys
from racer.learning import worker
from tests.support import fill

fill(sys.argv.pop(1))
sys.exit(worker.main())
"""
PROGRAM = (sys.executable, "-c", "import os, sys; print(sys.argv[1:]); print(dict(os.environ))")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_submission, "_PATIENCE_S", 0)


def launch_in(tmp_path: Path, **changes: Any) -> Launch:
    folder = tmp_path / "data of 'ours'" / "runs" / "one"
    told: dict[str, Any] = {"run_id": "one", "attempt": 3, "program": PROGRAM, "config": {"a": 1}}
    return Launch(**told | {"folder": folder, "after": 2} | changes)


def submitted(launch: Launch) -> Submission:
    launch.prepare()
    submission = Submission(launch.folder, launch.attempt)
    submission.record()
    return submission


def ended_as(launch: Launch, submission: Submission) -> int:
    command = entrypoint(launch, submission, {"LOG_LEVEL": "INFO"})
    return subprocess.run(
        ["sh", "-c", command], env=os.environ | {PARENT_VARIABLE: "1"}, check=False
    ).returncode


def test_the_process_gets_its_command_and_no_parent(tmp_path: Path) -> None:
    launch = launch_in(tmp_path)
    submission = submitted(launch)
    assert submission.id == "one-3"
    assert ended_as(launch, submission) == 0
    arguments, environment = submission.messages.read_text().splitlines()
    assert arguments == str(launch.command[3:])
    assert "'LOG_LEVEL': 'INFO'" in environment
    assert PARENT_VARIABLE not in environment
    assert json.loads(launch.config_file.read_text()) == {"a": 1}


def test_servers_whose_processes_have_one_id_prepare_a_run_at_once(tmp_path: Path) -> None:
    """As threads do, and containers."""
    launch = launch_in(tmp_path)
    with ThreadPoolExecutor(8) as servers:
        for prepared in [servers.submit(launch.prepare) for _ in range(200)]:
            prepared.result()
    assert [file.name for file in launch.folder.iterdir()] == ["config.json"]
    assert json.loads(launch.config_file.read_text()) == {"a": 1}


def test_how_the_process_ends_is_how_the_job_ends(tmp_path: Path) -> None:
    launch = launch_in(tmp_path, program=(sys.executable, "-c", "raise SystemExit('why')"))
    assert ended_as(launch, submitted(launch)) == 1
    assert launch.log_file.read_text() == "why\n"


def test_a_node_without_the_folder_or_the_program_is_named(tmp_path: Path) -> None:
    launch = launch_in(tmp_path)
    missing = ended_as(launch, Submission(launch.folder, 3))
    assert "every node share" in ENTRYPOINT_FAULTS[missing].format(node="n", folder="f")
    bare = launch_in(tmp_path, program=("/nowhere/python",))
    assert "Install it" in ENTRYPOINT_FAULTS[ended_as(bare, submitted(bare))]


def test_what_was_cancelled_or_superseded_before_it_begins_does_not_begin(tmp_path: Path) -> None:
    launch = launch_in(tmp_path)
    submission = submitted(launch)
    Submission(launch.folder, 4).record()
    submission.forget()  # is no business of the newer one
    assert Submission.recorded(launch.folder) == Submission(launch.folder, 4)
    assert ended_as(launch, submission) == 0
    Submission(launch.folder, 4).forget()
    assert ended_as(launch, submission) == 0
    assert not submission.messages.exists()


def test_an_earlier_attempt_never_overwrites_the_record_of_a_later_one(tmp_path: Path) -> None:
    folder = launch_in(tmp_path).folder
    folder.mkdir(parents=True)
    attempts = list(range(1, 33))
    random.Random(1).shuffle(attempts)
    with ThreadPoolExecutor(8) as servers:
        kept = list(servers.map(lambda number: Submission(folder, number).record(), attempts))
    assert kept[attempts.index(32)]
    assert Submission.recorded(folder) == Submission(folder, 32)
    assert not Submission(folder, 31).record()
    assert Submission.recorded(folder) == Submission(folder, 32)
    assert Submission(folder, 32).record()  # an answer that was lost is asked for again


def test_a_server_that_slept_through_its_lease_submits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its two steps somebody else claimed the run, but Ray has not heard of that yet."""
    launch = launch_in(tmp_path, attempt=3)
    submitted(launch_in(tmp_path, attempt=4))
    sent: list[str] = []

    async def find(_: RayJobs, __: str) -> None:
        return None

    async def submit(_: RayJobs, submission_id: str, *__: Any, **___: Any) -> None:
        sent.append(submission_id)

    monkeypatch.setattr(RayJobs, "find", find)
    monkeypatch.setattr(RayJobs, "submit", submit)
    given = Settings(_env_file=None, data_dir=tmp_path, executor="ray", ray_address="http://a:8265")

    async def scenario() -> None:
        late = RayExecutor(given)
        with pytest.raises(ChildInterruptedError) as interruption:
            await anext(late.epochs_of(launch))
        assert interruption.value.blameless
        await late.close()

    asyncio.run(scenario())
    assert sent == []
    assert Submission.recorded(launch.folder) == Submission(launch.folder, 4)


@pytest.mark.parametrize("full", ["of files", "of bytes"])
def test_a_full_disk_is_told_by_how_the_job_ends(tmp_path: Path, full: str) -> None:
    """What it says is a file on that disk, which cannot be made, or cannot grow."""
    with small_disk(tmp_path / "disk", "256k,nr_inodes=16") as disk:
        program = (sys.executable, "-c", _TRAINS_ON_A_FULL_DISK, str(disk / "filler"))
        launch = launch_in(disk, program=program)
        submission = submitted(launch)
        if full == "of files":
            with suppress(OSError):
                for number in range(16):
                    (disk / f"filler{number}").touch()
        assert ended_as(launch, submission) == DISK_FULL
        told = ENTRYPOINT_FAULTS[DISK_FULL].format(node="n", folder=launch.folder)
        assert f"the disk that holds {launch.folder} is full" in told
        submission.forget()  # needs no room
        assert Submission.recorded(launch.folder) is None
        for filler in disk.glob("filler*"):
            filler.unlink()
        again = launch_in(disk, attempt=4)
        assert ended_as(again, submitted(again)) == 0


def test_a_log_does_not_grow_for_ever(tmp_path: Path) -> None:
    launch = launch_in(tmp_path, program=(sys.executable, "-c", "raise SystemExit('why')"))
    submission = submitted(launch)
    launch.log_file.write_bytes(bytes(LONGEST_LOG_BYTES))
    assert ended_as(launch, submission) == 1
    assert launch.log_file.stat().st_size == LONGEST_LOG_BYTES + len("why\n")
    assert ended_as(launch, submission) == 1
    assert launch.log_file.read_text() == "why\n"


def test_a_retried_run_follows_no_earlier_job(tmp_path: Path) -> None:
    launch = launch_in(tmp_path)
    submission = submitted(launch)
    submission.messages.write_text('{"done": true}\n')
    forget_results(launch.folder)
    assert Submission.recorded(launch.folder) is None
    assert not submission.counts(Job(status="SUCCEEDED"))


def test_a_job_is_followed_while_it_goes_on_or_when_all_that_it_said_is_there(
    tmp_path: Path,
) -> None:
    submission = submitted(launch_in(tmp_path))
    assert submission.counts(Job(status="RUNNING"))
    assert not submission.counts(Job(status="SUCCEEDED"))
    submission.messages.write_text('{"epoch": 3}\n{"done": true}\n')
    assert submission.counts(Job(status="SUCCEEDED"))
    assert not submission.counts(Job(status="FAILED"))
    submission.messages.write_text('{"epoch": 3}\n')
    assert not submission.counts(Job(status="SUCCEEDED"))


def test_lines_come_whole_once_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    lines = Lines(path)
    assert lines.read() == []
    with path.open("wb", buffering=0) as file:
        file.write(b"one\ntw")
        assert lines.read() == [b"one"]
        file.write(b"o\n")
        assert lines.read() == [b"two"]
        assert lines.read() == []
        file.write(b"x" * (1 << 20) + b"x")
        with pytest.raises(ChildFailedError, match="longer than 1 MiB"):
            lines.read()


def test_a_replay_passes_over_what_is_known_and_goes_on_in_order() -> None:
    def told(epoch: int) -> bytes:
        return json.dumps({"epoch": epoch, "loss": 0.1, "accuracy": 0.2}).encode()

    replay = Transcript(after=2, replayed=True)
    assert [replay.take(told(epoch)) for epoch in (1, 2)] == [None, None]
    assert (replay.take(told(3)) or {})["epoch"] == 3
    with pytest.raises(ChildFailedError, match="epoch 3 after 3"):
        replay.take(told(3))
    with pytest.raises(ChildFailedError, match="epoch 1 after 2"):
        Transcript(after=2).take(told(1))


def test_an_installation_keeps_its_mark(tmp_path: Path) -> None:
    mark = installation(tmp_path / "one")
    assert installation(tmp_path / "one") == mark != installation(tmp_path / "other")


def test_the_executor_is_the_one_that_is_named(tmp_path: Path) -> None:
    local = Settings(_env_file=None, data_dir=tmp_path, executor="local", ray_address="auto")
    assert isinstance(executor_of(local), LocalExecutor)
    ray = Settings(_env_file=None, data_dir=tmp_path, executor="ray", ray_address="http://a:8265")
    assert isinstance(executor_of(ray), RayExecutor)
