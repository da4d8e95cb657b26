"""Whose a control socket's flights are: accounts that are named, tokens that fit or do not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from auth import create_token
from models import User
from racer.settings import Settings
from tests.control.controller_peer import ControllerPeer, peer_thread
from tests.control.rig import Rig, heard, run, serving, slot_settings, until

PASSWORD = "correct horse"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with slot_settings(tmp_path) as settings:
        yield settings


@pytest.fixture
def peer(settings: Settings) -> Iterator[ControllerPeer]:
    with peer_thread(settings) as peer:
        yield peer


async def account(rig: Rig, username: str, *, password: bool = False) -> str:
    """A new account; its token, if it has a password."""
    form = {"username": username} | ({"password": PASSWORD} if password else {})
    (await rig.http.post("/users/", json=form)).raise_for_status()
    if not password:
        return ""
    answer = await rig.http.post("/token", data=form)
    return str(answer.json()["access_token"])


def bearer(token: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def protocols(token: str) -> dict[str, Any]:
    return {"subprotocols": [Subprotocol("bearer"), Subprotocol(token)]}


async def acquired(socket: ClientConnection) -> dict[str, Any]:
    await socket.send(json.dumps({"type": "acquire"}))
    return await heard(socket, "lease")


def test_the_controller_hears_whose_pilot_it_is(settings: Settings, peer: ControllerPeer) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await account(rig, "ada")
            token = await account(rig, "bob", password=True)
            for path, options, whose, name in (
                ("/ws/control?username=ada", {}, "ada", "ada"),
                ("/ws/control?username=ada&pilot=Ace", {}, "ada", "Ace"),
                ("/ws/control?username=bob", bearer(token), "bob", "bob"),
                ("/ws/control", bearer(token), "bob", "bob"),
                ("/ws/control?username=bob", protocols(token), "bob", "bob"),
                ("/ws/control?pilot=bob", {}, None, "bob"),  # a name is no account
            ):
                before = len(peer.accounts)
                async with rig.socket(path, **options) as socket:
                    assert socket.subprotocol == ("bearer" if "subprotocols" in options else None)
                    assert (await acquired(socket))["pilot"] == name
                    told = await until("heartbeats", lambda n=before: peer.accounts[n + 3 :])
                    assert set(told) == {whose}
                await until("the goodbye", lambda: peer.presence[-1][1] is False)
                assert peer.accounts[-1] == whose

    run(story())


def test_nobody_flies_under_a_name_that_is_protected(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await account(rig, "ada")
            token = await account(rig, "bob", password=True)
            other = await account(rig, "eve", password=True)
            with rig.app.state.database.session() as session:
                bob = session.query(User).filter_by(username="bob").one()
                old = create_token(bob, rig.app.state.secret_key, now=0)
            with capture_logs() as logs:
                for name, options, status in (
                    ("bob", {}, 401),
                    ("bob", bearer(""), 401),
                    ("bob", bearer(other), 404),
                    ("bob", bearer(token[:-2]), 401),
                    ("bob", bearer(old), 401),
                    ("bob", protocols(other), 404),
                    ("bob", {"subprotocols": [Subprotocol("bearer")]}, 401),
                    ("nobody", {}, 404),
                    ("%00", {}, 404),
                    ("ada", bearer(old), 401),
                    ("", protocols(old), 401),
                ):
                    with pytest.raises(InvalidStatus) as refused:
                        async with rig.socket(f"/ws/control?username={name}", **options):
                            pass
                    assert refused.value.response.status_code == status
                    assert b"detail" in refused.value.response.body
            said = [entry for entry in logs if entry["event"] == "socket refused"]
            assert len(said) == 11
            assert not any(secret in str(logs) for secret in (token[:-2], other, old))

    run(story())
