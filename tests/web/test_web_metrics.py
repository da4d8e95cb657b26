"""What Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import APIRouter, FastAPI, WebSocket
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from models import Job, JobStatus
from racer.settings import Settings
from racer.web.app import assemble, spine
from racer.web.metrics import router as metrics


def some_routes() -> APIRouter:
    router = APIRouter()

    @router.get("/things/{name}")
    def thing(name: str) -> str:
        if name == "bug":
            raise ZeroDivisionError
        return name

    @router.websocket("/talk")
    async def talk(socket: WebSocket) -> None:
        await socket.accept()
        await socket.receive()

    return router


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    app = assemble(settings, routers=(some_routes(), metrics), lifespan=spine)
    with TestClient(app, base_url="http://127.0.0.1", raise_server_exceptions=False) as client:
        yield client


def told(client: TestClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests(of: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> dict[str, float]:
    return {
        " ".join((labels["method"], labels["path"], labels["status"])): value
        for (name, pairs), value in of.items()
        if name == "http_request_duration_seconds_count" and (labels := dict(pairs))
    }


def test_requests_are_counted_by_route(client: TestClient) -> None:
    for path in ("/things/a", "/things/b", "/things/bug", "/nowhere/1", "/nowhere/2"):
        client.get(path)
    client.request("BREW", "/things/tea")
    assert client.get("/things/c/").status_code == 200  # served as the spelling without a slash
    assert requests(told(client)) == {
        "GET /things/{name} 200": 3,
        "GET /things/{name} 500": 1,
        "GET none 404": 2,
        "other /things/{name} 405": 1,
    }


def test_open_sockets_are_counted(client: TestClient) -> None:
    open_now, ever = (
        ("websockets_open", (("path", "/talk"),)),
        ("websockets_total", (("path", "/talk"),)),
    )
    with client.websocket_connect("ws://127.0.0.1/talk"):
        assert told(client)[open_now] == 1
    assert (told(client)[open_now], told(client)[ever]) == (0, 1)


def test_work_is_counted_by_status(client: TestClient) -> None:
    app = client.app
    assert isinstance(app, FastAPI)
    with app.state.database.session() as session:
        session.add_all([Job(kind="race", config={}), Job(kind="race", config={})])
        session.add(Job(kind="race", config={}, status=JobStatus.FAILED))
    jobs = {status: told(client)["jobs", (("status", status.value),)] for status in JobStatus}
    assert {status for status, count in jobs.items() if count} == {"queued", "failed"}
    assert (jobs[JobStatus.QUEUED], jobs[JobStatus.FAILED]) == (2, 1)


@pytest.mark.parametrize("mode", ["open", "required"])
def test_metrics_want_their_token_where_one_is_set(settings: Settings, mode: str) -> None:
    settings = settings.model_copy(
        update={"auth_mode": mode, "secret_key": "k" * 48, "metrics_token": "scrape-me"}
    )
    app = assemble(settings, routers=(metrics,), lifespan=spine)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for sent, status in (
            (None, 401),
            ("Bearer scrape", 401),
            ("Bearer ", 401),
            ("Bearer scrape-m\u00e9", 401),
            ("Basic scrape-me", 401),
            ("Bearer scrape-me", 200),
        ):
            headers = {} if sent is None else {"Authorization": sent.encode("latin-1")}
            assert client.get("/metrics", headers=headers).status_code == status, sent


def test_without_a_token_metrics_are_no_strangers_where_everybody_signs_in(
    settings: Settings,
) -> None:
    settings = settings.model_copy(update={"auth_mode": "required", "secret_key": "k" * 48})
    app = assemble(settings, routers=(metrics,), lifespan=spine)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/metrics").status_code == 401
