"""Whose turn the jobs of a race take."""

from __future__ import annotations

from models import Job, User
from racer.settings import Settings
from tests.races.rig import serving
from tests.training.conftest import play


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
