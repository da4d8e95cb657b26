"""What the API costs beside the least that FastAPI can do, and whether it holds out.

    python -m benchmarks.api [--minutes 10] [--database-url postgresql://…]

64 connections ask without a pause for a user and for one of their drone models: the real service,
as a person starts it, and a bare FastAPI application that reads the same rows with the same driver
(benchmarks.bare_api), in turns within one run. Then the service alone for `--minutes`, while a
training computes for the first of them: no error, and its memory stays flat.

Prints JSON lines; exit code 1 when a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.control import running, training_beside
from tests.support import claim_slot, free_tcp_port, wait_for

THROUGHPUT_LIMIT = 0.5  # of the bare application's
SLOT_S, TURNS = 5.0, 4
TRAINING_S = 60.0
GROWTH_LIMIT = 0.05  # of the resident memory, from a tenth of the time to its end
LIMITS = {"errors": 0.0, "growth": GROWTH_LIMIT}
MODELS = 3  # of the user that is read


def asked(port: int, path: str, seconds: float) -> dict[str, float]:
    """What 64 connections were answered in that time."""
    arguments = [str(port), str(seconds), path]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.api_clients", *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    counted: dict[str, float] = json.loads(result.stdout)
    return counted


def compare(name: str, path: str, ports: dict[str, int]) -> float:
    """Throughput of ours by the bare application's, turn by turn."""
    totals = {way: {"answers": 0.0, "errors": 0.0, "seconds": 0.0} for way in ports}
    for _ in range(TURNS):
        for way, port in ports.items():
            counted = asked(port, path, SLOT_S)
            for key in totals[way]:
                totals[way][key] += counted[key]
    rates = {way: total["answers"] / total["seconds"] for way, total in totals.items()}
    ratio = rates["ours"] / rates["bare"]
    line: dict[str, Any] = {way: round(rate) for way, rate in rates.items()}
    errors = sum(total["errors"] for total in totals.values())
    print(
        json.dumps(
            {"route": name, "unit": "requests/s"}
            | line
            | {"ratio": round(ratio, 3), "errors": errors, "load": os.getloadavg()[0]}
        ),
        flush=True,
    )
    return ratio if not errors else 0.0


def endure(
    folder: Path, environment: dict[str, str], service: psutil.Process, path: str, minutes: float
) -> dict[str, float]:
    """Errors beside a training, and how much memory grew in `minutes`."""
    port = int(environment["PORT"])
    with ExitStack() as stack:
        stack.enter_context(training_beside(folder, environment))
        beside = asked(port, path, TRAINING_S)
    print(json.dumps({"beside a training": beside}), flush=True)
    resident, errors = [], beside["errors"]
    for _ in range(max(2, round(minutes * 60 / SLOT_S))):
        errors += asked(port, path, SLOT_S)["errors"]
        resident.append(service.memory_info().rss)
    early = resident[len(resident) // 10]
    growth = max(resident[-1] - early, 0) / early
    told = {"rss_mb": [round(resident[0] / 1e6), round(early / 1e6), round(resident[-1] / 1e6)]}
    print(json.dumps(told | {"minutes": minutes, "growth": round(growth, 4)}), flush=True)
    return {"errors": errors, "growth": growth}


def fill(url: str) -> dict[str, str]:
    """An account with drone models; the paths that are read."""
    with httpx.Client(base_url=url) as client:
        client.post("/users/", json={"username": "ada"}).raise_for_status()
        for number in range(MODELS):
            wanted = {"title": f"Model {number}", "drone_details": {"velocityLimit": "12"}}
            made = client.post("/users/ada/drone-models/", json=wanted).raise_for_status().json()
    return {
        "GET /users/{username}": "/users/ada",
        "GET /users/{username}/drone-models/{drone_id}": (
            f"/users/ada/drone-models/{made['drone_id']}"
        ),
    }


def answers(url: str) -> Callable[[], bool]:
    def probe() -> bool:
        try:
            return httpx.get(url, timeout=5).status_code < 500
        except httpx.TransportError:
            return False

    return probe


def main() -> int:
    """Measure and print; exit code 1 if a limit was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of asking without a pause")
    parser.add_argument("--database-url", default="", help="of an empty PostgreSQL database")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = stack.enter_context(claim_slot(folder))
        environment |= {"STACK": "external", "DATABASE_URL": options.database_url}
        service = stack.enter_context(running("main.py", environment=environment))
        url = f"http://127.0.0.1:{environment['PORT']}"
        wait_for("the service", answers(url + "/livez"), timeout_s=60)
        paths = fill(url)
        database_url = options.database_url or f"sqlite:///{folder / 'toledo_racer.db'}"
        bare_port = free_tcp_port()
        with running(
            "-m", "benchmarks.bare_api", str(bare_port), database_url, environment=environment
        ):
            wait_for("the bare one", answers(f"http://127.0.0.1:{bare_port}/"), timeout_s=30)
            ports = {"ours": int(environment["PORT"]), "bare": bare_port}
            ratios = {name: compare(name, path, ports) for name, path in paths.items()}
        model = paths["GET /users/{username}/drone-models/{drone_id}"]
        found = endure(folder, environment, psutil.Process(service.pid), model, options.minutes)
    missed = [name for name, ratio in ratios.items() if ratio < THROUGHPUT_LIMIT]
    missed += [name for name, limit in LIMITS.items() if found[name] > limit]
    print(json.dumps({"missed": missed}))
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
