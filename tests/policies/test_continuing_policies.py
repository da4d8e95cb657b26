"""Trainings that begin with the weights of a kept policy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models import Policy, User, new_uuid, utc_now
from racer.settings import Settings
from tests.policies.rig import (
    Rig,
    policy_folder,
    policy_with_weights,
    serving,
    until,
    zip_of_folder,
)
from tests.policies.test_keeping import finished_run
from tests.training.conftest import play


async def continued(rig: Rig, drone_id: str, parent: str, **wanted: Any) -> Any:
    path = f"/users/ada/drone-models/{drone_id}/runs"
    return await rig.http.post(path, json={"continue_from": parent} | wanted)


async def kept_from_a_run(rig: Rig, made: Path, *, beside: int = 0) -> tuple[str, str]:
    """The ids of a finished run of ada's and of its policy, which is one `beside` others."""
    run_id = finished_run(rig.app.state.database, rig.data_dir, made=made)
    rig.app.state.policies.wake()
    (policy,) = [one for one in await rig.kept(1 + beside) if one["run_id"] == run_id]
    return run_id, policy["id"]


@pytest.mark.parametrize("run_is_gone", [False, True])
def test_a_run_continues_a_kept_policy_also_when_its_run_is_gone(
    settings: Settings, tmp_path: Path, run_is_gone: bool
) -> None:
    made = policy_with_weights(tmp_path / "made")
    weights = (made / "policy.safetensors").read_bytes()

    async def scenario() -> None:
        async with serving(settings, hold_after=1) as rig:
            drone_id = await rig.new_model()
            first, policy_id = await kept_from_a_run(rig, made)
            if run_is_gone:
                (await rig.http.delete(f"/runs/{first}")).raise_for_status()
            answer = await continued(rig, drone_id, policy_id)
            assert answer.status_code == 201, answer.text
            (run,) = answer.json()
            assert run["parent_policy_id"] == policy_id
            assert run["parent_run_id"] == (None if run_is_gone else first)
            assert run["config"]["initial"] == "initial.safetensors"
            folder = rig.data_dir / "runs" / run["id"]
            assert (folder / "initial.safetensors").read_bytes() == weights
            await until((folder / "holding").exists)
            policy_with_weights(folder, seed=1)
            (rig.data_dir / "runs" / "go").touch()
            child, _ = await rig.kept(2)
            assert (child["run_id"], child["parent_id"]) == (run["id"], policy_id)
            (await rig.http.delete(f"/policies/{policy_id}")).raise_for_status()
            assert (await rig.http.get(f"/runs/{run['id']}")).json()["status"] == "finished"

    play(scenario())


def test_the_parent_is_the_version_that_was_continued_and_not_its_runs_newest(
    settings: Settings, tmp_path: Path
) -> None:
    made = policy_with_weights(tmp_path / "made")

    async def scenario() -> None:
        async with serving(settings, hold_after=1) as rig:
            drone_id = await rig.new_model()
            _, policy_id = await kept_from_a_run(rig, made)
            with rig.app.state.database.session() as session:
                old = session.get(Policy, policy_id)
                columns = {c.key: getattr(old, c.key) for c in Policy.__table__.columns}
                fresh = {
                    "id": new_uuid(),
                    "version": 2,
                    "created_at": utc_now(),
                    "sha256": "1" * 64,
                }
                session.add(Policy(**(columns | fresh)))
            (run,) = (await continued(rig, drone_id, policy_id)).json()
            folder = rig.data_dir / "runs" / run["id"]
            await until((folder / "holding").exists)
            policy_with_weights(folder, seed=1)
            (rig.data_dir / "runs" / "go").touch()
            child, *_ = await rig.kept(3)
            assert child["parent_id"] == policy_id

    play(scenario())


def test_what_cannot_be_continued(settings: Settings, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model()
            sent = zip_of_folder(policy_folder(tmp_path / "sent"))
            uploaded = (await rig.upload(sent)).json()["id"]
            eve = await rig.account("eve")
            theirs = (await rig.upload(sent, "eve", headers=eve)).json()["id"]
            made = policy_with_weights(tmp_path / "made")
            _, own = await kept_from_a_run(rig, made, beside=1)  # and what is hers
            for parent, status, words in (
                (uploaded, 422, "an uploaded one is a network alone"),
                (theirs, 404, "nor a policy among those"),
                (new_uuid(), 404, "There is no run of that id"),
                ("nothing", 404, "There is no run of that id"),
                ("x" * 101, 422, "continue_from"),
            ):
                answer = await continued(rig, drone_id, parent)
                assert answer.status_code == status, answer.text
                assert words in answer.json()["detail"]
            other = await continued(rig, drone_id, own, variants=[{"algorithm": "apg"}])
            assert (other.status_code, "another kind" in other.text) == (422, True)
            runs = (await rig.http.get("/runs")).json()["runs"]
            assert [run["status"] for run in runs] == ["finished"]
            left = [*(rig.data_dir / "runs").glob("[!.]*")]
            assert len(left) == 1  # nothing stays of the refused

    play(scenario())


def test_a_protected_run_is_continued_by_its_owner(settings: Settings, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            await rig.new_model()
            made = policy_with_weights(tmp_path / "made")
            run_id, _ = await kept_from_a_run(rig, made)
            eve = await rig.account("eve")
            body = {"title": "Hers", "training_epochs": 2, "drone_details": {}}
            path = "/users/eve/drone-models/"
            model = (await rig.http.post(path, json=body, headers=eve)).json()
            path += f"{model['drone_id']}/runs"
            wanted = {"continue_from": run_id}
            assert (await rig.http.post(path, json=wanted, headers=eve)).status_code == 201
            with rig.app.state.database.session() as session:
                hers, ada = (
                    session.query(User).filter_by(username=n).one() for n in ("eve", "ada")
                )
                ada.password_hash = hers.password_hash
            refused = await rig.http.post(path, json=wanted, headers=eve)
            unknown = await rig.http.post(path, json={"continue_from": new_uuid()}, headers=eve)
            assert (refused.status_code, refused.json()) == (404, unknown.json())

    play(scenario())
