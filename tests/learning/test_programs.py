"""Kept executables: found again, told apart, and compiled anew when a file is damaged."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from racer.learning.programs import prepare

NUMBERS = np.arange(4.0, dtype=np.float32)


class Traced:
    """A program that counts how often it is traced."""

    def __init__(self) -> None:
        self.times = 0

    def lower(self) -> jax.stages.Lowered:
        def double(x: jax.Array) -> jax.Array:
            self.times += 1
            return 2.0 * jnp.sort(x)

        return jax.jit(double).lower(NUMBERS)


def run(traced: Traced, folder: Path | None, compiled_in: str = "doubling") -> None:
    programs = prepare({"double": traced.lower}, compiled_in=compiled_in, folder=folder)
    assert np.asarray(programs["double"](NUMBERS)) == pytest.approx(2.0 * NUMBERS)


def test_a_program_is_traced_once_for_one_name(tmp_path: Path) -> None:
    traced = Traced()
    run(traced, tmp_path)
    run(traced, tmp_path)
    assert traced.times == 1
    run(traced, tmp_path, "doubling, otherwise")
    assert traced.times == 2
    assert len(list(tmp_path.glob("double-*.program"))) == 2


def test_without_a_folder_nothing_is_kept() -> None:
    traced = Traced()
    run(traced, None)
    run(traced, None)
    assert traced.times == 2


def test_beside_jaxs_own_cache_no_program_is_kept_that_cannot_be_called(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from tests.learning.test_programs import Traced, run
run(Traced(), Path(sys.argv[1]))
"""
    own = {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    # One fills JAX's cache, one would keep what comes out of it, one would call that.
    for folder in ("first", "second", "second"):
        command = [sys.executable, "-c", script, str(tmp_path / folder)]
        subprocess.run(command, check=True, env=os.environ | own)


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_damaged_file_is_compiled_again(tmp_path: Path, damage: bytes | None) -> None:
    traced = Traced()
    run(traced, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:-9] + b"?" * 9 if damage is None else damage)
    run(traced, tmp_path)
    assert traced.times == 2
    run(traced, tmp_path)
    assert traced.times == 2


def test_old_programs_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("racer.learning.programs._KEPT", 2)
    for name in ("a", "b", "c"):
        run(Traced(), tmp_path, name)
    assert len(list(tmp_path.iterdir())) == 2
    newest = Traced()
    run(newest, tmp_path, "c")
    assert newest.times == 0


def test_a_whole_file_of_something_else_is_compiled_again(tmp_path: Path) -> None:
    traced = Traced()
    run(traced, tmp_path)
    (file,) = tmp_path.iterdir()
    for pickled in (pickle.dumps(({}, 1, 2)), pickle.dumps("no program"), b"no pickle"):
        file.write_bytes(hashlib.sha256(pickled).digest() + pickled)
        run(traced, tmp_path)
    assert traced.times == 4
    file.unlink()
    file.mkdir()  # can neither be read nor replaced
    run(traced, tmp_path)
    assert traced.times == 5


def test_a_full_disk_keeps_nothing_and_stops_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("racer.learning.files.os.fsync", full)
    run(Traced(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_closed_to_others_and_one_that_cannot_be_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = tmp_path / "opened"
    opened.mkdir()
    opened.chmod(0o777)
    for folder in (opened, tmp_path / "made" / "here"):
        run(Traced(), folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert len(list(folder.iterdir())) == 1
    traced = Traced()
    (tmp_path / "a file").touch()
    run(traced, tmp_path / "a file")
    monkeypatch.setattr("racer.learning.files.os.geteuid", lambda: os.getuid() + 1)
    run(traced, opened)
    assert traced.times == 2
    assert len(list(opened.iterdir())) == 1


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    old, new = tmp_path / ".x.program.1.tmp", tmp_path / ".x.program.2.tmp"
    for part in (old, new):
        part.touch()
    os.utime(old, (0.0, 0.0))
    run(Traced(), tmp_path)
    assert new.exists()
    assert not old.exists()
