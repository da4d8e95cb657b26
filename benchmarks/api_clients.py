"""64 clients of an HTTP API, each asking again as soon as it is answered; run by benchmarks.api.

    python -m benchmarks.api_clients PORT SECONDS PATH

Raw sockets in a process of their own: a client library would cost more than what is measured.
Prints a JSON line: answers, errors, seconds, the slowest answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import uvloop

CONNECTIONS = 64


async def ask(port: int, path: str, until: float, counts: dict[str, float]) -> None:
    """One connection; whatever is no 200 or breaks is an error."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    while time.monotonic() < until:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            while (began := time.monotonic()) < until:
                writer.write(request)
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length(head))
                counts["answers" if head.startswith(b"HTTP/1.1 200") else "errors"] += 1
                counts["slowest_s"] = max(counts["slowest_s"], time.monotonic() - began)
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            counts["errors"] += 1
            await asyncio.sleep(0.1)


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"content-length: ")
    return int(rest.partition(b"\r\n")[0])


async def main() -> None:
    """All of them at once."""
    port, seconds, path = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    counts = {"answers": 0.0, "errors": 0.0, "slowest_s": 0.0}
    began = time.monotonic()
    await asyncio.gather(*(ask(port, path, began + seconds, counts) for _ in range(CONNECTIONS)))
    print(json.dumps(counts | {"seconds": time.monotonic() - began}))


if __name__ == "__main__":
    os.nice(5)
    uvloop.run(main())
