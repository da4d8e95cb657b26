"""Fifty clients that want the same at the same moment, against the product as it runs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.faults.conftest import Service
from tests.program import said
from tests.tracks.texts import loop

CLIENTS = 50
TOML = {"Content-Type": "application/toml"}


def at_once(
    service: Service, ask: Callable[[httpx.Client, int], httpx.Response]
) -> list[httpx.Response]:
    """What each of 50 clients, all connected before, is answered."""
    start = threading.Barrier(CLIENTS)

    def client(number: int) -> httpx.Response:
        with httpx.Client(base_url=service.http.base_url, timeout=60, verify=False) as own:  # noqa: S501 - no TLS
            own.get("/livez")
            start.wait()
            return ask(own, number)

    with ThreadPoolExecutor(CLIENTS) as pool:
        return list(pool.map(client, range(CLIENTS)))


def test_one_of_many_gets_the_name(service: Service) -> None:
    for name in ("ada", "grace"):
        answers = at_once(
            service, lambda own, _, name=name: own.post("/users/", json={"username": name})
        )
        assert Counter(answer.status_code for answer in answers) == {200: 1, 400: CLIENTS - 1}
        taken = next(answer for answer in answers if answer.status_code == 400)
        assert "already taken" in taken.json()["detail"]


def test_one_of_many_gets_the_name_of_a_track(service: Service) -> None:
    service.http.post("/users/", json={"username": "tess"})
    answers = at_once(
        service,
        lambda own, _: own.post("/users/tess/tracks", content=loop("garden"), headers=TOML),
    )
    assert Counter(answer.status_code for answer in answers) == {201: 1, 400: CLIENTS - 1}
    tracks = said(service.http.get("/tracks", params={"username": "tess"}))["tracks"]
    assert [track["name"] for track in tracks] == ["garden"]


def test_drone_models_of_one_title_are_apart(service: Service) -> None:
    service.http.post("/users/", json={"username": "tina"})
    wanted = {"title": "Same", "drone_details": {}}
    answers = at_once(service, lambda own, _: own.post("/users/tina/drone-models/", json=wanted))
    made = [said(answer) for answer in answers]
    assert len({model["id"] for model in made}) == CLIENTS
    assert len({model["drone_id"] for model in made}) == CLIENTS
    listed = said(service.http.get("/users/tina"))["drone_models"]
    assert {model["id"] for model in listed} == {model["id"] for model in made}


def test_many_writers_all_get_their_turn(service: Service) -> None:
    """Short transactions: on SQLite one writes at a time, and nobody is told that it is locked."""

    def write(own: httpx.Client, number: int) -> httpx.Response:
        said(own.post("/users/", json={"username": f"writer {number}"}))
        path = f"/users/writer {number}/drone-models/"
        for _ in range(2):
            made = said(own.post(path, json={"title": "x", "drone_details": {}}))
            said(own.put(f"/drone-models/{made['id']}/", json={"train_loss": 0.5}))
        return own.get(f"/users/writer {number}")

    answers = at_once(service, write)
    assert [len(said(answer)["drone_models"]) for answer in answers] == [2] * CLIENTS
