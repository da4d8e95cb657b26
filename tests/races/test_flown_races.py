"""Races that are flown: results, Elo, boards; and what stays when their makers are gone."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import psutil
import pytest
from sqlalchemy import select

from models import (
    Job,
    JobStatus,
    Policy,
    Race,
    RaceEntry,
    RaceStatus,
    Rating,
    ReferenceTime,
    User,
    utc_now,
)
from racer.races import ratings, references
from racer.races.service import race_kind
from racer.racing.elo import INITIAL, K, updated
from racer.settings import Settings
from racer.sim.track import shipped_text
from tests.races.rig import Rig, serving
from tests.support import REPOSITORY
from tests.training.conftest import play


def test_what_a_race_leaves_outlives_policies_and_users(settings: Settings, programs: Path) -> None:
    async def story() -> None:
        async with serving(settings, programs=programs) as rig:
            for name in ("ada", "bob"):
                await rig.account(name)
            slow, fast = rig.keep("ada", 5.0), rig.keep("bob", 6.0)
            race = await rig.race()
            await rig.enter(race["id"], slow)
            await rig.enter(race["id"], fast)
            # what was entered is flown, whatever becomes of it
            assert (await rig.http.delete(f"/policies/{fast}")).status_code == 204
            results = await rig.flown(race["id"])
            first, second = results["ranking"]
            assert [first["policy_name"], second["policy_name"]] == ["6 m/s", "5 m/s"]
            assert (first["policy_id"], second["policy_id"]) == (None, slow)
            assert (first["elo"], second["elo"]) == (INITIAL + K / 2, INITIAL - K / 2)
            assert int(results["race"]["seed"]) > 0

            await rig.race(name="Longer", laps=3)  # does not change how many the board is of
            with rig.app.state.database.session() as session:
                for user in session.scalars(select(User)):
                    session.delete(user)
            again = (await rig.http.get(f"/races/{race['id']}/results")).json()
            assert [row["username"] for row in again["ranking"]] == ["bob", "ada"]
            board = (await rig.http.get("/leaderboards/toledo")).json()
            assert [row["username"] for row in board["rows"]] == ["bob", "ada"]
            by_text = (await rig.http.get(f"/leaderboards/{race['track_sha256']}")).json()
            assert by_text["rows"] == board["rows"]
            start = f"/races/{race['id']}/start"  # of an account that is gone: nobody's any more
            assert (await rig.http.post(start)).status_code == 404

    play(story())


def test_a_board_has_the_best_of_each_competitor_and_its_rating(
    settings: Settings, programs: Path
) -> None:
    async def story() -> None:
        async with serving(settings, programs=programs) as rig:
            await rig.account("ada")
            await rig.account("bob")
            slow, fast = rig.keep("ada", 5.0), rig.keep("bob", 6.0)
            times = []
            for _ in range(2):
                race = await rig.race()
                results = await rig.flown(race["id"], slow, fast)
                times.append({row["policy_id"]: row["score_s"] for row in results["ranking"]})
            board = (await rig.http.get("/leaderboards/toledo")).json()
            assert [row["policy_id"] for row in board["rows"]] == [fast, slow]
            for row in board["rows"]:
                assert row["score_s"] == min(one[row["policy_id"]] for one in times)
                assert row["games"] == 2
            elos = [row["elo"] for row in board["rows"]]
            assert elos[0] > INITIAL + K / 2
            assert sum(elos) == pytest.approx(2 * INITIAL)
            empty = (await rig.http.get("/leaderboards/toledo?laps=2")).json()
            assert empty["rows"] == []
            for path in ("nowhere", "0" * 64, "%00"):
                assert (await rig.http.get(f"/leaderboards/{path}")).status_code == 404
            await _reference(rig, board["rows"][0]["score_s"])

    play(story())


async def _reference(rig: Rig, best_s: float) -> None:
    async with asyncio.timeout(60):
        while True:
            board = (await rig.http.get("/leaderboards/toledo")).json()
            if all(board["reference"].values()):
                break
            await asyncio.sleep(0.1)
    reference = board["reference"]
    # a flying lap of this course is longer than the way from its start to its last gate
    assert 3.0 < reference["course_time_s"] < reference["flying_lap_s"] < best_s
    first = board["rows"][0]
    assert first["ratio"] == pytest.approx(best_s / reference["course_time_s"], abs=1e-3)
    assert first["laps"] == [{"time_s": best_s, "ratio": first["ratio"]}]


def test_the_table_has_a_column_a_gate_and_no_formulas(
    sqlite_settings: Settings, programs: Path
) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, programs=programs) as rig:
            await rig.account("+ada")
            race = await rig.race("+ada")
            results = await rig.flown(race["id"], rig.keep("+ada", 5.0), rig.keep("+ada", 9.0))
            answer = await rig.http.get(f"/races/{race['id']}/results.csv")
            assert answer.headers["content-type"].startswith("text/csv")
            rows = list(csv.DictReader(io.StringIO(answer.text)))
            assert [row["username"] for row in rows] == ["'+ada", "'+ada"]
            splits = results["ranking"][0]["result"]["splits"]
            told = [rows[0][f"lap 1 gate {gate}"] for gate in range(1, 7)]
            assert [float(split) for split in told] == [split["split_s"] for split in splits]
            assert (rows[1]["status"], rows[1]["cause"], rows[1]["score_s"]) == (
                "crashed",
                "frame",
                "",
            )
            assert rows[1]["lap 1 gate 6"] == ""

    play(story())


def _race_with_job(rig: Rig, speeds: tuple[float, ...] = ()) -> tuple[str, str]:
    """A race under way, and its job, neither of which anybody executes."""
    with rig.app.state.database.session() as session:
        job = Job(kind="race", config={})
        race = Race(
            username="ada",
            name="Cup",
            format="time_trial",
            track_name="toledo",
            track="",
            track_sha256="0" * 64,
            laps=1,
            airframe="x500",
            settings={"wind_speed_m_s": 0.0},
            max_entrants=8,
            status=RaceStatus.RUNNING,
            job=job,
        )
        for number, speed in enumerate(speeds, start=1):
            race.entries.append(
                RaceEntry(
                    number=number,
                    username=f"flies {speed:g}",
                    policy_name="p",
                    policy_version=1,
                    policy_sha256=f"{speed:064g}",
                    competitor=f"{speed:064g}",
                )
            )
        session.add(race)
        session.flush()
        return race.id, job.id


def test_a_race_that_fails_says_why_and_leaves_no_ranks(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            race_id, job_id = _race_with_job(rig, (1.0, 2.0))
            with rig.app.state.database.session() as session:
                job = session.get_one(Job, job_id)
                job.status, job.error, job.finished_at = JobStatus.FAILED, "No.", utc_now()
                race_kind(settings).ended(session, job)
            race = (await rig.http.get(f"/races/{race_id}")).json()
            assert (race["status"], race["error"]) == ("failed", "No.")
            assert [entry["rank"] for entry in race["entries"]] == [None, None]
            # one whose end could not even be told says what its job says
            other, other_job = _race_with_job(rig)
            with rig.app.state.database.session() as session:
                session.get_one(Job, other_job).status = JobStatus.FAILED
            assert (await rig.http.get(f"/races/{other}")).json()["status"] == "failed"

    play(story())


def test_one_competitor_entered_twice_is_rated_once(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            race_id, _ = _race_with_job(rig, (1.0, 1.0, 2.0))
            with rig.app.state.database.session() as session:
                race = session.get_one(Race, race_id)
                for entry, rank in zip(race.entries, (1, 3, 2), strict=True):
                    entry.rank = rank
                ratings.rate(session, race, list(race.entries))
                rows = session.scalars(select(Rating).order_by(Rating.elo.desc())).all()
                assert [(row.elo, row.games) for row in rows] == [
                    (INITIAL + K / 2, 1),
                    (INITIAL - K / 2, 1),
                ]
                assert [entry.elo for entry in race.entries] == [
                    rows[0].elo,
                    rows[0].elo,
                    rows[1].elo,
                ]

    play(story())


def test_races_that_end_at_once_all_count(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            races = [_race_with_job(rig, (1.0, 2.0))[0] for _ in range(4)]

            def rate(race_id: str) -> None:
                with rig.app.state.database.session() as session:
                    race = session.get_one(Race, race_id)
                    for entry in race.entries:
                        entry.rank = entry.number
                    ratings.rate(session, race, list(race.entries))

            await asyncio.gather(*(asyncio.to_thread(rate, race_id) for race_id in races))
            with rig.app.state.database.session(read_only=True) as session:
                first, second = session.scalars(select(Rating).order_by(Rating.elo.desc()))
            expected: dict[int, float] = {}
            for _ in races:
                expected = updated(expected, {1: 1, 2: 2})
            assert (first.elo, second.elo) == pytest.approx((expected[1], expected[2]))
            assert (first.games, second.games) == (4, 4)

    play(story())


def test_a_reference_is_asked_for_once_and_one_that_failed_of_another_program(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            race_id, _ = _race_with_job(rig)
            sessions = rig.app.state.database
            own = references.revision()

            def ask() -> list[str]:
                with sessions.session() as session:
                    references.ask_for(session, session.get_one(Race, race_id))
                with sessions.session(read_only=True) as session:
                    return sorted(session.scalars(select(Job.id).where(Job.kind == "reference")))

            jobs = ask()
            assert len(jobs) == 2
            assert ask() == jobs
            with sessions.session() as session:
                job = session.get_one(Job, jobs[0])
                job.status, job.error = JobStatus.FAILED, "No flight was found."
                references.ended(session, job)
            assert ask() == jobs
            monkeypatch.setattr(references, "revision", lambda: "another program")
            assert len(ask()) == 3
            assert len(ask()) == 3
            with sessions.session(read_only=True) as session:
                rows = session.scalars(select(ReferenceTime)).all()
                assert {row.revision for row in rows} == {own, "another program"}
                assert [row.error for row in rows] == [None, None]

    play(story())


def test_deleting_a_policy_keeps_its_entry(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race()
            policy = rig.keep("ada", 5.0)
            await rig.enter(race["id"], policy)
            with rig.app.state.database.session() as session:
                session.delete(session.get_one(Policy, policy))
            (entry,) = (await rig.http.get(f"/races/{race['id']}")).json()["entries"]
            assert (entry["policy_id"], entry["policy_name"]) == (None, "5 m/s")
            assert rig.copies(race["id"]) == [entry["id"]]

    play(story())


def _race_process() -> psutil.Process | None:
    """The child process that flies a race."""
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if "racer.racing.job" in child.cmdline():
                return child
    return None


async def _flying(rig: Rig, race_id: str) -> psutil.Process:
    """Wait until the race's process has flown somebody."""
    async with asyncio.timeout(60):
        while True:
            race = (await rig.http.get(f"/races/{race_id}")).json()
            process = _race_process()
            if race["progress"] and process is not None:
                return process
            await asyncio.sleep(0.05)


def test_a_killed_race_is_flown_again_and_anybody_can_check_it_by_its_seed(
    sqlite_settings: Settings, programs: Path
) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, programs=programs) as rig:
            await rig.account("ada")
            race = await rig.race(attempts=20, wind_speed_m_s=3.0)
            for speed in (4.5, 5.0, 6.0):
                await rig.enter(race["id"], rig.keep("ada", speed))
            await rig.http.post(f"/races/{race['id']}/start")
            (await _flying(rig, race["id"])).kill()
            ended = await rig.ended(race["id"])
            assert ended["status"] == "finished"
            results = (await rig.http.get(f"/races/{race['id']}/results")).json()
            assert [entry["elo_change"] is not None for entry in ended["entries"]] == [True] * 3
            with rig.app.state.database.session(read_only=True) as session:
                assert session.scalars(select(Job.attempt).where(Job.kind == "race")).one() == 2
            config = {
                **{"format": "time_trial", "track": shipped_text("toledo"), "laps": 1},
                **{"airframe": "x500", "seed": int(ended["seed"]), **ended["settings"]},
                "entrants": [
                    {"id": n, "name": str(n), "policy": f"{race['id']}/{entry['id']}"}
                    for n, entry in enumerate(ended["entries"], start=1)
                ],
            }
            again = await asyncio.to_thread(_flown_again, config, sqlite_settings, programs)
            told = {row["number"]: row["result"]["splits"] for row in results["ranking"]}
            assert {row["id"]: row["splits"] for row in again["ranking"]} == told

    play(story())


def _flown_again(config: dict[str, Any], settings: Settings, programs: Path) -> dict[str, Any]:
    """By the race's program, as anybody may call it."""
    output = settings.data_dir / "again"
    (settings.data_dir / "again.json").write_text(json.dumps(config))
    command = [
        *(sys.executable, "-m", "racer.racing.job", "--output", output),
        *("--config", settings.data_dir / "again.json"),
        *("--policies", settings.data_dir / "races", "--compile-cache", programs),
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=REPOSITORY, timeout=120)
    found: dict[str, Any] = json.loads((output / "result.json").read_text())
    return found


def test_a_race_can_be_cancelled_while_it_is_flown(
    sqlite_settings: Settings, programs: Path
) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, programs=programs) as rig:
            await rig.account("ada")
            race = await rig.race(attempts=20)
            await rig.enter(race["id"], rig.keep("ada", 4.5))
            await rig.http.post(f"/races/{race['id']}/start")
            process = await _flying(rig, race["id"])
            assert (await rig.http.post(f"/races/{race['id']}/cancel")).status_code == 204
            ended = await rig.ended(race["id"])
            assert (ended["status"], ended["entries"][0]["rank"]) == ("cancelled", None)
            assert not process.is_running()
            assert rig.copies(race["id"]) == []
            assert (await rig.http.get(f"/races/{race['id']}/results")).status_code == 409
            assert (await rig.http.get("/leaderboards/toledo")).json()["rows"] == []

    play(story())


def test_a_knockout_over_http_has_its_heats_in_the_replay(
    sqlite_settings: Settings, programs: Path
) -> None:
    async def story() -> None:
        async with serving(sqlite_settings, programs=programs) as rig:
            await rig.account("ada")
            await rig.account("bob")
            race = await rig.race(format="knockout", start="staggered", seeding="given")
            entered = (("ada", 5.0), ("bob", 5.5), ("ada", 6.0))
            policies = [rig.keep(owner, speed, "<b>&") for owner, speed in entered]
            results = await rig.flown(race["id"], *policies)
            heats = [heat["name"] for heat in results["heats"]]
            assert heats == ["Semi-final 2", "Final"]
            whole = (await rig.http.get(f"/races/{race['id']}/replay.json")).json()
            assert [ghost["heat"] for ghost in whole["drones"]] == [0, 0, 1, 1]
            final = (await rig.http.get(f"/races/{race['id']}/replay.json?heat=1")).json()
            assert final["drones"] == whole["drones"][2:]
            beyond = await rig.http.get(f"/races/{race['id']}/replay.json?heat=2")
            assert beyond.status_code == 404
            picture = await rig.http.get(f"/races/{race['id']}/replay.svg?heat=1")
            root = ET.fromstring(picture.text)  # noqa: S314 - our own picture
            told = [text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text")]
            assert sum("<b>&" in text for text in told) == 2  # a name is text, never markup
            elos = {row["policy_sha256"]: row["elo_change"] for row in results["ranking"]}
            assert sum(elos.values()) == pytest.approx(0.0)
            assert max(elos.values()) > 1.0

    play(story())
