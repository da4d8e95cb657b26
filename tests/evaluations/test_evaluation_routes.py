"""What `/evaluations` answers, on both databases; the flights are made up."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest

from models import Evaluation, Job, Policy
from racer.evaluations import queries
from racer.folders import Folders
from racer.jobs import leases
from racer.settings import Settings
from tests.evaluations.conftest import OVER, Rig, running
from tests.training.conftest import play


def numbered(number: int) -> Any:
    return lambda folder: (folder / "number.json").write_text(json.dumps(number))


async def until_over(rig: Rig, evaluation_id: str, **headers: str) -> Any:
    while (found := await rig.read(evaluation_id, **headers))["status"] not in OVER:
        pass  # each reading takes its time, and pytest's time-out ends it
    return found


def test_an_account_has_so_many_evaluations_waiting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "MOST_WAITING", 0)

    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            policy_id = rig.new_policy("ada", numbered(1))
            answer = await rig.http.post(f"/policies/{policy_id}/evaluations", json={})
            assert answer.status_code == 409
            assert "wait already" in answer.json()["detail"]
            assert (await rig.http.get("/evaluations")).json()["evaluations"] == []

    play(scenario())


def test_an_evaluation_is_queued_flown_and_read(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            policy_id = rig.new_policy("ada", numbered(2))
            answer = await rig.http.post(f"/policies/{policy_id}/evaluations", json={"starts": 4})
            assert answer.status_code == 202
            queued = answer.json()
            assert (queued["policy_id"], queued["username"]) == (policy_id, "ada")
            assert (queued["report"], queued["completion"]) == (None, None)
            with rig.app.state.database.session(read_only=True) as session:
                evaluation = session.get(Evaluation, queued["id"])
                assert evaluation.job.owner_id == evaluation.user_id  # it takes its owner's turn
            found = await until_over(rig, queued["id"])
            assert (found["status"], found["error"]) == ("finished", None)
            assert found["settings"]["starts"] == found["conditions"]["starts"] == 4
            assert found["completion"] == found["report"]["completion"] == 0.75
            assert found["report"]["crash_causes"]["ground"] == 1
            assert found["best_lap_s"] == pytest.approx(11.1)
            answer = await rig.http.get(f"/evaluations/{queued['id']}/trajectories")
            assert answer.status_code == 200
            with np.load(io.BytesIO(answer.content), allow_pickle=False) as flights:
                assert flights["steps"].tolist() == [2, 2, 2, 2]

    play(scenario())


def test_trajectories_that_went_for_newer_ones_are_told_of(settings: Settings) -> None:
    """As racer.jobs.room removes them."""

    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            evaluation_id = await rig.ask(rig.new_policy("ada", numbered(1)))
            await until_over(rig, evaluation_id)
            with rig.app.state.database.session() as session:
                job_id = session.get_one(Evaluation, evaluation_id).job_id
                assert leases.forget_files(session, job_id, "They made room.")
            assert Folders(settings.data_dir / "jobs").discard(job_id)
            answer = await rig.http.get(f"/evaluations/{evaluation_id}/trajectories")
            assert answer.status_code == 409
            assert answer.json()["detail"].endswith("no trajectories any more. They made room.")
            found = await rig.read(evaluation_id)
            assert (found["status"], found["error"]) == ("finished", None)
            assert found["report"]["completion"] == 1.0

    play(scenario())


def test_two_policies_side_by_side(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            first, second = (rig.new_policy("ada", numbered(n)) for n in (1, 2))
            a, b = await rig.ask(first, starts=10), await rig.ask(second, starts=10)
            other = await rig.ask(second, starts=10, seed=1)
            for evaluation_id in (a, b, other):
                await until_over(rig, evaluation_id)
            answer = await rig.http.get("/evaluations/compare", params={"a": a, "b": b})
            assert answer.status_code == 200, answer.text
            found = answer.json()
            assert found["starts"][0] == {
                "start": 1,
                "a_s": 10.0,
                "b_s": None,
                "faster": "a",
            }
            assert [pair["faster"] for pair in found["starts"]] == ["a"] * 10
            assert (found["a"]["faster"], found["a"]["finished_alone"]) == (10, 1)
            assert (found["b"]["faster"], found["both_finished"]) == (0, 9)
            assert found["a"]["evaluation"]["completion"] == 1.0
            assert found["b"]["evaluation"]["completion"] == 0.9
            difference = found["difference"]
            assert difference["starts"] == 9
            for key in ("mean_s", "low_s", "high_s"):  # always a second: nothing to doubt
                assert difference[key] == pytest.approx(1.0)
            answer = await rig.http.get("/evaluations/compare", params={"a": a, "b": other})
            assert answer.status_code == 409
            assert "seed: 0 and 1" in answer.json()["detail"]

    play(scenario())


def test_what_has_not_finished_has_nothing_to_show(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            policy_id = rig.new_policy("ada", numbered(1))
            (rig.policies / "hold").touch()
            a = await rig.ask(policy_id)
            for path in (f"/{a}/trajectories", f"/compare?a={a}&b={a}"):
                answer = await rig.http.get(f"/evaluations{path}")
                assert answer.status_code == 409, answer.text
            assert (await rig.http.post(f"/evaluations/{a}/cancel")).status_code == 204
            found = await rig.read(a)
            assert (found["status"], found["error"]) == ("cancelled", "It was cancelled.")
            assert (await rig.http.post(f"/evaluations/{a}/cancel")).status_code == 409

    play(scenario())


def test_progress_is_told_while_it_is_flown(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            policy_id = rig.new_policy("ada", numbered(1))
            (rig.policies / "hold").touch()
            flown, waiting = await rig.ask(policy_id), await rig.ask(policy_id)
            while not (found := await rig.read(flown))["progress"]:
                pass  # each reading takes its time, and pytest's time-out ends it
            assert (found["status"], found["progress"]) == ("running", 0.25)
            assert (await rig.read(waiting))["progress"] is None
            listed = (await rig.http.get("/evaluations")).json()["evaluations"]
            assert [one["progress"] for one in listed] == [None, 0.25]
            (rig.policies / "hold").unlink()
            assert (await until_over(rig, flown))["progress"] is None

    play(scenario())


def test_a_policy_whose_files_are_gone_fails_in_words(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            policy_id = rig.new_policy("ada", Path.rmdir)
            found = await until_over(rig, await rig.ask(policy_id))
            assert (found["status"], found["error"]) == ("failed", "The policy's files are gone.")

    play(scenario())


def test_the_list_is_filtered_and_paged(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            await rig.new_user("bob")
            ada, bob = (rig.new_policy(name, numbered(1)) for name in ("ada", "bob"))
            made = [await rig.ask(ada) for _ in range(3)] + [await rig.ask(bob)]
            await until_over(rig, made[-1])

            async def page(**wanted: Any) -> tuple[list[str], str | None]:
                answer = await rig.http.get("/evaluations", params=wanted)
                assert answer.status_code == 200, answer.text
                found = answer.json()
                return [one["id"] for one in found["evaluations"]], found["next"]

            newest = made[::-1]
            assert await page() == (newest, None)
            assert await page(policy_id=bob) == (made[3:], None)
            assert await page(username="ada") == (newest[1:], None)
            assert await page(status="failed") == ([], None)
            first, place = await page(limit=3)
            assert first == newest[:3]
            assert place is not None
            assert await page(limit=3, before=place) == (newest[3:], None)
            answer = await rig.http.get("/evaluations", params={"before": "yesterday"})
            assert answer.status_code == 422

    play(scenario())


def test_who_may_ask_and_delete(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            ada = await rig.new_user("ada", "correct horse")
            eve = await rig.new_user("eve", "battery staple")
            policy_id = rig.new_policy("ada", numbered(1))
            path = f"/policies/{policy_id}/evaluations"
            for header, status in (({}, 401), (eve, 404), (ada, 202)):
                answer = await rig.http.post(path, json={}, headers=header)
                assert answer.status_code == status
            evaluation_id = answer.json()["id"]
            await until_over(rig, evaluation_id, **ada)
            for header, status in (({}, 401), (eve, 404), (ada, 204), (ada, 404)):
                deleted = await rig.http.delete(f"/evaluations/{evaluation_id}", headers=header)
                assert deleted.status_code == status
            with rig.app.state.database.session(read_only=True) as session:
                assert session.query(Evaluation).count() == session.query(Job).count() == 0
            assert not [*(rig.policies.parent / "jobs").glob("*/")]

    play(scenario())


def test_a_deleted_policy_takes_its_evaluations_and_their_jobs(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            policy_id = rig.new_policy("ada", numbered(1))
            await until_over(rig, await rig.ask(policy_id))
            with rig.app.state.database.session() as session:
                session.delete(session.get(Policy, policy_id))
        async with running(settings) as rig:  # or within seconds
            with rig.app.state.database.session(read_only=True) as session:
                assert session.query(Job).count() == 0
            assert not [*(rig.policies.parent / "jobs").glob("*/")]

    play(scenario())


@pytest.mark.parametrize(
    "wanted",
    [
        {"starts": 0},
        {"starts": 1001},
        {"seed": -1},
        {"laps": 21},
        {"wind_speed_m_s": 31},
        {"vary": "wildly"},
        {"altitude_m": 3},
        {"recorded": 33},
        {"startz": 5},
        [],
    ],
)
def test_settings_that_mean_nothing(tmp_path: Path, migrated_sqlite_url: str, wanted: Any) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=migrated_sqlite_url)

    async def scenario() -> None:
        async with running(settings) as rig:
            await rig.new_user("ada")
            policy_id = rig.new_policy("ada", numbered(1))
            answer = await rig.http.post(f"/policies/{policy_id}/evaluations", json=wanted)
            assert answer.status_code == 422, answer.text
            assert (await rig.http.get("/evaluations")).json()["evaluations"] == []

    play(scenario())


def test_what_does_not_exist(settings: Settings) -> None:
    async def scenario() -> None:
        async with running(settings) as rig:
            for name in (str(uuid4()), "x" * 99, "%00", "ü"):
                for answer in (
                    await rig.http.post(f"/policies/{name}/evaluations", json={}),
                    await rig.http.get(f"/evaluations/{name}"),
                    await rig.http.get(f"/evaluations/{name}/trajectories"),
                    await rig.http.get("/evaluations/compare", params={"a": name, "b": name}),
                    await rig.http.post(f"/evaluations/{name}/cancel"),
                    await rig.http.delete(f"/evaluations/{name}"),
                ):
                    assert answer.status_code == 404, (name, answer.request.url)

    play(scenario())
