"""Who writes too often waits; nobody else does."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from racer.accounts.routes import router as accounts
from racer.settings import Settings
from racer.web import write_limit
from racer.web.app import assemble, spine
from racer.web.write_limit import Buckets

PASSWORD = "correct horse battery"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_minutes_worth_at_once_then_steadily() -> None:
    clock = Clock()
    buckets = Buckets(per_minute=60, now=clock)
    assert [buckets.take("ada") for _ in range(60)] == [0.0] * 60
    assert buckets.take("ada") == pytest.approx(1.0)
    assert buckets.take("bob") == 0.0
    clock.now += 0.5
    assert buckets.take("ada") == pytest.approx(0.5)
    clock.now += 0.5
    assert buckets.take("ada") == 0.0
    assert buckets.take("ada") > 0.0
    clock.now += 3600.0
    assert [buckets.take("ada") for _ in range(60)] == [0.0] * 60  # no more than a minute's
    assert buckets.take("ada") > 0.0


def test_who_wrote_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_limit, "_MOST_BUCKETS", 3)
    buckets = Buckets(per_minute=1, now=Clock())
    for name in ("a", "b", "c", "a", "d"):
        buckets.take(name)
    assert len(buckets) == 3
    assert buckets.take("a") > 0.0  # b was the one


@pytest.fixture
def limited(tmp_path: Any) -> Iterator[TestClient]:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url="", writes_per_minute=6)
    app = assemble(settings, routers=[accounts], lifespan=spine)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


def test_too_many_writes_are_a_429_and_reads_go_on(limited: TestClient) -> None:
    for number in range(6):
        assert limited.post("/users/", json={"username": f"p{number}"}).status_code == 200
    refused = limited.post(
        "/users/", json={"username": "late"}, headers={"Origin": "http://localhost:3000"}
    )
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert "WRITES_PER_MINUTE" in refused.json()["detail"]
    assert refused.headers["Access-Control-Allow-Origin"] == "http://localhost:3000"
    assert limited.get("/users/late").status_code == 404
    assert limited.get("/users/p0").status_code == 200


def test_an_account_has_a_bucket_of_its_own_and_a_forged_one_has_none(
    limited: TestClient,
) -> None:
    limited.post("/users/", json={"username": "ada", "password": PASSWORD})
    form = {"username": "ada", "password": PASSWORD}
    token = limited.post("/token", data=form).json()["access_token"]
    for _ in range(4):
        limited.post("/users/", json={"username": "x"})
    anonymous = limited.post("/users/", json={"username": "y"})
    forged = limited.post(
        "/users/", json={"username": "y"}, headers={"Authorization": f"Bearer {token[:-4]}AAAA"}
    )
    hers = limited.post(
        "/users/", json={"username": "y"}, headers={"Authorization": f"Bearer {token}"}
    )
    assert (anonymous.status_code, forged.status_code, hers.status_code) == (429, 429, 200)


def test_no_limit_when_it_is_set_to_0(tmp_path: Any) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url="", writes_per_minute=0)
    app = assemble(settings, routers=[accounts], lifespan=spine)
    with TestClient(app, base_url="http://localhost") as client:
        for number in range(30):
            assert client.post("/users/", json={"username": f"p{number}"}).status_code == 200


def test_no_token_is_too_strange_to_be_counted(limited: TestClient) -> None:
    """Its header is parsed before its signature is looked at."""
    nested = base64.urlsafe_b64encode(b"[" * 5000).decode().rstrip("=")
    for token in (f"{nested}.x.y", "x", "..", "\x7f"):
        answer = limited.post("/users/", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 422  # there is no body; the account is another question
