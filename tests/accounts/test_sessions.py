"""Staying signed in and signing out: refresh tokens that count once, sessions that end."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, text, update
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from models import AuditEntry, SignIn, User, utc_now
from racer.accounts import tokens
from tests.accounts.people import PASSWORD, bearer, sign_in, sign_up


def signed_in(client: TestClient, name: str = "eve") -> dict[str, Any]:
    answer: dict[str, Any] = sign_in(client, name, PASSWORD).json()
    return answer


def refresh(client: TestClient, token: str) -> Any:
    return client.post("/token/refresh", json={"refresh_token": token})


def is_me(client: TestClient, answer: dict[str, Any]) -> bool:
    return client.get("/users/me", headers=bearer(answer["access_token"])).status_code == 200


def sessions(app: FastAPI) -> int:
    with app.state.database.session(read_only=True) as session:
        return session.scalar(select(func.count()).select_from(SignIn)) or 0


@pytest.fixture
def eve(client: TestClient) -> dict[str, Any]:
    """The tokens of a signed-in account."""
    sign_up(client, "eve")
    client.post("/logout", headers=bearer(signed_in(client)["access_token"]))
    return signed_in(client)


def test_each_refresh_token_counts_once_and_brings_the_next(
    client: TestClient, eve: dict[str, Any]
) -> None:
    answer = eve
    for _ in range(3):
        following = refresh(client, answer["refresh_token"])
        assert following.status_code == 200
        assert following.json()["refresh_token"] != answer["refresh_token"]
        answer = following.json()
        assert is_me(client, answer)


def test_a_refresh_token_that_comes_again_ends_the_session_for_both(
    client: TestClient, app: FastAPI, eve: dict[str, Any]
) -> None:
    other = signed_in(client)
    stolen = eve["refresh_token"]
    owner = refresh(client, stolen).json()
    assert refresh(client, stolen).status_code == 401
    assert refresh(client, owner["refresh_token"]).status_code == 401
    assert not is_me(client, owner)
    assert is_me(client, other)  # another session of theirs goes on
    with app.state.database.session(read_only=True) as session:
        told = session.scalars(select(AuditEntry).where(AuditEntry.action == "token.reuse")).one()
        assert (told.target, told.outcome, told.actor_id) == ("eve", "refused", None)


def test_of_many_refreshes_at_once_with_one_token_one_works_at_most(
    client: TestClient, app: FastAPI, eve: dict[str, Any]
) -> None:
    before = sessions(app)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: refresh(client, eve["refresh_token"]), range(8)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 7
    assert sessions(app) == before - 1


@pytest.mark.parametrize("wrong", ["", ".", "x", "x.y", "x.\0", "x" * 200])
def test_what_is_no_refresh_token_is_a_401(
    client: TestClient, eve: dict[str, Any], wrong: str
) -> None:
    body = json.dumps({"refresh_token": wrong})
    answer = client.post(
        "/token/refresh", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 401
    assert is_me(client, eve)


def test_an_access_token_refreshes_nothing_and_a_refresh_token_opens_nothing(
    client: TestClient, eve: dict[str, Any]
) -> None:
    assert refresh(client, eve["access_token"]).status_code == 422  # longer than any
    assert client.get("/users/me", headers=bearer(eve["refresh_token"])).status_code == 401
    assert is_me(client, eve)


def test_signing_out_ends_this_session_at_once_and_no_other(
    client: TestClient, eve: dict[str, Any]
) -> None:
    other = signed_in(client)
    assert client.post("/logout", headers=bearer(eve["access_token"])).status_code == 204
    assert not is_me(client, eve)
    assert refresh(client, eve["refresh_token"]).status_code == 401
    assert client.post("/logout", headers=bearer(eve["access_token"])).status_code == 401
    assert client.post("/logout").status_code == 401
    assert is_me(client, other)


def test_the_database_has_nothing_that_could_be_used(
    app: FastAPI, eve: dict[str, Any], client: TestClient
) -> None:
    handle, secret = eve["refresh_token"].split(".")
    with app.state.database.session(read_only=True) as session:
        rows = str(session.execute(text("SELECT * FROM sign_ins")).all())
        rows += str(session.execute(text("SELECT * FROM audit_entries")).all())
    for hidden in (handle, secret, eve["access_token"], PASSWORD):
        assert hidden not in rows


def test_no_token_and_no_password_is_logged(client: TestClient, eve: dict[str, Any]) -> None:
    with capture_logs() as logs:
        following = refresh(client, eve["refresh_token"]).json()
        sign_in(client, "eve", PASSWORD + "!")
        client.get("/users/me", headers=bearer(following["access_token"]))
        client.post("/logout", headers=bearer(following["access_token"]))
    assert len(logs) >= 4
    secrets = (eve["refresh_token"], following["refresh_token"], following["access_token"])
    for hidden in (*secrets, PASSWORD):
        assert hidden not in str(logs)


def test_an_expired_session_ends_and_is_swept_when_somebody_signs_in(
    client: TestClient, app: FastAPI, eve: dict[str, Any]
) -> None:
    with app.state.database.session() as session:
        session.execute(update(SignIn).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert not is_me(client, eve)
    assert refresh(client, eve["refresh_token"]).status_code == 401
    assert sessions(app) > 0
    signed_in(client)
    assert sessions(app) == 1


def test_an_account_has_so_many_sessions_and_the_oldest_go(
    client: TestClient, app: FastAPI, eve: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokens, "MOST_SESSIONS", 3)
    later = [signed_in(client) for _ in range(3)]
    assert sessions(app) == 3
    assert not is_me(client, eve)
    assert all(is_me(client, answer) for answer in later)


def test_who_asks_is_one_query(client: TestClient, app: FastAPI, eve: dict[str, Any]) -> None:
    from sqlalchemy import event

    from auth import visitor_of

    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(str(arguments[2]))

    engine = app.state.database.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        with app.state.database.session(read_only=True) as session:
            visitor = visitor_of(session, eve["access_token"], app.state)
            assert visitor.user is not None
            assert visitor.may_use(session.get_one(User, visitor.id))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    asked = [statement for statement in statements if "SELECT" in statement]
    assert len(asked) == 1
    assert "sign_ins" in asked[0]


def test_a_password_that_was_changed_while_it_was_checked_lets_nobody_in(
    client: TestClient, app: FastAPI, eve: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from racer.accounts import signing_in

    real = signing_in.in_bcrypt_thread

    async def meanwhile(*arguments: Any) -> Any:
        matches = await real(*arguments)
        with app.state.database.session() as session:
            session.execute(update(User).values(password_hash="$2b$04$another"))
        return matches

    before = sessions(app)
    monkeypatch.setattr(signing_in, "in_bcrypt_thread", meanwhile)
    assert sign_in(client, "eve", PASSWORD).status_code == 401
    assert sessions(app) == before
