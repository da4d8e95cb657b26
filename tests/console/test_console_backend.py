"""Whose flights a page's are, and when it flies at all: without a browser."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jose import jwt

import auth
from racer.console.backend import Backend
from racer.console.model_form import FormError
from racer.errors import UnauthorizedError
from racer.settings import Settings
from racer.web import tokens
from tests.control.controller_peer import ControllerPeer, peer_thread
from tests.control.rig import Rig, run, serving, slot_settings, until
from tests.control.test_control_accounts import PASSWORD, account


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with slot_settings(tmp_path) as settings:
        yield settings.model_copy(update={"secret_key": "s" * 48})


@pytest.fixture
def peer(settings: Settings) -> Iterator[ControllerPeer]:
    with peer_thread(settings) as peer:
        yield peer


def page_of(rig: Rig) -> Backend:
    rig.app.state.training = None  # none is asked for here
    return Backend.of(rig.app, "127.0.0.1")


def test_a_page_flies_as_whoever_is_signed_in(settings: Settings, peer: ControllerPeer) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await account(rig, "ada")
            await account(rig, "bob", password=True)
            page = page_of(rig)
            assert (await page.send_command("takeoff")).ok
            await until("somebody", lambda: peer.accounts[-1:] == [None])
            for name, password in (("ada", ""), ("bob", PASSWORD)):
                assert await page.sign_in(name, password) == name
                await until(name, lambda name=name: peer.accounts[-1] == name)
            await page.sign_out()
            await until("nobody", lambda: peer.accounts[-1] is None)
            assert peer.presence[-1][1] is True  # a pilot without an account, as before

    run(story())


def test_an_open_account_that_gets_a_password_is_the_pages_no_more(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "LOOK_S", 0.0)

    async def story() -> None:
        async with serving(settings) as rig:
            await account(rig, "ada")
            page = page_of(rig)
            await page.sign_in("ada", "")
            assert await page.lapse() is None
            with rig.app.state.database.session() as session:
                session.query(auth.User).one().password_hash = auth.hash_password(PASSWORD)
            assert "protected" in (await page.lapse() or "")
            assert (await page.send_command("takeoff")).refused

    run(story())


def test_nobody_flies_from_a_page_where_everybody_signs_in(
    settings: Settings, peer: ControllerPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "LOOK_S", 0.0)
    settings = settings.model_copy(update={"auth_mode": "required"})

    async def story() -> None:
        async with serving(settings) as rig:
            await account(rig, "bob", password=True)
            page = page_of(rig)
            assert await page.open_pilots(5) == []
            for command in ("takeoff", "stop", "land"):
                assert (await page.send_command(command)).message == "Sign in first."
            for name, password in (("bob", ""), ("bob", "wrong horse"), ("nobody", PASSWORD)):
                with pytest.raises(UnauthorizedError):
                    await page.sign_in(name, password)
            with pytest.raises(FormError):
                await page.create_pilot("eve", "")
            assert peer.heard == []
            await page.sign_in("bob", PASSWORD)
            assert (await page.send_command("takeoff")).ok
            headers = {"Authorization": f"Bearer {page.token}"}
            (await rig.http.post("/logout", headers=headers)).raise_for_status()
            assert "Sign in again" in (await page.lapse() or "")
            await until("the goodbye", lambda: peer.presence[-1][1] is False)
            assert (await page.send_command("move_forward")).refused
            assert peer.heard == ["takeoff"]

    run(story())


def test_a_page_stays_signed_in_by_fresh_tokens_of_its_session(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with serving(settings) as rig:
            await account(rig, "bob", password=True)
            page = page_of(rig)
            await page.sign_in("bob", PASSWORD)
            first = page.token
            assert first is not None
            assert await page.renew() is False
            late = time.time() + auth.TOKEN_LIFETIME_S * 0.6
            monkeypatch.setattr(time, "time", lambda: late)
            assert await page.renew() is True
            claims = [jwt.get_unverified_claims(token) for token in (first, page.token or "")]
            assert claims[0]["sid"] == claims[1]["sid"]
            assert claims[1]["exp"] > claims[0]["exp"]
            await page.sign_out()
            assert page.token is None
            old = {"Authorization": f"Bearer {first}"}
            assert (await rig.http.get("/users/me", headers=old)).status_code == 401

    run(story())
