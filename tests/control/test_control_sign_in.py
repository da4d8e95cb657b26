"""Sockets of people who must sign in: who gets in, and what happens when a token ends in flight."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from jose import jwt
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.typing import Subprotocol

from auth import TOKEN_LIFETIME_S, create_token
from models import User
from racer.control import accounts
from racer.settings import Settings
from racer.web import tokens
from tests.control.controller_peer import ControllerPeer, peer_thread
from tests.control.rig import Rig, heard, run, serving, slot_settings, until
from tests.control.test_control_accounts import account, bearer, protocols

SOCKETS = ("/ws/control", "/ws/telemetry")
LONG_AGO_S = -2 * TOKEN_LIFETIME_S


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with slot_settings(tmp_path, auth_mode="required", max_sockets_per_user=3) as settings:
        yield settings.model_copy(update={"secret_key": "s" * 48})


@pytest.fixture
def peer(settings: Settings) -> Iterator[ControllerPeer]:
    with peer_thread(settings) as peer:
        yield peer


@pytest.fixture
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is looked at every ten seconds is looked at all the time."""
    monkeypatch.setattr(tokens, "LOOK_S", 0.05)


async def refusal(rig: Rig, path: str, **options: Any) -> tuple[int, str]:
    """Status and words of a handshake that is refused."""
    with pytest.raises(InvalidStatus) as refused:
        async with rig.socket(path, **options):
            pass
    answer = refused.value.response
    assert answer.headers["Content-Type"] == "application/problem+json"
    return answer.status_code, json.loads(answer.body)["detail"]


def token_of(rig: Rig, token: str, *, made_s: float = 0.0) -> str:
    """Another one of the same session, made so many seconds from now."""
    claims = jwt.get_unverified_claims(token)
    with rig.app.state.database.session() as session:
        user = session.get(User, claims["uid"])
        now = tokens.time.time() + made_s
        key = rig.app.state.secret_key
        return create_token(user, key, session_id=claims["sid"], now=now)


async def revoke(rig: Rig, token: str) -> None:
    """Sign out somewhere else."""
    (
        await rig.http.post("/logout", headers={"Authorization": f"Bearer {token}"})
    ).raise_for_status()


async def farewell(socket: ClientConnection) -> tuple[int, str]:
    """Code and reason of the closing frame, whatever comes before it."""
    async with asyncio.timeout(15):
        with suppress(ConnectionClosedError):
            async for _ in socket:
                continue
    return socket.close_code or 0, socket.close_reason or ""


def test_nobody_opens_a_socket_where_everybody_signs_in(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            with rig.app.state.database.session() as session:  # of a time when that was allowed
                session.add(User(username="open"))
            bob = await account(rig, "bob", password=True)
            await account(rig, "eve", password=True)
            old = token_of(rig, bob, made_s=LONG_AGO_S)
            for path in SOCKETS:
                for options in (
                    {},
                    bearer(""),
                    bearer(old),
                    bearer(bob[:-2]),
                    protocols(old),
                    {"subprotocols": [Subprotocol("bearer")]},
                ):
                    status, words = await refusal(rig, path, **options)
                    assert status == 401
                    assert "ign in" in words
                for options in (bearer(bob), protocols(bob)):
                    async with rig.socket(path, **options):
                        pass
            for name in ("open", "eve", "nobody"):
                status, _ = await refusal(rig, f"/ws/control?username={name}", **bearer(bob))
                assert status == 404

    run(story())


@pytest.mark.parametrize("why", ["expired", "revoked"])
def test_a_token_that_ends_in_flight_means_hover_a_reason_and_land(
    settings: Settings,
    peer: ControllerPeer,
    looks_at_once: None,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            bob = await account(rig, "bob", password=True)
            async with rig.socket("/ws/control", **bearer(bob)) as socket:
                await socket.send("takeoff")
                assert (await heard(socket, "command_result"))["ok"]
                await until("the pilot", lambda: peer.presence and peer.presence[-1][1])
                if why == "revoked":
                    await revoke(rig, bob)
                else:
                    late = tokens.time.time() + TOKEN_LIFETIME_S + 1
                    monkeypatch.setattr(tokens.time, "time", lambda: late)
                told = await heard(socket, "signed_out")
                assert "land" in told["message"]
                await until("the goodbye", lambda: peer.presence[-1][1] is False)
                for frame in (
                    "move_forward",
                    "stop",
                    "takeoff",
                    json.dumps({"type": "acquire"}),
                    json.dumps({"type": "velocity", "forward": 1}),
                ):
                    await socket.send(frame)
                    refused = await heard(socket, "error")
                    assert "Sign in again" in refused["message"]
                await socket.send("land")
                await until("land", lambda: "land" in peer.heard)
                assert peer.heard == ["takeoff", "land"]
                assert peer.sticks == []
                assert rig.control.pilots.flying is None

    run(story())


def test_after_a_while_the_socket_is_closed_with_the_reason(
    settings: Settings, peer: ControllerPeer, looks_at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts, "GRACE_S", 0.2)

    async def story() -> None:
        async with serving(settings) as rig:
            bob = await account(rig, "bob", password=True)
            async with (
                rig.socket("/ws/control", **bearer(bob)) as pilot,
                rig.socket("/ws/telemetry", **protocols(bob)) as viewer,
            ):
                await viewer.recv()
                await revoke(rig, bob)
                for socket in (pilot, viewer):
                    code, reason = await farewell(socket)
                    assert code == 4401
                    assert "Sign in again" in reason

    run(story())


def test_a_fresh_token_goes_on_and_is_in_no_log(
    settings: Settings, peer: ControllerPeer, looks_at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            bob = await account(rig, "bob", password=True)
            eve = await account(rig, "eve", password=True)
            with capture_logs() as logs:
                async with rig.socket("/ws/control", **bearer(bob)) as socket:
                    for _ in range(5):  # what comes while this machine stalls is refused
                        await socket.send("takeoff")
                        if (result := await heard(socket, "command_result"))["ok"]:
                            break
                    assert result["ok"]
                    late = tokens.time.time() + TOKEN_LIFETIME_S + 1
                    monkeypatch.setattr(tokens.time, "time", lambda: late)
                    await heard(socket, "signed_out")
                    fresh = token_of(rig, bob)
                    for bad in (eve, fresh[:-2], "nonsense"):
                        await socket.send(f"token {bad}")
                        assert (await heard(socket, "token"))["ok"] is False
                    await socket.send("move_forward")
                    assert "Sign in again" in (await heard(socket, "error"))["message"]
                    await socket.send(f" Token  {fresh}\n")
                    assert (await heard(socket, "token"))["ok"] is True
                    await socket.send("move_forward")
                    assert (await heard(socket, "command_result"))["ok"]
                    assert peer.heard == ["takeoff", "move_forward"]
            assert not any(token in str(logs) for token in (bob, eve, fresh, "nonsense"))

    run(story())


def test_who_is_signed_out_lands_nobody_else_and_gets_no_controls(
    settings: Settings, peer: ControllerPeer, looks_at_once: None
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            bob = await account(rig, "bob", password=True)
            eve = await account(rig, "eve", password=True)
            async with (
                rig.socket("/ws/control", **bearer(bob)) as other,
                rig.socket("/ws/control", **bearer(eve)) as pilot,
            ):
                await other.send(json.dumps({"type": "request"}))
                asked = await heard(pilot, "lease_requested")
                await pilot.send("takeoff")
                assert (await heard(pilot, "command_result"))["ok"]
                await revoke(rig, bob)
                await heard(other, "signed_out")
                await other.send("land")
                assert "Sign in again" in (await heard(other, "error"))["message"]
                hand_over = {"type": "hand_over", "to": asked["pilot_id"]}
                await pilot.send(json.dumps(hand_over))
                assert "sign in again" in (await heard(pilot, "error"))["message"]
                assert peer.heard == ["takeoff"]

    run(story())


def test_a_database_that_is_away_ends_no_flight(
    settings: Settings, peer: ControllerPeer, looks_at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            bob = await account(rig, "bob", password=True)
            async with rig.socket("/ws/control", **bearer(bob)) as socket:
                with capture_logs() as logs:
                    rig.app.state.database.dispose()
                    broken = rig.app.state.database.engine.dialect
                    monkeypatch.setattr(broken, "connect", _away)
                    await until("two looks", lambda: len(logs) > 1)
                    await socket.send("takeoff")
                    assert (await heard(socket, "command_result"))["ok"]
                    await socket.send(f"token {bob}")
                    assert "database" in (await heard(socket, "token"))["message"]
                    monkeypatch.undo()
                status, _ = await refusal(rig, "/ws/control", **bearer(bob[:-2]))
                assert status == 401

    run(story())


def _away(*_args: object, **_named: object) -> None:
    raise sqlite3.OperationalError("unable to open database file")


def test_one_account_has_so_many_sockets_and_no_more(
    settings: Settings, peer: ControllerPeer
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            bob = await account(rig, "bob", password=True)
            eve = await account(rig, "eve", password=True)
            async with (
                rig.socket("/ws/telemetry", **bearer(bob)),
                rig.socket("/ws/control", **bearer(bob)),
            ):
                async with rig.socket("/ws/control", **protocols(bob)):
                    for path in SOCKETS:
                        status, words = await refusal(rig, path, **bearer(bob))
                        assert status == 429
                        assert "Close one" in words
                        async with rig.socket(path, **bearer(eve)):
                            pass
                sockets = rig.app.state.sockets
                await until("the third to be gone", lambda: sockets.open == 2)
                async with rig.socket("/ws/control", **bearer(bob)):
                    pass
            await until("all to be gone", lambda: sockets.open == 0)

    run(story())


def test_without_accounts_an_address_has_so_many_sockets(tmp_path: Path) -> None:
    async def story(settings: Settings) -> None:
        async with serving(settings) as rig:
            async with rig.socket("/ws/control"):
                assert (await refusal(rig, "/ws/telemetry"))[0] == 429
            await until("it to be gone", lambda: rig.app.state.sockets.open == 0)
            async with rig.socket("/ws/control"):
                pass

    with slot_settings(tmp_path, max_sockets_per_user=1) as settings:
        run(story(settings))
