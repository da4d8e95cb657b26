"""Trainings on a real Ray cluster of a head and two nodes: followed, cancelled, outliving server,
node and connection."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from models import Status, TrainingEpoch, TrainingRun
from racer.identity import living_pid
from racer.training.schemas import Sweep
from racer.training.service import TrainingService
from tests.support import free_tcp_port
from tests.training.conftest import DONE, FAKE_WORKER, Bench, collect, gone, numbers, play
from tests.training.ray_cluster import Cluster, ray_cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]
SMALL_WORKER = (sys.executable, "-m", "tests.training.small_worker")
T = TypeVar("T")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with ray_cluster(nodes=2) as running:
        yield running


@dataclass
class Site:
    """A database, a folder, a cluster."""

    bench: Bench
    cluster: Cluster

    def service(self, *, hold_after: int = 0, **changes: Any) -> TrainingService:
        return self.serve(*FAKE_WORKER, "--hold-after", str(hold_after), **changes)

    def serve(self, *worker: str, **changes: Any) -> TrainingService:
        settings = self.cluster.settings(self.bench.data_dir, **changes)
        return TrainingService(settings, self.bench.database.session_factory, worker=worker)

    async def holding(self, run_id: str) -> int:
        """Wait until the fake program holds and its epochs are on record; its process id."""
        await until((self.bench.directory(run_id) / "holding").exists)
        await until(lambda: len(self.bench.epochs(run_id)) == 2)
        return int((self.bench.directory(run_id) / "pid").read_text())


@pytest.fixture
def site(sqlite_bench: Bench, cluster: Cluster) -> Site:
    return Site(sqlite_bench, cluster)


async def until(condition: Callable[[], T], *, within_s: float = 60) -> T:
    """Wait for the cluster, which takes seconds to start a job, and more on a busy machine."""
    async with asyncio.timeout(within_s):
        while not (value := await asyncio.to_thread(condition)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return value


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
            runs = [view.run.id for view in await service.sweep(drone_id, Sweep(seeds=[0, 1, 2]))]
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


def test_a_run_whose_node_is_killed_ends_on_the_other_as_its_undisturbed_twin(site: Site) -> None:
    """The last test: it costs the cluster a node."""
    twin, disturbed = site.bench.new_model(epochs=40), site.bench.new_model(epochs=40)

    async def scenario() -> None:
        async with site.serve(*SMALL_WORKER, max_trainings=2) as service:
            other = await service.start(twin)
            await until(lambda: site.bench.epochs(other), within_s=200)  # its programs are compiled
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


@asynccontextmanager
async def relay(port: int, address: str) -> AsyncIterator[None]:
    """What arrives at the port goes to that address; afterwards it is cut off."""
    open_ones: list[asyncio.StreamWriter] = []

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, _, there = address.removeprefix("http://").partition(":")
        back, forth = await asyncio.open_connection(host, int(there))
        open_ones.extend((writer, forth))
        await asyncio.gather(pump(reader, forth), pump(back, writer))

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    try:
        yield
    finally:
        server.close()
        for writer in open_ones:
            writer.close()


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
