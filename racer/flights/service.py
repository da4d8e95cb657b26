"""Recorded flights: which account flew in which.

A recording is read once, by a child process (racer.flight.recordings), which leaves an index of a
few lines beside it. So the event loop never waits for 64 MB of messages, and neither does a list.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, NamedTuple, Self

import structlog

from models import User
from racer.errors import UnavailableError
from racer.flight import recordings
from racer.flights.schemas import FlightOut, FlightPage
from racer.process import PARENT_VARIABLE
from racer.settings import REPOSITORY, Settings

_PATIENCE_S = 10.0  # of who asks for a list; the reading goes on
_LONGEST_S = 600.0  # of reading all that is new; half an hour of flight takes some ten seconds
_WAITING = 4  # questions about recordings at once
_SECRETS = frozenset({"SECRET_KEY", "DATABASE_URL", "METRICS_TOKEN", "RAY_AUTH_TOKEN"})

log = structlog.get_logger(__name__)


class Owner(NamedTuple):
    """An account. Its name or its number may once have been another's, who is gone."""

    id: int
    username: str
    created_at: datetime

    def flew(self, row: dict[str, Any]) -> bool:
        """Whether a row of an index is about this account."""
        began = datetime.fromtimestamp(row["began_s"], UTC)
        return (row["id"], row["username"]) == (self.id, self.username) and self.created_at <= began


def owner_of(user: User) -> Owner:
    """What outlives the database's session."""
    return Owner(user.id, user.username, user.created_at)


class FlightService:
    """Reads recordings; an async context manager."""

    def __init__(self, settings: Settings) -> None:
        self.folder: Path = settings.data_dir.resolve() / "flights"
        self._indexing: asyncio.Task[None] | None = None
        self._turns = asyncio.Semaphore(1)  # of who enters a flight
        self._asked = 0

    async def __aenter__(self) -> Self:
        """Nothing is read before somebody asks."""
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._indexing is not None:
            self._indexing.cancel()
            await asyncio.gather(self._indexing, return_exceptions=True)

    async def listed(self, owner: Owner, *, before: str | None, limit: int) -> FlightPage:
        """The flights of an account, the newest first; new recordings are read before, as far as
        that takes no longer than somebody waits."""
        if await asyncio.to_thread(recordings.unread, self.folder):
            if self._indexing is None or self._indexing.done():
                self._indexing = asyncio.create_task(self._index())
            await asyncio.wait([self._indexing], timeout=_PATIENCE_S)
        return await asyncio.to_thread(self._page, owner, before, limit)

    async def _index(self) -> None:
        try:
            async with asyncio.timeout(_LONGEST_S):
                await _run("racer.flight.recordings", str(self.folder))
        except (UnavailableError, TimeoutError, OSError) as error:  # what there is, is told
            log.warning("recordings_not_read", error=repr(error))

    async def ask(self, module: str, question: dict[str, Any], *, within_s: float) -> Any:
        """What a program of ours answers that reads a recording, both in JSON, when its turn comes.

        Raises UnavailableError when it fails, all of that takes longer, or too many wait.
        """
        if self._asked >= _WAITING:  # each of them keeps a thread of the server
            raise UnavailableError("Other recordings are being read. Try again in a minute.")
        self._asked += 1
        try:
            async with asyncio.timeout(within_s), self._turns:
                return json.loads(await _run(module, told=json.dumps(question)))
        except TimeoutError:
            raise UnavailableError(
                f"Reading the recording takes longer than {within_s:.0f} s. Try again when the "
                "server has less to do."
            ) from None
        finally:
            self._asked -= 1

    def _page(self, owner: Owner, before: str | None, limit: int) -> FlightPage:
        found: list[FlightOut] = []
        for flight in self._of(owner, before):
            found.append(flight)
            if len(found) > limit:
                break
        shown = found[:limit]
        more = shown[-1].id if len(found) > limit else None
        unread = len(recordings.unread(self.folder))
        return FlightPage(flights=shown, next=more, unread=unread)

    def _of(self, owner: Owner, before: str | None) -> Iterator[FlightOut]:
        for recording_id in recordings.recording_ids(self.folder):
            if before is not None and recording_id >= before:
                continue
            index = _index(self.folder / f"{recording_id}{recordings.INDEX_SUFFIX}")
            for row in filter(owner.flew, index.get("flown", ())):
                yield FlightOut(
                    id=recording_id,
                    drone=recordings.drone_of(recording_id) or 1,
                    began_at=datetime.fromtimestamp(row["began_s"], UTC),
                    flown_s=row["flown_s"],
                    airframe=index["airframe"],
                    wind_speed_m_s=index["wind_speed_m_s"],
                )


def _index(path: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError):
        index: dict[str, Any] = json.loads(path.read_text())
        return index
    return {}


async def _run(module: str, *arguments: str, told: str = "") -> str:
    """What it prints when it reads that."""
    with TemporaryFile() as question:  # writing to a process that dies would raise anything
        question.write(told.encode())
        question.seek(0)
        return await _said(module, arguments, question)


async def _said(module: str, arguments: tuple[str, ...], question: IO[bytes]) -> str:
    inherited = {name: text for name, text in os.environ.items() if name.upper() not in _SECRETS}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdin=question,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
        cwd=REPOSITORY,
        env=inherited | {PARENT_VARIABLE: str(os.getpid())},
    )
    try:
        said, _ = await child.communicate()
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()
    if child.returncode != 0:
        raise UnavailableError("The recordings could not be read; the server's log says why.")
    return said.decode()
