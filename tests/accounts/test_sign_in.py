"""Passwords and tokens: whose account it is, and that nobody else gets in."""

from __future__ import annotations

import multiprocessing
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from fastapi import FastAPI
from jose import jwt
from sqlalchemy import select
from starlette.testclient import TestClient

import auth
from models import SignIn
from racer.errors import ConfigurationError
from racer.secret_key import load_secret_key
from racer.settings import Settings

PASSWORD = "correct horse"
MODELS = "/users/eve/drone-models/"
MODEL = {"title": "First"}


@pytest.fixture
def eve(client: TestClient) -> dict[str, str]:
    """The headers of the signed-in owner of a protected account."""
    return sign_up(client, "eve")


def sign_up(client: TestClient, name: str) -> dict[str, str]:
    assert client.post("/users/", json={"username": name, "password": PASSWORD}).status_code == 200
    return bearer(sign_in(client, name, PASSWORD).json()["access_token"])


def sign_in(client: TestClient, name: str, password: str) -> Any:
    return client.post("/token", data={"username": name, "password": password})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_signing_in_gives_a_thirty_minute_token(client: TestClient, eve: dict[str, str]) -> None:
    answer = sign_in(client, "eve", PASSWORD).json()
    assert answer["token_type"] == "bearer"
    assert answer["expires_in"] == 1800
    claims = jwt.get_unverified_claims(answer["access_token"])
    assert claims["exp"] - claims["iat"] == 1800
    assert abs(claims["iat"] - time.time()) < 60
    assert client.get("/users/me", headers=eve).json()["username"] == "eve"


def test_no_answer_shows_the_password_or_its_hash(client: TestClient, eve: dict[str, str]) -> None:
    for path in ("/users/eve", "/users/me", MODELS):
        answer = client.get(path, headers=eve)
        assert answer.status_code == 200
        assert "password" not in answer.text
        assert "$2b$" not in answer.text


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("eve", "wrong horse"),
        ("eve", ""),
        ("eve", PASSWORD + "\0"),
        ("eve", "x" * 73),
        ("eve", "x" * 100_000),
        ("nobody", PASSWORD),
        ("ada", PASSWORD),
        ("ada", ""),
        ("a/b", PASSWORD),
    ],
)
@pytest.mark.usefixtures("eve")
def test_a_wrong_name_or_password_is_the_same_401(
    client: TestClient, name: str, password: str
) -> None:
    client.post("/users/", json={"username": "ada"})
    answer = sign_in(client, name, password)
    expected = 422 if password == "" else 401  # a form without the field
    assert answer.status_code == expected
    if expected == 401:
        assert answer.json()["detail"] == "The name or the password is wrong."
        assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_an_unknown_name_costs_as_much_as_a_wrong_password() -> None:
    calls: list[str] = []
    real = auth._passwords
    counting = SimpleNamespace(
        verify=lambda password, hashed: calls.append(hashed) or real.verify(password, hashed)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "_passwords", counting)
        assert not auth.password_matches(PASSWORD, None)
        assert not auth.password_matches("wrong horse", auth._NOBODY)
    assert calls == [auth._NOBODY, auth._NOBODY]


@pytest.mark.parametrize("password", ["x" * 8, "x" * 72, "é" * 36, "pass word ✓"])
def test_passwords_of_8_to_72_bytes(client: TestClient, password: str) -> None:
    assert client.post("/users/", json={"username": "bob", "password": password}).status_code == 200
    assert sign_in(client, "bob", password).status_code == 200
    assert sign_in(client, "bob", password[:-1] + "!").status_code == 401


@pytest.mark.parametrize("password", ["", "x" * 7, "x" * 73, "é" * 37, "x" * 8 + "\0", 12345678])
def test_other_passwords_are_a_422_and_make_no_account(
    client: TestClient, password: object
) -> None:
    answer = client.post("/users/", json={"username": "bob", "password": password})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("password: ")
    assert str(password) not in answer.json()["detail"] or password == ""
    assert client.get("/users/bob").status_code == 404


def test_only_the_owner_reads_and_writes_under_a_protected_name(
    client: TestClient, eve: dict[str, str]
) -> None:
    mallory = sign_up(client, "mallory")
    made = client.post(MODELS, json=MODEL, headers=eve)
    assert made.status_code == 200
    writes = [("POST", MODELS, MODEL)]
    writes += [
        ("PUT", f"/drone-models/{key}/", {"status": "failed"})
        for key in (made.json()["id"], made.json()["drone_id"])
    ]
    reads = ["/users/eve", MODELS, f"{MODELS}{made.json()['drone_id']}"]
    for method, path, body in [*writes, *(("GET", path, None) for path in reads)]:
        anonymous = client.request(method, path, json=body)
        assert anonymous.status_code == 401
        assert anonymous.headers["WWW-Authenticate"] == "Bearer"
        assert client.request(method, path, json=body, headers=mallory).status_code == 404
        assert client.request(method, path, json=body, headers=eve).status_code == 200
    assert len(client.get(MODELS, headers=eve).json()) == 2


def test_an_open_account_stays_open(client: TestClient, eve: dict[str, str]) -> None:
    client.post("/users/", json={"username": "ada"})
    for headers in ({}, eve):
        answer = client.post("/users/ada/drone-models/", json=MODEL, headers=headers)
        assert answer.status_code == 200


def forged(app: FastAPI, user: int = 1, name: str = "eve", **changes: Any) -> str:
    """A token signed with the right key but other claims."""
    with app.state.database.session(read_only=True) as session:
        row = session.scalar(select(SignIn.id).where(SignIn.user_id == 1))
    claims: dict[str, Any] = {"sub": name, "uid": user, "exp": time.time() + 60}
    claims |= {"sid": row, "use": "access"} | changes
    present = {key: value for key, value in claims.items() if value is not None}
    return str(jwt.encode(present, app.state.secret_key, algorithm="HS256"))


def key_pair() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, plain).decode()


def test_tokens_that_are_not_ours_are_refused(
    client: TestClient, app: FastAPI, eve: dict[str, str]
) -> None:
    good = eve["Authorization"].removeprefix("Bearer ")
    header, payload, signature = good.split(".")
    claims = jwt.get_unverified_claims(good)
    unsigned = "eyJhbGciOiJub25lIn0."  # {"alg":"none"}
    tokens = {
        "empty": "",
        "garbage": "x",
        "alg none": f"{unsigned}{payload}.",
        "other key": jwt.encode({"sub": "eve", "uid": 1, "exp": time.time() + 60}, "guess" * 8),
        "other algorithm": jwt.encode(
            {"sub": "eve", "uid": 1, "exp": time.time() + 60}, app.state.secret_key, "HS512"
        ),
        "cut": f"{header}.{payload}.{signature[:-2]}",
        "expired": forged(app, exp=time.time() - 1),
        "no expiry": forged(app, exp=None),
        "no subject": forged(app, name=None),
        "unknown name": forged(app, name="nobody"),
        "id of another": forged(app, user=2),
        "huge": "x" * 8_000,
        "no session": forged(app, sid=None),
        "another session": forged(app, sid="x" * 36),
        "a session that is no text": forged(app, sid=7),
        "no purpose": forged(app, use=None),
        "other purpose": forged(app, use="refresh"),
        "key pair": jwt.encode(claims, key_pair(), "RS256"),
    }
    assert client.get("/users/me", headers=bearer(forged(app))).status_code == 200
    for what, token in tokens.items():
        for method, path, body in (("GET", "/users/me", None), ("POST", MODELS, MODEL)):
            answer = client.request(method, path, json=body, headers=bearer(token))
            assert answer.status_code == 401, what
            assert isinstance(answer.json()["detail"], str)
    assert client.get("/users/me", headers={"Authorization": "Basic ZXZlOng="}).status_code == 401


def test_a_token_outlives_neither_its_account_nor_its_password(
    client: TestClient, app: FastAPI, eve: dict[str, str]
) -> None:
    from sqlalchemy import text

    with app.state.database.session() as session:
        session.execute(text("DELETE FROM users"))
    assert client.get("/users/me", headers=eve).status_code == 401
    client.post("/users/", json={"username": "eve"})
    assert client.get("/users/me", headers=eve).status_code == 401


def test_the_documented_scheme_is_the_password_flow(client: TestClient) -> None:
    schemes = client.get("/openapi.json").json()["components"]["securitySchemes"]
    assert schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "token"


# The key that signs tokens.


def key_settings(directory: Path, key: str = "") -> Settings:
    return Settings(_env_file=None, data_dir=directory, secret_key=key)


def test_the_key_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    key = load_secret_key(key_settings(directory))
    assert len(key) >= 32
    assert load_secret_key(key_settings(directory)) == key
    assert [path.name for path in directory.iterdir()] == ["secret_key"]
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((directory / "secret_key").stat().st_mode) == 0o600
    assert load_secret_key(key_settings(tmp_path / "other")) != key
    assert load_secret_key(key_settings(directory, "mine" * 8)) == "mine" * 8


def test_processes_that_start_at_once_agree_on_the_key(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        keys = pool.map(load_secret_key, [key_settings(tmp_path)] * 16, chunksize=1)
    assert len(set(keys)) == 1


def test_a_damaged_or_unreachable_key_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("")
    with pytest.raises(ConfigurationError, match="damaged"):
        load_secret_key(key_settings(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="SECRET_KEY"):
        load_secret_key(key_settings(tmp_path / "file" / "below"))


@pytest.mark.parametrize("key", ["x", "x" * 31])
def test_a_key_that_can_be_guessed_stops_the_start(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"32 characters.*token_urlsafe") as refused:
        load_secret_key(key_settings(tmp_path, key))
    assert key not in refused.value.message.split()


def test_a_crowd_of_guesses_checks_two_passwords_at_a_time(
    client: TestClient, eve: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, lock, running, most = auth._passwords, threading.Lock(), 0, 0

    def verify(password: str, password_hash: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        matches = bool(slow.verify(password, slow_hash)) and real.verify(password, password_hash)
        with lock:
            running -= 1
        return matches

    slow = real.copy(bcrypt__rounds=9)  # some 25 ms: long enough that they meet
    slow_hash = slow.hash(PASSWORD)
    monkeypatch.setattr(auth, "_passwords", SimpleNamespace(verify=verify))
    with ThreadPoolExecutor(8) as guessers:
        answers = list(guessers.map(lambda n: sign_in(client, "eve", f"guess {n}"), range(8)))
    assert {answer.status_code for answer in answers} == {401}
    assert most == 2
