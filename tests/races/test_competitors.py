"""Who is who: nobody takes another's place on a board, and nobody wins from his own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models import User
from racer.racing.competitors import Manner, competitor, manner_of
from racer.racing.elo import INITIAL, K
from racer.settings import Settings
from tests.races.rig import Rig, serving
from tests.racing.pilots import write_pilot
from tests.training.conftest import play

MADE = datetime(2026, 3, 1, tzinfo=UTC)
MANNER = Manner("velocity", 25.0, 8, 0, 8.0, 1.5)
KEY = competitor(1, MADE, "a" * 64, MANNER)


async def board(rig: Rig, **wanted: Any) -> list[dict[str, Any]]:
    """The rows of the shipped course's leaderboard."""
    answer = await rig.http.get("/leaderboards/toledo", params=wanted)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()["rows"]
    return rows


async def raced(rig: Rig, entered: dict[str, float], **changes: Any) -> dict[str, Any]:
    """A race of these policies with these times, not flown; as it is afterwards."""
    race = await rig.race(**changes)
    for policy in entered:
        answer = await rig.enter(race["id"], policy)
        assert answer.status_code == 201, answer.text
    assert (await rig.http.post(f"/races/{race['id']}/start")).status_code == 202
    rig.finish(race["id"], *entered.values())
    ended: dict[str, Any] = (await rig.http.get(f"/races/{race['id']}")).json()
    assert ended["status"] == "finished"
    return ended


@pytest.mark.parametrize(
    "other",
    [
        competitor(2, MADE, "a" * 64, MANNER),
        competitor(1, MADE + timedelta(microseconds=1), "a" * 64, MANNER),
        competitor(1, MADE, "b" * 64, MANNER),
        *(
            competitor(1, MADE, "a" * 64, MANNER._replace(**{name: value}))
            for name, value in (
                ("action_space", "ctbr"),
                ("control_hz", 50.0),
                ("substeps", 4),
                ("seen_obstacles", 1),
                ("velocity_limit_m_s", 9.0),
                ("yaw_limit_rad_s", 1.0),
            )
        ),
    ],
)
def test_whatever_decides_how_it_flies_makes_another_competitor(other: str) -> None:
    assert len(other) == 64
    assert other != KEY


def test_what_is_told_of_a_policy_makes_no_other_competitor(tmp_path: Path) -> None:
    manifest = write_pilot(tmp_path, 5.0)
    renamed = manifest.model_copy(update={"name": "new", "created": MADE, "wind_speed_m_s": 3.0})
    assert manner_of(renamed) == manner_of(manifest)
    local = MADE.astimezone()  # the same moment
    assert competitor(1, local, "a" * 64, MANNER) == KEY


def test_a_copy_takes_neither_the_row_nor_the_rating(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            for name in ("ada", "bob", "eve"):
                await rig.account(name)
            fast, slow = rig.keep("ada", 6.0), rig.keep("bob", 5.0)
            await raced(rig, {fast: 10.0, slow: 12.0})
            (first, second) = await board(rig)
            assert (first["username"], first["elo"]) == ("ada", INITIAL + K / 2)

            copy = rig.keep("eve", 6.0)
            race = await raced(rig, {copy: 9.0, slow: 8.0})
            again = await board(rig)
            assert {row["policy_sha256"] for row in again if row["username"] != "bob"} == {
                first["policy_sha256"]
            }
            assert [row["username"] for row in again] == ["bob", "eve", "ada"]
            assert again[2] == first | {"rank": 3}
            assert again[1]["competitor"] == race["entries"][0]["competitor"]
            assert again[1]["elo"] < INITIAL < again[0]["elo"]
            assert again[0]["competitor"] == second["competitor"]

    play(story())


def test_another_control_rate_is_another_competitor_and_a_better_time_the_same(
    settings: Settings,
) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            policy, quick = rig.keep("ada", 6.0), rig.keep("ada", 6.0, control_hz=50.0, substeps=4)
            await raced(rig, {policy: 10.0, quick: 11.0})
            await raced(rig, {policy: 9.0})
            rows = await board(rig)
            assert [(row["policy_id"], row["score_s"]) for row in rows] == [
                (policy, 9.0),
                (quick, 11.0),
            ]
            assert rows[0]["policy_sha256"] == rows[1]["policy_sha256"]

    play(story())


def test_an_account_that_comes_back_under_an_old_id_is_another_one(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            first = await raced(rig, {rig.keep("ada", 6.0): 10.0})
            with rig.app.state.database.session() as session:
                gone = session.query(User).one()
                number = gone.id
                session.delete(gone)
                session.flush()
                session.add(User(id=number, username="eve"))
            second = await raced(rig, {rig.keep("eve", 6.0): 11.0}, username="eve")
            keys = [race["entries"][0]["competitor"] for race in (first, second)]
            assert keys[0] != keys[1]
            assert [row["username"] for row in await board(rig)] == ["ada", "eve"]

    play(story())


def test_nobody_wins_from_the_own_account(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            await rig.account("bob")
            good, bad = rig.keep("ada", 6.0), rig.keep("ada", 4.0)
            alone = await raced(rig, {good: 10.0, bad: 15.0})
            assert [entry["elo_change"] for entry in alone["entries"]] == [0.0, 0.0]
            assert [row["games"] for row in await board(rig)] == [0, 0]
            mixed = await raced(rig, {good: 10.0, bad: 15.0, rig.keep("bob", 5.0): 12.0})
            changes = [entry["elo_change"] for entry in mixed["entries"]]
            assert changes == pytest.approx([K / 4, -K / 4, 0.0])  # bob won one and lost one
            assert [row["games"] for row in await board(rig)] == [1, 1, 1]

    play(story())


def test_those_of_an_account_that_is_deleted_meanwhile_do_not_play_either(
    settings: Settings,
) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            await rig.account("bob")
            race = await rig.race("bob")
            for speed in (4.0, 6.0):
                await rig.enter(race["id"], rig.keep("ada", speed))
            await rig.http.post(f"/races/{race['id']}/start")
            with rig.app.state.database.session() as session:
                session.delete(session.query(User).filter_by(username="ada").one())
            rig.finish(race["id"], 15.0, 10.0)
            ended = (await rig.http.get(f"/races/{race['id']}")).json()
            assert [entry["elo_change"] for entry in ended["entries"]] == [0.0, 0.0]

    play(story())


def test_a_board_is_of_one_wind(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            policy = rig.keep("ada", 6.0)
            for wind, score in ((0.0, 12.0), (0.1, 11.0), (3.3, 10.0), (4, 9.0)):
                await raced(rig, {policy: score}, wind_speed_m_s=wind)
            for wind, score in ((0.0, 12.0), (0.1, 11.0), (3.3, 10.0), (4, 9.0)):
                answer = await rig.http.get(f"/leaderboards/toledo?wind_speed_m_s={wind}")
                assert answer.json()["wind_speed_m_s"] == wind
                assert [row["score_s"] for row in answer.json()["rows"]] == [score]
            assert (await rig.http.get("/leaderboards/toledo")).json()["wind_speed_m_s"] == 0.0
            assert [row["score_s"] for row in await board(rig)] == [12.0]
            assert await board(rig, wind_speed_m_s=2.0) == []
            for wrong in ("-1", "15.1", "nan", "storm"):
                answer = await rig.http.get(f"/leaderboards/toledo?wind_speed_m_s={wrong}")
                assert answer.status_code == 422, wrong

    play(story())
