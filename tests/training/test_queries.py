"""What the statements promise to whoever executes a run, and to simultaneous writers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy.orm import Session

from models import Status, TrainingRun
from racer.errors import ConflictError, NotFoundError
from racer.training import queries
from racer.training.queries import Attempt
from tests.training.conftest import Bench

METRICS: dict[str, Any] = {"epoch": 1, "loss": 0.5, "accuracy": 0.25}


def configure(_model: object) -> dict[str, Any]:
    return {"seed": 3, "epochs": 4}


def begin(bench: Bench, drone_id: str) -> Attempt:
    with bench.database.session() as session:
        run = queries.start_or_join(session, drone_id, configure, again=False)
        assert run.seed == 3
    with bench.database.session() as session:
        attempt = queries.begin_attempt(session, run.id, run.attempt)
    assert attempt is not None
    return attempt


def do(bench: Bench, work: Callable[..., Any], *args: Any) -> Any:
    with bench.database.session() as session:
        return work(session, *args)


def test_a_run_begins_once(bench: Bench) -> None:
    attempt = begin(bench, bench.new_model())
    assert do(bench, queries.begin_attempt, attempt.run_id, attempt.number - 1) is None
    assert do(bench, queries.begin_attempt, attempt.run_id, attempt.number + 1) is None
    assert do(bench, queries.begin_attempt, "no such run", 1) is None


def test_beginning_bears_a_repetition_after_a_commit_that_went_unheard(bench: Bench) -> None:
    drone_id = bench.new_model()
    attempt = begin(bench, drone_id)
    [before] = bench.runs(drone_id)
    assert do(bench, queries.begin_attempt, attempt.run_id, attempt.number) == attempt
    assert bench.runs(drone_id)[0].started_at == before.started_at
    do(bench, queries.cancel, drone_id)
    assert do(bench, queries.begin_attempt, attempt.run_id, attempt.number) is None


def test_a_models_policy_is_that_of_its_newest_finished_run(bench: Bench) -> None:
    drone_id = bench.new_model()
    with pytest.raises(NotFoundError, match="no trained policy"):
        do(bench, queries.policy_run, drone_id)
    finished = []
    for _ in range(2):
        with bench.database.session() as session:
            run = queries.start_or_join(session, drone_id, configure, again=True)
        attempt = do(bench, queries.begin_attempt, run.id, run.attempt)
        assert do(bench, queries.end_attempt, attempt, Status.FINISHED, None)
        finished.append(run.id)
        assert do(bench, queries.policy_run, drone_id) == run.id
    do(bench, lambda s: queries.start_or_join(s, drone_id, configure, again=True))
    assert do(bench, queries.policy_run, drone_id) == finished[-1]  # the third is under way
    assert do(bench, queries.policy_run, "some-run") == "some-run"


def test_an_epoch_that_was_stored_is_not_stored_twice(bench: Bench) -> None:
    attempt = begin(bench, bench.new_model())
    assert do(bench, queries.record_epoch, attempt, METRICS)
    assert do(bench, queries.record_epoch, attempt, METRICS)
    assert bench.epochs(attempt.run_id) == [1]


def test_an_older_attempt_cannot_write(bench: Bench) -> None:
    drone_id = bench.new_model()
    old = begin(bench, drone_id)
    assert do(bench, queries.record_epoch, old, METRICS)
    assert do(bench, queries.requeue_unfinished) == {old.run_id: old.number + 1}
    assert bench.epochs(old.run_id) == []
    assert bench.model(drone_id).status is Status.INITIALIZING
    assert bench.model(drone_id).train_loss is None
    assert not do(bench, queries.record_epoch, old, METRICS)
    new = do(bench, queries.begin_attempt, old.run_id, old.number + 1)
    assert new.number == old.number + 1
    assert not do(bench, queries.record_epoch, old, METRICS)
    assert not do(bench, queries.end_attempt, old, Status.FAILED, "too late")
    assert do(bench, queries.record_epoch, new, METRICS)
    assert do(bench, queries.end_attempt, new, Status.FINISHED, None)
    assert bench.model(drone_id).status is Status.FINISHED


def test_a_cancelled_run_stays_cancelled(bench: Bench) -> None:
    drone_id = bench.new_model()
    attempt = begin(bench, drone_id)
    assert do(bench, queries.cancel, drone_id) == attempt.run_id
    assert not do(bench, queries.record_epoch, attempt, METRICS)
    assert not do(bench, queries.end_attempt, attempt, Status.FINISHED, None)
    assert do(bench, queries.requeue_unfinished) == {}
    assert bench.runs(drone_id)[0].status is Status.CANCELLED
    with pytest.raises(ConflictError):
        do(bench, queries.cancel, drone_id)


def test_only_unfinished_runs_are_queued_again_and_the_oldest_comes_first(bench: Bench) -> None:
    drones = [bench.new_model() for _ in range(3)]
    attempts = [begin(bench, drone_id) for drone_id in drones]
    do(bench, queries.end_attempt, attempts[1], Status.FINISHED, None)
    left = do(bench, queries.requeue_unfinished)
    assert list(left) == [attempts[0].run_id, attempts[2].run_id]


def test_simultaneous_starts_of_one_model_share_a_run(bench: Bench) -> None:
    drone_id = bench.new_model()

    def start(_: int) -> str:
        with bench.database.session() as session:
            return queries.start_or_join(session, drone_id, configure, again=False).id

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(start, range(16)))) == 1
    assert len(bench.runs(drone_id)) == 1


def test_epochs_and_cancels_at_the_same_moment_never_deadlock(bench: Bench) -> None:
    drones = [bench.new_model() for _ in range(8)]

    def train(drone_id: str) -> list[bool]:
        attempt = begin(bench, drone_id)
        with ThreadPoolExecutor(2) as threads:
            cancelled = threads.submit(do, bench, queries.cancel, drone_id)
            stored = [
                do(bench, queries.record_epoch, attempt, METRICS | {"epoch": epoch})
                for epoch in range(1, 30)
            ]
            assert cancelled.result() == attempt.run_id
        return stored

    with ThreadPoolExecutor(8) as threads:
        for stored in threads.map(train, drones):
            assert stored == sorted(stored, reverse=True)  # from the cancel on nothing is stored
    with bench.database.session(read_only=True) as session:
        assert _statuses(session) == {Status.CANCELLED}


def _statuses(session: Session) -> set[Status]:
    return {status for (status,) in session.query(TrainingRun.status)}
