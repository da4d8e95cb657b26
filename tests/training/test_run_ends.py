"""After a run has ended: its log, beginning anew, continuing its weights, its checkpoints."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from models import Status
from racer.policy.weights import CHECKSUM, checksum
from racer.settings import Settings
from tests.training.conftest import Bench, collect, numbers, play, until
from tests.training.rig import Rig, serving
from tests.training.test_runs import finished, read, started


def weights(folder: Path, *, algorithm: str = "ppo", epoch: int = 1) -> None:
    """What the real training program leaves, as far as the service looks at it."""
    tensors = {"policy_1_weight": np.full((2, 2), epoch, np.float32)}
    config = {"algorithm": algorithm, "action_space": "velocity"}
    told = {"config": json.dumps(config), CHECKSUM: checksum(tensors)}
    save_file(tensors, folder / "policy.safetensors", metadata=told)


async def sweep(rig: Rig, drone_id: str, **wanted: Any) -> Any:
    return await rig.http.post(f"/users/ada/drone-models/{drone_id}/runs", json=wanted)


def test_a_run_continues_another_ones_weights(settings: Settings) -> None:
    runs = settings.data_dir / "runs"

    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model()
            parent = (await finished(rig, await started(rig, drone_id)))["id"]
            assert (await read(rig, parent))["parent_run_id"] is None
            refused = await sweep(rig, drone_id, continue_from=parent)
            assert refused.status_code == 409
            assert "no weights" in refused.json()["detail"]
            weights(runs / parent)
            answer = await sweep(rig, drone_id, continue_from=parent, seeds=[1, 2])
            assert answer.status_code == 201
            for made in answer.json():
                assert made["parent_run_id"] == parent
                assert made["config"]["initial"] == "initial.safetensors"
                copy = runs / made["id"] / "initial.safetensors"
                assert copy.read_bytes() == (runs / parent / "policy.safetensors").read_bytes()
            children = [await finished(rig, made["id"]) for made in answer.json()]
            given = json.loads((runs / children[0]["id"] / "config.json").read_text())
            assert given["initial"] == "initial.safetensors"
            assert (await rig.http.delete(f"/runs/{parent}")).status_code == 204
            orphan = await read(rig, children[0]["id"])
            assert (orphan["parent_run_id"], orphan["status"]) == (None, "finished")
            assert (runs / orphan["id"] / "initial.safetensors").exists()

    play(scenario())


def test_weights_of_another_kind_make_no_run(settings: Settings) -> None:
    runs = settings.data_dir / "runs"

    async def scenario() -> None:
        async with serving(settings) as rig:
            drone_id = await rig.new_model()
            parent = (await finished(rig, await started(rig, drone_id)))["id"]
            weights(runs / parent, algorithm="apg")
            refused = await sweep(rig, drone_id, continue_from=parent)
            assert refused.status_code == 422
            assert "algorithm is 'apg' there and 'ppo' here" in refused.json()["detail"]
            path = runs / parent / "policy.safetensors"
            path.write_bytes(path.read_bytes()[:-1])
            assert (await sweep(rig, drone_id, continue_from=parent)).status_code == 422
            assert (await sweep(rig, drone_id, continue_from="nothing")).status_code == 404
            assert (await sweep(rig, drone_id, continue_from="a\0b")).status_code == 422
            assert [run["id"] for run in (await rig.http.get("/runs")).json()["runs"]] == [parent]
            assert [path.name for path in runs.glob("[!.]*")] == [parent]

    play(scenario())


def test_a_failed_run_begins_anew(settings: Settings) -> None:
    """Unlike a resumed one, which keeps its epochs."""

    async def scenario() -> None:
        async with serving(settings, "crash") as rig:
            drone_id = await rig.new_model(epochs=4)
            run_id = await started(rig, drone_id)
            failed = await finished(rig, run_id)
            assert (failed["status"], failed["epoch"]) == ("failed", 2)
            folder = settings.data_dir / "runs" / run_id
            (folder / "checkpoint-000002.bin").write_bytes(b"of the first try")
            (folder / "initial.safetensors").touch()
            assert (await rig.http.post(f"/runs/{run_id}/resume")).status_code == 200
            resumed = await finished(rig, run_id)
            assert (resumed["status"], resumed["attempt"]) == ("failed", 2)
            answer = await rig.http.post(f"/runs/{run_id}/retry")
            assert answer.status_code == 200
            assert (answer.json()["error"], answer.json()["epoch"]) == (None, 0)
            again = await finished(rig, run_id)
            assert (again["status"], again["epoch"], again["attempt"]) == ("failed", 2, 3)
            epochs = (await rig.http.get(f"/runs/{run_id}/epochs")).json()
            assert [metrics["epoch"] for metrics in epochs] == [1, 2]
            assert {metrics["resumed_after"] for metrics in epochs} == {0}
            assert not (folder / "checkpoint-000002.bin").exists()
            assert (folder / "initial.safetensors").exists()

    play(scenario())


def test_only_what_failed_or_was_cancelled_is_retried(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings, hold_after=2) as rig:
            drone_id = await rig.new_model()
            run_id = await started(rig, drone_id)
            await until((settings.data_dir / "runs" / run_id / "holding").exists)
            assert (await rig.http.post(f"/runs/{run_id}/retry")).status_code == 409
            assert (await rig.http.post("/runs/nothing/retry")).status_code == 404
            assert (await rig.http.post(f"/runs/{run_id}/cancel")).status_code == 200
            (settings.data_dir / "runs" / "go").touch()
            assert (await rig.http.post(f"/runs/{run_id}/retry")).status_code == 200
            run = await finished(rig, run_id)
            assert (run["status"], run["epoch"]) == ("finished", 4)
            refused = await rig.http.post(f"/runs/{run_id}/retry")
            assert refused.status_code == 409
            assert "finished" in refused.json()["detail"]

    play(scenario())


def test_the_log_of_a_run_can_be_read(settings: Settings) -> None:
    async def scenario() -> None:
        async with serving(settings, "crash") as rig:
            run = await finished(rig, await started(rig, await rig.new_model()))
            assert "It said: " in run["error"]
            assert "ArithmeticError: the gradient went missing" in run["error"]
            path = f"/runs/{run['id']}/log"
            shown = await rig.http.get(path)
            assert shown.headers["content-type"].startswith("text/plain")
            assert "Traceback" in shown.text
            last = (await rig.http.get(f"{path}?lines=1")).text
            assert last == "ArithmeticError: the gradient went missing\n"
            for lines in ("0", "2001", "all"):
                assert (await rig.http.get(f"{path}?lines={lines}")).status_code == 422
            assert (await rig.http.get("/runs/nothing/log")).status_code == 404
            assert (await rig.http.get("/runs/..%2f..%2fx/log")).status_code == 404

    play(scenario())


def test_a_fault_is_told_with_its_last_words(sqlite_bench: Bench) -> None:
    """Where the program could still say that it stumbled, but not over what."""
    bench = sqlite_bench
    drone_id = bench.new_model()

    async def scenario() -> None:
        async with bench.service("fault") as service:
            await service.start(drone_id)
            [*_, last] = await collect(service, drone_id)
            assert last["error"].startswith("It stumbled. It said: ")
            assert last["error"].endswith("ZeroDivisionError: division by zero")

    play(scenario())


def checkpoints(folder: Path, *epochs: int) -> None:
    for epoch in epochs:
        content = b"%d" % epoch
        path = folder / f"checkpoint-{epoch:06d}.bin"
        path.write_bytes(hashlib.sha256(content).digest() + content)


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint-*.bin"))


@pytest.mark.parametrize("how", ["cancelled", "failed", "finished", "paused"])
def test_checkpoints_that_nobody_needs_are_deleted(sqlite_bench: Bench, how: str) -> None:
    bench = sqlite_bench
    drone_id = bench.new_model()
    kept = {"finished": [], "paused": ["checkpoint-000001.bin", "checkpoint-000002.bin"]}
    expected = kept.get(how, ["checkpoint-000002.bin"])

    async def scenario() -> None:
        behaviour = "crash" if how == "failed" else "good"
        async with bench.service(behaviour, hold_after=2) as service:
            run_id = await service.start(drone_id)
            await bench.holding(run_id)
            folder = bench.directory(run_id)
            checkpoints(folder, 1, 2)
            if how == "cancelled":
                await service.cancel(drone_id)
            elif how == "paused":
                await service.pause_run(run_id)
            else:
                bench.go()
                await collect(service, drone_id)
            if how != "paused":
                await until(lambda: left(folder) == expected)
        checkpoints(folder, *([1, 2] if how != "paused" else []))
        async with bench.service():  # what an earlier server left is tidied up at the start
            assert left(folder) == expected

    play(scenario())


def test_a_run_waits_for_memory_and_says_so(settings: Settings) -> None:
    """By the limit, which holds on every machine."""
    tight = settings.model_copy(update={"max_trainings": 2, "training_memory_mb": 100})

    async def scenario() -> None:
        async with serving(tight, hold_after=1) as rig:
            first = await started(rig, await rig.new_model())
            await until((settings.data_dir / "runs" / first / "holding").exists)
            second = await started(rig, await rig.new_model())
            deadline = time.monotonic() + 10
            while (await read(rig, second))["waiting_for"] != "memory":
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            assert (await read(rig, second))["status"] == "queued"
            assert (await read(rig, first))["waiting_for"] is None
            (settings.data_dir / "runs" / "go").touch()
            assert (await finished(rig, second))["status"] == "finished"

    play(scenario())


def test_a_slot_and_enough_memory_let_two_run(bench: Bench) -> None:
    first, second = bench.new_model(), bench.new_model()

    async def scenario() -> None:
        async with bench.service(hold_after=1, max_trainings=2) as service:
            for drone_id in (first, second):
                await bench.holding(await service.start(drone_id))
            assert not service.short_of_memory
            statuses = {bench.model(drone_id).status for drone_id in (first, second)}
            assert statuses == {Status.TRAINING}
            bench.go()
            assert numbers(await collect(service, second)) == [1, 2, 3, 4]

    play(scenario())
