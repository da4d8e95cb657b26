"""Flights by hand in races: who may enter which, and what becomes of them beside policies."""

from __future__ import annotations

import asyncio
import csv
import io
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select, update

from models import RaceEntry, Rating, User, utc_now
from racer.flight.px4 import Vector
from racer.flights import service as flights
from racer.racing.by_hand import FLIGHT_FILE
from racer.settings import Settings
from racer.sim.track import load_track, shipped_text
from tests.flight.recorded import Recorder
from tests.races.rig import Rig, serving
from tests.training.conftest import play

TRACK = load_track("toledo")
START: Vector = (0.0, 0.0, 2.5)
T0 = 2_000_000_000.0


def way() -> list[Vector]:
    """Through all gates of the shipped course, and a metre on."""
    line = [tuple(point) for point in TRACK.centre_line().tolist()]
    last = TRACK.gates[-1]
    return [*line, tuple((last.position + last.axes[0]).tolist())]


async def who(rig: Rig, username: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """As heartbeats name an account."""
    user = (await rig.http.get(f"/users/{username}", headers=headers)).json()
    return {"id": user["id"], "username": username}


def fly(
    rig: Rig,
    account: dict[str, Any],
    *,
    at_s: float = T0,
    speeds: tuple[float, ...] = (3.0,),
    **recorder: Any,
) -> str:
    """Record attempts on the shipped course; the id."""
    flown = Recorder(rig.settings.data_dir / "flights", at_s=at_s, **recorder)
    flown.take(account)
    for speed in speeds:
        flown.hover(START, 1.0)
        flown.fly(way(), speed)
        flown.fly([way()[-1], (0.5, -5.0, 7.0), (0.0, 0.0, 7.0), START], 4.0)
    flown.hover(START, 1.0)
    return flown.close()


async def enter(
    rig: Rig, race_id: str, flight: str, username: str | None = "ada", headers: Any = None
) -> httpx.Response:
    wanted = {"flight": flight, "username": username}
    return await rig.http.post(f"/races/{race_id}/entries", json=wanted, headers=headers)


def test_a_flight_by_hand_races_beside_policies(settings: Settings, programs: Path) -> None:
    async def story() -> None:
        async with serving(settings, programs=programs) as rig:
            for name in ("ada", "bob", "cy"):
                await rig.account(name)
            flight = fly(rig, await who(rig, "ada"), speeds=(2.0, 2.5, 2.2))
            race = await rig.race("bob")
            entry = (await enter(rig, race["id"], flight)).json()
            assert (entry["flown"], entry["flight"], entry["username"]) == ("hand", flight, "ada")
            assert entry["policy_id"] is entry["policy_sha256"] is None
            # what was entered is judged, whatever becomes of the recording
            for path in (settings.data_dir / "flights").iterdir():
                path.unlink()
            results = await rig.flown(race["id"], rig.keep("bob", 5.0), rig.keep("cy", 6.0))
            [ada] = [row for row in results["ranking"] if row["flown"] == "hand"]
            networks = [row for row in results["ranking"] if row["flown"] == "policy"]
            result = ada["result"]
            assert (result["status"], result["attempt"], len(result["attempts"])) == (
                *("finished", 2),
                3,
            )
            length = sum(split["split_s"] for split in result["splits"]) * 2.5
            assert length == pytest.approx(result["distance_m"], rel=0.02)
            assert ada["score_s"] == result["course_time_s"] == result["splits"][-1]["time_s"]
            assert [split["gate"] for split in result["splits"]] == [1, 2, 3, 4, 5, 6]

            # networks are rated among themselves
            assert (ada["elo"], ada["elo_change"]) == (None, None)
            changes = [row["elo_change"] for row in networks]
            assert changes == pytest.approx([16.0, -16.0])
            with rig.app.state.database.session(read_only=True) as session:
                assert len(session.scalars(select(Rating)).all()) == 2

            replay = (await rig.http.get(f"/races/{race['id']}/replay.json")).json()
            ghost = next(one for one in replay["drones"] if one["name"] == "ada: by hand")
            assert ghost["passages_s"] == [split["time_s"] for split in result["splits"]]
            assert ghost["position_m"][0] == pytest.approx(START, abs=0.1)
            assert "ada: by hand" in (await rig.http.get(f"/races/{race['id']}/replay.svg")).text
            table = (await rig.http.get(f"/races/{race['id']}/results.csv")).text
            rows = list(csv.DictReader(io.StringIO(table)))
            [line] = [row for row in rows if row["flown"] == "hand"]
            assert (line["username"], line["policy"]) == ("ada", "")
            assert float(line["lap 1 gate 1"]) == result["splits"][0]["split_s"]

    play(story())


def test_a_board_has_one_row_of_each_pilot(settings: Settings, programs: Path) -> None:
    async def story() -> None:
        async with serving(settings, programs=programs) as rig:
            for name in ("ada", "bob"):
                await rig.account(name)
            ada, bob = await who(rig, "ada"), await who(rig, "bob")
            times = {}
            for number, speed in enumerate((2.5, 3.0)):
                race = await rig.race()
                for shift, account in enumerate((ada, bob)):
                    at_s = T0 + 1000.0 * (2 * number + shift)
                    flight = fly(rig, account, at_s=at_s, speeds=(speed - 0.5 * shift,))
                    answer = await enter(rig, race["id"], flight, account["username"])
                    assert answer.status_code == 201, answer.text
                results = await rig.flown(race["id"])  # nobody else
                times[speed] = {row["username"]: row["score_s"] for row in results["ranking"]}
            board = (await rig.http.get("/leaderboards/toledo")).json()
            told = [(row["username"], row["score_s"], row["flown"]) for row in board["rows"]]
            assert told == [(name, times[3.0][name], "hand") for name in ("ada", "bob")]
            assert {row["elo"] for row in board["rows"]} == {None}
            # another account of the same name, once the first is gone, has a row of its own
            with rig.app.state.database.session() as session:
                session.execute(update(RaceEntry).values(username="ada"))
            board = (await rig.http.get("/leaderboards/toledo")).json()
            assert len(board["rows"]) == 2
            # and so have two whose accounts are gone
            with rig.app.state.database.session() as session:
                his = RaceEntry.user_id == bob["id"]
                session.execute(update(RaceEntry).where(his).values(username="bob"))
                for user in session.scalars(select(User)):
                    session.delete(user)
            board = (await rig.http.get("/leaderboards/toledo")).json()
            assert [row["username"] for row in board["rows"]] == ["ada", "bob"]

    play(story())


def test_only_the_account_that_flew_enters_its_flight(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            ada = await rig.account("ada", password=True)
            eve = await rig.account("eve", password=True)
            await rig.account("bob")
            flight = fly(rig, await who(rig, "ada", ada))
            race = await rig.race("bob")
            assert (await enter(rig, race["id"], flight, "ada")).status_code == 401
            assert (await enter(rig, race["id"], flight, None)).status_code == 401
            assert (await enter(rig, race["id"], flight, "ada", eve)).status_code == 404
            assert (await enter(rig, race["id"], flight, "nobody", ada)).status_code == 404
            for username, headers in ((None, eve), ("bob", None)):  # under their own names
                refused = await enter(rig, race["id"], flight, username, headers)
                assert refused.status_code == 409
                assert "flew nothing of that recording by hand" in refused.json()["detail"]
            assert rig.copies(race["id"]) == []
            entry = (await enter(rig, race["id"], flight, None, ada)).json()
            assert (entry["username"], entry["number"]) == ("ada", 1)
            place = f"/races/{race['id']}/entries/{entry['id']}"
            assert (await rig.http.delete(place, headers=eve)).status_code == 404
            assert (await rig.http.delete(place, headers=ada)).status_code == 204
            assert rig.copies(race["id"]) == []
            # an account that was made after the flight did not fly it
            with rig.app.state.database.session() as session:
                later = utc_now().replace(year=2040)
                session.execute(update(User).values(created_at=later))
            assert (await enter(rig, race["id"], flight, "ada", ada)).status_code == 409

    play(story())


def test_a_flight_fits_the_race(sqlite_settings: Settings) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, executes=False) as rig:
            await rig.account("ada")
            ada = await who(rig, "ada")
            flight = fly(rig, ada)
            race = await rig.race()

            async def refused(flight: str, race_id: str = race["id"]) -> str:
                answer = await enter(rig, race_id, flight)
                assert answer.status_code in (404, 409), answer.text
                assert rig.copies(race_id) == []
                return str(answer.json()["detail"])

            together = await rig.race(format="head_to_head")
            assert "a recorded flight meets nobody" in await refused(flight, together["id"])
            windy = await rig.race(wind_speed_m_s=3.0)
            assert "in a wind of 0 m/s and the race has 3 m/s" in await refused(flight, windy["id"])
            small = await rig.race(airframe="kolibri")
            assert "'x500' was flown" in await refused(flight, small["id"])
            assert "no recording" in await refused("../secret_key")
            assert "no recording" in await refused("2026-01-01T00-00-00.000000Z_drone1")
            bare = fly(rig, ada, at_s=T0 + 1000.0, about={})
            assert "does not say which airframe" in await refused(bare)
            slow = fly(rig, ada, at_s=T0 + 2000.0, pace=0.5)
            assert "did not run with real time" in await refused(slow)
            elsewhere = Recorder(sqlite_settings.data_dir / "flights", at_s=T0 + 3000.0)
            elsewhere.take(ada)
            elsewhere.hover((3.0, 0.0, 2.5), 2.0)
            detail = await refused(elsewhere.close())
            assert "hover within 0.5 m of 0 m east, 0 m north, 2.5 m up" in detail
            for wrong in (
                {},
                {"flight": flight, "policy_id": "x"},
                {"policy_id": "x", "username": "ada"},
                {"flight": flight, "username": "ada", "score_s": 1.0},
                {"flight": "x" * 65, "username": "ada"},
            ):
                answer = await rig.http.post(f"/races/{race['id']}/entries", json=wrong)
                assert answer.status_code == 422, answer.text

            assert (await enter(rig, race["id"], flight)).status_code == 201
            again = await enter(rig, race["id"], flight)
            assert again.status_code == 409
            assert "has a flight in the race already" in again.json()["detail"]
            await rig.http.post(f"/races/{race['id']}/start")
            late = await enter(rig, race["id"], flight)
            assert late.status_code == 409

    play(story())


def test_a_course_that_displaces_its_gates_takes_none(sqlite_settings: Settings) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, executes=False) as rig:
            await rig.account("ada")
            text = shipped_text("toledo").replace('name = "toledo"', 'name = "moving"')
            text += "\n[randomisation]\ngate_position_m = [0.1, 0.1, 0.0]\n"
            headers = {"Content-Type": "application/toml"}
            posted = await rig.http.post("/users/ada/tracks", content=text, headers=headers)
            assert posted.status_code == 201, posted.text
            race = await rig.race(track="ada/moving")
            answer = await enter(rig, race["id"], fly(rig, await who(rig, "ada")))
            assert answer.status_code == 409
            assert "displaces its gates" in answer.json()["detail"]

    play(story())


def test_of_two_that_are_entered_at_once_one_is_in(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            ada = await who(rig, "ada")
            ids = [fly(rig, ada, at_s=T0 + 1000.0 * number) for number in range(2)]
            race = await rig.race()
            answers = await asyncio.gather(*(enter(rig, race["id"], flight) for flight in ids))
            assert sorted(answer.status_code for answer in answers) == [201, 409]
            [entry] = (await rig.http.get(f"/races/{race['id']}")).json()["entries"]
            assert rig.copies(race["id"]) == [entry["id"]]

    play(story())


def test_a_reader_that_dies_or_hangs_leaves_nothing_and_too_many_do_not_wait(
    sqlite_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hung = sqlite_settings.data_dir / "hung"
    hung.write_text("#!/bin/sh\nexec sleep 1000\n")
    hung.chmod(0o700)

    async def story() -> None:
        async with serving(sqlite_settings, executes=False) as rig:
            await rig.account("ada")
            flight = fly(rig, await who(rig, "ada"))
            race = await rig.race()
            monkeypatch.setattr(flights.sys, "executable", "/bin/false")
            died = await enter(rig, race["id"], flight)
            assert (died.status_code, rig.copies(race["id"])) == (503, [])
            monkeypatch.setattr(flights.sys, "executable", str(hung))
            monkeypatch.setattr("racer.races.by_hand._PATIENCE_S", 3.0)
            answers = await asyncio.gather(*(enter(rig, race["id"], flight) for _ in range(6)))
            assert [answer.status_code for answer in answers] == [503] * 6
            said = sorted(answer.json()["detail"] for answer in answers)
            assert sum("Other recordings are being read" in words for words in said) == 2
            assert sum("takes longer than 3 s" in words for words in said) == 4

    play(story())


def test_a_flight_whose_copy_is_spoilt_is_refused_and_the_others_race(
    sqlite_settings: Settings, programs: Path
) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, programs=programs) as rig:
            await rig.account("ada")
            race = await rig.race()
            entry = (await enter(rig, race["id"], fly(rig, await who(rig, "ada")))).json()
            folder = sqlite_settings.data_dir / "races" / race["id"] / entry["id"]
            (folder / FLIGHT_FILE).write_bytes(b"spoilt")
            results = await rig.flown(race["id"], rig.keep("ada", 5.0))
            last = results["ranking"][1]
            assert (last["flown"], last["result"]["status"]) == ("hand", "refused")
            assert "cannot be read" in last["result"]["reason"]

    play(story())
