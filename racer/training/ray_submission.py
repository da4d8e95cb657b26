"""A run's job on Ray: its name, what is on record of it, its command, and what it says."""

from __future__ import annotations

import fcntl
import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self
from uuid import uuid4

from racer.jobs.child import LONGEST_LINE_BYTES, LONGEST_LOG_BYTES, too_long_a_line
from racer.process import PARENT_VARIABLE
from racer.program import DISK_FULL
from racer.settings import REPOSITORY
from racer.training.executors import Launch
from racer.training.ray_jobs import Job

_MARK, _RUN, _ATTEMPT = "toledo_racer", "run", "attempt"  # keys of a job's metadata
_NO_PROGRAM, _NO_FOLDER, _NOT_OURS = 91, 92, 93  # how our shell lines end; none of Python's codes
_PATIENCE_S = 10  # with a shared folder that shows new files late

ENTRYPOINT_FAULTS = {
    _NO_PROGRAM: (
        "The Ray node {node} has no Toledo Racer. "
        f"Install it on every node at {REPOSITORY}, with its Python environment."
    ),
    _NO_FOLDER: (
        "The Ray node {node} does not see {folder}. "
        "DATA_DIR must be in a file system that the server and every node share, at one path."
    ),
    _NOT_OURS: (
        "The Ray node {node} may not write to {folder}. "
        "Ray must run as the server's user, or as one who may write to DATA_DIR."
    ),
    DISK_FULL: (
        "The training cannot write its files: the disk that holds {folder} is full. "
        "Make room and resume it."
    ),
}


@dataclass(frozen=True)
class Submission:
    """A job of a run. A later attempt has a later one, if none goes on."""

    folder: Path  # of the run, named by its id
    attempt: int  # which submitted it

    @property
    def id(self) -> str:
        """The run's id; Ray takes no id twice, so a later one has the attempt's number behind."""
        run_id = self.folder.name
        return run_id if self.attempt == 1 else f"{run_id}-{self.attempt}"

    @property
    def messages(self) -> Path:
        """What its process says."""
        return self.folder / f"messages-{self.attempt:06d}.jsonl"

    @classmethod
    def recorded(cls, folder: Path) -> Self | None:
        """The newest of that run, also if it has never reached Ray."""
        try:
            attempt = _attempt_in(_record(folder).read_text())
        except FileNotFoundError:
            return None
        return None if attempt is None else cls(folder, attempt)

    @staticmethod
    def is_of(job: Job, mark: str) -> bool:
        """Whether that installation submitted it. One that was restored from a backup knows the
        runs of the other, and must leave its jobs alone."""
        return (job.metadata or {}).get(_MARK) == mark

    @classmethod
    def of(cls, job: Job, data_dir: Path) -> tuple[Self | None, str]:
        """What a job that goes on is to us, and the mark of the installation that submitted it."""
        told = job.metadata or {}
        if job.ended or _RUN not in told or not told.get(_ATTEMPT, "").isdecimal():
            return None, ""
        return cls(data_dir / "runs" / told[_RUN], int(told[_ATTEMPT])), told.get(_MARK, "")

    def metadata(self, mark: str) -> dict[str, str]:
        """What a job carries, so that it is known again."""
        return {_MARK: mark, _RUN: self.folder.name, _ATTEMPT: str(self.attempt)}

    def record(self) -> bool:
        """Keep it as the run's newest; False when a later one is: then somebody else has the run,
        and whoever asks has slept through the end of its lease."""
        with _locked(_record(self.folder), "a+") as file:
            newest = _attempt_in(file.read())
            if newest is not None and newest > self.attempt:
                return False
            file.truncate(0)
            file.write(str(self.attempt))
        return True

    def forget(self) -> None:
        """Let nobody follow it again, nor begin it. Needs no room on the disk."""
        with suppress(FileNotFoundError), _locked(_record(self.folder), "r+") as file:
            if _attempt_in(file.read()) == self.attempt:
                file.truncate(0)

    def counts(self, job: Job) -> bool:
        """Whether its job goes on, or ended with success and everything that it said is there."""
        if not job.ended:
            return True
        if job.status != "SUCCEEDED" or not self.messages.is_file():
            return False
        last = self.messages.read_bytes().rstrip().rpartition(b"\n")[2]
        return last.replace(b" ", b"") == b'{"done":true}'


class Lines:
    """A file that another process, perhaps on another machine, adds lines to."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0  # bytes

    def read(self) -> list[bytes]:
        """The whole lines since the last call. Opened anew each time: a network file system shows
        what others wrote then. Raises ChildFailedError for a line that nobody can mean."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:  # it has not begun
            return []
        *whole, rest = new.split(b"\n")
        if max(map(len, (*whole, rest))) > LONGEST_LINE_BYTES:
            raise too_long_a_line("training")
        self._read += len(new) - len(rest)
        return whole


def entrypoint(launch: Launch, submission: Submission, told: Mapping[str, str]) -> str:
    """The job's shell command, told these environment variables. It ends as one of
    ENTRYPOINT_FAULTS where the node lacks something, with success when the job is the run's newest
    no more, else as the training process does."""
    paths = (launch.config_file, launch.folder, submission.messages, launch.log_file)
    config, folder, said, log = (shlex.quote(str(path)) for path in paths)
    program, record = shlex.quote(launch.command[0]), shlex.quote(str(_record(launch.folder)))
    variables = [f"{name}={text}" for name, text in told.items()]
    process = shlex.join(["env", "-u", PARENT_VARIABLE, *variables, *launch.command])
    return "\n".join(
        (
            f"cd {shlex.quote(str(REPOSITORY))} && command -v {program} || exit {_NO_PROGRAM}",
            f"echo What the training says is in {folder}.",
            f"n=0; until test -r {config}; do",
            f"n=$((n + 1)); test $n -gt {_PATIENCE_S} && exit {_NO_FOLDER}; sleep 1; done",
            f"test -w {folder} || exit {_NOT_OURS}",
            f'test "$(cat {record})" = {submission.attempt} || exit 0',
            # Not into {said}, where it would be read for the first line.
            f"true >{said} && true >>{log} && echo >{folder}/.room.tmp || exit {DISK_FULL}",
            f'test -z "$(find {log} -size +{LONGEST_LOG_BYTES}c)" || : >{log}',
            f"exec {process} >{said} 2>>{log}",
        )
    )


def installation(data_dir: Path) -> str:
    """Tells this installation's jobs from those of others on the same cluster."""
    path = data_dir / "ray_installation"
    if not path.exists():
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        mine = data_dir / f".{path.name}.{uuid4().hex}.tmp"
        mine.write_text(uuid4().hex)
        try:
            os.link(mine, path)  # never half written, never overwritten
        except FileExistsError:
            pass  # another server was faster
        finally:
            mine.unlink()
    return path.read_text()


def _record(folder: Path) -> Path:
    return folder / "ray_attempt"


@contextmanager
def _locked(record: Path, mode: str) -> Iterator[IO[str]]:
    """The record for one server at a time; jobs read it as it is."""
    with record.open(mode) as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed, or the process is killed
        file.seek(0)
        yield file


def _attempt_in(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
