"""From a pilot's WebSocket frame to the MAVLink setpoint on the wire, and what viewers cost.

    python -m benchmarks.control

The web service, `drone_controller.py` and MAVSDK run as they are; the vehicle is a peer that
hovers, speaks MAVLink and notes when each setpoint arrives. Sticks go out 50 times a second, every
one with a value of its own, while a training computes on the other core. Measured in one run: our
service, a plain aiohttp and rclpy relay in its place (benchmarks.plain_relay), and our service with
200 viewers of the telemetry at 20 Hz (benchmarks.viewers).

Prints JSON lines; exit code 1 when a limit is missed.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles

import httpx
import psutil
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.training import CONFIG
from tests.flight.px4_peer import Px4Peer
from tests.support import REPOSITORY, claim_slot, free_tcp_port, wait_for

HZ, SECONDS = 50.0, 30.0
VIEWERS, VIEWERS_HZ = 200, 20.0
P50_LIMIT_MS, P99_LIMIT_MS = 3.0, 10.0
RELAY_LIMIT = 0.5  # of the plain relay's 99th percentile
AGE_LIMIT_MS, GROWTH_LIMIT_MS = 100.0, 5.0


@contextmanager
def running(*arguments: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """One of our programs, ended at the end of the block."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(timeout=30)


@contextmanager
def training_beside(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """A training of the default model on the last core, until the end of the block."""
    config = folder / "config.json"
    config.write_text(json.dumps(CONFIG | {"epochs": 10_000, "seed": 0}))
    arguments = ("--config", str(config), "--output", str(folder / "run"))
    with running("-m", "racer.learning.worker", *arguments, environment=environment) as worker:
        psutil.Process(worker.pid).cpu_affinity([(os.cpu_count() or 1) - 1])
        wait_for("its first epoch", (folder / "run" / "policy.safetensors").exists, timeout_s=300)
        yield


async def send_sticks(socket: ClientConnection, frame: dict[str, object]) -> dict[int, float]:
    """Sticks on absolute deadlines; when each was sent, by its number."""
    sent: dict[int, float] = {}
    began = time.monotonic()
    for number in range(int(HZ * SECONDS)):
        await asyncio.sleep(max(0.0, began + number / HZ - time.monotonic()))
        text = json.dumps(frame | {"forward": 1.0 + 1e-3 * number})
        sent[number] = time.monotonic()
        await socket.send(text)
    return sent


def latencies_ms(peer: Px4Peer, url: str, **frame: object) -> list[float]:
    """Of every stick from its frame to its setpoint; those before the vehicle was in Offboard and
    those that never came are left out, and counted."""
    peer.arrivals.clear()

    errors: list[str] = []

    async def hear(socket: ClientConnection) -> None:
        async for text in socket:
            answer = json.loads(text)
            errors.extend([answer["message"]] if answer["type"] == "error" else [])

    async def fly() -> dict[int, float]:
        async with connect(url, compression=None) as socket:
            hearing = asyncio.create_task(hear(socket))
            sent = await send_sticks(socket, frame)
            hearing.cancel()
            return sent

    sent = asyncio.run(fly())
    if errors:
        raise RuntimeError(f"The sticks were refused: {errors[0]}")
    time.sleep(1.0)
    came: dict[int, float] = {}
    for at_s, message in peer.arrivals:
        came.setdefault(round((message.vx - 1.0) * 1e3), at_s)
    return [(came[number] - at_s) * 1e3 for number, at_s in sent.items() if number in came]


def report(name: str, found: list[float]) -> dict[str, float]:
    line = {
        "sticks": len(found),
        "sent": int(HZ * SECONDS),
        "p50_ms": round(median(found), 2),
        "p99_ms": round(quantiles(found, n=100)[98], 2),
        "worst_ms": round(max(found), 2),
    }
    print(json.dumps({"way": name} | line), flush=True)
    return line


def viewed(port: int) -> subprocess.Popen[str]:
    arguments = [str(port), str(VIEWERS), str(VIEWERS_HZ), str(SECONDS + 5.0)]
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.viewers", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )


def main() -> int:
    """Measure and print; exit code 1 if a limit was missed."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = stack.enter_context(claim_slot(folder)) | {"STACK": "external"}
        port = 14540 + int(environment["VEHICLE_INSTANCE"])
        peer = stack.enter_context(Px4Peer(port, in_air=True, report_s=1 / 30, obeys=True))
        stack.enter_context(running("drone_controller.py", environment=environment))
        stack.enter_context(training_beside(folder, environment))
        with running("main.py", environment=environment):
            web = f"127.0.0.1:{environment['PORT']}"
            wait_for("the service", lambda: _ready(web), timeout_s=60)
            url = f"ws://{web}/ws/control"
            ours = report("ours", latencies_ms(peer, url, type="velocity"))
            viewers = viewed(int(environment["PORT"]))
            time.sleep(3.0)
            watched = report("ours, with viewers", latencies_ms(peer, url, type="velocity"))
            seen = json.loads(viewers.communicate(timeout=60)[0])
            print(json.dumps(seen), flush=True)
        relay_port = free_tcp_port()
        with running("-m", "benchmarks.plain_relay", str(relay_port), environment=environment):
            wait_for("the relay", lambda: _hears(relay_port), timeout_s=30)
            relay = report("plain relay", latencies_ms(peer, f"ws://127.0.0.1:{relay_port}/"))
    ratios = {
        "p50": ours["p50_ms"] / P50_LIMIT_MS,
        "p99": ours["p99_ms"] / P99_LIMIT_MS,
        "p99 over the plain relay's": ours["p99_ms"] / relay["p99_ms"] / RELAY_LIMIT,
        "age of viewers' telemetry": seen["age_p99_ms"] / AGE_LIMIT_MS,
        "growth of p99 with viewers": (watched["p99_ms"] - ours["p99_ms"]) / GROWTH_LIMIT_MS,
    }
    print(json.dumps({"ratios_to_limit": {k: round(v, 2) for k, v in ratios.items()}}))
    return int(max(ratios.values()) > 1.0)


def _ready(web: str) -> bool:
    try:
        parts = httpx.get(f"http://{web}/readyz", timeout=5).json()
    except (httpx.TransportError, ValueError):
        return False
    return '"vehicle": true' in json.dumps(parts)


def _hears(port: int) -> bool:
    """Whether the relay knows the controller."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ready", timeout=2).is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    sys.exit(main())
