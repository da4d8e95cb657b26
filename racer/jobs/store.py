"""How long-lived work reaches the database: short transactions in threads.

The event loop never waits for SQL, and no session is held across a wait. Reading transactions say
so, which lets SQLite read beside a writer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

P = ParamSpec("P")
T = TypeVar("T")

_RETRY_PAUSES_S = (0.1, 0.5, 2.0, 5.0, 10.0)  # a database that restarts is back by then
_READ_ONLY = {"read_only": True, "postgresql_readonly": True}  # see database.py

log = structlog.get_logger(__name__)


class Store:
    """Runs query functions, whose first argument is the session, each in its own transaction."""

    def __init__(self, session_factory: sessionmaker[Session]) -> None:
        self._session_factory = session_factory

    def read_here(
        self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Read in the calling thread."""
        with self._session_factory() as session, session.begin():
            session.connection(execution_options=_READ_ONLY)
            return work(session, *args, **kwargs)

    async def read(
        self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Read in a thread."""
        return await asyncio.to_thread(lambda: self.read_here(work, *args, **kwargs))

    async def write(
        self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Write in a thread and commit; an error rolls back."""

        def transaction() -> T:
            with self._session_factory() as session, session.begin():
                return work(session, *args, **kwargs)

        return await asyncio.to_thread(transaction)

    async def write_patiently(
        self, work: Callable[Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Write, outlasting a database that is away for seconds. `work` must bear a repetition:
        a connection can break just after the commit."""
        for pause in _RETRY_PAUSES_S:
            try:
                return await self.write(work, *args, **kwargs)
            except (OperationalError, InterfaceError) as error:
                log.warning("database_unreachable", retry_in_s=pause, error=str(error.orig))
            await asyncio.sleep(pause)
        return await self.write(work, *args, **kwargs)
