"""Who may do what with a race, and when; nothing is flown here."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import update

from models import Race, Role, User
from racer.races import queries
from racer.settings import Settings
from tests.races.rig import Rig, serving
from tests.support import REPOSITORY
from tests.training.conftest import play


def test_reading_is_free_and_the_rest_belongs_to_its_owner(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            ada = await rig.account("ada", password=True)
            eve = await rig.account("eve", password=True)
            wanted = {"name": "Cup", "format": "time_trial", "track": "toledo"}
            post = rig.http.post
            assert (await post("/races", json=wanted)).status_code == 401
            named = wanted | {"username": "ada"}
            assert (await post("/races", json=named)).status_code == 401
            assert (await post("/races", json=named, headers=eve)).status_code == 404
            race = (await post("/races", json=wanted, headers=ada)).json()
            assert (race["username"], race["status"], race["seed"]) == ("ada", "open", None)
            assert (await rig.http.get(f"/races/{race['id']}")).json() == race

            policy = rig.keep("eve", 5.0)
            assert (await rig.enter(race["id"], policy)).status_code == 401
            assert (await rig.enter(race["id"], policy, ada)).status_code == 404
            entry = (await rig.enter(race["id"], policy, eve)).json()
            assert (entry["username"], entry["rank"], entry["number"]) == ("eve", None, 1)

            start = f"/races/{race['id']}/start"
            assert (await post(start)).status_code == 401
            assert (await post(start, headers=eve)).status_code == 404
            cancel = f"/races/{race['id']}/cancel"
            assert (await post(cancel, headers=eve)).status_code == 404
            place = f"/races/{race['id']}/entries/{entry['id']}"
            assert (await rig.http.delete(place)).status_code == 401
            other = await rig.account("mallory", password=True)
            assert (await rig.http.delete(place, headers=other)).status_code == 404
            assert rig.copies(race["id"]) == [entry["id"]]
            assert (await rig.http.delete(place, headers=eve)).status_code == 204
            assert rig.copies(race["id"]) == []
            assert (await rig.enter(race["id"], policy, eve)).status_code == 201
            started = await post(start, headers=ada)
            assert (started.status_code, started.json()["status"]) == (202, "running")
            assert started.json()["seed"] is None  # it is drawn, and nobody knows it
            # Whose it is counts before what state it is in.
            assert (await post(start, headers=eve)).status_code == 404
            entry = started.json()["entries"][0]
            place = f"/races/{race['id']}/entries/{entry['id']}"
            assert (await rig.http.delete(place, headers=other)).status_code == 404
            assert (await rig.http.delete(place, headers=eve)).status_code == 409

    play(story())


def test_a_race_director_manages_every_race(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada", password=True)
            judge = await rig.account("judge", password=True)
            policy = rig.keep("ada", 5.0)
            ada = await rig.signed_in("ada")
            wanted = {"name": "Cup", "format": "time_trial", "track": "toledo"}
            made = [(await rig.http.post("/races", json=wanted, headers=ada)) for _ in range(2)]
            first, second = (f"/races/{answer.json()['id']}" for answer in made)
            entry = (await rig.enter(made[0].json()["id"], policy, ada)).json()
            place = f"{first}/entries/{entry['id']}"
            changes = (
                ("DELETE", place, 204),
                ("POST", f"{first}/cancel", 204),
                ("DELETE", first, 204),
                ("POST", f"{second}/cancel", 204),
            )
            for method, path, _ in changes:
                answer = await rig.http.request(method, path, headers=judge)
                assert answer.status_code == 404
            with rig.app.state.database.session() as session:
                session.execute(
                    update(User).where(User.username == "judge").values(role=Role.RACE_DIRECTOR)
                )
                gone = update(Race).where(Race.id == made[1].json()["id"])
                session.execute(gone.values(user_id=None))  # its organiser's account is deleted
            for method, path, status in changes:
                answer = await rig.http.request(method, path, headers=judge)
                assert answer.status_code == status, answer.text
            delete = await rig.http.delete(f"/policies/{policy}", headers=judge)
            assert delete.status_code == 404  # policies are no races

    play(story())


def test_nobody_can_claim_a_result(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race()
            policy = rig.keep("ada", 5.0)
            lie = {"policy_id": policy, "score_s": 1.0, "rank": 1}
            answer = await rig.http.post(f"/races/{race['id']}/entries", json=lie)
            assert answer.status_code == 422
            wanted = {"name": "Cup", "username": "ada", "format": "time_trial", "track": "toledo"}
            assert (await rig.http.post("/races", json=wanted | {"seed": 1})).status_code == 422
            for path in (f"/races/{race['id']}", f"/races/{race['id']}/results"):
                for method in ("PUT", "PATCH", "POST"):
                    answer = await rig.http.request(method, path, json={"rank": 1})
                    assert answer.status_code == 405

    play(story())


def test_an_entry_fits_the_race(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race(max_entrants=1)
            small = await rig.enter(race["id"], rig.keep("ada", 5.0, airframe="cf21b"))
            assert (small.status_code, "cf21b" in small.json()["detail"]) == (422, True)
            coarse = await rig.enter(race["id"], rig.keep("ada", 5.0, substeps=1))
            assert coarse.status_code == 422
            assert rig.copies(race["id"]) == []  # of what was refused nothing stays
            changed = rig.keep("ada", 6.0)
            (rig.settings.data_dir / "policies" / changed / "policy.onnx").unlink()
            assert (await rig.enter(race["id"], changed)).status_code == 404
            assert (await rig.enter(race["id"], "\0")).status_code == 404
            assert (await rig.enter("nothing", changed)).status_code == 404
            policy = rig.keep("ada", 5.0)
            assert (await rig.enter(race["id"], policy)).status_code == 201
            twice = await rig.enter(race["id"], policy)
            full = await rig.enter(race["id"], rig.keep("ada", 5.5))
            assert [twice.status_code, full.status_code] == [409, 409]

    play(story())


def test_who_finds_no_room_on_the_grid_is_told_so_while_entries_are_open(
    settings: Settings,
) -> None:
    shipped = (REPOSITORY / "racer/sim/tracks/toledo.toml").read_text(encoding="utf-8")
    narrow = shipped.replace("min = [-12.0, -20.0, 0.0]", "min = [-12.0, -8.0, 0.0]")
    narrow = narrow.replace("[0.0, 0.0, 2.5]", "[0.0, -7.0, 2.5]")

    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            kept = await rig.http.post("/users/ada/tracks", content=narrow)
            assert kept.status_code == 201, kept.text
            race = await rig.race(format="head_to_head", track=kept.json()["id"])
            answers = [
                await rig.enter(race["id"], rig.keep("ada", 4.0 + lane / 4)) for lane in range(8)
            ]
            codes = [answer.status_code for answer in answers]
            assert (codes[:2], codes[-1]) == ([201, 201], 409)
            assert "staggered" in answers[-1].json()["detail"]
            assert len(rig.copies(race["id"])) == codes.count(201)
            answer = await rig.http.post(f"/races/{race['id']}/cancel")
            assert answer.status_code == 204
            assert rig.copies(race["id"]) == []

    play(story())


def test_an_account_has_so_many_races_under_way(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOST_UNDER_WAY", 2)

    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            await rig.account("bob")
            first, _ = await rig.race(), await rig.race()
            wanted = {"name": "x", "username": "ada", "format": "time_trial", "track": "toledo"}
            assert (await rig.http.post("/races", json=wanted)).status_code == 409
            await rig.race("bob")
            await rig.http.post(f"/races/{first['id']}/cancel")
            await rig.race()

    play(story())


def test_entries_that_come_at_once_do_not_overfill_a_race(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race(max_entrants=2)
            policies = [rig.keep("ada", speed) for speed in (4.0, 4.5, 5.0, 5.5, 6.0)]
            answers = await asyncio.gather(*(rig.enter(race["id"], one) for one in policies))
            assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409, 409]
            whole = (await rig.http.get(f"/races/{race['id']}")).json()
            assert [entry["number"] for entry in whole["entries"]] == [1, 2]
            assert len(rig.copies(race["id"])) == 2

    play(story())


def test_a_race_is_started_once_and_closed_then(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race(format="head_to_head")
            start = f"/races/{race['id']}/start"
            first, second = rig.keep("ada", 5.0), rig.keep("ada", 6.0)
            entry = (await rig.enter(race["id"], first)).json()
            alone = await rig.http.post(start)
            assert (alone.status_code, "2 entries" in alone.json()["detail"]) == (409, True)
            await rig.enter(race["id"], second)
            left = rig.settings.data_dir / "races" / race["id"] / "left by a killed server"
            left.mkdir()
            answers = await asyncio.gather(rig.http.post(start), rig.http.post(start))
            assert sorted(answer.status_code for answer in answers) == [202, 409]
            assert not left.exists()
            third = rig.keep("ada", 4.0)
            assert (await rig.enter(race["id"], third)).status_code == 409
            place = f"/races/{race['id']}/entries/{entry['id']}"
            assert (await rig.http.delete(place)).status_code == 409
            assert (await rig.http.get(f"/races/{race['id']}/results")).status_code == 409
            assert (await rig.http.get(f"/races/{race['id']}/replay")).status_code == 409

            other = await rig.race(name="Another")
            assert (await rig.http.post(f"/races/{other['id']}/cancel")).status_code == 204
            assert (await rig.http.post(f"/races/{other['id']}/cancel")).status_code == 409
            assert (await rig.http.post(f"/races/{other['id']}/start")).status_code == 409
            await _lists(rig, race["id"], other["id"])

    play(story())


def test_a_race_that_would_take_more_than_its_time_is_not_started(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race(attempts=20, laps=20)
            start = f"/races/{race['id']}/start"
            for number in range(4):
                await rig.enter(race["id"], rig.keep("ada", 4.0 + number / 10))
            answer = await rig.http.post(start)
            assert (answer.status_code, "fewer attempts" in answer.text) == (409, True)
            assert (await rig.http.get(f"/races/{race['id']}")).json()["status"] == "open"

    play(story())


async def _lists(rig: Rig, running: str, cancelled: str) -> None:
    async def listed(**wanted: Any) -> list[str]:
        answer = await rig.http.get("/races", params=wanted)
        return [race["id"] for race in answer.json()["races"]]

    assert await listed() == [cancelled, running]
    assert await listed(status="running") == [running]
    assert await listed(format="head_to_head", username="ada") == [running]
    assert await listed(username="nobody") == []
    page = (await rig.http.get("/races", params={"limit": 1})).json()
    assert [race["id"] for race in page["races"]] == [cancelled]
    assert await listed(before=page["next"]) == [running]
    assert (await rig.http.get("/races", params={"before": "x"})).status_code == 422


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"name": " "}, 422),
        ({"name": "a\nb"}, 422),
        ({"format": "relay"}, 422),
        ({"track": "nowhere"}, 404),
        ({"track": "../../etc/passwd"}, 404),
        ({"track": "a\0"}, 422),
        ({"airframe": "kite"}, 422),
        ({"airframe": "../x500"}, 422),
        ({"laps": 21}, 422),
        ({"max_entrants": 9, "format": "head_to_head"}, 422),
        ({"max_entrants": 1, "format": "head_to_head"}, 422),
        ({"format": "fastest_three", "laps": 3}, 422),
        ({"wind_speed_m_s": 99}, 422),
        ({"username": "nobody"}, 404),
    ],
)
def test_a_race_that_cannot_be_is_not_made(
    sqlite_settings: Settings, changes: dict[str, Any], status: int
) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, executes=False) as rig:
            await rig.account("ada")
            wanted = {"name": "Cup", "username": "ada", "format": "time_trial", "track": "toledo"}
            answer = await rig.http.post("/races", json=wanted | changes)
            assert answer.status_code == status, answer.text
            assert isinstance(answer.json()["detail"], str)
            assert (await rig.http.get("/races")).json() == {"races": [], "next": None}

    play(story())


def test_a_race_that_changed_since_it_was_seen_is_not_deleted(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race()
            path = f"/races/{race['id']}"
            tag = (await rig.http.get(path)).headers["ETag"]
            held = {"If-None-Match": tag}
            assert (await rig.http.get(path, headers=held)).status_code == 304
            await rig.enter(race["id"], rig.keep("ada", 5.0))
            assert (await rig.http.get(path, headers=held)).status_code == 200
            seen = {"If-Match": tag}
            assert (await rig.http.delete(path, headers=seen)).status_code == 412
            now = (await rig.http.get(path)).headers["ETag"]
            assert (await rig.http.delete(path, headers={"If-Match": now})).status_code == 204

    play(story())


def test_a_race_that_changed_since_it_was_seen_is_neither_started_nor_cancelled(
    settings: Settings,
) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race()
            path = f"/races/{race['id']}"
            seen = {"If-Match": (await rig.http.get(path)).headers["ETag"]}
            await rig.enter(race["id"], rig.keep("ada", 5.0))
            for change in ("start", "cancel"):
                answer = await rig.http.post(f"{path}/{change}", headers=seen)
                assert answer.status_code == 412
                assert (await rig.http.get(path)).json()["status"] == "open"
            now = {"If-Match": (await rig.http.get(path)).headers["ETag"]}
            started = await rig.http.post(f"{path}/start", headers=now)
            assert started.status_code == 202, started.text
            # What it was when it was open is no more.
            assert (await rig.http.post(f"{path}/cancel", headers=now)).status_code == 412

    play(story())
