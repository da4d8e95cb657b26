"""Ten thousand clients that connect and say nothing, and some that say it very slowly."""

from __future__ import annotations

import resource
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import psutil
import pytest

from racer.web.patience import HEAD_S
from tests.program import running, said
from tests.support import claim_slot

CONNECTIONS, ADDRESSES, SLOW = 10_000, 50, 200
ANSWER_LIMIT_S = 5.0
MOST_FILES = 2_500  # of the server: 1,024 that wait, what came in the last moment, and its own


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many files as this test opens."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = CONNECTIONS + 1_000
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"this process may open only {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connected(stack: ExitStack, port: int, number: int) -> socket.socket:
    source = (f"127.0.0.{2 + number % ADDRESSES}", 0)
    return stack.enter_context(
        socket.create_connection(("127.0.0.1", port), timeout=10, source_address=source)
    )


def assert_served(base_url: httpx.URL) -> None:
    for path in ("/livez", "/users/ada"):
        began = time.monotonic()
        said(httpx.get(f"{base_url}{path}", timeout=ANSWER_LIMIT_S))  # a connection of its own
        assert time.monotonic() - began < ANSWER_LIMIT_S


@pytest.mark.usefixtures("many_files")
def test_clients_that_say_nothing_or_little_stop_nobody(tmp_path: Path) -> None:
    with (
        claim_slot(tmp_path) as slot,
        running(slot | {"LOG_LEVEL": "WARNING"}) as (client, process),
    ):
        said(client.post("/users/", json={"username": "ada"}))
        server = psutil.Process(process.pid)
        with ExitStack() as stack:
            for number in range(CONNECTIONS):
                connected(stack, int(slot["PORT"]), number)
                if number % 1_000 == 999:
                    assert_served(client.base_url)
            assert server.num_fds() < MOST_FILES
        with ExitStack() as stack:
            slow = {connected(stack, int(slot["PORT"]), number) for number in range(SLOW)}
            for one in slow:
                one.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            deadline = time.monotonic() + HEAD_S + 10.0
            while slow:
                assert time.monotonic() < deadline, f"{len(slow)} are still there"
                slow -= trickle(slow)
                assert_served(client.base_url)
        assert process.poll() is None


def trickle(slow: set[socket.socket]) -> set[socket.socket]:
    """One byte of each; returns those that were cut, after half a second or when there are any."""
    with selectors.DefaultSelector() as selector:
        for one in slow:
            selector.register(one, selectors.EVENT_READ)
        cut = {key.fileobj for key, _ in selector.select(timeout=0.5)}
    for one in slow - cut:
        try:
            one.send(b"x")
        except OSError:
            cut.add(one)
    return cut
