"""Executes rows of a table: claims them under a lease, keeps it, and hears when it is lost.

Every server process has one for each kind of work, and any number of them share a database. What a
row is, how it is claimed and what executing it means is said by racer.training.workers and
racer.jobs.workers.

A lease has run out for a process that saw nobody renew it for LEASE_S on its own monotonic clock.
The time that a renewal writes is only compared with what it was: wall clocks jump, and those of two
machines differ.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar
from uuid import uuid4

import structlog
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from models import utc_now
from racer.identity import is_dead, this_process
from racer.jobs.store import Store

LEASE_S = 15.0
TRIES = 3  # attempts in a row that were killed, before what they tried counts as failed
LOOK_S = 1.0  # between looks for what other processes did
RELEASE_S = 0.3  # a server that stops takes a second altogether

log = structlog.get_logger(__name__)


def lease_end() -> datetime:
    """Of a lease that begins or is renewed now: another one each time."""
    return utc_now() + timedelta(seconds=LEASE_S)


class Held(NamedTuple):
    """A lease as it was when somebody looked."""

    id: str  # of the row
    until: datetime


def held(session: Session, row: Any, *, running: str) -> list[Held]:
    """The leases on rows of a table with this status."""
    leased = select(row.id, row.lease_until).where(row.status == running)
    leased = leased.where(row.lease_until.is_not(None))
    return [Held(*found) for found in session.execute(leased)]


def is_left(row: Any, worker: str, silent: Collection[Held]) -> ColumnElement[bool]:
    """Whether nobody executes a row whose status says that somebody does: a lease is still as it
    was when it had run out, or it is the worker's own."""
    unrenewed = (and_(row.id == lease.id, row.lease_until == lease.until) for lease in silent)
    return or_(row.lease_until.is_(None), row.lease_holder == worker, *unrenewed)


class Watch:
    """Which leases nobody renews, by a clock that nobody sets."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen_s: dict[Held, float] = {}  # since when each is as it is

    def silent(self, leases: Iterable[Held]) -> list[Held]:
        """Of all that there are now those that were not renewed for LEASE_S."""
        now_s = self._clock()
        self._seen_s = {lease: self._seen_s.get(lease, now_s) for lease in leases}
        return [lease for lease, seen_s in self._seen_s.items() if now_s - seen_s >= LEASE_S]


@dataclass(frozen=True)
class Claimed:
    """What executing a row needs, and the number that fences its writes."""

    id: str
    number: int  # of this attempt; the newest one has the greatest


A = TypeVar("A", bound=Claimed)
A_co = TypeVar("A_co", bound=Claimed, covariant=True)
E = TypeVar("E")


class Claim(Protocol[A_co]):
    """The statement that claims."""

    def __call__(
        self, session: Session, worker: str, *, executing: Collection[str], silent: Collection[Held]
    ) -> A_co | None:
        """The next row to execute, now leased to `worker`; None when there is none. It executes
        those in `executing` already; another that is leased to it is one whose claim was committed
        while the connection broke. Leases in `silent` have run out."""


@dataclass(frozen=True)
class Leases(Generic[A]):
    """Statements of a table, each run in a transaction of its own, perhaps more than once."""

    held: Callable[[Session], Iterable[Held]]  # of all who execute
    claim: Claim[A]
    free: Callable[[Session, Callable[[str], bool]], Sequence[str]]  # queue what the dead executed
    renew: Callable[[Session, A], bool]  # False when the row is ours no more
    release: Callable[[Session, A], None]  # give it back: whoever comes next goes on with it


class Executor(ABC, Generic[A, E]):
    """An async context manager that lives as long as the server. `A` is an attempt at executing a
    row, `E` how it ended."""

    def __init__(self, store: Store, leases: Leases[A], *, noun: str, most: int) -> None:
        """`noun` says what is executed, in the log; `most` how many at once."""
        self._store, self._leases = store, leases
        self._noun, self._most = noun, most
        self._name = f"{this_process()} {uuid4().hex}"
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._breaking_off: set[asyncio.Task[None]] = set()
        self._look = asyncio.Event()
        self._watch = Watch()
        self._claiming: asyncio.Task[None]

    @abstractmethod
    async def work(self, attempt: A) -> E:
        """Execute the row; how that ended. It is cancelled when the lease is lost."""

    @abstractmethod
    async def conclude(self, attempt: A, end: E) -> None:
        """Record the end."""

    def news(self, row_id: str) -> None:
        """There is something new of that row."""

    async def tidy_up(self) -> None:
        """Before the first claim: what earlier processes left."""

    async def sweep(self) -> None:
        """Every few seconds: what is wanted no more."""

    async def look(self) -> None:
        """Before each look for something to claim."""

    async def claim(self, executing: Collection[str], silent: Collection[Held]) -> A | None:
        """The next row to execute; None when there is none, or no room for it."""
        return await self._store.write(
            self._leases.claim, self._name, executing=executing, silent=silent
        )

    async def after(self, attempt: A) -> None:
        """At the end of the work at a row, however it ended."""

    def left(self, row_id: str) -> None:
        """The row is executed here no more."""

    async def __aenter__(self) -> Self:
        """Begin to look for rows; those that dead processes of this machine left come first."""
        await self._free_those_of_the_dead()
        await self.tidy_up()
        await self.sweep()
        self._claiming = asyncio.create_task(self._claim_for_ever())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop every child process within a second; the rows stay for whoever comes next."""
        self._claiming.cancel()
        await asyncio.gather(self._claiming, return_exceptions=True)
        for task in (tasks := list(self._tasks.values())):
            self._break_off(task)
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """There may be something to claim."""
        self._look.set()

    def work_on(self, row_id: str) -> asyncio.Task[None] | None:
        """This process's work on a row, for `stop`."""
        return self._tasks.get(row_id)

    async def stop(self, work: asyncio.Task[None] | None) -> None:
        """End work on a row that was closed or paused."""
        if work is not None:
            self._break_off(work)
            await asyncio.wait([work])

    def _break_off(self, work: asyncio.Task[None]) -> None:
        """Once: a second cancellation would break off how it ends its process."""
        if work not in self._breaking_off:
            self._breaking_off.add(work)
            work.cancel()

    def executes(self, row_id: str) -> bool:
        """Whether the row is executed here."""
        return row_id in self._tasks

    async def _claim_for_ever(self) -> None:
        failing, looked_s = False, time.monotonic()
        while True:
            self._look.clear()
            try:
                if time.monotonic() - looked_s > LEASE_S / 3:
                    looked_s = time.monotonic()
                    await self._free_those_of_the_dead()
                    await self.sweep()
                await self.look()
                silent = self._watch.silent(await self._store.read(self._leases.held))
                while len(self._tasks) < self._most and await self._claim(silent):
                    pass
                failing = False
            except Exception as error:  # whatever it is, work must go on when it is over
                if not failing:
                    log.exception(f"{self._noun}s_not_claimed", error=str(error))
                failing = True
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._look.wait()

    async def _free_those_of_the_dead(self) -> None:
        if freed := await self._store.write_patiently(self._leases.free, is_dead):
            log.info(f"{self._noun}s_resumed", count=len(freed))

    async def _claim(self, silent: Collection[Held]) -> bool:
        attempt = await self.claim(list(self._tasks), silent)
        if attempt is None:
            return False
        task = asyncio.create_task(self._execute(attempt), name=f"{self._noun} {attempt.id}")
        self._tasks[attempt.id] = task
        task.add_done_callback(lambda task: self._forget(attempt.id, task))
        return True

    def _forget(self, row_id: str, task: asyncio.Task[None]) -> None:
        self._breaking_off.discard(task)
        if self._tasks.get(row_id) is task:
            del self._tasks[row_id]
            self.left(row_id)
        self.news(row_id)
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error(f"{self._noun}_not_executed", id=row_id, exc_info=error)

    async def _execute(self, attempt: A) -> None:
        """One attempt at one row."""
        self.news(attempt.id)
        keeping = asyncio.create_task(self._keep(attempt, asyncio.current_task()))
        try:
            # Between the claim and here somebody may have paused it, or we may have been stopped.
            if not await self._store.write_patiently(self._leases.renew, attempt):
                return
            log.info(f"{self._noun}_started", id=attempt.id, attempt=attempt.number)
            end = await self.work(attempt)
            keeping.cancel()  # a row that has ended is no lost lease
            await self.conclude(attempt, end)
            self.news(attempt.id)
        except asyncio.CancelledError:
            with suppress(TimeoutError, SQLAlchemyError):  # then the lease has to run out
                async with asyncio.timeout(RELEASE_S):
                    await self._store.write(self._leases.release, attempt)
            raise
        finally:
            keeping.cancel()
            await self.after(attempt)

    async def _keep(self, attempt: A, work: asyncio.Task[None] | None) -> None:
        """Renew the lease, and end the work when it is lost: when the database says so, or when
        nobody can tell for so long that another process may have taken the row."""
        renewed_s, ours = time.monotonic(), True
        while ours and time.monotonic() - renewed_s < LEASE_S:
            await asyncio.sleep(LEASE_S / 5)
            with suppress(SQLAlchemyError, TimeoutError):
                async with asyncio.timeout(LEASE_S / 5):
                    ours = await self._store.write(self._leases.renew, attempt)
                renewed_s = time.monotonic()
        log.warning(f"{self._noun}_lease_lost", id=attempt.id, attempt=attempt.number)
        if work is not None:
            self._break_off(work)


def plain(error: object) -> str:
    """Its words as any database takes them: PostgreSQL's text holds no NUL."""
    return str(error).replace("\0", "")
