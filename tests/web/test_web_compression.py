"""gzip: texts of some length are compressed, streams and secrets are left as they are."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from threading import Thread
from typing import Any

import pytest
import uvicorn
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.testclient import TestClient

from racer.cameras.routes import MjpegResponse
from racer.settings import Settings
from racer.web.app import assemble, spine
from racer.web.tokens import Admission, signed_in

TEXT = "a line of some length\n" * 100
GZIP = {"Accept-Encoding": "gzip"}
PLAIN = {"Accept-Encoding": "identity"}


def routes() -> APIRouter:
    router = APIRouter()

    @router.get("/text/{kind:path}")
    def text(kind: str, letters: int = 2000) -> Response:
        return Response("a" * letters, media_type=kind)

    @router.get("/kept")
    def kept() -> Response:
        return PlainTextResponse(TEXT, headers={"Cache-Control": "no-store"})

    @router.post("/token")
    def token() -> Response:
        return PlainTextResponse(TEXT)

    @router.get("/packed")
    def packed() -> Response:
        return Response(
            gzip.compress(TEXT.encode()),
            headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"},
        )

    @router.get("/stream/{kind:path}")
    async def stream(kind: str) -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield TEXT
            await asyncio.Event().wait()

        return StreamingResponse(parts(), media_type=kind)

    @router.get("/camera")
    async def camera(request: Request) -> MjpegResponse:
        async def frames() -> Any:
            yield b"\xff\xd8" + b"jpeg" * 1000
            await asyncio.Event().wait()

        return MjpegResponse(frames(), await Admission.of(request.app.state, signed_in, None))

    return router


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    settings = Settings(
        _env_file=None, data_dir=tmp_path_factory.mktemp("compression"), database_url=""
    )
    return assemble(settings, routers=[routes()], lifespan=spine)


@pytest.fixture
def plain(app: FastAPI) -> TestClient:
    """Not running: nothing here needs a database."""
    return TestClient(app, base_url="http://localhost")


@pytest.mark.parametrize(
    "kind", ["application/json", "text/csv", "image/svg+xml", "text/plain", "application/toml"]
)
def test_texts_are_compressed_for_who_takes_it(plain: TestClient, kind: str) -> None:
    packed = plain.get(f"/text/{kind}", headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < 100
    assert packed.text == "a" * 2000
    assert "Accept-Encoding" in packed.headers["Vary"]
    whole = plain.get(f"/text/{kind}", headers=PLAIN)
    assert "Content-Encoding" not in whole.headers
    assert whole.headers["Content-Length"] == "2000"
    assert "Accept-Encoding" in whole.headers["Vary"]


@pytest.mark.parametrize("accepted", ["", "gzip;q=0", "br", "x-gzip", "gzip;q=much"])
def test_who_does_not_take_it_is_not_sent_it(plain: TestClient, accepted: str) -> None:
    answer = plain.get("/text/text/plain", headers={"Accept-Encoding": accepted})
    assert "Content-Encoding" not in answer.headers


@pytest.mark.parametrize("kind", ["application/zip", "image/png", "application/octet-stream"])
def test_what_is_compressed_already_is_left_alone(plain: TestClient, kind: str) -> None:
    assert "Content-Encoding" not in plain.get(f"/text/{kind}", headers=GZIP).headers
    assert plain.get("/packed", headers=GZIP).text == TEXT  # once, not twice


def test_short_ones_and_secrets_are_not_compressed(plain: TestClient) -> None:
    for answer in (
        plain.get("/text/text/plain?letters=1000", headers=GZIP),
        plain.get("/kept", headers=GZIP),
        plain.post("/token", headers=GZIP),
    ):
        assert answer.status_code == 200
        assert "Content-Encoding" not in answer.headers


def test_a_long_one_is_compressed_in_a_thread(plain: TestClient) -> None:
    answer = plain.get("/text/text/plain?letters=1000000", headers=GZIP)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.text) == 1_000_000


@pytest.fixture(scope="module")
def port(app: FastAPI) -> Iterator[int]:
    """A real server: a test client waits for the end of a stream."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, lifespan="on", log_config=None, timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = Thread(target=lambda: server.run(sockets=[listener]))
    thread.start()
    yield listener.getsockname()[1]
    server.should_exit = True
    thread.join(timeout=30)


@pytest.mark.parametrize("path", ["/camera", "/stream/text/event-stream", "/stream/text/plain"])
def test_a_streams_first_part_arrives_at_once_and_as_it_is(port: int, path: str) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=30)) as caller:
        caller.sendall(
            f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n\r\n".encode()
        )
        received = b""
        wanted = (
            (b"\xff\xd8jpegjpeg", b"\r\n--frame\r\n") if path == "/camera" else (b"some length",)
        )
        while not all(part in received for part in wanted):  # the stream never ends
            part = caller.recv(65536)
            assert part, f"it ended: {received!r}"
            received += part
        assert b"content-encoding" not in received.lower()


def test_a_tag_is_one_thing_compressed_or_not(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    body = {"title": "First", "description": "slowly " * 300}
    model = client.post("/users/ada/drone-models/", json=body).json()
    path = f"/users/ada/drone-models/{model['drone_id']}"
    whole, packed = client.get(path, headers=PLAIN), client.get(path, headers=GZIP)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.json() == whole.json()
    tags = [whole.headers["ETag"], packed.headers["ETag"]]
    assert tags[0] != tags[1]  # other bytes
    for tag in tags:
        for headers in (PLAIN, GZIP):
            again = client.get(path, headers=headers | {"If-None-Match": tag})
            assert (again.status_code, again.headers["ETag"]) == (304, tag)
    target = f"/drone-models/{model['id']}/"
    changed = client.put(target, json={"train_loss": 1.0}, headers={"If-Match": tags[1]} | GZIP)
    assert changed.status_code == 200
    assert (
        client.put(target, json={"train_loss": 2}, headers={"If-Match": tags[1]}).status_code == 412
    )
