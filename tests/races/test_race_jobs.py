"""Whose turn the jobs of a race take, and what becomes of their files."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from models import Job, Race, User, utc_now
from racer.racing.replay import REPLAY_FILE
from racer.settings import Settings
from tests.races.rig import Rig, serving
from tests.races.test_copies import finished
from tests.training.conftest import play, until


def put_replay(rig: Rig, race_id: str, *, ended_s_ago: int) -> Path:
    """The folder of the race's job, with a replay that is a good half of a megabyte."""
    with rig.app.state.database.session() as session:
        job = session.get_one(Race, race_id).job
        job.finished_at = utc_now() - timedelta(seconds=ended_s_ago)
        folder: Path = rig.app.state.jobs.folder_of(job.id)
    folder.mkdir(parents=True)
    (folder / REPLAY_FILE).write_bytes(bytes(600_000))
    return folder


def test_a_replay_that_went_for_newer_ones_is_told_of(settings: Settings) -> None:
    async def before() -> tuple[str, str, Path]:
        async with serving(settings, executes=False) as rig:
            await rig.account("ada")
            policy = rig.keep("ada", 5.0)
            old, new = [(await finished(rig, policy))["id"] for _ in range(2)]
            folder = put_replay(rig, old, ended_s_ago=20)
            put_replay(rig, new, ended_s_ago=10)
            return old, new, folder

    async def after(old: str, new: str, folder: Path) -> None:
        small = settings.model_copy(update={"jobs_mb": 1})
        async with serving(small, executes=False) as rig:
            await until(lambda: not folder.exists())
            for path in ("replay", "replay.json", "replay.svg"):
                answer = await rig.http.get(f"/races/{old}/{path}")
                assert answer.status_code == 404
                assert "no replay of the race any more" in answer.json()["detail"]
                assert "JOBS_MB" in answer.json()["detail"]
            assert (await rig.http.get(f"/races/{new}/replay")).status_code == 200
            results = (await rig.http.get(f"/races/{old}/results")).json()
            assert results["ranking"][0]["score_s"] == 10.0  # they stay
            assert results["race"]["error"] is None

    play(after(*play(before())))


def test_a_race_and_its_reference_times_take_its_organisers_turn(settings: Settings) -> None:
    async def story() -> None:
        async with serving(settings, executes=False) as rig:
            await rig.account("eve")
            await rig.account("ada")
            race = await rig.race("ada")
            await rig.enter(race["id"], rig.keep("eve", 5.0))
            (await rig.http.post(f"/races/{race['id']}/start")).raise_for_status()
            with rig.app.state.database.session(read_only=True) as session:
                ada = session.query(User).filter_by(username="ada").one()
                jobs = {(job.kind, job.owner_id) for job in session.query(Job)}
            assert jobs == {("race", ada.id), ("reference", ada.id)}

    play(story())
