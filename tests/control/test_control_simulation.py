"""One vehicle, lent to one drone model at a time; every control socket hears about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import crud
from racer.control import simulation
from racer.settings import Settings
from tests.control.controller_peer import peer_thread
from tests.control.rig import heard, run, serving, slot_settings, until


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with slot_settings(tmp_path) as settings:
        yield settings


def test_a_simulation_from_start_to_stop(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            mine, other = await rig.new_model("ada", "Mine"), await rig.new_model("bob", "Other")

            started = await rig.http.post(f"{mine}/start-simulation")
            assert started.json()["status"] == "success"
            for status in ("initializing", "training"):
                event = await heard(pilot, "simulation_status")
                assert event["status"] == status
                assert event["drone_id"] == mine.rsplit("/", 1)[1]
                assert "Mine" in event["message"]
            assert rig.control.active_drone_id == mine.rsplit("/", 1)[1]

            again = await rig.http.post(f"{mine}/start-simulation/")
            assert again.json()["status"] == "already_running"
            for action in ("start", "stop"):
                taken = await rig.http.post(f"{other}/{action}-simulation")
                assert taken.json()["status"] == "error"
                assert "Mine" in taken.json()["message"]

            stopped = await rig.http.post(f"{mine}/stop-simulation")
            assert stopped.json()["status"] == "success"
            assert (await heard(pilot, "simulation_status"))["status"] == "idle"
            assert rig.control.active_drone_id is None
            idle = await rig.http.post(f"{mine}/stop-simulation")
            assert idle.json()["status"] == "success"
            assert "was not running" in idle.json()["message"]
            assert (await rig.http.post(f"{other}/start-simulation")).json()["status"] == "success"

    with peer_thread(settings) as peer:
        run(story())
    assert peer.heard == ["stop"], "a flying vehicle is told to hold"


def test_a_model_that_is_no_more_does_not_keep_the_vehicle(settings: Settings) -> None:
    """Its account was deleted, perhaps by another server, and nobody else can stop it."""

    async def story() -> None:
        async with serving(settings) as rig:
            mine, other = await rig.new_model("ada", "Mine"), await rig.new_model("bob", "Other")
            assert (await rig.http.post(f"{mine}/start-simulation")).json()["status"] == "success"
            with rig.app.state.database.session() as session:
                session.delete(crud.get_user(session, "ada"))
            assert (await rig.http.post(f"{other}/start-simulation")).json()["status"] == "success"
            assert rig.control.active_drone_id == other.rsplit("/", 1)[1]

    with peer_thread(settings) as peer:
        run(story())
    assert peer.heard == ["stop"], "a flying vehicle is told to hold"


def test_unknown_users_and_models_are_404_with_a_text(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            mine, other = await rig.new_model("ada"), await rig.new_model("bob")
            foreign = other.replace("/bob/", "/ada/")
            for path in (f"{mine}x", "/users/nobody/drone-models/1", "/users/ada/x", foreign):
                for action in ("start-simulation", "stop-simulation"):
                    answer = await rig.http.post(f"{path}/{action}")
                    assert answer.status_code == 404
                    assert isinstance(answer.json()["detail"], str)

    run(story())


def test_a_protected_account_decides_alone(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            account = {"username": "eve", "password": "correct horse"}
            await rig.http.post("/users/", json=account)
            token = (await rig.http.post("/token", data=account)).json()["access_token"]
            signed = {"Authorization": f"Bearer {token}"}
            body = {
                "title": "Hers",
                "description": "",
                "training_epochs": 1,
                "drone_details": {"raceType": "time-trial", "algorithm": "ppo"},
            }
            made = await rig.http.post("/users/eve/drone-models/", json=body, headers=signed)
            model = f"/users/eve/drone-models/{made.json()['drone_id']}"
            assert (await rig.http.post(f"{model}/start-simulation")).status_code == 401

            starting = asyncio.create_task(
                rig.http.post(f"{model}/start-simulation", headers=signed, timeout=10)
            )
            await until("the binding", lambda: rig.control.active_drone_id)
            start = time.perf_counter()
            assert (await rig.http.post("/users/", json={"username": "zed"})).status_code == 200
            assert time.perf_counter() - start < 1.0, "waiting for a vehicle locked the database"
            await rig.http.post(f"{model}/stop-simulation", headers=signed)
            starting.cancel()

    run(story())


def test_without_a_vehicle_it_fails_and_lets_go(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "CONNECT_S", 0.5)

    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            mine = await rig.new_model("ada")
            answer = await rig.http.post(f"{mine}/start-simulation")
            assert answer.json()["status"] == "error"
            assert "STACK=embedded" in answer.json()["message"]
            assert (await heard(pilot, "simulation_status"))["status"] == "initializing"
            assert (await heard(pilot, "simulation_status"))["status"] == "failed"
            assert rig.control.active_drone_id is None

    with peer_thread(settings, with_vehicle=False):
        run(story())


def test_a_start_that_is_stopped_while_it_waits_says_so(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            mine = await rig.new_model("ada")
            starting = asyncio.create_task(rig.http.post(f"{mine}/start-simulation", timeout=30))
            await until("the binding", lambda: rig.control.active_drone_id)
            stopped = await rig.http.post(f"{mine}/stop-simulation")
            assert stopped.json()["status"] == "success"
            peer.connected = True
            answer = (await starting).json()
            assert answer["status"] == "error"
            assert "stopped while it started" in answer["message"]
            assert rig.control.active_drone_id is None

    with peer_thread(settings, with_vehicle=False) as peer:
        run(story())


@pytest.mark.parametrize("wrong", ["refused", "silent"])
def test_a_stop_that_is_not_obeyed_is_an_error_and_never_idle(
    settings: Settings, wrong: str
) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            mine = await rig.new_model("ada")
            assert (await rig.http.post(f"{mine}/start-simulation")).json()["status"] == "success"
            peer.refuses = wrong == "refused"
            if wrong == "silent":
                peer.close()
                await until("silence", lambda: not rig.control.status()["vehicle"])
            answer = (await rig.http.post(f"{mine}/stop-simulation", timeout=20)).json()
            assert answer["status"] == "error"
            assert "may still move" in answer["message"]
            expected = {"refused": "refused stop", "silent": "No drone controller answers"}
            assert expected[wrong] in answer["message"]
            said = [(await heard(pilot, "simulation_status"))["status"] for _ in range(3)]
            assert said == ["initializing", "training", "failed"]
            assert rig.control.active_drone_id is None

    with peer_thread(settings) as peer:
        run(story())


def test_the_vehicle_is_lent_again_only_after_it_holds(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig, rig.socket("/ws/control") as pilot:
            mine, other = await rig.new_model("ada", "Mine"), await rig.new_model("bob", "Other")
            await rig.http.post(f"{mine}/start-simulation")
            peer.late = "stop"
            stopping = asyncio.create_task(rig.http.post(f"{mine}/stop-simulation"))
            await until("the stop", lambda: "stop" in peer.heard)
            for model, action in ((other, "start"), (mine, "start"), (mine, "stop")):
                answer = (await rig.http.post(f"{model}/{action}-simulation")).json()
                assert answer["status"] == "error", answer
            assert rig.control.active_drone_id == mine.rsplit("/", 1)[1]
            assert (await stopping).json()["status"] == "success"
            assert (await rig.http.post(f"{other}/start-simulation")).json()["status"] == "success"
            said = [(await heard(pilot, "simulation_status"))["status"] for _ in range(5)]
            assert said == ["initializing", "training", "idle", "initializing", "training"]

    with peer_thread(settings) as peer:
        run(story())
