"""`/ws/train` and the training routes as clients meet them."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from auth import TOKEN_LIFETIME_S
from racer.settings import Settings
from racer.web import tokens
from tests.training.conftest import play, until
from tests.training.rig import Rig, serving

DONE = {"done": True, "message": "Training completed!"}


@pytest.fixture
def sqlite_settings(migrated_sqlite_url: str, tmp_path: Any) -> Settings:
    return Settings(
        _env_file=None, data_dir=tmp_path, database_url=migrated_sqlite_url, secret_key=""
    )


async def received(socket: ClientConnection) -> list[dict[str, Any]]:
    """Everything until the server closes."""
    async with asyncio.timeout(20):
        return [json.loads(text) async for text in socket]


def test_a_socket_starts_the_training_and_shows_every_epoch(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model(epochs=5)
            async with rig.socket(f"/ws/train?drone_id={drone_id}") as socket:
                messages = await received(socket)
                assert socket.close_code == 1000
            assert [message.get("epoch") for message in messages] == [1, 2, 3, 4, 5, None]
            assert {"epoch", "loss", "accuracy"} <= messages[0].keys()
            assert messages[-1] == DONE
            async with rig.socket(f"/ws/train?drone_id={drone_id}") as socket:
                assert await received(socket) == messages
            model = (await rig.http.get(f"/users/ada/drone-models/{drone_id}")).json()
            assert model["status"] == "finished"
            assert (model["train_loss"], model["train_accuracy"]) == (
                messages[4]["loss"],
                messages[4]["accuracy"],
            )
            training = await rig.http.get(f"/users/ada/drone-models/{drone_id}/training")
            assert training.json() == {
                "drone_id": drone_id,
                "status": "finished",
                "training_epochs": 5,
                "attempt": 1,
                "error": None,
                "epochs": messages[:-1],
                **{name: training.json()[name] for name in _TIMES},
            }
            assert all(training.json()[name] for name in _TIMES)

    play(scenario())


_TIMES = ("created_at", "started_at", "finished_at")


def test_a_late_client_joins_and_one_that_leaves_stops_nothing(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings, hold_after=2) as rig:
            path = f"/ws/train?drone_id={await rig.new_model()}"
            async with rig.socket(path) as first:
                assert json.loads(await first.recv())["epoch"] == 1
                assert json.loads(await first.recv())["epoch"] == 2
                async with rig.socket(path) as late:
                    assert json.loads(await late.recv())["epoch"] == 1
            async with rig.socket(path) as last:
                await last.send("a client may talk")
                (sqlite_settings.data_dir / "runs" / "go").touch()
                messages = await received(last)
            assert [message.get("epoch") for message in messages] == [1, 2, 3, 4, None]

    play(scenario())


@pytest.mark.parametrize("drone_id", [str(uuid.UUID(int=1)), "nonsense", "%00", "é"])
def test_an_unknown_drone_is_an_error_and_a_close(sqlite_settings: Settings, drone_id: str) -> None:
    async def scenario() -> None:
        async with (
            serving(sqlite_settings) as rig,
            rig.socket(f"/ws/train?drone_id={drone_id}") as socket,
        ):
            [message] = await received(socket)
            assert message["done"] is True
            assert message["error"].startswith("There is no drone model")

    play(scenario())


def test_without_a_parameter_the_demonstration_trains_and_then_the_newest_is_shown(
    settings: Settings,
) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            async with rig.socket("/ws/train") as socket:
                demonstration = await received(socket)
            assert len(demonstration) == 21
            assert demonstration[-1] == DONE
            [model] = (await rig.http.get("/users/demo/drone-models/")).json()
            assert model["status"] == "finished"
            drone_id = await rig.new_model(epochs=3)
            async with rig.socket(f"/ws/train?drone_id={drone_id}") as socket:
                newest = await received(socket)
            for path in ("/ws/train/", "/ws/train?drone_id="):  # other spellings
                async with rig.socket(path) as socket:
                    assert await received(socket) == newest

    play(scenario())


def test_a_failed_training_tells_its_reason_and_is_done(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings, "error") as rig:
            drone_id = await rig.new_model()
            async with rig.socket(f"/ws/train?drone_id={drone_id}") as socket:
                messages = await received(socket)
            reason = "The reward function cannot be compiled: line 3."
            assert messages[-1] == {"error": reason, "done": True}
            training = await rig.http.get(f"/users/ada/drone-models/{drone_id}/training")
            assert training.json()["status"] == "failed"
            assert training.json()["error"] == reason

    play(scenario())


def test_a_foreign_page_may_not_open_the_socket(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            with pytest.raises(InvalidStatus) as refusal:
                async with rig.socket("/ws/train", origin="https://evil.example"):
                    pass
            assert refusal.value.response.status_code == 403
            async with rig.socket("/ws/train", origin="http://localhost:3000") as socket:
                assert json.loads(await socket.recv())["epoch"] == 1

    play(scenario())


def test_start_and_cancel_over_rest(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings, hold_after=1) as rig:
            drone_id = await rig.new_model()
            path = f"/users/ada/drone-models/{drone_id}"
            untrained = (await rig.http.get(f"{path}/training")).json()
            assert (untrained["status"], untrained["attempt"]) == ("initializing", 0)
            assert untrained["epochs"] == []
            assert (await rig.http.post(f"{path}/cancel-training")).status_code == 409
            started = await rig.http.post(f"{path}/start-training")
            assert (started.status_code, started.json()["status"]) == (200, "success")
            again = await rig.http.post(f"{path}/start-training/")
            assert again.json()["status"] == "already_running"
            async with rig.socket(f"/ws/train?drone_id={drone_id}") as socket:
                assert json.loads(await socket.recv())["epoch"] == 1
                cancelled = await rig.http.post(f"{path}/cancel-training")
                assert (cancelled.status_code, cancelled.json()["status"]) == (200, "success")
                assert json.loads(await socket.recv()) == {
                    "error": "The training was cancelled.",
                    "done": True,
                }
            assert (await rig.http.get(path)).json()["status"] == "cancelled"

    play(scenario())


@pytest.mark.parametrize("verb", ["training", "start-training", "cancel-training"])
def test_unknown_users_and_models_are_404_with_a_detail(
    sqlite_settings: Settings, verb: str
) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            drone_id = await rig.new_model("ada")
            await rig.new_model("bob")
            for path in (
                f"/users/nobody/drone-models/{drone_id}/{verb}",
                f"/users/bob/drone-models/{drone_id}/{verb}",
                f"/users/ada/drone-models/{uuid.UUID(int=1)}/{verb}",
            ):
                answer = await rig.http.request("GET" if verb == "training" else "POST", path)
                assert answer.status_code == 404
                assert isinstance(answer.json()["detail"], str)

    play(scenario())


def test_a_protected_account_starts_its_trainings_itself(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model("eve", password="correct horse")
            await rig.new_model("mallory", password="battery staple")
            path = f"/users/eve/drone-models/{drone_id}"
            owner = await rig.signed_in("eve", "correct horse")
            other = await rig.signed_in("mallory", "battery staple")
            for verb in ("start-training", "cancel-training"):
                assert (await rig.http.post(f"{path}/{verb}")).status_code == 401
                refused = await rig.http.post(f"{path}/{verb}", headers=other)
                assert refused.status_code == 404
            started = await rig.http.post(f"{path}/start-training", headers=owner)
            assert started.json()["status"] == "success"
            async with rig.socket(f"/ws/train?drone_id={drone_id}", **by(owner)) as socket:
                assert (await received(socket))[-1] == DONE

    play(scenario())


def by(header: dict[str, str]) -> dict[str, Any]:
    """As a program brings its token; a page brings it as `protocols`."""
    return {"additional_headers": header}


def protocols(header: dict[str, str]) -> dict[str, Any]:
    token = header["Authorization"].removeprefix("Bearer ")
    return {"subprotocols": [Subprotocol("bearer"), Subprotocol(token)]}


async def refusal(rig: Rig, path: str, **options: Any) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        async with rig.socket(path, **options):
            pass
    answer = refused.value.response
    return answer.status_code, json.loads(answer.body)["detail"]


def test_what_a_password_protects_is_its_owners_to_follow(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model("eve", password="correct horse")
            await rig.new_model("mallory", password="battery staple")
            path = f"/ws/train?drone_id={drone_id}"
            owner = await rig.signed_in("eve", "correct horse")
            other = await rig.signed_in("mallory", "battery staple")
            bad = {"Authorization": owner["Authorization"][:-2]}
            assert (await refusal(rig, path))[0] == 401
            assert (await refusal(rig, path, **by(bad)))[0] == 401
            status, words = await refusal(rig, path, **by(other))
            nothing = uuid.UUID(int=1)
            unknown = await refusal(rig, f"/ws/train?drone_id={nothing}", **by(other))
            assert (status, words.replace(drone_id, "")) == (
                404,
                unknown[1].replace(str(nothing), ""),
            )
            for options in (by(owner), protocols(owner)):  # the first one starts it
                async with rig.socket(path, **options) as socket:
                    assert (await received(socket))[-1] == DONE

    play(scenario())


def test_where_everybody_signs_in_nobody_follows_a_training(sqlite_settings: Settings) -> None:
    settings = sqlite_settings.model_copy(update={"auth_mode": "required", "secret_key": "s" * 48})

    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model("eve", password="correct horse")
            owner = await rig.signed_in("eve", "correct horse")
            for path in ("/ws/train", f"/ws/train?drone_id={drone_id}", "/ws/train?drone_id=x"):
                assert (await refusal(rig, path))[0] == 401
            status, words = await refusal(rig, "/ws/train", **by(owner))
            assert (status, "drone_id" in words) == (422, True)
            async with rig.socket(f"/ws/train?drone_id={drone_id}", **by(owner)) as socket:
                assert (await received(socket))[-1] == DONE

    play(scenario())


def test_a_token_that_ends_closes_the_socket_with_the_reason(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "LOOK_S", 0.05)

    async def scenario() -> None:
        async with serving(sqlite_settings, hold_after=1) as rig:
            drone_id = await rig.new_model("eve", password="correct horse")
            owner = await rig.signed_in("eve", "correct horse")
            async with rig.socket(f"/ws/train?drone_id={drone_id}", **by(owner)) as socket:
                assert json.loads(await socket.recv())["epoch"] == 1
                late = tokens.time.time() + TOKEN_LIFETIME_S + 1
                monkeypatch.setattr(tokens.time, "time", lambda: late)
                with pytest.raises(ConnectionClosed) as closed:
                    await socket.recv()
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 4401
                assert "Sign in again" in closed.value.rcvd.reason

    play(scenario())


def test_a_stopping_server_closes_its_followers_at_once(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings, hold_after=1) as rig:
            drone_id = await rig.new_model()
            async with rig.socket(f"/ws/train?drone_id={drone_id}") as socket:
                assert json.loads(await socket.recv())["epoch"] == 1
                rig.stop()
                async with asyncio.timeout(2):
                    with pytest.raises(ConnectionClosed):
                        await socket.recv()

    play(scenario())


def test_thirty_clients_see_every_epoch_in_order(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings, hold_after=1) as rig:
            drone_id = await rig.new_model(epochs=20)
            path = f"/ws/train?drone_id={drone_id}"
            async with rig.socket(path) as first:
                await first.recv()
                followers = [asyncio.create_task(_follow(rig, path)) for _ in range(30)]
                directory = sqlite_settings.data_dir / "runs"
                await until(lambda: len(rig.server.server_state.connections) > 30)
                (directory / "go").touch()
                await received(first)
                for messages in await asyncio.gather(*followers):
                    assert [m.get("epoch") for m in messages] == [*range(1, 21), None]

    play(scenario())


async def _follow(rig: Any, path: str) -> list[dict[str, Any]]:
    async with rig.socket(path, open_timeout=20) as socket:
        return await received(socket)
