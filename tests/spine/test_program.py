"""One process writes a folder's files, wherever the others are."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from racer.program import DISK_FULL
from tests.support import REPOSITORY, ending

pytestmark = pytest.mark.timeout(60)
_ALONE = """
import os, socket, sys
from pathlib import Path
from racer import program
program._PATIENCE_S = 0.0
folder, *elsewhere = sys.argv[1:]
if elsewhere:  # as a process of another machine that has the id of one here
    os.getpid, socket.gethostname = lambda: int(elsewhere[0]), lambda: "elsewhere"
print("here", flush=True)
sys.stdin.readline()
with program.alone_in(Path(folder)):
    print("alone", flush=True)
    sys.stdin.readline()
"""


def start(folder: Path, *elsewhere: str) -> subprocess.Popen[str]:
    """A process that will hold the folder when it is told to, and until it is told again."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", _ALONE, str(folder), *elsewhere],
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
        cwd=REPOSITORY,
    )
    assert heard(process) == "here"
    return process


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def heard(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_folder_that_another_machine_holds_is_waited_for(tmp_path: Path) -> None:
    """Containers number their processes alike: its id is that of the one which waits, here."""
    with (
        ending(start(tmp_path)) as waiting,
        ending(start(tmp_path, str(waiting.pid))) as holder,
    ):
        tell(holder)
        assert heard(holder) == "alone"
        tell(waiting)
        assert waiting.stderr is not None
        assert "elsewhere" in waiting.stderr.readline()
        tell(holder)
        assert holder.wait(timeout=30) == 0
        assert heard(waiting) == "alone"


def test_a_stopped_process_of_this_machine_that_holds_the_folder_is_killed(tmp_path: Path) -> None:
    with ending(start(tmp_path)) as stopped, ending(start(tmp_path)) as waiting:
        tell(stopped)
        assert heard(stopped) == "alone"
        stopped.send_signal(signal.SIGSTOP)
        tell(waiting)
        assert heard(waiting) == "alone"
        assert stopped.wait(timeout=30) == -signal.SIGKILL


def test_what_a_process_was_called_before_is_nobodys_name(tmp_path: Path) -> None:
    """As a version of ours wrote that knew no names: the id may be anybody's by now."""
    with ending(start(tmp_path)) as holder, ending(start(tmp_path)) as waiting:
        tell(holder)
        assert heard(holder) == "alone"
        (tmp_path / "lock").write_text(f"{holder.pid}\n")
        tell(waiting)
        assert waiting.stderr is not None
        assert str(holder.pid) in waiting.stderr.readline()
        tell(holder)
        assert holder.wait(timeout=30) == 0
        assert heard(waiting) == "alone"


_FULL = """
import errno, os
from racer import program

def fsync(_):
    raise OSError(errno.ENOSPC, "No space left on device")

os.fsync = fsync
program.tell_end(ValueError(), "test")
"""


def test_a_line_that_a_network_file_system_has_no_room_for_is_noticed(tmp_path: Path) -> None:
    """It takes what is written, and says so when that is synced."""
    with (tmp_path / "told").open("w") as told:
        done = subprocess.run(
            [sys.executable, "-c", _FULL], cwd=REPOSITORY, stdout=told, check=False
        )
    assert done.returncode == DISK_FULL
