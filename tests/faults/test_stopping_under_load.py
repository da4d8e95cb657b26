"""SIGTERM while 64 connections are at work: 32 requests in flight, 32 sockets."""

from __future__ import annotations

import signal
import socket
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.program import running
from tests.support import claim_slot, wait_for

REQUESTS, SOCKETS = 32, 32
STOP_LIMIT_S = 15.0


def in_progress(client: httpx.Client) -> int:
    """Requests that are being answered, this one among them."""
    lines = client.get("/metrics").text.splitlines()
    name = "http_requests_in_progress "
    return round(sum(float(line.removeprefix(name)) for line in lines if line.startswith(name)))


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def closed_with(viewer: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed) as closed:
        read_all(viewer)
    return None if closed.value.rcvd is None else closed.value.rcvd.code


def read_all(viewer: ClientConnection) -> None:
    while True:
        viewer.recv(timeout=10)


def test_what_is_in_flight_is_finished_and_sockets_are_told(tmp_path: Path) -> None:
    with ExitStack() as stack:
        slot = stack.enter_context(claim_slot(tmp_path))
        client, process = stack.enter_context(running(slot | {"LOG_LEVEL": "WARNING"}))
        url = f"ws://127.0.0.1:{slot['PORT']}/ws/telemetry"
        viewers = [stack.enter_context(connect(url, compression=None)) for _ in range(SOCKETS)]
        pool = stack.enter_context(ThreadPoolExecutor(REQUESTS))
        # While we hold the one lock of SQLite every writer waits.
        other = stack.enter_context(closing(sqlite3.connect(tmp_path / "toledo_racer.db")))
        other.execute("BEGIN IMMEDIATE")
        writing = [
            pool.submit(
                httpx.post, f"{client.base_url}/users/", json={"username": f"name {n}"}, timeout=30
            )
            for n in range(REQUESTS)
        ]
        wait_for("all to be in flight", lambda: in_progress(client) == REQUESTS + 1, timeout_s=30)

        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        wait_for("its port to close", lambda: refuses(int(slot["PORT"])), timeout_s=10)
        time.sleep(2.0)  # what is in flight may need a while
        other.rollback()
        assert [answer.result().status_code for answer in writing] == [200] * REQUESTS
        assert {closed_with(viewer) for viewer in viewers} == {1012}
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - began < STOP_LIMIT_S
