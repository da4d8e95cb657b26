"""Lists of policies, and what refers to one that is deleted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from database import Database
from models import Policy, User, UserDroneModel
from racer.settings import Settings
from tests.policies.rig import policy_folder, serving, zip_of_folder
from tests.policies.test_keeping import finished_run
from tests.training.conftest import play


def add(database: Database, **columns: Any) -> str:
    """A row that no files belong to, of ada's or whose it says."""
    row = {
        "name": "First",
        "origin": "uploaded",
        "sha256": "0" * 64,
        "size_bytes": 1,
        "track": "toledo",
        "manifest": {},
        "metrics": {},
    }
    with database.session() as session:
        policy = Policy(**(row | columns))
        session.add(policy)
        session.flush()
        return policy.id


def test_lists_are_filtered_and_paged(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            database = rig.app.state.database
            users = {}
            for name in ("ada", "bob"):
                await rig.http.post("/users/", json={"username": name})
                with database.session(read_only=True) as session:
                    users[name] = session.query(User.id).filter_by(username=name).scalar()
            drone_id = await rig.new_model()
            with database.session(read_only=True) as session:
                model = session.query(UserDroneModel.id).filter_by(drone_id=drone_id).scalar()
            made = [
                add(database, user_id=users["ada"], version=1),
                add(database, user_id=users["ada"], version=2, drone_model_id=model),
                add(database, user_id=users["ada"], version=1, name="Second", origin="trained"),
                add(database, user_id=users["bob"], version=1, track="b"),
                add(database, user_id=users["bob"], version=2),
            ]
            seen, before, pages = [], {}, 0
            while True:
                page = (await rig.http.get("/policies", params={"limit": 2} | before)).json()
                seen += [policy["id"] for policy in page["policies"]]
                pages += 1
                if page["next"] is None:
                    break
                before = {"before": page["next"]}
            assert (seen, pages) == (made[::-1], 3)
            for wanted, numbers in (
                ({"username": "ada"}, [2, 1, 0]),
                ({"name": "First"}, [4, 3, 1, 0]),
                ({"track": "b"}, [3]),
                ({"origin": "trained"}, [2]),
                ({"drone_id": drone_id.upper()}, [1]),
                ({"username": "bob", "track": "toledo"}, [4]),
                ({"username": "nobody"}, []),
            ):
                found = await rig.policies(**wanted)
                assert [policy["id"] for policy in found] == [made[number] for number in numbers]
                assert all("manifest" not in policy for policy in found)
            assert (await rig.policies(drone_id=drone_id))[0]["drone_id"] == drone_id
            for wrong in ("origin=stolen", "limit=0", "limit=101", "before=x", "name=%00"):
                assert (await rig.http.get(f"/policies?{wrong}")).status_code == 422

    play(scenario())


def test_what_was_made_from_a_deleted_policy_stays(settings: Settings, tmp_path: Path) -> None:
    sent = zip_of_folder(policy_folder(tmp_path / "made"))

    async def scenario() -> None:
        async with serving(settings) as rig:
            await rig.http.post("/users/", json={"username": "ada"})
            parent = (await rig.upload(sent)).json()["id"]
            with rig.app.state.database.session(read_only=True) as session:
                user_id = session.get(Policy, parent).user_id
            child = add(rig.app.state.database, user_id=user_id, version=9, parent_id=parent)
            assert (await rig.http.get(f"/policies/{child}")).json()["parent_id"] == parent
            assert (await rig.http.delete(f"/policies/{parent}")).status_code == 204
            assert (await rig.http.get(f"/policies/{child}")).json()["parent_id"] is None
            assert (await rig.http.get(f"/policies/{parent}")).status_code == 404
            assert (await rig.http.delete(f"/policies/{child}")).status_code == 204  # no files

    play(scenario())


def test_a_policy_outlives_its_run(settings: Settings, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            made = policy_folder(tmp_path / "made")
            run_id = finished_run(rig.app.state.database, rig.data_dir, made=made)
            policy = (await rig.http.post(f"/runs/{run_id}/policy")).json()
            assert (await rig.http.delete(f"/runs/{run_id}")).status_code == 204
            left = (await rig.http.get(f"/policies/{policy['id']}")).json()
            assert (left["run_id"], left["drone_id"]) == (None, policy["drone_id"])
            assert (await rig.http.get(f"/policies/{policy['id']}/download")).status_code == 200

    play(scenario())
