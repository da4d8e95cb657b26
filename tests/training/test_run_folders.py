"""A server that is killed on the way leaves no files that nobody can delete, and loses none."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from racer.errors import ConflictError
from racer.folders import doubt
from tests.support import REPOSITORY
from tests.training.conftest import Bench, collect, play, until
from tests.training.test_run_ends import weights

KILLED = """
import os, signal, sys
from pathlib import Path
from auth import Visitor
from racer.training import service
from racer.training.schemas import Sweep
from tests.training.conftest import bench_on, play

url, data_dir, run_id, drone_id, moment = sys.argv[1:]
real = {"doubt_if_possible": service.doubt_if_possible, "lay_weights": service.lay_weights}

def killed(*told):
    os.kill(os.getpid(), signal.SIGKILL)

def killed_after(name):
    def both(*told):
        real[name](*told)
        killed()
    setattr(service, name, both)

async def main():
    with bench_on(url, Path(data_dir)) as bench:
        async with bench.service() as training:
            if moment == "deleting, before the commit":
                killed_after("doubt_if_possible")
            elif moment == "deleting, after it":
                service.Folders.discard = killed
            elif moment == "continuing, before the commit":
                killed_after("lay_weights")
            elif moment == "continuing, after it":
                service.confirm = killed
            if moment.startswith("deleting"):
                await training.delete_run(run_id)
            else:
                wanted = Sweep(continue_from=run_id, seeds=[0])
                await training.sweep(drone_id, wanted, Visitor(None, open_accounts=True))

play(main())
"""


@pytest.mark.parametrize(
    ("moment", "runs"),
    [
        ("deleting, before the commit", 1),
        ("deleting, after it", 0),
        ("continuing, before the commit", 1),
        ("continuing, after it", 2),
    ],
)
def test_a_kill_leaves_each_run_with_its_files_and_no_others(
    bench: Bench, moment: str, runs: int
) -> None:
    drone_id = bench.new_model(epochs=2)

    async def train() -> str:
        async with bench.service() as training:
            run_id = await training.start(drone_id)
            await collect(training, drone_id)
            return run_id

    async def start_again() -> None:
        async with bench.service(max_trainings=1):
            known = [run.id for run in bench.runs(drone_id)]
            assert len(known) == runs
            assert folders(bench) == sorted(known)
            assert not [*bench.data_dir.glob("runs/*/.unrecorded")]

    run_id = play(train())
    weights(bench.directory(run_id))
    told = [bench.database_url, str(bench.data_dir), run_id, drone_id, moment]
    command = [sys.executable, "-c", KILLED, *told]
    died = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr.decode()
    assert len(folders(bench)) == (2 if moment.startswith("continuing") else 1)
    play(start_again())
    if run_id in folders(bench):
        assert (bench.directory(run_id) / "policy.safetensors").exists()


def folders(bench: Bench) -> list[str]:
    return sorted(path.name for path in (bench.data_dir / "runs").glob("[!.]*"))


def test_folders_that_only_have_no_row_stay(sqlite_bench: Bench) -> None:
    """Trainings from the command line lie there too, and those of another database."""
    for name in ("of the command line", "deleted"):
        sqlite_bench.directory(name).mkdir(parents=True)
        (sqlite_bench.directory(name) / "policy.onnx").write_bytes(b"x")
    doubt(sqlite_bench.directory("deleted"))

    async def scenario() -> None:
        async with sqlite_bench.service():
            assert folders(sqlite_bench) == ["of the command line"]

    play(scenario())


def test_what_may_not_be_deleted_is_not_marked(sqlite_bench: Bench) -> None:
    bench = sqlite_bench
    drone_id = bench.new_model(epochs=2)

    async def scenario() -> None:
        async with bench.service(hold_after=1) as training:
            run_id = await training.start(drone_id)
            await bench.holding(run_id)
            with pytest.raises(ConflictError):
                await training.delete_run(run_id)
            assert not (bench.directory(run_id) / ".unrecorded").exists()
            bench.go()
            await collect(training, drone_id)

    play(scenario())


def test_a_run_that_another_server_deletes_while_it_trains_leaves_no_folder(bench: Bench) -> None:
    drone_id = bench.new_model(epochs=2)

    async def scenario() -> None:
        async with bench.service(hold_after=1) as training:
            run_id = await training.start(drone_id)
            await bench.holding(run_id)
            async with bench.service(max_trainings=1) as other:
                await other.cancel_run(run_id)
                await other.delete_run(run_id)
            bench.directory(run_id).mkdir(exist_ok=True)  # as a process does that begins just now
            await until(lambda: not folders(bench))

    play(scenario())


def test_a_disk_that_refuses_does_not_stop_the_start(sqlite_bench: Bench) -> None:
    runs: Path = sqlite_bench.data_dir / "runs"
    runs.write_text("a file where the folder should be")

    async def scenario() -> None:
        async with sqlite_bench.service():
            pass

    play(scenario())
    assert runs.is_file()
