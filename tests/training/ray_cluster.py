"""A Ray cluster on this machine: a head that executes nothing, and nodes that can be killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil

from racer.settings import Settings
from tests.support import free_tcp_port, wait_for

_MARK = "TOLEDO_TEST_CLUSTER"  # in the environment of all its processes
_NOTICES_DEATH = {  # of a node within some 8 s, not 20 s
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
}


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

    def settings(self, data_dir: Path, **changes: Any) -> Settings:
        told = {"executor": "ray", "ray_address": self.address, "ray_auth_token": self._token}
        return Settings(_env_file=None, data_dir=data_dir, **(told | changes))

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
