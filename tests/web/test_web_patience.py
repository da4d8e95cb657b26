"""Clients that take their time, or whose number is the problem; limits of tenths of a second."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response

from racer.web import patience
from racer.web.patience import PatientProtocol, Waiting
from racer.web.server import listen
from tests.support import wait_for

GET = b"GET /quick HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 6000\r\n\r\n"
IMPATIENT = {"HEAD_S": 0.3, "BODY_S": 0.3, "READ_S": 0.3, "_LOOK_S": 0.05, "_YOUNG_S": 0.0}
Address = tuple[str, int]


def an_app() -> FastAPI:
    app = FastAPI()

    @app.get("/quick")
    async def quick() -> str:
        return "done"

    @app.get("/long")
    async def long() -> str:
        await asyncio.sleep(1.0)
        return "done"

    @app.get("/large")
    async def large() -> Response:
        return Response(bytes(64 << 20))

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    @app.post("/refuse")
    async def refuse() -> Response:  # without reading
        return Response(status_code=413)

    @app.post("/later")
    async def later(request: Request) -> int:
        await asyncio.sleep(1.0)
        return len(await request.body())

    return app


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in IMPATIENT.items():
        monkeypatch.setattr(patience, name, value)


@contextmanager
def serving(most: int = 100) -> Iterator[tuple[uvicorn.Server, Address]]:
    protocol = partial(PatientProtocol, waiting=Waiting(most))
    config = uvicorn.Config(
        an_app(), http=protocol, lifespan="off", log_level="error", timeout_keep_alive=0
    )
    server = uvicorn.Server(config)
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            wait_for("the server", lambda: server.started, timeout_s=20)
            yield server, listener.getsockname()
        finally:
            server.force_exit = server.should_exit = True
            thread.join(timeout=20)


def answer_of(client: socket.socket) -> bytes:
    """All that comes until the server closes; fails when it never does."""
    client.settimeout(20)
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begun", [b"", b"G", GET, POST, POST + b"half"])
def test_who_does_not_go_on_is_told_so(begun: bytes) -> None:
    with serving() as (_, address), socket.create_connection(address) as client:
        client.sendall(begun)
        answer = answer_of(client)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"application/problem+json" in answer


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("begun", [GET, POST])
def test_who_goes_on_by_single_bytes_is_cut(begun: bytes) -> None:
    with serving() as (_, address), socket.create_connection(address) as client:
        client.sendall(begun)
        client.settimeout(0.02)
        deadline = time.monotonic() + 20
        answer = None
        while answer is None:
            assert time.monotonic() < deadline
            client.send(b"x")
            try:
                answer = client.recv(99)
            except TimeoutError:
                continue
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.usefixtures("impatient")
def test_a_slow_body_that_goes_on_is_waited_for() -> None:
    """500 bytes are worth another second each."""
    with serving() as (_, address), socket.create_connection(address) as client:
        client.sendall(POST.replace(b"Host", b"Connection: close\r\nHost"))
        for _ in range(6):
            client.sendall(bytes(1000))
            time.sleep(0.2)
        assert answer_of(client).endswith(b"6000")


@pytest.mark.usefixtures("impatient")
def test_a_client_is_not_blamed_for_what_we_take_long_over() -> None:
    with serving() as (_, address):
        url = f"http://127.0.0.1:{address[1]}"
        assert httpx.get(url + "/long").json() == "done"
        body = bytes(1 << 20)  # more than is read before the handler asks for it
        assert httpx.post(url + "/later", content=body).json() == len(body)
        expecting = {"Expect": "100-continue"}
        assert httpx.post(url + "/later", content=b"abc", headers=expecting).json() == 3


@pytest.mark.usefixtures("impatient")
def test_who_does_not_read_the_answer_is_cut() -> None:
    with serving() as (server, address), socket.create_connection(address) as client:
        client.sendall(GET.replace(b"quick", b"large") + b"\r\n")
        wait_for("the connection", lambda: server.server_state.connections, timeout_s=20)
        wait_for("its end", lambda: not server.server_state.connections, timeout_s=20)


@pytest.mark.usefixtures("impatient")
def test_a_refused_body_that_goes_on_coming_is_cut() -> None:
    with serving() as (server, address), socket.create_connection(address) as client:
        client.sendall(POST.replace(b"length", b"refuse"))
        client.settimeout(20)
        assert client.recv(99).startswith(b"HTTP/1.1 413 ")
        client.sendall(b"half")  # and uvicorn's own time-out is off from here
        wait_for("its end", lambda: not server.server_state.connections, timeout_s=20)


def test_of_too_many_that_only_wait_the_oldest_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_YOUNG_S", 0.0)
    with serving(most=20) as (server, address), ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(address))

        sent = connect()
        sent.sendall(GET.replace(b"quick", b"long") + b"Connection: close\r\n\r\n")
        wait_for("the request", lambda: server.server_state.tasks, timeout_s=20)
        idle = [connect() for _ in range(60)]
        for old in idle[:40]:
            old.settimeout(20)
            assert old.recv(1) == b""
        idle[-1].sendall(GET + b"Connection: close\r\n\r\n")
        assert answer_of(idle[-1]).endswith(b'"done"')
        assert answer_of(sent).endswith(b'"done"')  # older, but it is our turn
