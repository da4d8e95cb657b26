"""The service with the real training program."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Any

import psutil
import pytest
from safetensors.numpy import load_file

from auth import Visitor
from models import Status
from racer.cameras.replay import load_flight
from racer.training.schemas import Sweep
from racer.training.service import TrainingService
from tests.training.conftest import Bench, collect, play, until

pytestmark = pytest.mark.slow
ANYBODY = Visitor(None, open_accounts=True)
SMALL_WORKER = (sys.executable, "-m", "tests.training.small_worker")


def service(bench: Bench) -> TrainingService:
    return TrainingService(bench.settings(), bench.database.session_factory, worker=SMALL_WORKER)


def trainers() -> list[psutil.Process]:
    """Our training processes; a test database's server may be among our children too."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if "worker" in " ".join(_command_line(child))]


def _command_line(process: psutil.Process) -> list[str]:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return process.cmdline()
    return []


def curve(messages: list[dict[str, Any]]) -> list[tuple[int, float, float]]:
    return [(m["epoch"], m["loss"], m["accuracy"]) for m in messages if "epoch" in m]


def test_it_trains_survives_a_stop_with_the_same_curve_and_leaves_its_files(
    sqlite_bench: Bench,
) -> None:
    bench = sqlite_bench
    twin, disturbed = bench.new_model(epochs=6), bench.new_model(epochs=6)

    async def scenario() -> None:
        async with service(bench) as training:
            await training.start(twin)
            undisturbed = await collect(training, twin, within_s=120)
            assert undisturbed[-1] == {"done": True, "message": "Training completed!"}
            run_id = await training.start(disturbed)
            assert (await anext(training.follow(disturbed)))["epoch"] == 1
            stop = time.monotonic()
        assert time.monotonic() - stop < 1.0
        assert not trainers()
        assert bench.model(disturbed).status is Status.INITIALIZING
        async with service(bench) as training:
            resumed = await collect(training, disturbed, within_s=120)
        assert curve(resumed) == curve(undisturbed)
        assert len(curve(resumed)) == 6
        assert load_file(bench.directory(run_id) / "policy.safetensors")
        flight = load_flight(bench.directory(run_id) / "flight.npz")
        assert flight.epoch == 6

    play(scenario())


def test_what_the_trainer_stumbles_over_reaches_those_who_watch(
    sqlite_bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = sqlite_bench
    drone_id = bench.new_model()
    monkeypatch.setenv("JAX_PLATFORMS", "an_accelerator_that_is_not_there")

    async def scenario() -> None:
        async with service(bench) as training:
            await training.start(drone_id)
            [message] = await collect(training, drone_id, within_s=120)
            assert "unexpected fault (RuntimeError)" in message["error"]
            assert message["done"] is True

    play(scenario())


def test_cancel_does_not_wait_for_the_compiler(sqlite_bench: Bench) -> None:
    bench = sqlite_bench
    drone_id = bench.new_model()

    async def scenario() -> None:
        async with service(bench) as training:
            await training.start(drone_id)
            await until(lambda: bench.model(drone_id).status is Status.TRAINING)
            [child] = await until(trainers)
            await until(lambda: child.cpu_times().user > 2.5)  # inside JAX by then
            began = time.monotonic()
            await training.cancel(drone_id)
            assert time.monotonic() - began < 1.0
            assert not trainers()

    play(scenario())


def test_a_run_continues_another_ones_weights_with_other_settings(sqlite_bench: Bench) -> None:
    bench = sqlite_bench
    drone_id = bench.new_model(epochs=2)

    async def scenario() -> None:
        async with service(bench) as training:
            parent = await training.start(drone_id)
            await collect(training, drone_id, within_s=120)
            windy = {"enableWind": "true", "windSpeed": "4"}
            wanted = Sweep(continue_from=parent, variants=[windy], seeds=[0])
            [view] = await training.sweep(drone_id, wanted, ANYBODY)
            messages = await collect(training, drone_id, within_s=120)
            assert messages[-1] == {"done": True, "message": "Training completed!"}
            run = bench.runs(drone_id)[1]
            assert (run.id, run.parent_run_id) == (view.run.id, parent)
            assert run.resolved is not None
            assert run.resolved["initial"] == "initial.safetensors"
            before = load_file(bench.directory(parent) / "policy.safetensors")
            after = load_file(bench.directory(run.id) / "policy.safetensors")
            assert after["observation_seen"] > before["observation_seen"]

    play(scenario())
