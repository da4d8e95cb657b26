"""What the statements promise to whoever executes a run, and to simultaneous writers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from models import Status, TrainingRun
from racer.errors import ConflictError, NotFoundError
from racer.jobs.executor import Held
from racer.training import leases, queries, run_queries
from racer.training.leases import Attempt
from racer.training.queries import Wanted
from tests.training.conftest import Bench

METRICS: dict[str, Any] = {"epoch": 1, "loss": 0.5, "accuracy": 0.25}


def configure(_model: object) -> Wanted:
    return Wanted({"seed": 3, "epochs": 4}, {})


def queue(bench: Bench, drone_id: str, *, again: bool = False) -> str:
    with bench.database.session() as session:
        run_id, is_new = queries.start_or_join(session, drone_id, configure, again=again)
    assert is_new
    return run_id


def begin(bench: Bench, drone_id: str) -> Attempt:
    run_id = queue(bench, drone_id)
    attempt = claim(bench)
    assert attempt.id == run_id
    return attempt


def claim(
    bench: Bench,
    worker: str | None = None,
    executing: Sequence[str] = (),
    silent: Sequence[Held] = (),
) -> Any:
    """By that worker, or by one that was never heard of."""
    name = worker or str(uuid4())
    with bench.database.session() as session:
        return leases.claim(session, name, executing=executing, silent=silent)


def do(bench: Bench, work: Callable[..., Any], *args: Any, **named: Any) -> Any:
    with bench.database.session() as session:
        return work(session, *args, **named)


def test_a_run_is_claimed_once(bench: Bench) -> None:
    attempt = begin(bench, bench.new_model())
    assert (attempt.number, attempt.known_epochs) == (1, 0)
    assert claim(bench, "another") is None


def test_an_account_has_so_many_runs_waiting(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MOST_WAITING", 2)
    one, two = bench.new_model(), bench.new_model()
    begin(bench, one)  # what runs does not wait

    def add(session: Session, drone_id: str) -> None:
        queries.add_run(session, queries.get_model(session, drone_id), Wanted({"seed": 1}, {}))

    do(bench, add, one)
    do(bench, add, two)
    with pytest.raises(ConflictError, match="2 runs of this account wait"):
        do(bench, add, two)
    do(bench, add, bench.new_model(owner="grace"))


def test_a_claim_that_went_unheard_is_made_again_by_the_same_worker(bench: Bench) -> None:
    run_id = queue(bench, bench.new_model())
    assert claim(bench, "one").id == run_id
    again = claim(bench, "one")
    assert (again.id, again.number) == (run_id, 2)
    assert claim(bench, "one", executing=[run_id]) is None


def test_a_lease_that_ran_out_is_taken_over_and_the_old_holder_fenced(bench: Bench) -> None:
    drone_id = bench.new_model()
    old = begin(bench, drone_id)
    assert do(bench, leases.record_epoch, old, METRICS)
    new = claim(bench, "another", silent=do(bench, leases.leased))
    assert (new.id, new.number, new.known_epochs) == (old.id, 2, 1)
    assert not do(bench, leases.renew, old)
    do(bench, leases.release, old)
    assert not do(bench, leases.interrupted, old, "killed")
    assert do(bench, leases.renew, new)
    assert claim(bench, "a third") is None
    assert bench.runs(drone_id)[0].lease_holder == "another"


def test_a_lease_that_was_renewed_since_somebody_looked_is_not_taken_over(bench: Bench) -> None:
    attempt = begin(bench, bench.new_model())
    silent = do(bench, leases.leased)
    assert do(bench, leases.renew, attempt)
    assert claim(bench, "another", silent=silent) is None


def test_what_a_worker_executes_it_does_not_claim_again(bench: Bench) -> None:
    """Not when its lease ran out, nor when it was paused and resumed meanwhile."""
    drone_id = bench.new_model()
    run_id = queue(bench, drone_id)
    assert claim(bench, "one").id == run_id
    silent = do(bench, leases.leased)
    assert claim(bench, "one", executing=[run_id], silent=silent) is None
    do(bench, run_queries.pause_run, run_id)
    do(bench, run_queries.resume_run, run_id)
    assert claim(bench, "one", executing=[run_id]) is None
    assert claim(bench, "another").number == 2


def test_a_model_shows_its_newest_run_and_after_its_deletion_the_one_before(bench: Bench) -> None:
    drone_id = bench.new_model()
    first = begin(bench, drone_id)
    do(bench, leases.record_epoch, first, METRICS)
    do(bench, leases.end_attempt, first, Status.FAILED, "it fell")
    second = queue(bench, drone_id, again=True)
    assert bench.model(drone_id).train_loss is None
    do(bench, run_queries.resume_run, first.id)
    assert claim(bench).id == first.id
    assert bench.model(drone_id).status is Status.INITIALIZING  # the second one's
    do(bench, run_queries.cancel_run, second)
    doubted: list[str] = []
    do(bench, run_queries.delete_run, second, doubt=doubted.append)
    assert doubted == [second]
    model = bench.model(drone_id)
    assert (model.status, model.train_loss) == (Status.TRAINING, METRICS["loss"])


def test_who_has_fewer_runs_under_way_comes_first_then_who_waits_longest(bench: Bench) -> None:
    busy = [queue(bench, bench.new_model(owner="ada")) for _ in range(3)]
    idle = queue(bench, bench.new_model(owner="bob"))
    assert [claim(bench, str(n)).id for n in range(4)] == [busy[0], idle, busy[1], busy[2]]


def test_with_one_slot_owners_take_turns(bench: Bench) -> None:
    """Ten runs of one owner do not go before the single one of another."""
    queues = {owner: [] for owner in ("ada", "bob", "eve")}  # type: dict[str, list[str]]
    for owner in ("ada", "ada", "ada", "bob", "eve", "eve"):
        queues[owner].append(queue(bench, bench.new_model(owner=owner)))
    order = []
    while (attempt := claim(bench)) is not None:
        order.append(next(o for o, runs in queues.items() if attempt.id in runs))
        assert do(bench, leases.end_attempt, attempt, Status.FINISHED, None)
    assert order == ["ada", "bob", "eve", "ada", "eve", "ada"]


def test_what_was_begun_goes_on_before_others_begin(bench: Bench) -> None:
    interrupted = begin(bench, bench.new_model(owner="ada"))
    queue(bench, bench.new_model(owner="bob"))
    do(bench, leases.release, interrupted)
    assert claim(bench).id == interrupted.id


def test_a_run_that_is_not_affordable_is_not_overtaken(bench: Bench) -> None:
    large = queue(bench, bench.new_model(owner="ada"))
    small = queue(bench, bench.new_model(owner="bob"))
    asked: list[Any] = []

    def refuse(config: dict[str, Any]) -> bool:
        asked.append(config)
        return False

    with bench.database.session() as session:
        assert leases.claim(session, "one", executing=[], silent=[], affordable=refuse) is None
    assert asked == [{"seed": 3, "epochs": 4}]
    assert [claim(bench).id for _ in range(2)] == [large, small]


def test_a_continued_run_outlives_its_parent(bench: Bench) -> None:
    drone_id = bench.new_model()
    parent = begin(bench, drone_id).id
    wanted = Wanted({"seed": 1, "epochs": 4}, {}, parent)

    def add(session: Session) -> str:
        return queries.add_run(session, queries.get_model(session, drone_id), wanted)

    child = do(bench, add)
    do(bench, run_queries.cancel_run, parent)
    doubted: list[str] = []
    do(bench, run_queries.delete_run, parent, doubt=doubted.append)
    assert doubted == [parent]
    with pytest.raises(NotFoundError, match="to continue was deleted"):
        do(bench, add)
    [run] = bench.runs(drone_id)
    assert (run.id, run.parent_run_id) == (child, None)


def test_simultaneous_claims_share_nothing(bench: Bench) -> None:
    runs = {queue(bench, bench.new_model(owner=f"o{n}")) for n in range(6)}
    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(lambda n: claim(bench, f"worker {n}"), range(6)))
    left = [claim(bench, "the last") for _ in range(6 - len([c for c in claimed if c]))]
    taken = [c.id for c in [*claimed, *left] if c is not None]
    assert sorted(taken) == sorted(runs)


def test_a_run_that_gets_no_further_fails_in_the_end(bench: Bench) -> None:
    drone_id = bench.new_model()
    attempt = begin(bench, drone_id)
    assert do(bench, leases.interrupted, attempt, "killed")
    attempt = claim(bench)
    assert do(bench, leases.record_epoch, attempt, METRICS)  # further: counted anew
    for _ in range(2):
        assert do(bench, leases.interrupted, attempt, "killed")
        attempt = claim(bench)
    assert not do(bench, leases.interrupted, attempt, "killed")
    [run] = bench.runs(drone_id)
    assert (run.status, run.error, run.attempt) == (Status.FAILED, "killed", 4)


def test_runs_of_dead_processes_are_queued_again_and_others_left(bench: Bench) -> None:
    first, second = begin(bench, bench.new_model()), None
    queue(bench, bench.new_model())
    second = claim(bench, "another")
    freed = do(bench, leases.free_runs_of_the_dead, lambda holder: holder == "another")
    assert freed == [second.id]
    assert not do(bench, leases.record_epoch, second, METRICS)
    assert do(bench, leases.record_epoch, first, METRICS)


def test_a_models_policy_is_that_of_its_newest_finished_run(bench: Bench) -> None:
    drone_id = bench.new_model()
    with pytest.raises(NotFoundError, match="no trained policy"):
        do(bench, queries.policy_run, drone_id)
    finished = []
    for _ in range(2):
        finished.append(queue(bench, drone_id, again=True))
        assert do(bench, leases.end_attempt, claim(bench), Status.FINISHED, None)
        assert do(bench, queries.policy_run, drone_id) == finished[-1]
    do(bench, lambda s: queries.start_or_join(s, drone_id, configure, again=True))
    assert do(bench, queries.policy_run, drone_id) == finished[-1]  # the third is under way
    assert do(bench, queries.policy_run, "some-run") == "some-run"


def test_an_epoch_that_was_stored_is_not_stored_twice(bench: Bench) -> None:
    attempt = begin(bench, bench.new_model())
    assert do(bench, leases.record_epoch, attempt, METRICS)
    assert do(bench, leases.record_epoch, attempt, METRICS)
    assert bench.epochs(attempt.id) == [1]


def test_a_cancelled_run_stays_cancelled(bench: Bench) -> None:
    drone_id = bench.new_model()
    attempt = begin(bench, drone_id)
    assert do(bench, queries.cancel, drone_id) == attempt.id
    assert not do(bench, leases.record_epoch, attempt, METRICS)
    assert not do(bench, leases.end_attempt, attempt, Status.FINISHED, None)
    assert claim(bench, "another") is None
    assert bench.runs(drone_id)[0].status is Status.CANCELLED
    with pytest.raises(ConflictError):
        do(bench, queries.cancel, drone_id)


def test_simultaneous_starts_of_one_model_share_a_run(bench: Bench) -> None:
    drone_id = bench.new_model()

    def start(_: int) -> str:
        with bench.database.session() as session:
            return queries.start_or_join(session, drone_id, configure, again=False)[0]

    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(start, range(16)))) == 1
    assert len(bench.runs(drone_id)) == 1


def test_epochs_and_cancels_at_the_same_moment_never_deadlock(bench: Bench) -> None:
    attempts = [begin(bench, bench.new_model()) for _ in range(8)]

    def train(attempt: Attempt) -> list[bool]:
        with ThreadPoolExecutor(2) as threads:
            cancelled = threads.submit(do, bench, queries.cancel, attempt.drone_id)
            stored = [
                do(bench, leases.record_epoch, attempt, METRICS | {"epoch": epoch})
                for epoch in range(1, 30)
            ]
            assert cancelled.result() == attempt.id
        return stored

    with ThreadPoolExecutor(8) as threads:
        for stored in threads.map(train, attempts):
            assert stored == sorted(stored, reverse=True)  # from the cancel on nothing is stored
    with bench.database.session(read_only=True) as session:
        assert _statuses(session) == {Status.CANCELLED}


def _statuses(session: Session) -> set[Status]:
    return {status for (status,) in session.query(TrainingRun.status)}
