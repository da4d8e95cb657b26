"""Whose turn it is at a free slot: owners take turns, in trainings as in jobs.

Who has least under way comes first, then what was begun already, then the owner whose last piece of
work began longest ago, then what has waited longest. `by_turns` says so in SQL, for a claim;
`claims_to_come` says in which order the claims will take place, each of which changes whose turn
the next one is.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import ColumnElement, Select, Subquery, case, func

_Key: TypeAlias = tuple[Any, ...]


def standings(of_all: Select[Any], row: Any, owner: Any, *, running: StrEnum) -> Subquery:
    """What each owner has under way, and when its newest work began: one look at all rows for a
    claim, and not one for every row that waits.

    `row` is a table with the columns of a lease, `owner` the column of its owners, and `of_all`
    selects from both.
    """
    figures = (
        owner.label("owner"),
        func.sum(case((row.status == running, 1), else_=0)).label("under_way"),
        func.max(row.started_at).label("last_turn"),
    )
    return of_all.with_only_columns(*figures, maintain_column_froms=True).group_by(owner).subquery()


def by_turns(row: Any, standing: Subquery) -> tuple[ColumnElement[Any], ...]:
    """What a claim orders the waiting rows of `row` by, each beside its owner's `standings`."""
    return (
        standing.c.under_way,
        case((row.attempt > 0, 0), else_=1),
        standing.c.last_turn.nulls_first(),
        row.created_at,
        row.id,
    )


class Waiting(NamedTuple):
    """A row that waits."""

    id: str
    owner: int
    begun: bool  # by an earlier attempt
    started_at: datetime | None  # its first attempt; with one it is no new turn of its owner
    created_at: datetime


def claims_to_come(
    waiting: Sequence[Waiting],
    *,
    running: Sequence[int],
    last_turns: Mapping[int, datetime],
    held_back: Mapping[int, int],
) -> Iterator[str]:
    """The ids of waiting rows in the order in which they will be claimed, if what runs now ends in
    its order, and then what is claimed: there are as many slots as are taken, or one.

    `running`: the owners of what runs, the earliest first; `last_turns`: when each owner's newest
    began; `held_back`: how many rows of an owner wait beside those given. Nobody can tell what
    comes after the last of the given ones of such an owner.
    """
    queues: dict[int, deque[Waiting]] = {}
    for one in sorted(waiting, key=lambda one: (not one.begun, one.created_at, one.id)):
        queues.setdefault(one.owner, deque()).append(one)
    turns: dict[int, _Key] = {owner: (1, moment) for owner, moment in last_turns.items()}
    turn = count()
    under_way, slots = Counter(running), deque(running)
    most = max(len(running), 1)
    keys: dict[int, _Key] = {}
    heap: list[tuple[_Key, int]] = []

    def enter(owner: int) -> None:
        """The owner's key, which makes earlier ones in the heap void."""
        if queue := queues.get(owner):
            head = queue[0]
            last = turns.get(owner, (0,))
            keys[owner] = (under_way[owner], not head.begun, last, head.created_at, head.id)
            heappush(heap, (keys[owner], owner))
        else:
            keys.pop(owner, None)

    for owner in queues:
        enter(owner)
    while keys:
        if len(slots) == most:
            ended = slots.popleft()
            under_way[ended] -= 1
            enter(ended)
        key, owner = heappop(heap)
        while keys.get(owner) != key:
            key, owner = heappop(heap)
        claimed = queues[owner].popleft()
        yield claimed.id
        if not queues[owner] and held_back.get(owner):
            return
        under_way[owner] += 1
        slots.append(owner)
        if claimed.started_at is None:
            turns[owner] = (2, next(turn))  # later than all before
        enter(owner)
