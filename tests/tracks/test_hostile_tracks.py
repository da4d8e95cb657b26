"""Texts, names and ids from strangers who mean no good."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from racer.settings import Settings
from tests.tracks.texts import LOOP, loop
from tests.training.conftest import play
from tests.training.rig import Rig, serving

TOML = {"Content-Type": "application/toml"}
GATE = "[[gates]]\nposition = [1, 1, 1]\nyaw_deg = 0\nsize_m = 1\n"


@pytest.fixture
def sqlite_settings(migrated_sqlite_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None, data_dir=tmp_path, database_url=migrated_sqlite_url, secret_key=""
    )


def gate(**changes: str) -> bytes:
    text = LOOP
    for old, new in changes.items():
        text = text.replace(f"{old} = 0.0", f"{old} = {new}")
    return text.encode()


TEXTS: list[tuple[bytes, int, str]] = [
    (b"", 422, "start: must be a table"),
    (gate(yaw_deg="nan"), 422, "gates[0].yaw_deg: must be from -360 to 360"),
    (gate(yaw_deg="inf"), 422, "gates[0].yaw_deg: must be from -360 to 360"),
    (gate(yaw_deg="9" * 400), 422, "gates[0].yaw_deg: must be from -360 to 360"),
    (gate(yaw_deg="9" * 5000), 422, "longer than 1000 characters"),
    (gate(yaw_deg="1979-05-27"), 422, "gates[0].yaw_deg: must be a number"),
    (b"a = " + b"[\n" * 20_000, 422, "not valid TOML"),
    (b".".join([b"a"] * 400) + b" = 1", 422, "key of too many parts"),
    ((LOOP + GATE * 800).encode(), 422, "gates: must be a list of 1 to 64"),
    (b"[[gates]]\n" * 1_000_000, 413, "bytes"),
    (b"[[gates]]\n" * 10_000, 413, "65536 bytes"),
    (b"name = '\xff\xfe'", 422, "not UTF-8"),
    (LOOP.replace("loop", "l\0p").encode(), 422, "not valid TOML"),
    (LOOP.replace("loop", "l\\u0000p").encode(), 422, "name: must be 1-64 letters"),
    (loop("../../etc/passwd").encode(), 422, "name: must be"),
    (loop("<script>alert(1)</script>").encode(), 422, "name: must be"),
    (loop("a\\nb").encode(), 422, "name: must be"),
    (loop("é").encode(), 422, "name: must be"),
    (loop("a/b").encode(), 422, "name: must be"),
    (loop("x" * 65).encode(), 422, "name: must be"),
    (loop("x ").encode(), 422, "name: must not end with a space"),
    (('include = "/etc/passwd"\n' + LOOP).encode(), 422, "include: is not known"),
    (('"\\u001b[31m<b>" = 1\n' + LOOP).encode(), 422, "\\x1b[31m<b>: is not known"),
]


@pytest.mark.parametrize(("body", "status", "told"), TEXTS, ids=range(len(TEXTS)))
def test_a_hostile_text_is_refused_and_says_why(
    sqlite_settings: Settings, body: bytes, status: int, told: str
) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            await rig.http.post("/users/", json={"username": "bob"})
            answer = await rig.http.post("/users/bob/tracks", content=body, headers=TOML)
            assert answer.status_code == status, answer.text
            assert told in answer.json()["detail"]
            assert len(answer.content) < 60_000
            checked = await rig.http.post("/tracks/validate", content=body, headers=TOML)
            assert checked.status_code == (413 if status == 413 else 200)
            assert status == 413 or checked.json()["valid"] is False
            assert (await rig.http.get("/tracks?username=bob")).json()["tracks"] == []

    play(scenario())


def as_json(**changes: Any) -> dict[str, Any]:
    return {
        "name": "j",
        "start": {"position": [0, 0, 2], "yaw_deg": 0},
        "bounds": {"min": [-9, -9, 0], "max": [9, 9, 9]},
        "gates": [{"position": [4, 0, 2], "yaw_deg": 0, "size_m": 1}],
    } | changes


def test_hostile_json_is_refused_too(sqlite_settings: Settings) -> None:
    texts = [
        "{",
        "null",
        "[" * 30_000,
        '{"a":' * 10_000,
        json.dumps(as_json(laps=float("nan"))),
        json.dumps(as_json(laps=1e999)),
        json.dumps(as_json()).replace('"j"', "9" * 5000),
        json.dumps(as_json(gates=[[1, 2]])),
        json.dumps(as_json(gates=[{"a": {"b": {"c": {"d": {"e": 1}}}}}])),
        json.dumps(as_json(name="\ud83d")),
        json.dumps(as_json(name="j\n[include]")),
        json.dumps({**as_json(), 'x"\n[y': 1}),
        json.dumps(as_json(name={"file": "/etc/passwd"})),
    ]

    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            await rig.http.post("/users/", json={"username": "bob"})
            kind = {"Content-Type": "application/json"}
            for body in texts:
                answer = await rig.http.post("/users/bob/tracks", content=body, headers=kind)
                assert answer.status_code == 422, (body[:60], answer.text)
                assert answer.json()["detail"]
            fine = await rig.http.post("/users/bob/tracks", json=as_json())
            assert fine.status_code == 201

    play(scenario())


def test_other_kinds_of_bodies_and_too_long_ones(sqlite_settings: Settings) -> None:
    async def pieces() -> Any:
        for _ in range(100):
            yield b"#" * 1000 + b"\n"

    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            await rig.http.post("/users/", json={"username": "bob"})
            for kind, status in (
                ("application/x-www-form-urlencoded", 415),
                ("multipart/form-data; boundary=x", 415),
                ("image/svg+xml", 415),
                ("text/plain; charset=utf-8", 201),
            ):
                answer = await rig.http.post(
                    "/users/bob/tracks", content=LOOP, headers={"Content-Type": kind}
                )
                assert answer.status_code == status, kind
            assert (await rig.http.post("/users/bob/tracks", content=b"")).status_code == 422
            for url in ("/users/bob/tracks", "/tracks/validate"):
                answer = await rig.http.post(url, content=pieces(), headers=TOML)
                assert answer.status_code == 413
            marked = b"\xef\xbb\xbf" + loop("marked").replace("\n", "\r\n").encode()
            answer = await rig.http.post("/users/bob/tracks", content=marked, headers=TOML)
            assert answer.status_code == 201, answer.text

    play(scenario())


IDS = ("..", "%2e%2e%2ftoledo", "toledo%00", "nowhere", "a" * 36, "0" * 8 + "-0000-0000-0000-")


def test_an_id_is_never_a_path(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            for track_id in (*IDS, "..%2ftracks%2ftoledo", "racer%2fsim%2ftracks%2ftoledo"):
                for end in ("", ".toml", ".svg"):
                    answer = await rig.http.get(f"/tracks/{track_id}{end}")
                    assert answer.status_code == 404, (track_id, answer.text)

    play(scenario())


def test_users_names_are_text_in_the_drawing(sqlite_settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(sqlite_settings) as rig:
            path = await with_odd_owner(rig)
            picture = await rig.http.get(f"{path}.svg")
            assert picture.headers["content-type"].startswith("image/svg+xml")
            assert picture.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in picture.headers["content-security-policy"]
            assert "o'+@-.é/loop</text>" in picture.text

    play(scenario())


async def with_odd_owner(rig: Rig) -> str:
    """As odd as a user name may be."""
    await rig.http.post("/users/", json={"username": "o'+@-.é"})
    answer = await rig.http.post("/users/o'+@-.é/tracks", content=LOOP, headers=TOML)
    assert answer.status_code == 201, answer.text
    return f"/tracks/{answer.json()['id']}"
