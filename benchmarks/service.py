"""How long a start and a stop take, and how fast the API answers while a training runs.

    python -m benchmarks.service

Starts the real service three times in a slot of its own: once to fill the compile cache, once to
time the second start, once more with SIGINT to time the stop; then reads what a console reads (the
user, a drone model, runs, a run, its epochs) over and over, first idle, then while two default
models train. Prints JSON; the limits are the ones that the product promises.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median, quantiles

import httpx
import psutil

from racer.flight.topics import topics_of
from tests.support import REPOSITORY, claim_slot

READY_LIMIT_S = 5.0
STOP_LIMIT_S = 3.0
READ_P99_LIMIT_MS = 50.0


@contextmanager
def service(environment: dict[str, str]) -> Iterator[dict[str, float]]:
    """The service, ready; yields its measured times, `stop_s` after the block."""
    url = f"http://127.0.0.1:{environment['PORT']}"
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "main.py"], cwd=REPOSITORY, env=environment, start_new_session=True
    )
    times = {}
    drone = topics_of(int(environment["VEHICLE_INSTANCE"])).drone
    try:
        while not _answers(f"{url}/readyz"):
            if process.poll() is not None or time.monotonic() - started > 120:
                raise RuntimeError("The service did not become ready.")
            time.sleep(0.02)
        times["ready_s"] = time.monotonic() - started
        while not httpx.get(f"{url}/drones/{drone}/state").is_success:
            if time.monotonic() - started > 120:
                raise RuntimeError("No telemetry came.")
            time.sleep(0.02)
        times["telemetry_s"] = time.monotonic() - started
        yield times
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        stopping = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=30)
        psutil.wait_procs(family, timeout=30)
        times["stop_s"] = time.monotonic() - stopping


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.TransportError:
        return False


def read_latencies_ms(urls: list[str], duration_s: float) -> list[float]:
    """Latencies of back-to-back reads on one connection, 100 a second at most, of each in turn."""
    latencies = []
    turns = cycle(urls)
    with httpx.Client() as client:
        end = time.monotonic() + duration_s
        while time.monotonic() < end:
            begin = time.perf_counter()
            client.get(next(turns)).raise_for_status()
            elapsed = time.perf_counter() - begin
            latencies.append(elapsed * 1e3)
            time.sleep(max(0.0, 0.01 - elapsed))
    return latencies


def latencies_idle_and_training(environment: dict[str, str]) -> dict[str, float]:
    """Percentiles in ms, idle and from the first epoch of two trainings at once to the last."""
    url = f"http://127.0.0.1:{environment['PORT']}"
    httpx.post(f"{url}/users/", json={"username": "ada"}).raise_for_status()
    model = _new_model(url)
    urls = [f"{url}/users/ada", model, f"{url}/runs"]
    for run in _train_twice(url, model, seed=0):
        httpx.post(f"{run}/cancel").raise_for_status()
        urls += [run, f"{run}/epochs"]
    idle = read_latencies_ms(urls, 5)
    training: list[float] = []
    runs = _train_twice(url, model, seed=2)
    while not all(httpx.get(run).json()["epoch"] for run in runs):
        time.sleep(0.05)
    while all(httpx.get(run).json()["status"] == "running" for run in runs):
        training += read_latencies_ms(urls + runs, 1)
    if any(httpx.get(run).json()["status"] not in ("running", "finished") for run in runs):
        raise RuntimeError("A training did not go on.")
    return {
        "idle_p50_ms": median(idle),
        "idle_p99_ms": quantiles(idle, n=100)[98],
        "training_p50_ms": median(training),
        "training_p99_ms": quantiles(training, n=100)[98],
        "reads_while_training": len(training),
    }


def _train_twice(url: str, model: str, *, seed: int) -> list[str]:
    """The URLs of two new runs."""
    runs = httpx.post(f"{model}/runs", json={"seeds": [seed, seed + 1]}).raise_for_status().json()
    return [f"{url}/runs/{run['id']}" for run in runs]


def _new_model(url: str) -> str:
    """The URL of a default drone model of Ada's."""
    details = dict.fromkeys(
        ("raceType", "flightAltitude", "velocityLimit", "yawLimit", "enableWind", "windSpeed"), ""
    )
    model = httpx.post(
        f"{url}/users/ada/drone-models/",
        json={"title": "x", "description": "", "drone_details": details | {"algorithm": "ppo"}},
    ).raise_for_status()
    return f"{url}/users/ada/drone-models/{model.json()['drone_id']}"


def main() -> int:
    """Measure and print; exit code 1 if a limit was missed."""
    with tempfile.TemporaryDirectory() as data, claim_slot(Path(data)) as environment:
        with service(environment) as first:
            pass
        with service(environment | {"MAX_TRAININGS": "2"}) as second:
            latencies = latencies_idle_and_training(environment)
    result: dict[str, dict[str, float]] = {
        "first_start": first,
        "second_start": second,
        "latency": latencies,
        "ratios_to_limit": {
            "second ready": second["ready_s"] / READY_LIMIT_S,
            "stop": second["stop_s"] / STOP_LIMIT_S,
            "read p99 while training": latencies["training_p99_ms"] / READ_P99_LIMIT_MS,
        },
    }
    print(json.dumps(result, indent=2))
    return int(max(result["ratios_to_limit"].values()) > 1)


if __name__ == "__main__":
    sys.exit(main())
