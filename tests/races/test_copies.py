"""Copies of entered policies: bounded, tidied up, gone with races that leave no results."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models import Job, JobStatus, Race, RaceEntry, RaceStatus, utc_now
from racer.races.pinned import Copies
from racer.races.service import race_kind
from racer.settings import Settings
from tests.races.rig import Rig, serving
from tests.training.conftest import play


async def finished(rig: Rig, policy_id: str) -> dict[str, Any]:
    """A race of one policy that has finished."""
    race = await rig.race()
    assert (await rig.enter(race["id"], policy_id)).status_code == 201
    assert (await rig.http.post(f"/races/{race['id']}/start")).status_code == 202
    rig.finish(race["id"], 10.0)
    return race


def make_folder(folder: Path) -> None:
    folder.mkdir(parents=True)


def file_names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_a_start_tidies_up_what_it_knows_and_leaves_the_rest(settings: Settings) -> None:
    """The copies of an ended race, of a time before they were counted, of another database."""
    folder = settings.data_dir / "races"

    async def before() -> tuple[str, str, str]:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            failed, old, gone = [await rig.race(name=name) for name in ("failed", "old", "gone")]
            for race in (failed, old, gone):
                await rig.enter(race["id"], rig.keep("ada", 5.0))
            with rig.app.state.database.session() as session:
                told = session.get_one(Race, failed["id"])
                told.status = RaceStatus.RUNNING  # its end could not be told to it
                told.job = Job(kind="race", config={}, status=JobStatus.FAILED)
                session.get_one(Race, old["id"]).copies_bytes = 0
            for copy in (folder / gone["id"]).glob("*/*"):
                copy.unlink()
            return failed["id"], old["id"], gone["id"]

    async def after(failed: str, old: str, gone: str) -> None:
        async with serving(settings, executes=False) as rig:
            assert rig.copies(failed) == []
            assert rig.counted(failed) == 0
            assert len(rig.copies(old)) == 1
            assert rig.counted(old) == rig.measured(old) > 0
            assert rig.counted(gone) == 0
            assert (folder / "of another database" / "entry").is_dir()

    ids = play(before())
    (folder / "of another database" / "entry").mkdir(parents=True)
    play(after(*ids))


def small_quota(settings: Settings) -> Settings:
    return settings.model_copy(update={"races_mb": 1})


def set_counted(rig: Rig, race_id: str, size_bytes: int) -> None:
    with rig.app.state.database.session() as session:
        session.get_one(Race, race_id).copies_bytes = size_bytes


def test_the_copies_of_the_races_that_finished_longest_ago_make_room(settings: Settings) -> None:
    async def story() -> None:
        async with serving(small_quota(settings), executes=False) as rig:
            await rig.account("ada")
            policy = rig.keep("ada", 5.0)
            oldest, newer = await finished(rig, policy), await finished(rig, policy)
            current = await rig.race()
            set_counted(rig, oldest["id"], 500_000)
            set_counted(rig, newer["id"], 499_000)
            assert (await rig.enter(current["id"], policy)).status_code == 201
            assert rig.copies(oldest["id"]) == []
            assert rig.counted(oldest["id"]) == 0
            assert len(rig.copies(newer["id"])) == len(rig.copies(current["id"])) == 1
            results = await rig.http.get(f"/races/{oldest['id']}/results")
            assert results.json()["ranking"][0]["score_s"] == 10.0  # they stay

            set_counted(rig, current["id"], 999_999)
            full = await rig.enter(current["id"], rig.keep("ada", 6.0))
            assert full.status_code == 409
            assert "RACES_MB" in full.json()["detail"]
            assert len(rig.copies(newer["id"])) == 1  # what would not help is not removed
            assert len(rig.copies(current["id"])) == 1
            assert rig.staged() == []

    play(story())


def test_entries_that_come_at_once_stay_within_the_bound(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody commits before two have found room, unless the second has to wait for the first."""
    two, settle = threading.Barrier(2), Copies.settle

    def together(copies: Copies, staged: Path, race_id: str, entry_id: str) -> None:
        with suppress(threading.BrokenBarrierError):
            two.wait(timeout=1.0)
        settle(copies, staged, race_id, entry_id)

    async def story() -> None:
        async with serving(small_quota(settings), executes=False) as rig:
            await rig.account("ada")
            races = [await rig.race() for _ in range(3)]
            policies = [rig.keep("ada", 4.0 + step / 4) for step in range(3)]
            assert (await rig.enter(races[0]["id"], policies[0])).status_code == 201
            size = rig.measured(races[0]["id"])
            set_counted(rig, races[0]["id"], 10**6 - size - size // 2)  # room for one
            monkeypatch.setattr(Copies, "settle", together)
            pairs = zip(races[1:], policies[1:], strict=True)
            answers = await asyncio.gather(*(rig.enter(race["id"], one) for race, one in pairs))
            assert sorted(answer.status_code for answer in answers) == [201, 409]
            assert sum(len(rig.copies(race["id"])) for race in races) == 2

    play(story())


def test_a_race_that_fails_loses_its_copies_when_that_is_certain(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race()
            await rig.enter(race["id"], rig.keep("ada", 5.0))
            await rig.http.post(f"/races/{race['id']}/start")

            def fail(*, commit: bool) -> None:
                with rig.app.state.database.session() as session:
                    job = session.get_one(Race, race["id"]).job
                    job.status, job.error, job.finished_at = JobStatus.FAILED, "No.", utc_now()
                    race_kind(settings).ended(session, job)
                    if not commit:
                        session.rollback()

            fail(commit=False)
            assert len(rig.copies(race["id"])) == 1
            fail(commit=True)
            assert rig.copies(race["id"]) == []
            assert rig.counted(race["id"]) == 0

    play(story())


def test_an_organiser_deletes_what_left_no_results(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            ada = await rig.account("ada", password=True)
            eve = await rig.account("eve", password=True)
            policy = rig.keep("ada", 5.0)
            made = {"name": "Cup", "format": "time_trial", "track": "toledo"}

            async def race() -> str:
                answer = await rig.http.post("/races", json=made, headers=ada)
                race_id: str = answer.json()["id"]
                assert (await rig.enter(race_id, policy, ada)).status_code == 201
                return race_id

            async def deleted(race_id: str, headers: dict[str, str]) -> int:
                answer = await rig.http.delete(f"/races/{race_id}", headers=headers)
                return answer.status_code

            opened, running, cancelled = [await race() for _ in range(3)]
            assert await deleted(opened, {}) == 401
            assert await deleted(opened, eve) == 404
            assert len(rig.copies(opened)) == 1
            assert await deleted(opened, ada) == 204
            assert await deleted(opened, ada) == await deleted("nothing", ada) == 404
            assert not (rig.settings.data_dir / "races" / opened).exists()
            await rig.http.post(f"/races/{cancelled}/cancel", headers=ada)
            assert rig.copies(cancelled) == []
            assert await deleted(cancelled, ada) == 204

            await rig.http.post(f"/races/{running}/start", headers=ada)
            answer = await rig.http.delete(f"/races/{running}", headers=ada)
            assert (answer.status_code, "cancel it" in answer.json()["detail"]) == (409, True)
            rig.finish(running, 10.0)
            answer = await rig.http.delete(f"/races/{running}", headers=ada)
            assert (answer.status_code, "public" in answer.json()["detail"]) == (409, True)
            assert (await rig.http.get(f"/races/{running}/results")).status_code == 200
            with rig.app.state.database.session(read_only=True) as session:
                assert session.scalars(select(RaceEntry.race_id)).all() == [running]

    play(story())


def test_deleting_a_race_that_failed_deletes_its_job(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            race = await rig.race()
            await rig.enter(race["id"], rig.keep("ada", 5.0))
            await rig.http.post(f"/races/{race['id']}/start")
            with rig.app.state.database.session() as session:
                job = session.get_one(Race, race["id"]).job
                job_id, job.status = job.id, JobStatus.FAILED  # the race was not told
            files: Path = rig.app.state.jobs.folder_of(job_id)
            make_folder(files)
            assert (await rig.http.delete(f"/races/{race['id']}")).status_code == 204
            assert files.name not in file_names(files.parent)
            with rig.app.state.database.session(read_only=True) as session:
                assert session.get(Job, job_id) is None
                assert session.get(Race, race["id"]) is None

    play(story())
