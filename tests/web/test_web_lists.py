"""Every list is bounded: by a page, or by what an account may hold."""

from __future__ import annotations

import re

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

import crud
import main
from racer.settings import Settings

# Answers with an array, and what bounds it.
BOUNDED = {
    "GET /users/{username}/drone-models/": "limit, and what an account may hold",
    "POST /users/{username}/drone-models/{drone_id}/runs": "64 runs of one request",
    "POST /reward-functions/validate": "the length of a reward function",
    "GET /runs/{run_id}/epochs": "1000 epochs of one run",
    "GET /drones": "one drone a service",
}


def test_every_list_has_a_bound(tmp_path_factory: pytest.TempPathFactory) -> None:
    """An array without one is new: give it pages, or say here what bounds it."""
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("lists"), database_url="")
    app: FastAPI = main.create_app(settings)
    document = app.openapi()
    arrays, pages = set(), 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for status, response in operation["responses"].items():
                schema = response.get("content", {}).get("application/json", {}).get("schema", {})
                name = schema.get("$ref", "").rpartition("/")[2]
                if not status.startswith("2"):
                    continue
                if schema.get("type") == "array":
                    arrays.add(f"{method.upper()} {path}")
                if name.endswith("Page"):
                    pages += 1
                    limits = {p["name"]: p["schema"] for p in operation["parameters"]}
                    assert limits["limit"]["maximum"] <= 200, path
                    assert "before" in limits, path
                    assert "next" in document["components"]["schemas"][name]["properties"]
    assert arrays == set(BOUNDED)
    assert pages >= 6


def test_a_plain_list_goes_on_behind_its_link(client: TestClient) -> None:
    client.post("/users/", json={"username": "Zoë"})
    for number in range(5):
        client.post("/users/Zoë/drone-models/", json={"title": str(number)})
    path, titles, asked = "/users/Zoë/drone-models/?limit=2", [], 0
    while path:
        answer = client.get(path)
        titles += [model["title"] for model in answer.json()]
        link = re.fullmatch(r'<([^>]+)>; rel="next"', answer.headers.get("Link", ""))
        path, asked = link[1] if link else "", asked + 1
    assert (titles, asked) == (["0", "1", "2", "3", "4"], 3)
    whole = client.get("/users/Zoë/drone-models/")
    assert [model["title"] for model in whole.json()] == titles
    assert "Link" not in whole.headers


@pytest.mark.parametrize("query", ["limit=0", f"limit={crud.MOST_DRONE_MODELS + 1}", "after=-1"])
def test_a_page_that_is_none_is_refused(client: TestClient, query: str) -> None:
    client.post("/users/", json={"username": "ada"})
    assert client.get(f"/users/ada/drone-models/?{query}").status_code == 422


def test_an_account_holds_so_many_drone_models(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crud, "MOST_DRONE_MODELS", 2)
    client.post("/users/", json={"username": "ada"})
    made = [client.post("/users/ada/drone-models/", json={"title": "1"}) for _ in range(3)]
    assert [answer.status_code for answer in made] == [200, 200, 409]
    assert "2 drone models at most" in made[2].json()["detail"]
    copied = client.post(f"/users/ada/drone-models/{made[0].json()['drone_id']}/clone")
    assert copied.status_code == 409
    assert len(client.get("/users/ada").json()["drone_models"]) == 2
