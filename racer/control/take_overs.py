"""Lease take-overs in the audit log: who got the controls from whom.

Flying waits for no database, so they are written afterwards, one a second at most, and the same one
again after ten minutes at the earliest: pilots who throw the controls to each other all day must
not drive everything else out of the log. What passes between the pilots of one account is not told.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from auth import CALLER, Caller
from database import Database
from models import User
from racer.accounts.service import audit
from racer.flight.authority import Account

_MOST_WAITING = 100  # more are told in the server's log only
_PACE_S = 1.0
_AGAIN_S = 600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class TakeOver:
    """Controls that passed from one pilot to another."""

    action: str  # lease.take: without asking; lease.hand_over: given; lease.lose: to elsewhere
    loser: Account | None  # None: a pilot without an account
    winner: Account | None

    @property
    def actor(self) -> Account | None:
        """Who did it, as far as one can tell here."""
        by = {"lease.take": self.winner, "lease.hand_over": self.loser}
        return by.get(self.action)

    @property
    def within_account(self) -> bool:
        """Whether nobody lost anything to somebody else."""
        return self.action != "lease.lose" and self.loser == self.winner

    def target(self, drone: int) -> str:
        """What the log says: accounts only, since pilots call themselves what they like."""
        winner = "another service" if self.action == "lease.lose" else _name(self.winner)
        return f"drone {drone}: {_name(self.loser)} -> {winner}"


def _name(account: Account | None) -> str:
    return "no account" if account is None else account.username


class TakeOverLog:
    """Writes them; an async context manager that lives as long as the server."""

    def __init__(self, database: Database, *, drone: int) -> None:
        """`drone`: the number of the one that is flown."""
        self._database, self._drone = database, drone
        self._waiting: asyncio.Queue[tuple[TakeOver, Caller]] = asyncio.Queue(_MOST_WAITING)
        self._told: dict[TakeOver, float] = {}  # when, of the last ten minutes
        self._writing: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._writing = asyncio.create_task(self._write_for_ever())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what waits."""
        self._writing.cancel()
        await asyncio.gather(self._writing, return_exceptions=True)
        waiting = []
        with suppress(asyncio.QueueEmpty):
            while True:
                waiting.append(self._waiting.get_nowait())
        if waiting:
            await asyncio.to_thread(self._write, waiting)

    def tell(self, take_over: TakeOver) -> None:
        """One that has just been; returns at once."""
        now = time.monotonic()
        self._told = {told: at for told, at in self._told.items() if now - at < _AGAIN_S}
        if take_over.within_account or take_over in self._told:
            return
        log.info(take_over.action, target=take_over.target(self._drone))
        with suppress(asyncio.QueueFull):
            self._waiting.put_nowait((take_over, CALLER.get(Caller())))
            self._told[take_over] = now

    async def _write_for_ever(self) -> None:
        while True:
            told = await self._waiting.get()
            # Not broken off halfway by the end of the service: it would be nowhere.
            await asyncio.shield(asyncio.to_thread(self._write, [told]))
            await asyncio.sleep(_PACE_S)

    def _write(self, told: list[tuple[TakeOver, Caller]]) -> None:
        """In one transaction."""
        try:
            with self._database.session() as session:
                for take_over, caller in told:
                    actor = take_over.actor
                    CALLER.set(Caller(caller.address, caller.request_id))  # of this thread's copy
                    audit.record(
                        session,
                        take_over.action,
                        take_over.target(self._drone),
                        actor=None if actor is None else session.get(User, actor.id),
                    )
        except SQLAlchemyError as error:
            actions = [take_over.target(self._drone) for take_over, _ in told]
            log.warning("take_overs_not_audited", take_overs=actions, error=str(error))
