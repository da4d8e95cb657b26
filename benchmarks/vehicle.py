"""Embedded vehicles in real time: what one costs in flight, and whether ten keep up.

    python -m benchmarks.vehicle

Every vehicle is the program that the service starts, takes off and hovers, and streams what PX4
streams. Real-time factor: seconds on the vehicle's clock over seconds on ours, of the slowest one.
Processor time: of the process, as a share of one core. Prints one JSON line a fleet; exit code 1
when a limit is missed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import psutil

from tests.autopilot.process import Peer, running_vehicle

SECONDS = 30.0
LEAST_REAL_TIME = 0.98
MOST_PROCESSOR = 0.15
_ARM, _TAKE_OFF, _SYSTEM_TIME = 400, 22, 2


def clock(peer: Peer) -> tuple[float, float]:
    """Seconds since the vehicle's boot, and on our clock when its answer came."""
    peer.drain()
    message = peer.request(_SYSTEM_TIME)
    return message.time_boot_ms / 1e3, time.monotonic()


def fly(count: int, folder: Path) -> tuple[list[float], list[float]]:
    """Real-time factors and processor shares of vehicles that hover beside each other."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(running_vehicle(folder / str(number))) for number in range(count)
        ]
        peers = [Peer(instance) for instance, _ in started]
        processes = [psutil.Process(process.pid) for _, process in started]
        for peer in peers:
            stack.callback(peer.close)
            peer.heartbeat(system_status=3)
            if peer.command(_ARM, 1.0) + peer.command(_TAKE_OFF) != [0, 0]:
                raise RuntimeError("A vehicle refused to take off.")
        begin = [clock(peer) for peer in peers]
        used = [_processor_s(process) for process in processes]
        since = time.monotonic()
        time.sleep(SECONDS)  # nobody has to listen to them
        shares = [
            (_processor_s(process) - before) / (time.monotonic() - since)
            for process, before in zip(processes, used, strict=True)
        ]
        end = [clock(peer) for peer in peers]
    factors = [
        (boot - first) / (now - then) for (first, then), (boot, now) in zip(begin, end, strict=True)
    ]
    return factors, shares


def _processor_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def main() -> int:
    missed = False
    with tempfile.TemporaryDirectory() as folder:
        for count in (1, 10):
            factors, shares = fly(count, Path(folder) / str(count))
            slowest, dearest = min(factors), max(shares)
            missed |= slowest < LEAST_REAL_TIME or (count == 1 and dearest > MOST_PROCESSOR)
            print(
                json.dumps(
                    {
                        "vehicles": count,
                        "real_time_factor": round(slowest, 4),
                        "processor_share": round(dearest, 4),
                        "processor_ratio": round(dearest / MOST_PROCESSOR, 2),
                    }
                ),
                flush=True,
            )
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
