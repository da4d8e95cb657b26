"""Tracks as clients meet them, on both databases."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from racer.settings import Settings
from racer.sim.track import parse_track, shipped_text, track_names
from racer.tracks import queries
from tests.tracks.texts import LOOP, loop
from tests.training.conftest import play
from tests.training.rig import Rig, serving

PASSWORD = "correct horse"
TOML = {"Content-Type": "application/toml"}


@asynccontextmanager
async def two_owners(settings: Settings) -> AsyncIterator[tuple[Rig, dict[str, str]]]:
    """Ada's account has a password, Bob's is open; with Ada's header."""
    async with serving(settings) as rig:
        await rig.http.post("/users/", json={"username": "ada", "password": PASSWORD})
        await rig.http.post("/users/", json={"username": "bob"})
        yield rig, await rig.signed_in("ada", PASSWORD)


async def posted(rig: Rig, username: str, content: str, **headers: str) -> dict[str, Any]:
    answer = await rig.http.post(
        f"/users/{username}/tracks", content=content, headers=TOML | headers
    )
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def said(answer: httpx.Response) -> str:
    return str(answer.json()["detail"])


def test_a_track_is_posted_read_replaced_shared_and_deleted(settings: Settings) -> None:
    async def scenario() -> None:
        async with two_owners(settings) as (rig, ada):
            made = await posted(rig, "ada", LOOP, **ada)
            path = f"/tracks/{made['id']}"
            facts = {key: made[key] for key in ("name", "full_name", "username", "gates", "laps")}
            assert facts == {
                "name": "loop",
                "full_name": "ada/loop",
                "username": "ada",
                "gates": 2,
                "laps": 2,
            }
            assert (made["shipped"], made["shared"], made["mean_height_m"]) == (False, False, 3.0)
            assert 30 < made["length_m"] < 60
            assert "x500" in made["airframes"]
            assert made["sha256"] == hashlib.sha256(LOOP.encode()).hexdigest()
            assert made["course"]["gates"][1]["pitch_deg"] == 30.0
            assert made["course"]["obstacles"] == [
                {"position": [3.0, 3.0, 0.0], "radius_m": 0.2, "height_m": 3.0}
            ]
            file = await rig.http.get(f"{path}.toml", headers=ada)
            assert file.content == LOOP.encode()
            assert file.headers["content-type"].startswith("application/toml")
            assert 'filename="loop.toml"' in file.headers["content-disposition"]

            for hidden in (path, f"{path}.toml", f"{path}.svg"):
                assert (await rig.http.get(hidden)).status_code == 401
            assert (await rig.http.patch(path, json={"shared": True})).status_code == 401
            shared = await rig.http.patch(path, json={"shared": True}, headers=ada)
            assert shared.json()["shared"] is True
            assert (await rig.http.get(path)).json() == shared.json()
            for method in ("PUT", "PATCH", "DELETE"):
                content = b'{"shared": false}' if method == "PATCH" else LOOP.encode()
                kind = "application/json" if method == "PATCH" else "application/toml"
                refused = await rig.http.request(
                    method, path, content=content, headers={"Content-Type": kind}
                )
                assert refused.status_code == 401, (method, refused.text)

            larger = loop("second try").replace("laps = 2", "laps = 3")
            replaced = await rig.http.put(path, content=larger, headers=TOML | ada)
            assert (replaced.json()["id"], replaced.json()["laps"]) == (made["id"], 3)
            assert replaced.json()["full_name"] == "ada/second try"
            assert replaced.json()["updated_at"] > made["updated_at"]
            assert replaced.json()["created_at"] == made["created_at"]
            assert (await rig.http.delete(path, headers=ada)).status_code == 204
            assert (await rig.http.get(path, headers=ada)).status_code == 404
            assert (await rig.http.delete(path, headers=ada)).status_code == 404

    play(scenario())


def test_names_are_one_users_and_anothers_too(settings: Settings) -> None:
    async def scenario() -> None:
        async with two_owners(settings) as (rig, ada):
            first = await posted(rig, "bob", LOOP)
            await posted(rig, "ada", LOOP, **ada)
            again = await rig.http.post("/users/bob/tracks", content=LOOP, headers=TOML)
            assert again.status_code == 400
            assert "'loop' already" in said(again)
            other = await posted(rig, "bob", loop("other"))
            renamed = await rig.http.put(f"/tracks/{other['id']}", content=LOOP, headers=TOML)
            assert renamed.status_code == 400
            kept = await rig.http.get(f"/tracks/{other['id']}.toml")
            assert kept.text == loop("other")
            same = await rig.http.put(f"/tracks/{first['id']}", content=LOOP, headers=TOML)
            assert same.status_code == 200
            answers = await asyncio.gather(
                *(
                    rig.http.post("/users/bob/tracks", content=loop("race"), headers=TOML)
                    for _ in range(4)
                )
            )
            assert sorted(answer.status_code for answer in answers) == [201, 400, 400, 400]

    play(scenario())


def test_shipped_tracks_are_everybodys_and_stay_as_they_are(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            for name in track_names():
                shown = (await rig.http.get(f"/tracks/{name}")).json()
                assert (shown["id"], shown["shipped"], shown["username"]) == (name, True, None)
                file = await rig.http.get(f"/tracks/{name}.toml")
                assert file.text == shipped_text(name)
                assert shown["sha256"] == hashlib.sha256(file.content).hexdigest()
            assert shown["created_at"] is None
            for answer in (
                await rig.http.put("/tracks/toledo", content=LOOP, headers=TOML),
                await rig.http.patch("/tracks/toledo", json={"shared": False}),
                await rig.http.delete("/tracks/toledo"),
            ):
                assert answer.status_code == 409
                assert "Post a copy" in said(answer)

    play(scenario())


def test_the_list_pages_and_shows_each_visitor_their_own(settings: Settings) -> None:
    async def scenario() -> None:
        async with two_owners(settings) as (rig, ada):
            for n in range(3):
                await posted(rig, "ada", loop(f"secret {n}"), **ada)
                made = await posted(rig, "bob", loop(f"open {n}"))
                if n != 1:
                    await rig.http.patch(f"/tracks/{made['id']}", json={"shared": True})

            async def names(query: str = "", **headers: str) -> list[str]:
                found: list[str] = []
                place = ""
                while True:
                    url = f"/tracks?limit=2{query}{place}"
                    page = (await rig.http.get(url, headers=headers)).json()
                    found += [track["full_name"] for track in page["tracks"]]
                    if page["next"] is None:
                        return found
                    assert len(page["tracks"]) == 2
                    place = f"&before={page['next']}"

            shared = ["bob/open 2", "bob/open 0"]
            assert await names() == track_names() + shared
            assert await names(**ada) == [
                *track_names(),
                *("bob/open 2", "ada/secret 2", "ada/secret 1", "bob/open 0", "ada/secret 0"),
            ]
            assert await names("&username=ada") == []
            assert len(await names("&username=ada", **ada)) == 3
            assert await names("&username=bob") == ["bob/open 2", "bob/open 1", "bob/open 0"]
            assert await names("&username=nobody") == []
            for wrong in ("x", "9-9", "99999999999999999999-x", "²-x"):
                answer = await rig.http.get("/tracks", params={"before": wrong})
                assert (answer.status_code, "before" in said(answer)) == (422, True)
            listed = (await rig.http.get("/tracks?limit=1")).json()["tracks"][0]
            assert "course" not in listed

    play(scenario())


def test_json_of_the_same_structure_is_as_good(settings: Settings) -> None:
    async def scenario() -> None:
        async with two_owners(settings) as (rig, _):
            course = (await rig.http.get("/tracks/lsy_level2")).json()["course"]
            course["name"] = "mine"
            made = await rig.http.post("/users/bob/tracks", json=course)
            assert made.status_code == 201, made.text
            assert made.json()["course"] == course
            file = await rig.http.get(f"/tracks/{made.json()['id']}.toml")
            assert parse_track(file.text).name == "mine"
            checked = (await rig.http.post("/tracks/validate", json=course)).json()
            assert (checked["valid"], checked["gates"]) == (True, 4)
            for wrong, key, told in (
                (course | {"laps": None}, "", "'laps' must be a text, a number"),
                (course | {"include": "/etc/passwd"}, "include", "is not known"),
                ([course], "", "must be an object"),
            ):
                answer = (await rig.http.post("/tracks/validate", json=wrong)).json()
                assert answer["valid"] is False
                assert answer["problems"][0]["key"] == key
                assert told in answer["problems"][0]["message"]

    play(scenario())


def test_everything_that_is_wrong_is_said_with_its_key(settings: Settings) -> None:
    wrong = LOOP.replace("yaw_deg = 180.0", 'yaw_deg = "west"').replace("size_m = 2.0", "size_m=20")
    expected = [
        {"key": "gates[1].yaw_deg", "message": "must be a number from -360 to 360"},
        {"key": "gates[1].size_m", "message": "must be from 0.2 to 10"},
    ]

    async def scenario() -> None:
        async with two_owners(settings) as (rig, _):
            good = (await rig.http.post("/tracks/validate", content=LOOP, headers=TOML)).json()
            assert (good["valid"], good["problems"], good["gates"]) == (True, [], 2)
            assert (good["name"], good["mean_height_m"]) == ("loop", 3.0)
            checked = await rig.http.post("/tracks/validate", content=wrong, headers=TOML)
            assert checked.status_code == 200
            assert checked.json()["problems"] == expected
            assert checked.json()["length_m"] is None
            refused = await rig.http.post("/users/bob/tracks", content=wrong, headers=TOML)
            assert refused.status_code == 422
            assert refused.json()["errors"] == [
                {"loc": ["body", problem["key"]], "msg": problem["message"]} for problem in expected
            ]
            assert "gates[1].size_m: must be from 0.2 to 10" in said(refused)
            assert (await rig.http.get("/tracks?username=bob")).json()["tracks"] == []

    play(scenario())


def test_an_account_holds_so_many_tracks_and_takes_them_along(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOST_TRACKS", 2)

    async def scenario() -> None:
        async with two_owners(settings) as (rig, _):
            made = [await posted(rig, "bob", loop(name)) for name in ("one", "two")]
            full = await rig.http.post("/users/bob/tracks", content=loop("three"), headers=TOML)
            assert full.status_code == 409
            assert "2 tracks at most" in said(full)
            with rig.app.state.database.session() as session:
                session.execute(text("DELETE FROM users WHERE username = 'bob'"))
            assert (await rig.http.get(f"/tracks/{made[0]['id']}")).status_code == 404

    play(scenario())


def test_who_may_post(settings: Settings) -> None:
    async def scenario() -> None:
        async with two_owners(settings) as (rig, ada):
            for username, headers, status in (
                ("nobody", {}, 404),
                ("ada", {}, 401),
                ("ada", {"Authorization": "Bearer x"}, 401),
                ("bob", ada, 201),
            ):
                answer = await rig.http.post(
                    f"/users/{username}/tracks", content=LOOP, headers=TOML | headers
                )
                assert answer.status_code == status, (username, answer.text)
            await rig.http.post("/users/", json={"username": "eve", "password": PASSWORD})
            eve = await rig.signed_in("eve", PASSWORD)
            answer = await rig.http.post("/users/ada/tracks", content=LOOP, headers=TOML | eve)
            assert answer.status_code == 404
            made = await posted(rig, "ada", LOOP, **ada)
            path = f"/tracks/{made['id']}"
            await rig.http.patch(path, json={"shared": True}, headers=ada)
            for refused in (
                await rig.http.delete(path, headers=eve),
                await rig.http.patch(path, json={"shared": False}, headers=eve),
                await rig.http.put(path, content=LOOP, headers=TOML | eve),
            ):
                assert refused.status_code == 404
            for body in ({}, {"shared": "yes"}, {"shared": True, "name": "x"}, {"shared": None}):
                answer = await rig.http.patch(path, json=body, headers=ada)
                assert answer.status_code == 422, body

    play(scenario())
