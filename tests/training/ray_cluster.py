"""A Ray cluster on this machine: a head that executes nothing, and nodes that can be killed; and
services that use it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import psutil

from racer.settings import Settings
from racer.training.service import TrainingService
from tests.support import free_tcp_port, wait_for
from tests.training.conftest import FAKE_WORKER, Bench

_MARK = "TOLEDO_TEST_CLUSTER"  # in the environment of all its processes
_NOTICES_DEATH = {  # of a node within some 8 s, not 20 s
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
}
T = TypeVar("T")


class Cluster:
    """Processes, and the API that the server uses."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._token = folder, uuid4().hex * 2
        self._gcs, dashboard = f"127.0.0.1:{free_tcp_port()}", free_tcp_port()
        self.address = f"http://127.0.0.1:{dashboard}"
        headers = {"Authorization": f"Bearer {self._token}"}
        self.http = httpx.Client(base_url=self.address, headers=headers, timeout=20)
        self.nodes: list[subprocess.Popen[bytes]] = []
        self._started: list[subprocess.Popen[bytes]] = []
        self._start(
            *("--head", "--port", self._gcs.rpartition(":")[2], "--num-cpus=0"),
            *("--dashboard-host=127.0.0.1", f"--dashboard-port={dashboard}"),
            *(f"--temp-dir={folder}", f"--ray-client-server-port={free_tcp_port()}"),
        )

    def add_node(self) -> None:
        """One with a core."""
        self.nodes.append(self._start("--address", self._gcs, "--num-cpus=1"))

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        log = self._folder / f"{uuid4().hex}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    *(Path(sys.executable).with_name("ray"), "start", "--block", *options),
                    *("--node-ip-address=127.0.0.1", "--dashboard-agent-listen-port=0"),
                    *("--min-worker-port=0", "--max-worker-port=0", "--disable-usage-stats"),
                    *("--object-store-memory=80000000", "--include-log-monitor=false"),
                ],
                env=os.environ
                | {_MARK: str(self._folder), "RAY_USAGE_STATS_ENABLED": "0"}
                | _NOTICES_DEATH
                | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self._token},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        self._started.append(process)

        def started() -> bool:
            assert process.poll() is None, log.read_text()
            return "Ray runtime started" in log.read_text()

        wait_for("a Ray node", started, timeout_s=90)
        return process

    def kill_node_of(self, pid: int) -> None:
        """Everything on the node that runs this process dies at once."""
        above = {process.pid for process in psutil.Process(pid).parents()}
        [node] = [node for node in self.nodes if node.pid in above]
        self.nodes.remove(node)
        for process in [
            psutil.Process(node.pid),
            *psutil.Process(node.pid).children(recursive=True),
        ]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        node.wait()

    @property
    def told(self) -> dict[str, str]:
        """What a server must know of it."""
        return {"executor": "ray", "ray_address": self.address, "ray_auth_token": self._token}

    def settings(self, data_dir: Path, **changes: Any) -> Settings:
        return Settings(_env_file=None, data_dir=data_dir, **(self.told | changes))

    def jobs(self, run_id: str) -> dict[str, str]:
        """The status of each job of that run, by its id."""
        answer = self.http.get("/api/jobs/").raise_for_status().json()
        return {
            job["submission_id"]: job["status"]
            for job in answer
            if (job["metadata"] or {}).get("run") == run_id
        }

    def close(self) -> None:
        """Kill whatever is left of it."""
        self.http.close()
        while ours := [process for process in psutil.process_iter() if self._is_ours(process)]:
            for process in ours:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(ours, timeout=5)
        for started in self._started:
            started.wait()

    def _is_ours(self, process: psutil.Process) -> bool:
        with suppress(psutil.Error):
            return process.environ().get(_MARK) == str(self._folder)
        return False


@contextmanager
def ray_cluster(*, nodes: int) -> Iterator[Cluster]:
    """Up until the block ends; nothing of it stays."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))  # short: sockets are in it
    try:
        cluster = Cluster(folder)
        try:
            for _ in range(nodes):
                cluster.add_node()
            yield cluster
        finally:
            cluster.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


async def until(condition: Callable[[], T], *, within_s: float = 60) -> T:
    """Wait for the cluster, which takes seconds to start a job, and more on a busy machine."""
    async with asyncio.timeout(within_s):
        while not (value := await asyncio.to_thread(condition)):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return value


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
