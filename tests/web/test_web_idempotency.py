"""Idempotency-Key: a request that makes something is done once, however often it is sent."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier, Event
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from sqlalchemy import select, update
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from database import Database, SessionDep
from models import KeptAnswer, User, utc_now
from racer.accounts.routes import router as accounts
from racer.errors import UnavailableError
from racer.settings import Settings
from racer.web import kept_answers
from racer.web.app import assemble, spine
from racer.web.idempotency import CREATES
from tests.tracks.texts import LOOP

KEY = {"Idempotency-Key": "6d1f3b1c-0a83-4f0e-9f43-6c3f7c5b8a11"}
PASSWORD = "correct horse battery"


def database_of(client: TestClient) -> Database:
    assert isinstance(client.app, FastAPI)
    database: Database = client.app.state.database
    return database


def rows(client: TestClient) -> list[KeptAnswer]:
    with database_of(client).session(read_only=True) as session:
        return list(session.scalars(select(KeptAnswer)))


def make_model(client: TestClient, title: str = "First", **headers: str) -> Any:
    return client.post(
        "/users/ada/drone-models/", json={"title": title}, headers=KEY | dict(headers)
    )


def test_a_repeat_gets_the_first_answer_and_makes_nothing(client: TestClient) -> None:
    for path, body in (
        ("/users/", {"username": "ada"}),
        ("/users/ada/drone-models/", {"title": "1"}),
    ):
        first = client.post(path, json=body, headers=KEY)
        again = client.post(path, json=body, headers=KEY)
        assert (
            (again.status_code, again.content)
            == (200, first.content)
            == (
                first.status_code,
                first.content,
            )
        )
        assert again.headers["Idempotency-Replayed"] == "true"
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Content-Type"] == first.headers["Content-Type"]
        assert again.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert len(client.get("/users/ada").json()["drone_models"]) == 1


def test_without_a_key_each_request_is_done(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    for _ in range(2):
        client.post("/users/ada/drone-models/", json={"title": "1"})
    assert len(client.get("/users/ada").json()["drone_models"]) == 2
    assert rows(client) == []


def test_a_track_that_is_sent_twice_is_one(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    toml = KEY | {"Content-Type": "application/toml"}
    first, again = (client.post("/users/ada/tracks", content=LOOP, headers=toml) for _ in "12")
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()


def test_a_key_is_for_one_thing(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    assert make_model(client).status_code == 200
    other = make_model(client, "Second")
    assert other.status_code == 422
    assert "another body" in other.json()["detail"]
    assert len(client.get("/users/ada").json()["drone_models"]) == 1


def test_a_key_is_its_owners(client: TestClient) -> None:
    """The same key of somebody else is another one: nobody reads what others were answered."""
    client.post("/users/", json={"username": "ada", "password": PASSWORD})
    tokens = client.post("/token", data={"username": "ada", "password": PASSWORD}).json()
    made = make_model(client, Authorization=f"Bearer {tokens['access_token']}")
    assert made.status_code == 200
    assert make_model(client).status_code == 401
    assert make_model(client, Authorization="Bearer forged").status_code == 401


def test_what_failed_may_be_tried_again(client: TestClient) -> None:
    assert make_model(client).status_code == 404
    client.post("/users/", json={"username": "ada"})
    assert make_model(client).status_code == 200


@pytest.mark.parametrize("key", ["", " ", "é", "x" * 256, "two words"])
def test_a_key_that_is_none_is_refused(client: TestClient, key: str) -> None:
    answer = client.post(
        "/users/", json={"username": "ada"}, headers={"Idempotency-Key": key.encode()}
    )
    assert answer.status_code == 422
    assert "Idempotency-Key" in answer.json()["detail"]


def test_no_password_is_kept_nor_its_plain_digest(client: TestClient) -> None:
    body = {"username": "ada", "password": PASSWORD}
    assert client.post("/users/", json=body, headers=KEY).status_code == 200
    assert client.post("/users/", json=body, headers=KEY).status_code == 200
    [row] = rows(client)
    assert PASSWORD not in repr(vars(row))
    assert "ada" not in row.owner
    other = client.post("/users/", json=body | {"password": "another one"}, headers=KEY)
    assert other.status_code == 422


def test_signing_in_is_not_kept(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada", "password": PASSWORD})
    form = {"username": "ada", "password": PASSWORD}
    assert client.post("/token", data=form, headers=KEY).status_code == 200
    assert rows(client) == []


def test_of_many_at_once_one_is_done(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    barrier = Barrier(6)

    def create(_: int) -> int:
        barrier.wait()
        answer = make_model(client)
        assert answer.status_code == 200 or answer.headers["Retry-After"] == "1"
        return int(answer.status_code)

    with ThreadPoolExecutor(6) as threads:
        statuses = set(threads.map(create, range(6)))
    assert 200 in statuses
    assert statuses <= {200, 409}
    assert len(client.get("/users/ada").json()["drone_models"]) == 1


def test_after_a_restart_it_is_still_known(settings: Settings) -> None:
    def running() -> TestClient:
        return TestClient(
            assemble(settings, routers=[accounts], lifespan=spine), base_url="http://localhost"
        )

    with running() as client:
        first = client.post("/users/", json={"username": "ada"}, headers=KEY)
    with running() as client:
        again = client.post("/users/", json={"username": "ada"}, headers=KEY)
    assert (again.status_code, again.json()) == (200, first.json())


def test_a_key_whose_server_was_killed_stays_taken(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    make_model(client)
    with database_of(client).session() as session:
        session.execute(update(KeptAnswer).values(status=None, body=None))
    early = make_model(client)
    assert (early.status_code, early.headers["Retry-After"]) == (409, "1")
    with database_of(client).session() as session:
        session.execute(update(KeptAnswer).values(created_at=utc_now() - timedelta(minutes=11)))
    late = make_model(client)
    assert late.status_code == 409
    assert "Retry-After" not in late.headers
    assert "another key" in late.json()["detail"]


def test_after_a_day_a_key_is_forgotten(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    make_model(client)
    with database_of(client).session() as session:
        session.execute(update(KeptAnswer).values(created_at=utc_now() - timedelta(hours=25)))
    assert "Idempotency-Replayed" not in make_model(client).headers
    assert len(rows(client)) == 1


def test_keys_are_bounded(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_answers, "MOST_OF_ONE", 3)
    for number in range(6):
        headers = {"Idempotency-Key": f"key-{number}"}
        body = {"username": f"pilot {number}"}
        assert client.post("/users/", json=body, headers=headers).status_code == 200
    assert len(rows(client)) == 3
    newest = client.post(
        "/users/", json={"username": "pilot 5"}, headers={"Idempotency-Key": "key-5"}
    )
    assert newest.headers["Idempotency-Replayed"] == "true"


@pytest.fixture
def odd(settings: Settings) -> Iterator[TestClient]:
    """Routes that make something, and wait or fail."""
    router = APIRouter()
    began, go_on = Event(), Event()

    @router.post("/slow", openapi_extra=CREATES)
    def slow(body: dict[str, str]) -> dict[str, str]:
        began.set()
        assert go_on.wait(30)
        return body

    @router.post("/broken", openapi_extra=CREATES)
    def broken(session: SessionDep) -> None:
        session.add(User(username="ada"))
        session.flush()
        raise UnavailableError("Not now.")

    @router.post("/bug", openapi_extra=CREATES)
    def bug() -> None:
        raise ZeroDivisionError

    app = assemble(settings, routers=[router], lifespan=spine)
    app.state.began, app.state.go_on = began, go_on
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        yield client


def test_while_the_first_is_under_way_a_repeat_is_told_to_wait(odd: TestClient) -> None:
    assert isinstance(odd.app, FastAPI)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(odd.post, "/slow", json={"a": "b"}, headers=KEY)
        assert odd.app.state.began.wait(30)
        waiting = odd.post("/slow", json={"a": "b"}, headers=KEY)
        assert (waiting.status_code, waiting.headers["Retry-After"]) == (409, "1")
        odd.app.state.go_on.set()
        assert first.result().json() == {"a": "b"}
    assert odd.post("/slow", json={"a": "b"}, headers=KEY).json() == {"a": "b"}


def test_an_error_frees_the_key(odd: TestClient) -> None:
    with capture_logs():  # printing the traceback takes seconds
        for path, status in (("/broken", 503), ("/bug", 500)):
            for _ in range(2):
                assert odd.post(path, headers=KEY).status_code == status
    assert rows(odd) == []
