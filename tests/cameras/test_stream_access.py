"""Who may watch: by a token, or by the cookie that an <img> sends and that opens nothing else."""

from __future__ import annotations

import asyncio
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest

from auth import TOKEN_LIFETIME_S
from racer.settings import Settings
from racer.web import tokens
from racer.web.tokens import STREAM_COOKIE
from tests.training.conftest import play
from tests.training.rig import Rig, serving

PASSWORD = "correct horse"


@pytest.fixture
def settings(migrated_sqlite_url: str, tmp_path: Any) -> Settings:
    return Settings(
        _env_file=None, data_dir=tmp_path, database_url=migrated_sqlite_url, secret_key=""
    )


@pytest.fixture
def required(settings: Settings) -> Settings:
    return settings.model_copy(update={"auth_mode": "required", "secret_key": "s" * 48})


async def status(rig: Rig, path: str, *, cookie: str = "", **headers: str) -> int:
    """Of an answer whose body may never end."""
    if cookie:
        headers["Cookie"] = f"{STREAM_COOKIE}={cookie}"
    async with rig.http.stream("GET", path, headers=headers) as answer:
        return answer.status_code


async def stream_cookie(rig: Rig, owner: dict[str, str], **headers: str) -> Morsel[str]:
    answer = await rig.http.post("/stream-session", headers=owner | headers)
    assert answer.status_code == 204
    rig.http.cookies.clear()
    return SimpleCookie(answer.headers["set-cookie"])[STREAM_COOKIE]


def test_where_everybody_signs_in_nobody_watches(required: Settings) -> None:
    async def scenario() -> None:
        async with serving(required) as rig:
            drone_id = await rig.new_model("eve", password=PASSWORD)
            await rig.new_model("mallory", password=PASSWORD)
            owner = await rig.signed_in("eve", PASSWORD)
            other = await rig.signed_in("mallory", PASSWORD)
            vehicle, model = "/drones/1/stream", f"/gazebo-stream/{drone_id}?username=eve"
            for path in (vehicle, model, "/gazebo-stream/x?username=nobody"):
                assert await status(rig, path) == 401
                assert await status(rig, path, Authorization="Bearer nonsense") == 401
                assert await status(rig, path, cookie="nonsense") == 401
            mine = (await stream_cookie(rig, owner)).value
            for path in (vehicle, model):
                assert await status(rig, path, **owner) == 200
                assert await status(rig, path, cookie=mine) == 200
            theirs = (await stream_cookie(rig, other)).value
            assert await status(rig, vehicle, cookie=theirs) == 200
            assert await status(rig, model, cookie=theirs) == 404
            assert await status(rig, model, **other) == 404

    play(scenario())


def test_a_protected_account_is_watched_by_its_owner_alone(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            mine = await rig.new_model("eve", password=PASSWORD)
            anybodys = await rig.new_model("ada")
            owner = await rig.signed_in("eve", PASSWORD)
            cookie = (await stream_cookie(rig, owner)).value
            assert await status(rig, f"/gazebo-stream/{mine}?username=eve") == 401
            assert await status(rig, f"/gazebo-stream/{mine}?username=eve", cookie=cookie) == 200
            for sent in (cookie, "stale", ""):  # an old cookie keeps nobody from what is open
                path = f"/gazebo-stream/{anybodys}?username=ada"
                assert await status(rig, path, cookie=sent) == 200

    play(scenario())


def test_the_cookie_opens_streams_and_nothing_else(required: Settings) -> None:
    async def scenario() -> None:
        async with serving(required) as rig:
            drone_id = await rig.new_model("eve", password=PASSWORD)
            owner = await rig.signed_in("eve", PASSWORD)
            assert (await rig.http.post("/stream-session")).status_code == 401
            cookie = await stream_cookie(rig, owner)
            assert (cookie["httponly"], cookie["samesite"]) == (True, "strict")
            assert (cookie["max-age"], cookie["path"]) == (str(TOKEN_LIFETIME_S), "/")
            assert not cookie["secure"]
            proxied = {"X-Forwarded-Proto": "https"}
            assert (await stream_cookie(rig, owner, **proxied))["secure"]
            start = f"/users/eve/drone-models/{drone_id}/start-training"
            for headers in (
                {"Cookie": f"{STREAM_COOKIE}={cookie.value}"},
                {"Authorization": f"Bearer {cookie.value}"},
            ):
                assert (await rig.http.get("/users/me", headers=headers)).status_code == 401
                assert (await rig.http.post(start, headers=headers)).status_code == 401
                again = await rig.http.post("/stream-session", headers=headers)
                assert again.status_code == 401
            token = owner["Authorization"].removeprefix("Bearer ")
            assert await status(rig, "/drones/1/stream", cookie=token) == 401
            assert await status(rig, "/drones/1/stream", cookie=cookie.value) == 200
            await rig.http.post("/logout", headers=owner)
            assert await status(rig, "/drones/1/stream", cookie=cookie.value) == 401
            gone = await rig.http.delete("/stream-session")
            assert gone.status_code == 204
            assert SimpleCookie(gone.headers["set-cookie"])[STREAM_COOKIE]["max-age"] == "0"

    play(scenario())


@pytest.mark.parametrize("why", ["expired", "revoked"])
def test_a_stream_ends_with_its_token(
    required: Settings, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(tokens, "LOOK_S", 0.05)

    async def scenario() -> None:
        async with serving(required) as rig:
            await rig.new_model("eve", password=PASSWORD)
            owner = await rig.signed_in("eve", PASSWORD)
            async with (
                asyncio.timeout(20),
                rig.http.stream("GET", "/drones/1/stream", headers=owner) as answer,
            ):
                chunks = answer.aiter_bytes()
                await anext(chunks)
                if why == "revoked":
                    await rig.http.post("/logout", headers=owner)
                else:
                    late = tokens.time.time() + TOKEN_LIFETIME_S + 1
                    monkeypatch.setattr(tokens.time, "time", lambda: late)
                async for _ in chunks:
                    pass
            assert await status(rig, "/drones/1/stream") == 401

    play(scenario())
