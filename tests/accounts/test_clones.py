"""Copies of drone models over HTTP."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

PASSWORD = "correct horse"
DETAILS = {
    "velocityLimit": "15",
    "colour": "red",
    "rewardFunction": "def reward_function(params):\n    return params['gate_alignment']\n",
}


@pytest.fixture
def original(client: TestClient) -> dict[str, Any]:
    """A model of an open account; eve has a password."""
    client.post("/users/", json={"username": "ada"})
    client.post("/users/", json={"username": "eve", "password": PASSWORD})
    body = {
        "title": "First",
        "description": "Laps",
        "training_epochs": 7,
        "drone_details": DETAILS,
    }
    answer = client.post("/users/ada/drone-models/", json=body)
    model: dict[str, Any] = answer.json()
    client.put(f"/drone-models/{model['id']}/", json={"status": "finished", "train_loss": 0.5})
    return model


def clone(client: TestClient, model: dict[str, Any], *, owner: str = "ada", **options: Any) -> Any:
    return client.post(f"/users/{owner}/drone-models/{model['drone_id']}/clone", **options)


def signed_in(client: TestClient) -> dict[str, str]:
    token = client.post("/token", data={"username": "eve", "password": PASSWORD}).json()
    return {"Authorization": f"Bearer {token['access_token']}"}


def test_a_copy_has_the_settings_and_no_training(
    client: TestClient, original: dict[str, Any]
) -> None:
    answer = clone(client, original)
    assert answer.status_code == 201
    made = answer.json()
    for name in ("title", "description", "training_epochs", "drone_details"):
        assert made[name] == original[name]
    assert made["drone_id"] != original["drone_id"]
    assert (made["status"], made["train_loss"]) == ("initializing", None)
    titled = clone(client, original, json={"title": "Second"}).json()
    assert titled["title"] == "Second"
    listed = client.get("/users/ada/drone-models/").json()
    assert [model["id"] for model in listed] == [original["id"], made["id"], titled["id"]]


def test_into_ones_own_account_by_who_may_write_there(
    client: TestClient, original: dict[str, Any]
) -> None:
    to_eve = {"username": "eve"}
    assert clone(client, original, json=to_eve).status_code == 401
    eve = signed_in(client)
    mine = clone(client, original, json=to_eve, headers=eve)
    assert mine.status_code == 201
    assert client.get("/users/eve", headers=eve).json()["drone_models"] == [mine.json()]
    # Hers is copied, also to an account that is open, by who may read it.
    to_ada = {"username": "ada"}
    for body in (None, to_ada):
        assert clone(client, mine.json(), owner="eve", json=body).status_code == 401
    assert clone(client, mine.json(), owner="eve", json=to_ada, headers=eve).status_code == 201


def test_what_does_not_exist_or_means_nothing(client: TestClient, original: dict[str, Any]) -> None:
    assert clone(client, original, owner="eve", headers=signed_in(client)).status_code == 404
    assert clone(client, original, owner="nobody").status_code == 404
    assert clone(client, {"drone_id": "x"}).status_code == 404
    assert clone(client, original, json={"username": "nobody"}).status_code == 404
    for body in ({"title": "a\0b"}, {"title": "x" * 201}, {"username": 3}, []):
        assert clone(client, original, json=body).status_code == 422, body
    assert len(client.get("/users/ada/drone-models/").json()) == 1
