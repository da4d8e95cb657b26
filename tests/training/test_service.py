"""Trainings from start to every kind of end, on both databases, with real child processes."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from models import Status, User, UserDroneModel
from racer.errors import ConflictError, NotFoundError
from racer.training.transcript import TrainingFailedError
from racer.training.worker_process import epochs_of
from tests.training.conftest import DONE, Bench, collect, gone, numbers, play, until


def test_a_training_runs_to_its_end_and_is_on_record(bench: Bench) -> None:
    drone_id = bench.new_model(epochs=5)

    async def scenario() -> None:
        async with bench.service() as service:
            await service.start(drone_id)
            messages = await collect(service, drone_id)
            assert numbers(messages) == [1, 2, 3, 4, 5]
            assert messages[-1] == DONE
            model, [run] = bench.model(drone_id), bench.runs(drone_id)
            assert (model.status, run.status) == (Status.FINISHED, Status.FINISHED)
            assert (model.train_loss, model.train_accuracy) == (
                messages[4]["loss"],
                messages[4]["accuracy"],
            )
            assert run.started_at is not None
            assert run.finished_at is not None
            assert run.created_at <= run.started_at <= run.finished_at
            assert await collect(service, drone_id) == messages  # who is late misses nothing
            assert service.flight_path(drone_id) == bench.directory(run.id) / "flight.npz"

    play(scenario())


def test_the_worker_gets_the_models_settings_and_low_priority(sqlite_bench: Bench) -> None:
    drone_id = sqlite_bench.new_model(epochs=1)

    async def scenario() -> str:
        async with sqlite_bench.service() as service:
            run_id = await service.start(drone_id)
            await collect(service, drone_id)
            return run_id

    directory = sqlite_bench.directory(play(scenario()))
    assert json.loads((directory / "config.json").read_text()) == {
        "algorithm": "ppo",
        "epochs": 1,
        "seed": 0,
        "track": "toledo",
        "airframe": "x500",
        "altitude_m": 2.5,
        "velocity_limit_m_s": 15.0,
        "yaw_limit_deg_s": 90.0,
        "wind_speed_m_s": 0.0,
        "compile_cache": str(sqlite_bench.data_dir / "jax_cache"),
    }
    assert int((directory / "niceness").read_text()) == min(os.nice(0) + 10, 19)


def test_statuses_go_from_initializing_over_training_to_finished(bench: Bench) -> None:
    first, second = bench.new_model(), bench.new_model()

    async def scenario() -> None:
        async with bench.service(hold_after=1) as service:
            run_id = await service.start(first)
            await service.start(second)
            await bench.holding(run_id)
            assert bench.model(first).status is Status.TRAINING
            assert bench.model(second).status is Status.INITIALIZING  # waits for its turn
            assert not bench.directory(bench.runs(second)[0].id).exists()
            bench.go()
            assert (await collect(service, second))[-1] == DONE
            assert bench.model(first).status is Status.FINISHED

    play(scenario())


def test_as_many_trainings_run_at_once_as_allowed(sqlite_bench: Bench) -> None:
    drones = [sqlite_bench.new_model() for _ in range(3)]

    async def scenario() -> None:
        async with sqlite_bench.service(hold_after=1, max_trainings=2) as service:
            runs = [await service.start(drone_id) for drone_id in drones]
            await asyncio.gather(*(sqlite_bench.holding(run_id) for run_id in runs[:2]))
            assert sqlite_bench.model(drones[2]).status is Status.INITIALIZING
            sqlite_bench.go()
            for drone_id in drones:
                assert (await collect(service, drone_id))[-1] == DONE

    play(scenario())


def test_many_starts_make_one_run(bench: Bench) -> None:
    drone_id = bench.new_model()

    async def scenario() -> None:
        async with bench.service() as service:
            ids = await asyncio.gather(*(service.start(drone_id) for _ in range(6)))
            assert len(set(ids)) == 1
            await collect(service, drone_id)
            assert await service.start(drone_id) == ids[0]  # finished: joined, not repeated
            assert await service.start(drone_id, again=True) != ids[0]
            assert (await collect(service, drone_id))[-1] == DONE
            assert len(bench.runs(drone_id)) == 2

    play(scenario())


def test_the_worker_does_not_learn_the_servers_secrets(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SECRET_KEY", "sesame")
    monkeypatch.setenv("database_url", "postgresql://u:sesame@host/name")
    program = (
        "import json, os\n"
        "told = [k for k, v in os.environ.items() if 'sesame' in v]\n"
        "print(json.dumps({'error': f'told {told}'}))"
    )

    async def scenario() -> None:
        with pytest.raises(TrainingFailedError, match=r"^told \[\]$"):
            async for _ in epochs_of([sys.executable, "-c", program], log_file=tmp_path / "log"):
                pass

    play(scenario())


def test_a_hundred_followers_see_every_epoch_once_and_in_order(bench: Bench) -> None:
    drone_id = bench.new_model(epochs=30)

    async def scenario() -> None:
        async with bench.service(hold_after=10) as service:
            run_id = await service.start(drone_id)
            early = [asyncio.create_task(collect(service, drone_id)) for _ in range(50)]
            await bench.holding(run_id)
            late = [asyncio.create_task(collect(service, drone_id)) for _ in range(50)]
            bench.go()
            for messages in await asyncio.gather(*early, *late):
                assert numbers(messages) == list(range(1, 31))
                assert messages[-1] == DONE

    play(scenario())


def test_a_slow_follower_holds_up_nobody(sqlite_bench: Bench) -> None:
    drone_id = sqlite_bench.new_model(epochs=30)

    async def scenario() -> None:
        async with sqlite_bench.service() as service:
            await service.start(drone_id)
            slow = service.follow(drone_id)
            first = await anext(slow)
            messages = await collect(service, drone_id)  # to the end, while `slow` does not read
            assert [first, *[message async for message in slow]] == messages

    play(scenario())


def test_leaving_stops_nothing(sqlite_bench: Bench) -> None:
    drone_id = sqlite_bench.new_model()

    async def scenario() -> None:
        async with sqlite_bench.service(hold_after=1) as service:
            await service.start(drone_id)
            follower = service.follow(drone_id)
            assert (await anext(follower))["epoch"] == 1
            await follower.aclose()
            sqlite_bench.go()
            assert (await collect(service, drone_id))[-1] == DONE

    play(scenario())


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("crash", "exit code 1. It said: "),
        ("crash", "ArithmeticError: the gradient went missing"),
        ("error", "The reward function cannot be compiled: line 3."),
        ("silent-end", "ended early with exit code 0"),
        ("killed", "most likely because memory ran out"),
        ("nan", "The training diverged: loss is nan in epoch 3"),
        ("skip", "reported epoch 4 after 2"),
        ("no-loss", "an epoch without loss"),
        ("long-line", "longer than 1 MiB"),
    ],
)
def test_a_training_that_fails_says_why_and_can_start_again(
    sqlite_bench: Bench, behaviour: str, reason: str
) -> None:
    drone_id = sqlite_bench.new_model()

    async def scenario() -> None:
        async with sqlite_bench.service(behaviour) as service:
            await service.start(drone_id)
            messages = await collect(service, drone_id)
        assert numbers(messages) == [1, 2]
        assert messages[-1]["done"] is True
        assert reason in messages[-1]["error"]
        assert sqlite_bench.model(drone_id).status is Status.FAILED
        assert sqlite_bench.runs(drone_id)[0].error == messages[-1]["error"]
        async with sqlite_bench.service() as service:
            await service.start(drone_id)
            assert numbers(await collect(service, drone_id)) == [1, 2, 3, 4]
        assert sqlite_bench.model(drone_id).status is Status.FINISHED
        assert [run.status for run in sqlite_bench.runs(drone_id)] == [
            Status.FAILED,
            Status.FINISHED,
        ]

    play(scenario())


def test_a_worker_that_cannot_start_is_a_failed_training(sqlite_bench: Bench) -> None:
    drone_id = sqlite_bench.new_model()
    (sqlite_bench.data_dir / "runs").write_text("a file where the directory should be")

    async def scenario() -> None:
        async with sqlite_bench.service() as service:
            await service.start(drone_id)
            [message] = await collect(service, drone_id)
            assert "could not be run" in message["error"]

    play(scenario())


def test_stray_output_of_a_library_does_no_harm(sqlite_bench: Bench) -> None:
    drone_id = sqlite_bench.new_model()

    async def scenario() -> None:
        async with sqlite_bench.service("chatty") as service:
            await service.start(drone_id)
            assert (await collect(service, drone_id))[-1] == DONE

    play(scenario())


def test_after_kill_9_of_the_training_process_the_run_goes_on_by_itself(bench: Bench) -> None:
    drone_id = bench.new_model()

    async def scenario() -> None:
        async with bench.service(hold_after=2) as service:
            run_id = await service.start(drone_id)
            os.kill(await bench.holding(run_id), signal.SIGKILL)
            messages = await collect(service, drone_id)
            assert numbers(messages) == [1, 2, 3, 4]
            assert [m["resumed_after"] for m in messages[:-1]] == [0, 0, 2, 2]
            [run] = bench.runs(drone_id)
            assert (run.attempt, run.status, run.interruptions) == (2, Status.FINISHED, 0)

    play(scenario())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_is_an_interruption(
    sqlite_bench: Bench, number: signal.Signals
) -> None:
    """As when a machine shuts down: the training may hear it before the server."""
    drone_id = sqlite_bench.new_model()

    async def scenario() -> None:
        async with sqlite_bench.service("ends-as-told", hold_after=2) as service:
            run_id = await service.start(drone_id)
            os.kill(await sqlite_bench.holding(run_id), number)
            assert (await collect(service, drone_id))[-1] == DONE

    play(scenario())


def test_a_full_disk_pauses_the_run(bench: Bench) -> None:
    drone_id = bench.new_model()

    async def scenario() -> None:
        async with bench.service("disk-full") as service:
            await service.start(drone_id)
            messages = await collect(service, drone_id)
            assert "No space left" in messages[-1]["error"]
            assert bench.model(drone_id).status is Status.PAUSED
            [run] = bench.runs(drone_id)
            assert "No space left" in (run.error or "")
            assert bench.epochs(run.id) == [1, 2]

    play(scenario())


def test_cancel_ends_a_running_training_and_its_process(bench: Bench) -> None:
    drone_id = bench.new_model()

    async def scenario() -> None:
        async with bench.service("family", hold_after=2) as service:
            run_id = await service.start(drone_id)
            pid = await bench.holding(run_id)
            child_pid = int((bench.directory(run_id) / "child-pid").read_text())
            await service.cancel(drone_id)
            messages = await collect(service, drone_id)
            assert messages[-1] == {"error": "The training was cancelled.", "done": True}
            await until(lambda: gone(pid) and gone(child_pid))
            assert bench.model(drone_id).status is Status.CANCELLED
            with pytest.raises(ConflictError):
                await service.cancel(drone_id)
        async with bench.service() as service:
            await service.start(drone_id)
            assert (await collect(service, drone_id))[-1] == DONE

    play(scenario())


def test_cancel_takes_a_waiting_training_out_of_the_queue(bench: Bench) -> None:
    first, second = bench.new_model(), bench.new_model()

    async def scenario() -> None:
        async with bench.service(hold_after=1) as service:
            run_id = await service.start(first)
            await service.start(second)
            await bench.holding(run_id)
            await service.cancel(second)
            bench.go()
            assert (await collect(service, first))[-1] == DONE
            assert numbers(await collect(service, second)) == []
            assert bench.model(second).status is Status.CANCELLED

    play(scenario())


def test_a_model_deleted_while_training_ends_its_training(bench: Bench) -> None:
    drone_id = bench.new_model()

    async def scenario() -> None:
        async with bench.service(hold_after=1) as service:
            run_id = await service.start(drone_id)
            pid = await bench.holding(run_id)
            follower = service.follow(drone_id)
            assert (await anext(follower))["epoch"] == 1
            with bench.database.session() as session:
                session.delete(session.query(UserDroneModel).filter_by(drone_id=drone_id).one())
            bench.go()
            assert "was deleted" in (await anext(follower))["error"]
            await until(lambda: gone(pid))

    play(scenario())


def test_unknown_and_untrained_models_are_told_apart(bench: Bench) -> None:
    untrained = bench.new_model()

    async def scenario() -> None:
        async with bench.service() as service:
            for unknown in ("", "nonsense", "\0" * 36, "6f8d2f0e-3c1b-4c55-9a77-0f6d3c9a1b2e"):
                with pytest.raises(NotFoundError):
                    await service.start(unknown)
                with pytest.raises(NotFoundError):
                    await anext(service.follow(unknown))
            with pytest.raises(ConflictError):
                await anext(service.follow(untrained))
            with pytest.raises(ConflictError):
                await service.cancel(untrained)

    play(scenario())


def test_without_any_training_the_demonstration_model_is_meant(bench: Bench) -> None:
    async def scenario() -> None:
        async with bench.service() as service:
            names = await asyncio.gather(*(service.default_drone() for _ in range(5)))
            assert len(set(names)) == 1
            model = bench.model(names[0])
            assert (model.title, model.training_epochs) == ("Demonstration", 20)
            await service.start(names[0])
            assert numbers(await collect(service, names[0])) == list(range(1, 21))
            assert await service.default_drone() == names[0]

    play(scenario())


def test_a_protected_account_called_demo_is_left_alone(bench: Bench) -> None:
    protected = bench.new_model(owner="demo", password_hash="x")

    async def scenario() -> None:
        async with bench.service() as service:
            drone_id = await service.default_drone()
            assert drone_id != protected
            with bench.database.session(read_only=True) as session:
                owners = session.query(User.username).join(UserDroneModel)
                assert owners.filter_by(drone_id=drone_id).scalar() == "toledo-demo"

    play(scenario())


def test_the_newest_training_of_an_open_account_is_meant_by_default(bench: Bench) -> None:
    first, second = bench.new_model(), bench.new_model()
    secret = bench.new_model(owner="eve", password_hash="x")
    failed = bench.new_model()

    async def scenario() -> None:
        async with bench.service() as service:
            for drone_id in (first, second, secret):
                await service.start(drone_id)
                await collect(service, drone_id)
            assert await service.default_drone() == second
        async with bench.service("crash") as service:
            await service.start(failed)
            await collect(service, failed)
            assert await service.default_drone() == second

    play(scenario())
