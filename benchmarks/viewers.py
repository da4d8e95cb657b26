"""Many telemetry viewers in one process, for benchmarks.control.

    python -m benchmarks.viewers PORT COUNT HZ SECONDS

Prints one JSON line: how old the telemetry was when it arrived (its stamp is the controller's wall
clock, the same machine's), and how many messages came.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from statistics import median, quantiles

from websockets.asyncio.client import connect


async def view(url: str, until_s: float, ages_ms: list[float]) -> None:
    async with connect(url, compression=None) as socket:
        while time.monotonic() < until_s:
            message = json.loads(await socket.recv())
            ages_ms.append((time.time() - message["stamp"]) * 1e3)


async def main(port: int, count: int, hz: float, seconds: float) -> None:
    os.nice(10)
    ages_ms: list[float] = []
    url = f"ws://127.0.0.1:{port}/ws/telemetry?hz={hz:g}"
    until_s = time.monotonic() + seconds
    await asyncio.gather(*(view(url, until_s, ages_ms) for _ in range(count)))
    print(
        json.dumps(
            {
                "viewers": count,
                "messages": len(ages_ms),
                "hz": round(len(ages_ms) / count / seconds, 1),
                "age_p50_ms": round(median(ages_ms), 1),
                "age_p99_ms": round(quantiles(ages_ms, n=100)[98], 1),
            }
        ),
        flush=True,
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])))
