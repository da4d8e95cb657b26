"""The API of runs: what it shows, what it allows, and to whom."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import httpx
import pytest

from models import Status
from racer.settings import Settings
from tests.training.conftest import play, until
from tests.training.rig import Rig, serving


async def started(rig: Rig, drone_id: str, *, username: str = "ada", **headers: str) -> str:
    """The id of a run of that model, under way or done."""
    path = f"/users/{username}/drone-models/{drone_id}/start-training"
    (await rig.http.post(path, headers=headers)).raise_for_status()
    page = await rig.http.get("/runs", params={"drone_id": drone_id}, headers=headers)
    return str(page.json()["runs"][0]["id"])


async def finished(rig: Rig, run_id: str) -> dict[str, Any]:
    """The run, once the server that executes it says so."""
    async with rig.socket(f"/ws/train?drone_id={await drone_of(rig, run_id)}") as follower:
        async for _ in follower:
            pass
    return await read(rig, run_id)


async def read(rig: Rig, run_id: str) -> dict[str, Any]:
    run: dict[str, Any] = (await rig.http.get(f"/runs/{run_id}")).json()
    return run


async def drone_of(rig: Rig, run_id: str) -> str:
    return str((await read(rig, run_id))["drone_id"])


def test_a_run_from_its_start_to_its_table(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model(epochs=4)
            run = await finished(rig, await started(rig, drone_id))
            assert (run["epoch"], run["epochs"], run["attempt"]) == (4, 4, 1)
            assert (run["username"], run["drone_id"]) == ("ada", drone_id)
            assert run["queue_position"] is None
            assert run["config"]["velocity_limit_m_s"] == 15.0
            assert run["sent"]["velocityLimit"] == "15"
            assert run["resolved"]["discount"] == 0.98
            assert run["revision"] == "abc"
            epochs = (await rig.http.get(f"/runs/{run['id']}/epochs")).json()
            assert [metrics["epoch"] for metrics in epochs] == [1, 2, 3, 4]
            later = (await rig.http.get(f"/runs/{run['id']}/epochs?after=3")).json()
            assert later == epochs[3:]
            answer = await rig.http.get(f"/runs/{run['id']}/epochs.csv")
            table = list(csv.DictReader(io.StringIO(answer.text)))
            assert [float(row["loss"]) for row in table] == [m["loss"] for m in epochs]
            assert table[0]["lap_s"] == ""

    play(scenario())


def test_pause_resume_cancel_delete(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings, hold_after=2) as rig:
            drone_id = await rig.new_model(epochs=4)
            run_id = await started(rig, drone_id)
            folder = settings.data_dir / "runs" / run_id
            async with rig.socket(f"/ws/train?drone_id={drone_id}&run={run_id}&after=1") as socket:
                assert json.loads(await socket.recv())["epoch"] == 2
            paused = (await rig.http.post(f"/runs/{run_id}/pause")).json()
            assert (paused["status"], paused["error"]) == ("paused", None)
            assert (await rig.http.post(f"/runs/{run_id}/pause")).status_code == 409
            assert (await rig.http.delete(f"/runs/{run_id}")).status_code == 409
            (settings.data_dir / "runs" / "go").touch()
            assert (await rig.http.post(f"/runs/{run_id}/resume")).status_code == 200
            run = await finished(rig, run_id)
            assert run["attempt"] == 2
            epochs = (await rig.http.get(f"/runs/{run_id}/epochs")).json()
            assert [metrics["epoch"] for metrics in epochs] == [1, 2, 3, 4]
            assert epochs[-1]["resumed_after"] == 2
            for refused in ("pause", "resume", "cancel"):
                answer = await rig.http.post(f"/runs/{run_id}/{refused}")
                assert answer.status_code == 409
                assert "finished" in answer.json()["detail"]
            assert (await rig.http.delete(f"/runs/{run_id}")).status_code == 204
            assert (await rig.http.get(f"/runs/{run_id}")).status_code == 404
            assert not folder.exists()

    play(scenario())


def test_a_returning_client_gets_the_epochs_that_it_lacks(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model(epochs=4)
            run_id = await started(rig, drone_id)
            await finished(rig, run_id)
            for query, epochs in (
                (f"&run={run_id}&after=2", [3, 4]),
                (f"&run={run_id}", [1, 2, 3, 4]),
                (f"&run={run_id}&after={'9' * 5000}", [1, 2, 3, 4]),
                ("&after=2", [1, 2, 3, 4]),  # of which run?
            ):
                async with rig.socket(f"/ws/train?drone_id={drone_id}{query}") as socket:
                    told = [json.loads(frame) async for frame in socket]
                assert [message["epoch"] for message in told[:-1]] == epochs
            async with rig.socket(f"/ws/train?drone_id={drone_id}&run=%00") as socket:
                assert "no run" in json.loads(await socket.recv())["error"]

    play(scenario())


def test_lists_are_filtered_and_paged(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings, hold_after=1) as rig:
            models = [await rig.new_model() for _ in range(5)]
            runs = [await started(rig, drone_id) for drone_id in models]
            await until((settings.data_dir / "runs" / runs[0] / "holding").exists)
            seen, before, pages = [], {}, 0
            while True:
                page = (await rig.http.get("/runs", params={"limit": 2} | before)).json()
                seen += [run["id"] for run in page["runs"]]
                pages += 1
                if page["next"] is None:
                    break
                before = {"before": page["next"]}
            assert (seen, pages) == (runs[::-1], 3)
            waiting = (await rig.http.get("/runs?status=queued")).json()["runs"]
            assert [run["queue_position"] for run in waiting] == [4, 3, 2, 1]
            both = (await rig.http.get("/runs?status=queued&status=running")).json()["runs"]
            assert len(both) == 5
            assert (await rig.http.get("/runs?username=nobody")).json()["runs"] == []
            assert (await rig.http.get("/runs?status=napping")).status_code == 422
            assert (await rig.http.get("/runs?limit=0")).status_code == 422
            assert (await rig.http.get("/runs?before=nothing")).status_code == 422
            assert (await rig.http.get("/runs?username=a%00b")).status_code == 422
            assert (await rig.http.get("/runs/a%00b")).status_code == 404
            assert (
                await rig.http.get(f"/runs/{runs[0]}/epochs?after=1{'0' * 30}")
            ).status_code == 422

    play(scenario())


def test_a_sweep_trains_each_seed_with_each_variant(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model()
            path = f"/users/ada/drone-models/{drone_id}/runs"
            wanted = {
                "seeds": [1, 2],
                "variants": [{"velocityLimit": "8"}, {"algorithm": "sac"}],
                "training_epochs": 3,
            }
            answer = await rig.http.post(path, json=wanted)
            assert answer.status_code == 201
            runs = answer.json()
            await finished(rig, runs[-1]["id"])
            told = [await read(rig, run["id"]) for run in runs]
            keys = ("velocity_limit_m_s", "algorithm", "seed", "epochs")
            assert [tuple(run["config"][key] for key in keys) for run in told] == [
                (8.0, "ppo", 1, 3),
                (8.0, "ppo", 2, 3),
                (15.0, "sac", 1, 3),
                (15.0, "sac", 2, 3),
            ]
            assert {run["status"] for run in told} == {"finished"}
            for wrong, why in (
                ({"seeds": []}, "at least 1"),
                ({"seeds": [1, 1]}, "twice"),
                ({"seeds": list(range(32)), "variants": [{}] * 3}, "at most 64"),
                ({"variants": [{"velocityLimit": "warp"}]}, "velocityLimit"),
                ({"variants": [{"colour": "red"}]}, "no key 'colour'"),
            ):
                refused = await rig.http.post(path, json=wrong)
                assert refused.status_code == 422
                assert why in refused.text
            assert len((await rig.http.get("/runs")).json()["runs"]) == 4

    play(scenario())


def test_hostile_sweeps_are_refused(settings: Settings) -> None:
    inf, nan = float("inf"), float("nan")
    values = [True, nan, inf, -1, 0.5, 10**30, "x\0", "\ud800", "x" * 500, [[]], [None], {"a": 1}]
    lists = [[True], [nan], ["1"], [2**31], [-1], [0.5], [{}, 1], [{"velocityLimit": 8}]]
    lists += [[{"velocityLimit": "1e999"}], [{"velocityLimit": "nan"}], [{"__class__": "x"}]]
    lists += [[{"track": "\ud800"}], [{"track": "\0"}], [{"track": "../../etc/passwd"}]]
    keys = ("seeds", "variants", "training_epochs", "continue_from", "initial", "")
    bodies = [{key: value} for key in keys for value in (*values, *lists)]
    others = [None, [], 5, nan, "seeds", {"seeds": []}, {"training_epochs": 1001}, {"epochs": 1}]

    async def scenario() -> None:
        async with serving(settings) as rig:
            path = f"/users/ada/drone-models/{await rig.new_model()}/runs"
            for body in (*bodies, *others):
                content, headers = json.dumps(body), {"Content-Type": "application/json"}
                answer = await rig.http.post(path, content=content, headers=headers)
                assert answer.status_code in (404, 409, 422), (body, answer.text[:300])
            assert (await rig.http.get("/runs")).json()["runs"] == []
            assert not [*(settings.data_dir / "runs").glob("*/")]

    play(scenario())


@pytest.mark.parametrize("action", ["pause", "resume", "cancel", "delete"])
def test_what_changes_a_run_belongs_to_its_owner(settings: Settings, action: str) -> None:
    async def scenario() -> None:
        async with serving(settings, hold_after=1) as rig:
            drone_id = await rig.new_model("eve", password="correct horse")
            own = await rig.signed_in("eve", "correct horse")
            run_id = await started(rig, drone_id, username="eve", **own)

            async def act(path: str, headers: dict[str, str]) -> httpx.Response:
                if action == "delete":
                    return await rig.http.delete(path, headers=headers)
                return await rig.http.post(f"{path}/{action}", headers=headers)

            assert (await act(f"/runs/{run_id}", {})).status_code == 401
            assert (await act("/runs/nothing", own)).status_code == 404
            assert (await act(f"/runs/{run_id}", own)).status_code in (200, 409)

    play(scenario())


def test_every_status_has_a_word() -> None:
    from racer.training.run_queries import word_of
    from racer.training.schemas import RunOut

    words = {word_of(status) for status in Status}
    assert set(RunOut.model_json_schema()["properties"]["status"]["enum"]) == words
