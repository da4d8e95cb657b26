"""Passwords that change, roles, and the audit log."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from models import AuditEntry, Role, User, utc_now
from racer.accounts import audit
from tests.accounts.people import PASSWORD, bearer, sign_in, sign_up

NEW = "a red kite over the moor"


def set_password(
    client: TestClient, name: str, headers: dict[str, str] | None = None, **body: Any
) -> int:
    answer = client.put(f"/users/{name}/password", json={"password": NEW} | body, headers=headers)
    if answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
    return int(answer.status_code)


def set_role(client: TestClient, name: str, role: str, headers: dict[str, str] | None) -> int:
    answer = client.put(f"/users/{name}/role", json={"role": role}, headers=headers)
    return int(answer.status_code)


# Passwords.


def test_who_sets_the_first_password_owns_the_account(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    models = "/users/ada/drone-models/"
    assert client.post(models, json={"title": "First"}).status_code == 200
    assert set_password(client, "ada") == 204
    assert client.post(models, json={"title": "First"}).status_code == 401
    assert set_password(client, "ada", password="somebody else's") == 401
    headers = bearer(sign_in(client, "ada", NEW).json()["access_token"])
    assert client.post(models, json={"title": "First"}, headers=headers).status_code == 200


def test_of_many_who_set_the_first_password_one_owns_the_account(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    words = [f"password {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda word: set_password(client, "ada", password=word), words))
    assert sorted(statuses) == [204] + [401] * 7
    assert sign_in(client, "ada", words[statuses.index(204)]).status_code == 200


def test_changing_takes_the_present_password_and_signs_everybody_out(client: TestClient) -> None:
    eve, mallory = sign_up(client, "eve"), sign_up(client, "mallory")
    phone = sign_in(client, "eve", PASSWORD).json()
    assert set_password(client, "eve") == 401
    assert set_password(client, "eve", mallory, current=PASSWORD) == 404
    assert set_password(client, "eve", eve) == 401
    assert set_password(client, "eve", eve, current="wrong horse") == 401
    assert client.get("/users/me", headers=eve).status_code == 200
    assert set_password(client, "eve", eve, current=PASSWORD) == 204
    for headers in (eve, bearer(phone["access_token"])):
        assert client.get("/users/me", headers=headers).status_code == 401
    again = client.post("/token/refresh", json={"refresh_token": phone["refresh_token"]})
    assert again.status_code == 401
    assert sign_in(client, "eve", PASSWORD).status_code == 401
    assert sign_in(client, "eve", NEW).status_code == 200
    assert client.get("/users/me", headers=mallory).status_code == 200


@pytest.mark.parametrize("password", ["", "short", "x" * 73, "é" * 37, "nul\0 inside", None, 7])
def test_a_password_is_never_cut(client: TestClient, password: object) -> None:
    client.post("/users/", json={"username": "ada"})
    assert set_password(client, "ada", password=password) == 422
    assert set_password(client, "ada", password="x" * 72) == 204
    assert sign_in(client, "ada", "x" * 72).status_code == 200
    assert sign_in(client, "ada", "x" * 71).status_code == 401
    assert sign_in(client, "ada", "x" * 73).status_code == 401


def test_the_present_password_is_not_guessed_with_a_stolen_token(client: TestClient) -> None:
    eve = sign_up(client, "eve")
    statuses = {set_password(client, "eve", eve, current=f"guess {n}") for n in range(12)}
    assert statuses == {401, 429}


def test_an_admin_sets_anybodys_password(client: TestClient) -> None:
    boss = sign_up(client, "boss", role=Role.ADMIN)
    eve = sign_up(client, "eve")
    assert set_password(client, "eve", boss) == 204
    assert client.get("/users/me", headers=eve).status_code == 401
    assert sign_in(client, "eve", NEW).status_code == 200
    assert set_password(client, "boss", boss) == 401  # their own takes the present one
    assert set_password(client, "nobody", boss) == 404


# Where everybody signs in.


def test_where_everybody_signs_in_accounts_have_passwords(
    client: TestClient, required: None
) -> None:
    answer = client.post("/users/", json={"username": "ada"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("password: is needed")
    assert answer.json()["errors"][0]["loc"] == ["body", "password"]
    sign_up(client, "ada")


def test_where_everybody_signs_in_a_first_password_is_an_admins_to_give(
    client: TestClient, required: None, app: FastAPI
) -> None:
    with app.state.database.session() as session:
        session.add(User(username="old"))
    eve, boss = sign_up(client, "eve"), sign_up(client, "boss", role=Role.ADMIN)
    assert set_password(client, "old") == 401
    assert set_password(client, "old", eve) == 404
    assert sign_in(client, "old", "anything").status_code == 401
    assert client.delete("/users/old").status_code == 401
    assert client.delete("/users/old", headers=eve).status_code == 404
    assert set_password(client, "old", boss) == 204
    assert sign_in(client, "old", NEW).status_code == 200


# Roles.


def test_a_new_account_is_a_pilots_and_says_so_to_its_owner_alone(client: TestClient) -> None:
    eve = sign_up(client, "eve")
    assert client.get("/users/me", headers=eve).json()["role"] == "pilot"
    assert set(client.get("/users/eve", headers=eve).json()) == {"id", "username", "drone_models"}


def test_roles_are_given_by_admins_only(client: TestClient) -> None:
    eve, boss = sign_up(client, "eve"), sign_up(client, "boss", role=Role.ADMIN)
    director = sign_up(client, "judge", role=Role.RACE_DIRECTOR)
    assert set_role(client, "eve", "admin", None) == 401
    for headers in (eve, director):
        assert set_role(client, "eve", "admin", headers) == 404
        assert set_role(client, "nobody", "admin", headers) == 404
    assert set_role(client, "eve", "emperor", boss) == 422
    assert set_role(client, "nobody", "admin", boss) == 404
    answer = client.put("/users/eve/role", json={"role": "race_director"}, headers=boss)
    assert answer.json() == {"username": "eve", "role": "race_director"}
    assert client.get("/users/me", headers=eve).json()["role"] == "race_director"  # at once


def test_an_account_that_anybody_could_use_gets_no_role(client: TestClient) -> None:
    boss = sign_up(client, "boss", role=Role.ADMIN)
    client.post("/users/", json={"username": "ada"})
    assert set_role(client, "ada", "admin", boss) == 409
    assert set_role(client, "ada", "pilot", boss) == 200


def test_the_last_admin_stays(client: TestClient, app: FastAPI) -> None:
    names = [f"boss {number}" for number in range(4)]
    bosses = {name: sign_up(client, name, role=Role.ADMIN) for name in names}
    with ThreadPoolExecutor(4) as pool:  # each steps down
        statuses = pool.map(lambda name: set_role(client, name, "pilot", bosses[name]), names)
    assert sorted(statuses) == [200, 200, 200, 409]
    with app.state.database.session(read_only=True) as session:
        left = session.scalars(select(User.username).where(User.role == Role.ADMIN)).one()
    answer = client.delete(f"/users/{left}", headers=bosses[left])
    assert answer.status_code == 409
    assert "create-admin" in answer.json()["detail"]


def test_an_admin_uses_everything(client: TestClient) -> None:
    boss, eve = sign_up(client, "boss", role=Role.ADMIN), sign_up(client, "eve")
    models = "/users/eve/drone-models/"
    assert client.post(models, json={"title": "Theirs"}, headers=boss).status_code == 200
    director = sign_up(client, "judge", role=Role.RACE_DIRECTOR)
    assert client.post(models, json={"title": "Theirs"}, headers=director).status_code == 404
    assert client.delete("/users/eve", headers=director).status_code == 404
    assert client.delete("/users/eve", headers=boss).status_code == 204
    assert client.get("/users/me", headers=eve).status_code == 401


# The audit log.


def entries(client: TestClient, headers: dict[str, str], **query: Any) -> list[dict[str, Any]]:
    answer = client.get("/audit", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def test_who_did_what_is_told_to_admins(client: TestClient) -> None:
    boss, eve = sign_up(client, "boss", role=Role.ADMIN), sign_up(client, "eve")
    sign_in(client, "eve", "wrong horse")
    sign_in(client, "correct horse", PASSWORD)  # a password where the name belongs
    set_password(client, "eve", eve, current=PASSWORD)
    set_role(client, "eve", "race_director", boss)
    client.delete("/users/eve", headers=boss | {"X-Request-ID": "the-end"})
    assert client.get("/audit").status_code == 401
    assert client.get("/audit", headers=sign_up(client, "mallory")).status_code == 404
    found = entries(client, boss)
    told = [(e["actor"], e["action"], e["target"], e["outcome"]) for e in reversed(found)]
    assert told == [
        ("boss", "account.sign_in", "boss", "done"),
        ("eve", "account.sign_in", "eve", "done"),
        ("", "account.sign_in", "eve", "refused"),
        ("", "account.sign_in", "(no such account)", "refused"),
        ("eve", "account.password", "eve", "done"),
        ("boss", "account.role", "eve: pilot -> race_director", "done"),
        ("boss", "account.delete", "eve", "done"),
        ("mallory", "account.sign_in", "mallory", "done"),
    ]
    deleted = found[1]
    assert deleted["address"] == "testclient"
    assert deleted["request_id"] == "the-end"
    assert deleted["created_at"].endswith(("Z", "+00:00"))


def test_the_log_comes_in_pages(client: TestClient) -> None:
    boss = sign_up(client, "boss", role=Role.ADMIN)
    for _ in range(6):
        sign_in(client, "boss", PASSWORD)
    seen, place = [], None
    for _ in range(4):
        query = {"limit": 2} | ({"before": place} if place else {})
        page = client.get("/audit", headers=boss, params=query).json()
        seen += [entry["id"] for entry in page["entries"]]
        place = page["next"]
    assert place is None
    assert seen == [entry["id"] for entry in entries(client, boss)]
    for query in ({"limit": 0}, {"limit": 201}, {"before": "x"}):
        assert client.get("/audit", headers=boss, params=query).status_code == 422


def test_what_is_rolled_back_is_not_told(client: TestClient, app: FastAPI) -> None:
    boss = sign_up(client, "boss", role=Role.ADMIN)
    before = len(entries(client, boss))
    assert set_role(client, "boss", "pilot", boss) == 409
    with app.state.database.session() as session:
        audit.record(session, "race.delete", "x")
        session.rollback()
    assert len(entries(client, boss)) == before


def test_old_entries_go_and_too_many_do(
    client: TestClient, app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign_up(client, "eve")
    days = timedelta(days=app.state.settings.audit_days, minutes=1)
    with app.state.database.session() as session:
        for target in ("one", "another"):
            audit.record(session, "race.delete", target)
        old = update(AuditEntry).where(AuditEntry.target == "one")
        session.execute(old.values(created_at=utc_now() - days))
    sign_in(client, "eve", PASSWORD)
    with app.state.database.session(read_only=True) as session:
        targets = session.scalars(select(AuditEntry.target)).all()
        assert "one" not in targets
        assert "another" in targets
    monkeypatch.setattr(audit, "MOST", 5)
    for number in range(8):
        with app.state.database.session() as session:
            audit.record(session, "race.delete", f"race {number}\0\n" + "x" * 500)
    with app.state.database.session(read_only=True) as session:
        assert session.scalar(select(func.count()).select_from(AuditEntry)) == 5
