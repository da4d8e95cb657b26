"""Trainings on a real Ray cluster of a head and two nodes: followed, cancelled, outliving server,
node, connection and a full disk."""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import suppress
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from auth import Visitor
from models import Status, TrainingEpoch, TrainingRun
from racer.identity import living_pid
from racer.training.schemas import Sweep
from tests.support import fill, free_tcp_port, small_disk, wait_for
from tests.training.conftest import DONE, FAKE_WORKER, Bench, collect, gone, numbers, play
from tests.training.ray_cluster import Cluster, Site, ray_cluster, relay, until
from tests.training.test_kills import compare, servers

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
EPOCHS = 100
ANYBODY = Visitor(None, open_accounts=True)
SMALL_WORKER = (sys.executable, "-m", "tests.training.small_worker")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_cluster(nodes=2) as running:
        yield running


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[int, Any], Path]:
    """What becomes of two runs undisturbed and without Ray, and the programs compiled for them."""
    folder = tmp_path_factory.mktemp("twins")
    with servers(f"sqlite:///{folder / 'test.db'}", folder / "data", count=1) as undisturbed:
        undisturbed.queue(runs=2, epochs=EPOCHS)
        wait_for("the end of both runs", undisturbed.all_ended, timeout_s=200)
        return undisturbed.outcome(), folder / "data" / "jax_cache"


@pytest.fixture
def site(sqlite_bench: Bench, cluster: Cluster) -> Site:
    return Site(sqlite_bench, cluster)


def test_a_run_is_a_job_of_its_id_and_every_epoch_comes_in_order(site: Site) -> None:
    drone_id = site.bench.new_model(epochs=4)

    async def scenario() -> None:
        async with site.service() as service:
            run_id = await service.start(drone_id)
            told = await collect(service, drone_id, within_s=60)
            assert numbers(told) == [1, 2, 3, 4]
            assert told[-1] == DONE
        assert site.cluster.jobs(run_id) == {run_id: "SUCCEEDED"}
        logs = site.cluster.http.get(f"/api/jobs/{run_id}/logs").json()["logs"]
        assert str(site.bench.directory(run_id)) in logs
        [run] = site.bench.runs(drone_id)
        assert (run.attempt, run.error, run.revision) == (1, None, "abc")

    play(scenario())


def test_pause_and_cancel_stop_the_job_and_resume_submits_another(site: Site) -> None:
    drone_id = site.bench.new_model(epochs=4)
    program = (*FAKE_WORKER, "--hold-after", "2", "--hold-again")

    async def scenario() -> None:
        async with site.serve(*program) as service:
            run_id = await service.start(drone_id)
            pid = await site.holding(run_id)
            await service.pause_run(run_id)
            assert gone(pid)
            assert site.cluster.jobs(run_id) == {run_id: "STOPPED"}
            (site.bench.directory(run_id) / "pid").unlink()
            await service.resume_run(run_id)
            pid = int(await until(lambda: _text(site.bench.directory(run_id) / "pid")))
            await service.cancel_run(run_id)
            assert gone(pid)
            stopped = {run_id: "STOPPED", f"{run_id}-2": "STOPPED"}
            assert site.cluster.jobs(run_id) == stopped
        assert site.bench.model(drone_id).status is Status.CANCELLED
        assert site.bench.epochs(run_id) == [1, 2]

    play(scenario())


def test_a_server_that_comes_back_follows_the_same_job(site: Site) -> None:
    drone_id = site.bench.new_model(epochs=4)

    async def scenario() -> None:
        async with site.service(hold_after=2) as service:
            run_id = await service.start(drone_id)
            pid = await site.holding(run_id)
        assert not gone(pid)
        async with site.service() as service:
            site.bench.go()
            assert numbers(await collect(service, drone_id, within_s=60)) == [1, 2, 3, 4]
        assert site.cluster.jobs(run_id) == {run_id: "SUCCEEDED"}
        [run] = site.bench.runs(drone_id)
        assert (run.attempt, run.status) == (2, Status.FINISHED)
        assert site.bench.epochs(run_id) == [1, 2, 3, 4]
        with site.bench.database.session(read_only=True) as session:
            last = session.query(TrainingEpoch).filter_by(run_id=run_id, epoch=4).one()
            assert last.metrics["resumed_after"] == 0  # nothing was trained twice

    play(scenario())


def test_what_was_done_and_what_was_closed_while_no_server_was_there(site: Site) -> None:
    done, closed = site.bench.new_model(epochs=4), site.bench.new_model(epochs=4)

    async def scenario() -> None:
        async with site.service(hold_after=2, max_trainings=2) as service:
            runs = [await service.start(drone_id) for drone_id in (done, closed)]
            pids = [await site.holding(run_id) for run_id in runs]
        idle = site.service(max_trainings=2)  # a server that executes nothing, as another one's API
        await idle.cancel(closed)
        assert not gone(pids[1])
        async with site.service(max_trainings=2):
            await until(lambda: gone(pids[1]))
            await until(lambda: site.cluster.jobs(runs[1]) == {runs[1]: "STOPPED"})
        site.bench.go()
        await until(lambda: site.cluster.jobs(runs[0]) == {runs[0]: "SUCCEEDED"})
        assert site.bench.epochs(runs[0]) == [1, 2]
        async with site.service() as service:
            assert numbers(await collect(service, done, within_s=60)) == [1, 2, 3, 4]
        assert site.cluster.jobs(runs[0]) == {runs[0]: "SUCCEEDED"}
        assert site.bench.model(closed).status is Status.CANCELLED

    play(scenario())


def test_a_sweep_fills_the_cluster_and_what_is_cancelled_in_its_queue_never_begins(
    site: Site,
) -> None:
    drone_id = site.bench.new_model(epochs=4)

    async def scenario() -> None:
        async with site.service(hold_after=2, max_trainings=3) as service:
            runs = [
                view.run.id
                for view in await service.sweep(drone_id, Sweep(seeds=[0, 1, 2]), ANYBODY)
            ]
            begun = [site.bench.directory(run_id) / "holding" for run_id in runs]
            await until(lambda: sum(path.exists() for path in begun) == 2)
            [waiting] = [path.parent.name for path in begun if not path.exists()]
            told = await until(lambda: _run(site.bench, waiting).error)
            assert "waits for room" in told
            await service.cancel_run(waiting)
            assert site.cluster.jobs(waiting) == {waiting: "PENDING"}
            site.bench.go()
            others = [run_id for run_id in runs if run_id != waiting]
            await until(lambda: all(len(site.bench.epochs(run_id)) == 4 for run_id in others))
            await until(lambda: site.cluster.jobs(waiting) == {waiting: "SUCCEEDED"})
        assert not (site.bench.directory(waiting) / "pid").exists()

    play(scenario())


def test_a_cluster_that_is_away_is_named_and_waited_for(site: Site) -> None:
    drone_id, port = site.bench.new_model(epochs=4), free_tcp_port()
    elsewhere = {"ray_address": f"http://127.0.0.1:{port}"}

    async def scenario() -> None:
        async with site.service(hold_after=2, **elsewhere) as service:
            run_id = await service.start(drone_id)
            told = await until(lambda: site.bench.runs(drone_id)[0].error)
            assert f"http://127.0.0.1:{port} cannot be reached" in told
            async with relay(port, site.cluster.address):
                await site.holding(run_id)
                assert site.bench.runs(drone_id)[0].error is None
            told = await until(lambda: site.bench.runs(drone_id)[0].error)
            assert "goes on when it is back" in told
            site.bench.go()  # the cluster is there: only we do not reach it
            await until(lambda: site.bench.epochs(run_id) == [1, 2, 3, 4])
            async with asyncio.timeout(30):
                await collect(service, drone_id, within_s=30)
        [run] = site.bench.runs(drone_id)
        assert (run.status, run.attempt, run.error) == (Status.FINISHED, 1, None)

    play(scenario())


def test_a_token_that_is_not_the_clusters_is_said_to_be_so(site: Site) -> None:
    drone_id = site.bench.new_model()

    async def scenario() -> None:
        async with site.service(ray_auth_token="0" * 64) as service:
            await service.start(drone_id)
            told = await until(lambda: site.bench.runs(drone_id)[0].error)
            assert "RAY_AUTH_TOKEN" in told
            await service.cancel(drone_id)

    play(scenario())


@pytest.mark.parametrize(
    ("behaviour", "words", "attempts"),
    [
        ("crash", "ended early with exit code 1. It said: * | ArithmeticError: the gradient*", 1),
        ("fault", "It stumbled. It said: * | ZeroDivisionError: division by zero", 1),
        ("killed", "*was killed, most likely because memory ran out.*", 3),
    ],
)
def test_a_failure_has_its_reason_and_last_words(
    site: Site, behaviour: str, words: str, attempts: int
) -> None:
    drone_id = site.bench.new_model()

    async def scenario() -> None:
        async with site.serve(*FAKE_WORKER, "--behaviour", behaviour) as service:
            await service.start(drone_id)
            [*_, last] = await collect(service, drone_id, within_s=90)
            assert fnmatch(last["error"], f"*{words}"), last
        [run] = site.bench.runs(drone_id)
        assert (run.status, run.attempt) == (Status.FAILED, attempts)
        assert site.bench.epochs(run.id) == [1, 2]

    play(scenario())


def test_a_full_disk_pauses_the_run_and_resume_goes_on(site: Site) -> None:
    drone_id = site.bench.new_model(epochs=60)  # their lines take more than one page

    async def scenario(disk: Path) -> None:
        async with site.service(hold_after=2) as service:
            run_id = await service.start(drone_id)
            await site.holding(run_id)
            fill(disk / "filler")
            site.bench.go()
            await until(lambda: _run(site.bench, run_id).status is Status.PAUSED)
            assert f"the disk that holds {disk / run_id} is full" in _run(site.bench, run_id).error
            (disk / "filler").unlink()
            await service.resume_run(run_id)
            assert numbers(await collect(service, drone_id, within_s=60)) == list(range(1, 61))
        assert site.bench.epochs(run_id) == list(range(1, 61))

    with small_disk(site.bench.data_dir / "runs", "1m") as disk:
        play(scenario(disk))


def test_two_servers_on_postgresql_are_killed_and_the_runs_end_as_their_undisturbed_twins(
    cluster: Cluster, twins: tuple[dict[int, Any], Path], postgres_url: str, tmp_path: Path
) -> None:
    told = {name.upper(): text for name, text in cluster.told.items()}
    chance = random.Random(3)
    with servers(postgres_url, tmp_path / "data", count=2, **told) as running:
        (running.data_dir / "jax_cache").symlink_to(twins[1])
        running.queue(runs=2, epochs=EPOCHS)
        for begin, end in ((EPOCHS + 1, EPOCHS + 30), (EPOCHS + 40, EPOCHS + 75)):
            goal = chance.randrange(begin, end)  # each has begun by then
            wait_for("epochs", lambda goal=goal: running.recorded() >= goal, timeout_s=120)
            running.kill_one(chance)
        wait_for("the end of both runs", running.all_ended, timeout_s=120)
        assert running.attempts() > 2
        compare(running.outcome(), twins[0], epochs=EPOCHS)
        for run_id in running.run_ids():
            assert cluster.jobs(run_id) == {run_id: "SUCCEEDED"}


def test_a_run_whose_node_is_killed_ends_on_the_other_as_its_undisturbed_twin(
    site: Site, twins: tuple[dict[int, Any], Path]
) -> None:
    """The last test: it costs the cluster a node."""
    (site.bench.data_dir / "jax_cache").symlink_to(twins[1])
    twin, disturbed = site.bench.new_model(epochs=40), site.bench.new_model(epochs=40)

    async def scenario() -> None:
        async with site.serve(*SMALL_WORKER, max_trainings=2) as service:
            other = await service.start(twin)
            await until(lambda: site.bench.epochs(other))
            run_id = await service.start(disturbed)
            lock = site.bench.directory(run_id) / "lock"
            await until(lambda: len(site.bench.epochs(run_id)) >= 5)
            holder = living_pid(lock.read_text().strip())
            assert holder is not None
            site.cluster.kill_node_of(holder)
            found = await collect(service, disturbed, within_s=120)
            undisturbed = await collect(service, twin, within_s=120)
        assert found[-1] == DONE
        assert [_bare(message) for message in found] == [_bare(m) for m in undisturbed]
        assert _policy(site.bench, disturbed) == _policy(site.bench, twin)
        [run] = site.bench.runs(disturbed)
        assert run.attempt == 2
        assert site.bench.runs(twin)[0].attempt == 1
        assert site.bench.epochs(run_id) == list(range(1, 41))
        assert site.cluster.jobs(run_id) == {run_id: "FAILED", f"{run_id}-2": "SUCCEEDED"}

    play(scenario())


def _bare(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "seconds"}


def _policy(bench: Bench, drone_id: str) -> str:
    [run] = bench.runs(drone_id)
    return hashlib.sha256((bench.directory(run.id) / "policy.onnx").read_bytes()).hexdigest()


def _run(bench: Bench, run_id: str) -> TrainingRun:
    with bench.database.session(read_only=True) as session:
        return session.query(TrainingRun).filter_by(id=run_id).one()


def _text(path: Path) -> str:
    with suppress(FileNotFoundError):
        return path.read_text()
    return ""
