"""Fifty clients that want the same at the same moment, against the product as it runs."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

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


def test_keys_of_many_creates_do_not_stand_in_each_others_way(service: Service) -> None:
    """A key is claimed and settled in transactions of its own, before and after the create's."""
    service.http.post("/users/", json={"username": "kim"})
    wanted = {"title": "Keyed", "drone_details": {}}

    def create(own: httpx.Client, number: int) -> httpx.Response:
        headers = {"Idempotency-Key": f"key {number}".replace(" ", "-")}
        first = said(own.post("/users/kim/drone-models/", json=wanted, headers=headers))
        again = own.post("/users/kim/drone-models/", json=wanted, headers=headers)
        assert said(again)["id"] == first["id"]
        return again

    at_once(service, create)
    assert len(said(service.http.get("/users/kim"))["drone_models"]) == CLIENTS


def test_slow_uploads_hold_nobodys_turn_to_write(service: Service) -> None:
    """More of them than write at a time; their bodies never come."""
    service.http.post("/users/", json={"username": "una"})
    url = service.http.base_url
    head = (
        f"POST /users/una/policies HTTP/1.1\r\nHost: localhost:{url.port}\r\n"
        "Content-Type: application/zip\r\nContent-Length: 100000\r\n\r\n"
    ) + "P" * 40_000  # which gives the rest some two minutes to come
    with ExitStack() as stack:
        for _ in range(20):
            caller = socket.create_connection((url.host, url.port), timeout=10)
            stack.enter_context(closing(caller)).sendall(head.encode())
        for number in range(20):
            said(service.http.post("/users/", json={"username": f"quick {number}"}))


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
