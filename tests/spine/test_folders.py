"""Folders are complete or not there, and what is removed was nobody's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from racer.files import write_new
from racer.folders import Folders, confirm, doubt, size_of
from tests.support import REPOSITORY, fill, small_disk


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.name != ".lock")


def of_nobody(asked: Collection[str]) -> set[str]:
    return set()


def made(root: Path, name: str) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    (folder / "policy.onnx").write_bytes(b"x")
    return folder


def test_what_was_staged_is_there_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "new" / "races")
    with folders.staging() as staging:
        write_new(staging.folder / "policy.onnx", b"x")
        assert [path for path in names(folders.root) if not path.startswith(".")] == []
        place = folders.settle(staging.folder, "race", "entry")
    assert names(folders.root) == ["race", "race/entry", "race/entry/policy.onnx"]
    assert place == folders.root / "race" / "entry"

    def stage_half() -> None:
        with folders.staging() as staging:
            write_new(staging.folder / "policy.onnx", b"x")
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        stage_half()
    with folders.staging() as staging, pytest.raises(OSError, match="not empty"):
        folders.settle(staging.folder, "race", "entry")  # it is taken
    assert names(folders.root) == ["race", "race/entry", "race/entry/policy.onnx"]


def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        folders = Folders(disk / "races")
        made(folders.root, "before")
        (disk / "room").write_bytes(bytes(64 << 10))
        with folders.staging() as staging:
            fill(disk / "filler")
            (disk / "room").unlink()
            with pytest.raises(OSError, match="No space left"):
                write_new(staging.folder / "policy.onnx", bytes(1 << 20))
        assert names(folders.root) == ["before", "before/policy.onnx"]


def test_tidying_up_removes_what_is_nobodys_and_nothing_else(tmp_path: Path) -> None:
    for name, marked in (("row", True), ("orphan", True), ("other-database", False)):
        folder = made(tmp_path, name)
        if marked:
            doubt(folder)
    made(tmp_path, ".staged-half")
    folders = Folders(tmp_path)
    with folders.hold():
        assert folders.tidy_up(of_nobody) == 0  # somebody works there
    assert folders.tidy_up(lambda _: {"row"}) == 2
    files = ["other-database/policy.onnx", "row/policy.onnx"]
    assert names(tmp_path) == sorted(["other-database", "row", *files])
    assert folders.tidy_up(lambda _: pytest.fail("asked about nothing")) == 0


def test_a_folder_is_marked_until_its_row_is_certain(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    with folders.staging() as staging:
        folder = folders.settle(staging.folder, "kept", marked=True)
    confirm(folder)
    assert folders.tidy_up(of_nobody) == 0
    with folders.staging() as staging:
        folders.settle(staging.folder, "lost", marked=True)
    assert folders.tidy_up(of_nobody) == 1
    assert names(tmp_path) == ["kept"]
    doubt(tmp_path / "never there")
    confirm(tmp_path / "never there")
    assert names(tmp_path) == ["kept"]


def test_discarding_what_is_not_there_leaves_nothing_of_it(tmp_path: Path) -> None:
    folders = Folders(tmp_path)
    made(tmp_path, "race/entry")
    assert folders.discard("race", "entry")
    assert folders.discard("race", "entry")
    assert names(tmp_path) == ["race"]
    assert folders.discard("race")
    assert names(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from racer import folders

ours = folders.Folders(Path(sys.argv[1]))
if sys.argv[2] == "removing":
    folders._remove = lambda folder: os.kill(os.getpid(), signal.SIGKILL)
    ours.discard("one")
else:
    with ours.staging() as staging:
        (staging.folder / "policy.onnx").write_bytes(b"x")
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("doing", ["removing", "staging"])
def test_what_a_killed_process_leaves_is_removed_by_the_next_start(
    tmp_path: Path, doing: str
) -> None:
    if doing == "removing":
        made(tmp_path, "one")
    command = [sys.executable, "-c", KILLED, str(tmp_path), doing]
    died = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert not (tmp_path / "one").exists()
    assert len([*tmp_path.glob(".staged-*")]) == 1
    assert Folders(tmp_path).tidy_up(of_nobody) == 1  # the dead hold no lock
    assert names(tmp_path) == []


def test_sizes_count_files_and_whole_blocks_where_wanted(tmp_path: Path) -> None:
    folder = made(tmp_path, "one")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "more").write_bytes(bytes(5000))
    (folder / "empty").touch()
    doubt(folder)
    assert size_of(folder) == 5001
    assert size_of(folder, block_bytes=4096) == 3 * 4096
    assert size_of(tmp_path / "absent") == 0


def test_what_cannot_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path, "one")

    def refuse(path: Path, target: Path) -> Path:
        raise PermissionError(13, os.strerror(13))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", refuse)
        assert not Folders(tmp_path).discard("one")
    assert names(tmp_path) == ["one", "one/policy.onnx"]
