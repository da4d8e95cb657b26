"""ETags: nobody is sent what they have, nobody overwrites what they have not seen."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from starlette.testclient import TestClient

from racer.web.conditional import tagged
from tests.tracks.texts import LOOP

WRITERS, ROUNDS = 4, 8


@pytest.fixture
def model(client: TestClient) -> dict[str, Any]:
    """A drone model of an open account."""
    client.post("/users/", json={"username": "ada"})
    sent = client.post("/users/ada/drone-models/", json={"title": "First"})
    assert sent.status_code == 200, sent.text
    made: dict[str, Any] = sent.json()
    return made


@pytest.fixture
def track(client: TestClient) -> str:
    """The path of a track of an open account."""
    client.post("/users/", json={"username": "ada"})
    sent = client.post(
        "/users/ada/tracks", content=LOOP, headers={"Content-Type": "application/toml"}
    )
    assert sent.status_code == 201, sent.text
    return f"/tracks/{sent.json()['id']}"


def path_of(model: dict[str, Any]) -> str:
    return f"/users/ada/drone-models/{model['drone_id']}"


def test_who_has_it_is_not_sent_it_again(client: TestClient, model: dict[str, Any]) -> None:
    for path in (path_of(model), "/users/ada", "/tracks/toledo"):
        first = client.get(path)
        tag = first.headers["ETag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b""), (path, known)
            assert again.headers["ETag"] in (tag, tagged(tag))
        other = client.get(path, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.json()) == (200, first.json())


def test_a_change_changes_the_tag(client: TestClient, model: dict[str, Any]) -> None:
    before = client.get(path_of(model)).headers["ETag"]
    of_user = client.get("/users/ada").headers["ETag"]
    changed = client.put(f"/drone-models/{model['id']}/", json={"train_loss": 0.5})
    after = client.get(path_of(model), headers={"If-None-Match": before})
    assert after.status_code == 200
    assert after.headers["ETag"] == changed.headers["ETag"] != before
    assert after.json() == changed.json()
    assert client.get("/users/ada").headers["ETag"] != of_user


def test_an_update_of_what_has_changed_is_refused(
    client: TestClient, model: dict[str, Any]
) -> None:
    seen = {"If-Match": client.get(path_of(model)).headers["ETag"]}
    target = f"/drone-models/{model['id']}/"
    assert client.put(target, json={"train_loss": 0.5}, headers=seen).status_code == 200
    late = client.put(target, json={"train_loss": 0.9}, headers=seen)
    assert late.status_code == 412
    assert late.headers["Content-Type"] == "application/problem+json"
    assert "Read it again" in late.json()["detail"]
    assert client.get(path_of(model)).json()["train_loss"] == 0.5


@pytest.mark.parametrize("header", ["W/{tag}", "{bare}", "", '"other"'])
def test_only_the_very_tag_matches(client: TestClient, model: dict[str, Any], header: str) -> None:
    tag = client.get(path_of(model)).headers["ETag"]
    given = header.format(tag=tag, bare=tag.strip('"'))
    answer = client.put(
        f"/drone-models/{model['id']}/", json={"train_loss": 1}, headers={"If-Match": given}
    )
    assert answer.status_code == 412


@pytest.mark.parametrize("header", ["{tag}", '"other", {tag}', "*", None])
def test_what_was_seen_may_be_changed(
    client: TestClient, model: dict[str, Any], header: str | None
) -> None:
    tag = client.get(path_of(model)).headers["ETag"]
    headers = {} if header is None else {"If-Match": header.format(tag=tag)}
    answer = client.put(f"/drone-models/{model['id']}/", json={"train_loss": 1}, headers=headers)
    assert answer.status_code == 200


def test_a_track_that_changed_is_neither_replaced_nor_shared_nor_deleted(
    client: TestClient, track: str
) -> None:
    seen = {"If-Match": client.get(track).headers["ETag"]}
    shared = client.patch(track, json={"shared": True}, headers=seen)
    assert shared.status_code == 200
    toml = {"Content-Type": "application/toml"}
    assert client.put(track, content=LOOP, headers=seen | toml).status_code == 412
    assert client.patch(track, json={"shared": False}, headers=seen).status_code == 412
    assert client.delete(track, headers=seen).status_code == 412
    assert client.get(track).headers["ETag"] == shared.headers["ETag"]
    now = {"If-Match": shared.headers["ETag"]}
    replaced = client.put(track, content=LOOP, headers=now | toml)
    assert replaced.status_code == 200, replaced.text
    newest = {"If-Match": replaced.headers["ETag"]}
    assert client.delete(track, headers=newest).status_code == 204


def test_of_writers_who_saw_the_same_one_wins(client: TestClient, model: dict[str, Any]) -> None:
    target = f"/drone-models/{model['id']}/"
    barrier = Barrier(WRITERS)

    def write(loss: float, seen: dict[str, str]) -> int:
        barrier.wait()
        return client.put(target, json={"train_loss": loss}, headers=seen).status_code

    with ThreadPoolExecutor(WRITERS) as threads:
        for number in range(ROUNDS):
            seen = {"If-Match": client.get(path_of(model)).headers["ETag"]}
            losses = [number + writer / 10 for writer in range(WRITERS)]
            answers = list(threads.map(write, losses, [seen] * WRITERS))
            assert sorted(answers) == [200] + [412] * (WRITERS - 1)
            winner = losses[answers.index(200)]
            assert client.get(path_of(model)).json()["train_loss"] == winner


def test_of_writers_of_a_track_who_saw_the_same_one_wins(client: TestClient, track: str) -> None:
    barrier = Barrier(WRITERS)

    def write(seen: dict[str, str], shared: bool) -> int:
        barrier.wait()
        return client.patch(track, json={"shared": shared}, headers=seen).status_code

    with ThreadPoolExecutor(WRITERS) as threads:
        for number in range(ROUNDS):
            seen = {"If-Match": client.get(track).headers["ETag"]}
            wanted = number % 2 == 0
            answers = list(threads.map(write, [seen] * WRITERS, [wanted] * WRITERS))
            assert sorted(answers) == [200] + [412] * (WRITERS - 1)
