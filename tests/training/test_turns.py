"""The places that waiting runs are told are the order in which they are claimed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from models import Status, TrainingRun
from racer.jobs.turns import Waiting, claims_to_come
from racer.training import leases, places
from racer.training.leases import Attempt
from tests.training.conftest import Bench
from tests.training.test_queries import claim, do, queue

OWNERS = ("ada", "bob", "eve", "kim")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)


def told(bench: Bench) -> list[str]:
    """The waiting runs by their places."""
    with bench.database.session(read_only=True) as session:
        found = places.queue_places(session)
    assert sorted(found.values()) == [*range(1, len(found) + 1)]
    return sorted(found, key=found.__getitem__)


def end(bench: Bench, attempt: Attempt) -> None:
    assert do(bench, leases.end_attempt, attempt, Status.FINISHED, None)


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("seed", range(3))
def test_places_are_the_order_of_the_claims(bench: Bench, seed: int, slots: int) -> None:
    """With as many slots as are taken, of which the one that was taken first comes free first.
    Some runs were begun before, by owners whose last turns were at some time or never."""
    chance = random.Random(f"{seed} {slots}")
    weights = [chance.random() for _ in OWNERS]
    for _ in range(14):
        queue(bench, bench.new_model(owner=chance.choices(OWNERS, weights)[0]))
    begun = [claim(bench) for _ in range(5)]
    for attempt in chance.sample(begun, 5):
        if chance.random() < 0.5:
            end(bench, attempt)
        else:
            do(bench, leases.release, attempt)
    busy = [claim(bench) for _ in range(slots)]
    first_began = {run.id: run.started_at for run in all_runs(bench)}
    busy.sort(key=lambda attempt: first_began[attempt.id])
    expected, order = told(bench), []
    while True:
        end(bench, busy.pop(0))
        attempt = claim(bench)
        if attempt is None:
            break
        order.append(attempt.id)
        busy.append(attempt)
    assert order == expected
    assert len(order) >= 14 - 5 - slots


def all_runs(bench: Bench) -> Sequence[Any]:
    with bench.database.session(read_only=True) as session:
        return session.query(TrainingRun).all()


def test_a_single_run_is_told_that_it_comes_before_a_sweep_that_waits_longer(
    bench: Bench,
) -> None:
    queue(bench, bench.new_model(owner="ada"))
    claim(bench)
    sweep = [queue(bench, bench.new_model(owner="ada")) for _ in range(3)]
    single = queue(bench, bench.new_model(owner="bob"))
    assert told(bench) == [single, *sweep]


def test_places_beyond_the_bound_are_not_told_and_those_before_it_are_right(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = [queue(bench, bench.new_model(owner="ada")) for _ in range(6)]
    late = [queue(bench, bench.new_model(owner="bob")) for _ in range(2)]
    everything = told(bench)
    assert everything == [sweep[0], late[0], sweep[1], late[1], *sweep[2:]]
    for most in range(1, 8):
        monkeypatch.setattr(places, "MOST_TOLD", most)
        some = told(bench)
        assert some == everything[: len(some)]
        assert len(some) >= min(most, 1)
    assert len(some) == 7


Queue = tuple[list[Waiting], list[int], dict[int, datetime]]


@st.composite
def queues(draw: st.DrawFn) -> Queue:
    owners = st.integers(0, 4)
    moments = st.integers(0, 9).map(lambda day: BEGINNING + timedelta(days=day))
    rows = st.builds(
        Waiting,
        id=st.uuids().map(str),
        owner=owners,
        begun=st.booleans(),
        started_at=st.none() | moments,
        created_at=moments,
    )
    waiting = draw(st.lists(rows, max_size=12, unique_by=lambda row: row.id))
    return waiting, draw(st.lists(owners, max_size=4)), draw(st.dictionaries(owners, moments))


def by_hand(waiting: list[Waiting], running: list[int], last: dict[int, datetime]) -> list[str]:
    """The rule, word by word, with a look at every row for every claim."""
    waiting, running, last, order = [*waiting], [*running], {**last}, []
    slots, now = max(1, len(running)), BEGINNING + timedelta(days=100)
    while waiting:
        if len(running) == slots:
            running.pop(0)
        under_way = Counter(running)
        never = BEGINNING - timedelta(days=1)
        row = min(
            waiting,
            key=lambda row: (
                under_way[row.owner],
                not row.begun,
                last.get(row.owner, never),
                row.created_at,
                row.id,
            ),
        )
        waiting.remove(row)
        running.append(row.owner)
        order.append(row.id)
        now += timedelta(days=1)
        if row.started_at is None:
            last[row.owner] = now
    return order


@examples(deadline=None, derandomize=True)
@given(queues())
def test_the_order_is_that_of_the_rule(queue: Queue) -> None:
    waiting, running, last = queue
    found = claims_to_come(waiting, running=running, last_turns=last, held_back={})
    assert [*found] == by_hand(waiting, running, last)


def test_many_rows_of_many_owners_are_ordered_at_once() -> None:
    """Each claim looks at two owners, not at all of them."""
    rows = [
        Waiting(str(uuid4()), number % 500, False, None, BEGINNING + timedelta(seconds=number))
        for number in range(1000)
    ]
    order = [*claims_to_come(rows, running=[], last_turns={}, held_back={})]
    assert order == [row.id for row in rows]
