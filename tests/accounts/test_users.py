"""Users, as the seed's clients create and read them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from schemas import clean_username

SIMULTANEOUS = 50


def test_a_bare_username_is_enough(client: TestClient) -> None:
    answer = client.post("/users/", json={"username": "ada"})
    assert answer.status_code == 200
    assert answer.json() == {"id": 1, "username": "ada", "drone_models": []}
    assert client.get("/users/ada").json() == answer.json()


def test_a_taken_name_is_a_400_with_a_text(client: TestClient) -> None:
    client.post("/users/", json={"username": "ada"})
    for spelling in ("ada", " ada\n"):
        answer = client.post("/users/", json={"username": spelling})
        assert answer.status_code == 400
        assert answer.json()["detail"] == (
            "The user name 'ada' is already taken. Choose another one."
        )


def test_fifty_creators_of_one_name_make_one_user(client: TestClient) -> None:
    def create(_: int) -> int:
        return client.post("/users/", json={"username": "ada"}).status_code

    with ThreadPoolExecutor(SIMULTANEOUS) as pool:
        statuses = sorted(pool.map(create, range(SIMULTANEOUS)))
    assert statuses == [200] + [400] * (SIMULTANEOUS - 1)


@pytest.mark.parametrize(
    "name", ["nobody", "%00", "a%2Fb", "%F0%9F%9A%81", "x" * 5000, "%ff", ".."]
)
def test_an_unknown_or_impossible_name_is_a_404_with_a_text(client: TestClient, name: str) -> None:
    for path in (f"/users/{name}", f"/users/{name}/drone-models/"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(
    "name", ["Ada Lovelace", "zoë", "Ωμέγα", "李雷", "a.b-c_d@e+f", "O'Neil", "x" * 64]
)
def test_people_have_all_kinds_of_names(client: TestClient, name: str) -> None:
    assert client.post("/users/", json={"username": name}).json()["username"] == name
    assert client.get(f"/users/{name}").json()["username"] == name


def test_one_name_in_two_unicode_spellings_is_one_name(client: TestClient) -> None:
    assert client.post("/users/", json={"username": "Zoe\u0308"}).json()["username"] == "Zoë"
    assert client.post("/users/", json={"username": "Zoë"}).status_code == 400
    assert client.get("/users/Zoe\u0308").status_code == 200


@pytest.mark.parametrize(
    "name",
    [
        "",
        "   ",
        "a/b",
        "a\\b",
        "a\0b",
        "a\nb",
        "..",
        "-",
        "x" * 65,
        "me",
        "<b>",
        "a\u202eb",
        "\U0001f681",
        None,
        7,
        ["a"],
        {},
    ],
)
def test_a_name_that_breaks_the_rule_is_a_422_with_a_text(client: TestClient, name: object) -> None:
    answer = client.post("/users/", json={"username": name})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("username: ")
    assert answer.json()["errors"][0]["loc"] == ["body", "username"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b"{", "application/json"),
        (b"null", "application/json"),
        (b"[]", "application/json"),
        (b'"ada"', "application/json"),
        (b"{}", "application/json"),
        (b'{"username": "ada"}', "text/plain"),
        (b'{"username": "\\ud800"}', "application/json"),
        (b"username=ada", "application/x-www-form-urlencoded"),
    ],
)
def test_a_malformed_body_is_a_422_with_a_text(
    client: TestClient, body: bytes, content_type: str
) -> None:
    answer = client.post("/users/", content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 422
    assert answer.json()["detail"]
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(
    "body", [b"\xff\xfe\x00", b"[" * 100_000, b'{"username":' + b"9" * 5000 + b"}"]
)
def test_a_body_that_no_parser_takes_is_a_polite_4xx(client: TestClient, body: bytes) -> None:
    answer = client.post("/users/", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert isinstance(answer.json()["detail"], str)


@given(st.text())
def test_a_cleaned_name_is_clean(text: str) -> None:
    try:
        name = clean_username(text)
    except ValueError:
        return
    assert clean_username(name) == name
    assert name == name.strip()
    assert 1 <= len(name) <= 64
    assert not set(name) & set("/\\?#%\0\n")


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_no_user_body_breaks_the_server(client: TestClient, body: object) -> None:
    text = json.dumps({"username": body})  # writes NaN and lone surrogates, as a hostile client
    answer = client.post("/users/", content=text, headers={"Content-Type": "application/json"})
    assert answer.status_code in {200, 400, 422}


def test_either_slash_keeps_the_body(client: TestClient) -> None:
    assert client.post("/users", json={"username": "ada"}).status_code == 200
    created = client.post("/users/ada/drone-models", json={"title": "First"})
    assert created.status_code == 200
    assert client.get("/users/ada/").json()["drone_models"] == [created.json()]
    changed = client.put("/drone-models/1", json={"train_loss": 0.5})
    assert changed.json()["train_loss"] == 0.5
