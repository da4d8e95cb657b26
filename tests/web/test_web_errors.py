"""Every error is a text for the person at the client, with an id for whoever helps."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus

import pytest
from fastapi import APIRouter
from sqlalchemy.exc import OperationalError
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from racer import errors
from racer.settings import Settings
from racer.web.app import MAX_BODY_BYTES, assemble, spine

ORIGIN = {"Origin": "http://localhost:3000"}
EVERY_ERROR = [kind for kind in vars(errors).values() if isinstance(kind, type)]


def routes_that_fail() -> APIRouter:
    router = APIRouter()

    @router.get("/raise/{name}")
    def fail(name: str) -> None:
        raise getattr(errors, name)(f"This is {name}: do that.")

    @router.get("/bug")
    def bug() -> None:
        raise ZeroDivisionError("secret of the house")

    @router.get("/lost")
    def lost() -> None:
        raise OperationalError("SELECT secret", {}, Exception("server closed the connection"))

    @router.get("/half")
    def half() -> StreamingResponse:
        def parts() -> Iterator[bytes]:
            yield b"first half"
            raise ZeroDivisionError

        return StreamingResponse(parts())

    @router.post("/size")
    def size(body: dict[str, str]) -> int:
        return len(body["text"])

    return router


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("web"),
        database_url="",
        secret_key="",
        cors_origins=["https://racing.example"],
    )
    with TestClient(
        assemble(settings, routers=[routes_that_fail()], lifespan=spine),
        base_url="http://localhost",
    ) as running:
        yield running


@pytest.mark.parametrize("kind", EVERY_ERROR)
def test_our_errors_are_their_status_and_their_message(
    client: TestClient, kind: type[errors.RacerError]
) -> None:
    answer = client.get(f"/raise/{kind.__name__}")
    assert answer.status_code == kind.status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json() == {
        "title": HTTPStatus(kind.status).phrase,
        "status": kind.status,
        "detail": f"This is {kind.__name__}: do that.",
    }
    assert ("WWW-Authenticate" in answer.headers) == (kind.status == 401)


def test_a_bug_is_logged_once_and_told_politely(client: TestClient) -> None:
    with capture_logs() as lines:
        answer = client.get("/bug", headers=ORIGIN)
    assert answer.status_code == 500
    assert answer.headers["X-Request-ID"] in answer.json()["detail"]
    assert "secret" not in answer.text
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
    assert [(line["log_level"], line.get("exc_info")) for line in lines] == [
        ("error", True),
        ("info", None),
    ]


@pytest.mark.parametrize("path", ["/raise/NotFoundError", "/bug", "/nowhere", "/docs"])
def test_browsers_are_told_what_not_to_do(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    framing = headers["Content-Security-Policy"]
    assert framing == "frame-ancestors 'self' https://racing.example"


def test_a_lost_database_is_a_503_that_shows_no_statement(client: TestClient) -> None:
    answer = client.get("/lost")
    assert answer.status_code == 503
    assert "database" in answer.json()["detail"]
    assert "secret" not in answer.text


def test_an_answer_that_breaks_off_is_not_passed_off_as_whole(client: TestClient) -> None:
    with pytest.raises(ZeroDivisionError):
        client.get("/half")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("PATCH", "/bug", 405),
        ("OPTIONS", "/bug", 405),
        ("GET", "/raise/a/b", 404),
    ],
)
def test_an_unknown_address_or_method_is_told_in_json(
    client: TestClient, method: str, path: str, status: int
) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert "/docs" in answer.json()["detail"]


def test_a_large_body_is_refused_announced_or_not(client: TestClient) -> None:
    fits = '{"text": "' + "x" * (MAX_BODY_BYTES - 12) + '"}'
    headers = {"Content-Type": "application/json"} | ORIGIN
    assert client.post("/size", content=fits, headers=headers).json() == MAX_BODY_BYTES - 12

    def chunks() -> Iterator[bytes]:  # sent without a Content-Length
        yield from [b"x" * 1000] * (MAX_BODY_BYTES // 1000 + 1)

    for body in (fits + " ", chunks()):
        answer = client.post("/size", content=body, headers=headers)
        assert answer.status_code == 413
        assert str(MAX_BODY_BYTES) in answer.json()["detail"]
        assert "Access-Control-Allow-Origin" in answer.headers


def test_a_request_keeps_the_id_it_came_with_if_that_is_one(client: TestClient) -> None:
    assert (
        client.get("/nowhere", headers={"X-Request-ID": "a-1.b_2"}).headers["X-Request-ID"]
        == "a-1.b_2"
    )
    for wrong in ("", "x" * 65, "a b", "a\tb"):
        given = client.get("/nowhere", headers={"X-Request-ID": wrong}).headers["X-Request-ID"]
        assert len(given) == 32


def test_a_request_is_one_line_without_its_query(client: TestClient) -> None:
    with capture_logs() as lines:
        client.get("/raise/NotFoundError?token=hush")
    (line,) = lines
    assert line.pop("ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "path": "/raise/NotFoundError",
        "status": 404,
    }


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://racing.example", True),
        ("http://localhost:3000", True),
        ("http://localhost:5173", True),
        ("http://127.0.0.1", True),
        ("https://app.localhost:8443", True),
        ("http://[::1]:3000", True),
        ("https://racing.example.evil.com", False),
        ("http://localhost.evil.com", False),
        ("http://localhost:3000.evil.com", False),
        ("http://127.0.0.1.evil.com", False),
        ("https://evil.com", False),
        ("null", False),
    ],
)
def test_only_configured_and_local_origins_may_read(
    client: TestClient, origin: str, allowed: bool
) -> None:
    preflight = client.options(
        "/size",
        headers={
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        },
    )
    answer = client.get("/nowhere", headers={"Origin": origin})
    for headers in (preflight.headers, answer.headers):
        assert (headers.get("Access-Control-Allow-Origin") == origin) == allowed
    assert preflight.status_code == (200 if allowed else 400)


def test_a_star_never_comes_with_credentials(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path_factory.mktemp("star"),
        database_url="",
        cors_origins=["*"],
    )
    with TestClient(
        assemble(settings, routers=[], lifespan=spine), base_url="http://localhost"
    ) as client:
        answer = client.get("/nowhere", headers={"Origin": "https://anywhere.example"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in answer.headers
