"""Files are whole or not there."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from racer.files import becoming, copy_new, sync_folder, write_atomically, write_new
from tests.support import REPOSITORY, fill, small_disk


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_file_takes_the_place_of_another_one_at_once(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    write_atomically(path, b"old")
    with becoming(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert contents(tmp_path) == {"policy.onnx": b"new"}
    write_atomically(path, b"a", memoryview(b"b"))
    assert contents(tmp_path) == {"policy.onnx": b"ab"}


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "policy.onnx"
    write_atomically(path, b"old")

    def write_half() -> None:
        with becoming(path) as file:
            file.write(b"half")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        write_half()
    assert contents(tmp_path) == {"policy.onnx": b"old"}


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        write_atomically(disk / "policy.onnx", b"old")
        (disk / "room").write_bytes(bytes(64 << 10))
        fill(disk / "filler")
        (disk / "room").unlink()
        with pytest.raises(OSError, match="No space left"):
            write_atomically(disk / "policy.onnx", bytes(1 << 20))
        assert {path.name for path in disk.iterdir()} == {"policy.onnx", "filler"}
        assert (disk / "policy.onnx").read_bytes() == b"old"


KILLED = """
import os, signal, sys
from pathlib import Path
from racer.files import becoming

with becoming(Path(sys.argv[1]) / "policy.onnx") as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_leaves_what_was_there_and_a_file_that_says_what_it_is(tmp_path: Path) -> None:
    write_atomically(tmp_path / "policy.onnx", b"old")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    died = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert (tmp_path / "policy.onnx").read_bytes() == b"old"
    assert [path.read_bytes() for path in tmp_path.glob(".policy.onnx.*.tmp")] == [b"half"]


def test_two_that_write_one_file_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with becoming(path) as one, becoming(path) as other:
        one.write(b"one")
        other.write(b"other")
    assert contents(tmp_path) == {"config.json": b"one"}  # which came last


def test_a_file_may_be_for_its_owner_alone(tmp_path: Path) -> None:
    with becoming(tmp_path / "backup", mode=0o600) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o600


def test_new_files_replace_none(tmp_path: Path) -> None:
    write_new(tmp_path / "one", b"1")
    copy_new(tmp_path / "one", tmp_path / "two")
    for again in (
        lambda: write_new(tmp_path / "one", b"2"),
        lambda: copy_new(tmp_path / "one", tmp_path / "two"),
    ):
        with pytest.raises(FileExistsError):
            again()
    assert contents(tmp_path) == {"one": b"1", "two": b"1"}


def test_what_is_written_is_synced_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, told = tmp_path / "policy.onnx", []
    fsync = os.fsync

    def noted(file: int) -> None:
        told.append(("folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "file", path.exists()))
        fsync(file)

    monkeypatch.setattr(os, "fsync", noted)
    write_atomically(path, b"x")
    assert told == [("file", False), ("folder", True)]


def test_a_file_system_that_cannot_sync_folders_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int) -> None:
        monkeypatch.setattr(os, "fsync", lambda _: fail(number))

    def fail(number: int) -> None:
        raise OSError(number, os.strerror(number))

    refuse(errno.EINVAL)
    sync_folder(tmp_path)
    refuse(errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        sync_folder(tmp_path)
