"""Evaluations on shipped, own and shared tracks; what becomes of them when a track changes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from racer.policy.tables import airframe_table
from racer.settings import Settings
from racer.sim.airframe import load_airframe
from racer.sim.track import shipped_text
from tests.evaluations.conftest import Rig, running
from tests.evaluations.test_evaluation_routes import numbered, until_over
from tests.flight.policies import COURSE
from tests.training.conftest import play


async def keep(rig: Rig, username: str, text: str, **headers: str) -> str:
    """The path of a new track of that account."""
    answer = await rig.http.post(f"/users/{username}/tracks", content=text, headers=headers)
    assert answer.status_code == 201, answer.text
    return f"/tracks/{answer.json()['id']}"


async def asked(rig: Rig, policy_id: str, headers: dict[str, str], **settings: Any) -> Any:
    path = f"/policies/{policy_id}/evaluations"
    return await rig.http.post(path, json=settings, headers=headers)


def test_a_track_that_changes_and_goes_stays_with_its_evaluations(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            policy_id = rig.new_policy("ada", numbered(1))
            path = await keep(rig, "ada", COURSE)
            first, again = [await rig.ask(policy_id, track="ada/short") for _ in range(2)]
            other = COURSE.replace("size_m = 1.6", "size_m = 1.4")
            (await rig.http.put(path, content=other)).raise_for_status()
            changed = await rig.ask(policy_id, track="ada/short")
            shipped, own = [await rig.ask(policy_id, track=name) for name in ("toledo", None)]
            (await rig.http.delete(path)).raise_for_status()
            told = {}
            for evaluation_id in (first, again, changed, shipped, own):
                told[evaluation_id] = await until_over(rig, evaluation_id)
                assert told[evaluation_id]["status"] == "finished", told[evaluation_id]
            for evaluation_id, name, text in (
                (first, "ada/short", COURSE),
                (changed, "ada/short", other),
                (shipped, "toledo", shipped_text("toledo")),
            ):
                found = told[evaluation_id]
                assert (found["track"], found["track_text"]) == (name, text)
                assert found["track_sha256"] == hashlib.sha256(text.encode()).hexdigest()
                # The program got the copy, too.
                assert found["conditions"]["track_sha256"] == found["track_sha256"]
            for key in ("track", "track_text", "track_sha256"):
                assert told[own][key] is None
            for b, status in ((again, 200), (changed, 409), (shipped, 409)):
                answer = await rig.http.get("/evaluations/compare", params={"a": first, "b": b})
                assert answer.status_code == status, answer.text
            assert "track_sha256" in answer.json()["detail"]

    play(scenario())


def test_only_ones_own_and_shared_tracks_can_be_named(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            ada = await rig.new_user("ada", "correct horse")
            eve = await rig.new_user("eve", "battery staple")
            path = await keep(rig, "ada", COURSE, **ada)
            mine, theirs = [rig.new_policy(name, numbered(1)) for name in ("ada", "eve")]
            names = ("ada/short", path.rpartition("/")[2])
            for name in names:
                assert (await asked(rig, mine, ada, track=name)).status_code == 202
                hidden = await asked(rig, theirs, eve, track=name)
                assert (hidden.status_code, "no track" in hidden.json()["detail"]) == (404, True)
            shared = await rig.http.patch(path, json={"shared": True}, headers=ada)
            shared.raise_for_status()
            for name in names:
                answer = await asked(rig, theirs, eve, track=name)
                assert answer.status_code == 202
                assert answer.json()["track"] == "ada/short"

    play(scenario())


SMALL_GATES = COURSE.replace("size_m = 1.6", "size_m = 0.4")


@pytest.mark.parametrize(
    ("wanted", "status", "words"),
    [
        ({"track": "moon"}, 404, "no track 'moon'"),
        ({"track": "../../etc/passwd"}, 404, "no track"),
        ({"track": "ada/moon"}, 404, "has not shared it"),
        ({"track": "ada/short", "altitude_m": 99.0}, 202, ""),  # the bounds go up with it
        ({"track": "ada/narrow"}, 422, "lets no airframe through"),
    ],
)
def test_courses_that_cannot_be_flown_are_refused_at_once(
    settings: Settings, wanted: dict[str, Any], status: int, words: str
) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            await keep(rig, "ada", COURSE)
            await keep(rig, "ada", SMALL_GATES.replace('"short"', '"narrow"'))
            answer = await asked(rig, rig.new_policy("ada", numbered(1)), {}, **wanted)
            assert answer.status_code == status, answer.text
            assert words in answer.text

    play(scenario())


def test_the_hull_is_that_of_the_policys_airframe(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            await keep(rig, "ada", SMALL_GATES)
            small = {"airframe": airframe_table(load_airframe("cf21b"))}
            policy_id = rig.new_policy("ada", numbered(1), manifest=small)
            assert (await asked(rig, policy_id, {}, track="ada/short")).status_code == 202

    play(scenario())


@pytest.mark.parametrize(
    ("rates", "words"),
    [
        ({"substeps": 81}, "2025 steps of the simulation per second"),
        ({"substeps": 1}, "25 steps of the simulation per second"),
        ({"control_hz": 1000.0, "substeps": 1}, "1000 actions per second"),
        ({"control_hz": 5.0, "substeps": 40}, "5 actions per second"),
    ],
)
def test_rates_that_no_race_would_take_are_refused(
    settings: Settings, rates: dict[str, Any], words: str
) -> None:
    """An upload's manifest may say up to 1000 actions of 1000 steps each."""

    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            policy_id = rig.new_policy("ada", numbered(1), manifest=rates)
            answer = await asked(rig, policy_id, {})
            assert answer.status_code == 422
            assert words in answer.json()["detail"]
            assert (await rig.http.get("/evaluations")).json()["evaluations"] == []

    play(scenario())
