"""The desk of the races: takes entries, keeps the copies of their policies within RACES_MB.

Files are copied before the transaction that enters them, because SQLite has one writer: whoever
copies in a transaction keeps everybody waiting. That transaction checks everything again. All of it
waits for the disk, so call it in threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

import structlog
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from auth import Visitor
from database import Database
from models import Policy, Race, RaceEntry, RaceStatus, new_uuid, utc_now
from racer.accounts.service import audit
from racer.errors import ConfigurationError, ConflictError, UnavailableError
from racer.folders import disk_in_words
from racer.policies.service import PolicyService
from racer.policy.manifest import Manifest
from racer.races import pinned, queries, service, views
from racer.races.pinned import Copies
from racer.races.schemas import EntryOut
from racer.racing.competitors import competitor, manner_of
from racer.racing.rules import check_manifest
from racer.settings import Settings

_AT_ONCE = 500  # ids of one statement
# Looks at everything again within the transaction, and locks the race.
EntryOf: TypeAlias = Callable[[Session], tuple[Race, RaceEntry]]

log = structlog.get_logger(__name__)


class RaceDesk:
    """An async context manager that lives as long as the server."""

    def __init__(self, settings: Settings, database: Database) -> None:
        """`settings` say where the copies lie and how much they may take."""
        self.copies = Copies(service.races_folder(settings))
        self._quota_bytes = settings.races_mb * 10**6
        self._database = database

    async def __aenter__(self) -> Self:
        """Remove what killed servers left, and measure the rest."""
        try:
            await asyncio.to_thread(self._tidy_up)
        except OSError as error:
            raise ConfigurationError(
                f"Cannot keep entries in {self.copies.root}: {error.strerror}. Make DATA_DIR "
                "writable."
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing goes on by itself."""

    @property
    def database(self) -> Database:
        """Where the races are."""
        return self._database

    def enter(
        self, race_id: str, policy_id: str, *, visitor: Visitor, policies: PolicyService
    ) -> EntryOut:
        """Enter a policy as it is now.

        Raises NotFoundError, UnauthorizedError, InvalidInputError for one that cannot take part,
        ConflictError when the race takes no more or RACES_MB are full, UnavailableError when the
        disk is.
        """
        with self._database.session(read_only=True) as session:
            policy = queries.get_own_policy(session, policy_id, visitor)
            race = queries.get(session, race_id)
            _check_takes(race, policy)
        manifest, files = pinned.read(policies.folder_of(policy_id), sha256=policy.sha256)
        check_manifest(manifest, race.airframe)

        def entry_of(session: Session) -> tuple[Race, RaceEntry]:
            held = queries.hold_policy(session, policy)
            race = queries.get(session, race_id, lock=True)
            _check_takes(race, held)
            return race, _entry(race, held, manifest)

        return self.keep(files, entry_of)

    def keep(self, files: Mapping[str, bytes], entry_of: EntryOf) -> EntryOut:
        """Make the entry and its copy, all of it or nothing. Raises what `entry_of` raises,
        ConflictError when RACES_MB are full, UnavailableError when the disk is."""
        with disk_in_words("entry"), self.copies.staged(files) as staged:
            entry, evicted = self._record(staged, sum(map(len, files.values())), entry_of)
        for old in evicted:
            self.copies.remove(old)
            log.info("race_copies_removed", race_id=old)
        return entry

    def _record(
        self, staged: Path, size_bytes: int, entry_of: EntryOf
    ) -> tuple[EntryOut, list[str]]:
        """The row and the place of what was staged, unless something has changed meanwhile; and the
        races whose copies must go for it."""
        race_id, entry_id = "", new_uuid()
        try:
            with self._database.session() as session:
                race, entry = entry_of(session)
                race_id, entry.id = race.id, entry_id
                evicted = queries.make_room(session, size_bytes, self._quota_bytes)
                race.copies_bytes += size_bytes
                session.add(entry)
                session.flush()
                self.copies.settle(staged, race_id, entry_id)
                return views.entry_out(entry), evicted
        except DBAPIError as error:
            if race_id and not error.connection_invalidated:  # else nobody knows if there is a row
                self.copies.remove(race_id, entry_id)
            raise
        except Exception:
            if race_id:
                self.copies.remove(race_id, entry_id)
            raise

    def delete(
        self, race_id: str, *, visitor: Visitor, check: Callable[[Race], None] | None = None
    ) -> str | None:
        """Forget a race that left no results, with its entries and their copies; its job if it had
        one. `check` may refuse the locked race.

        Raises NotFoundError, UnauthorizedError, ConflictError for one that has finished or is under
        way, UnavailableError when its files cannot be removed.
        """
        with self._database.session() as session:  # a kill after it leaves a cancelled race
            race = queries.get_own(session, race_id, visitor)
            if check is not None:
                check(race)
            _check_deletable(race)
            if race.status is RaceStatus.OPEN:
                race.status, race.finished_at = RaceStatus.CANCELLED, utc_now()
            race.copies_bytes = 0
        if not self.copies.remove(race_id):
            raise UnavailableError(
                "The race's files cannot be removed: look at the server's log, then try again."
            )
        with self._database.session() as session:
            race = queries.get(session, race_id, lock=True)
            session.delete(race)
            audit.record(session, "race.delete", race_id)
        log.info("race_deleted", race_id=race_id)
        return race.job_id

    def _tidy_up(self) -> None:
        with self.copies.alone() as found:
            if found is None:
                return
            with self._database.session(read_only=True) as session:
                counted = session.scalars(select(Race.id).where(Race.copies_bytes > 0))
                ids = sorted({*found, *counted})
            for first in range(0, len(ids), _AT_ONCE):
                with self._database.session(read_only=True) as session:
                    known = queries.with_entries(session, ids[first : first + _AT_ONCE])
                for race in known:
                    kept = _kept(race)
                    self.copies.keep_only(race.id, kept)
                    if self.copies.size_of(race.id, kept) != race.copies_bytes:
                        with self._database.session() as session:
                            self._measure(session, race.id)

    def _measure(self, session: Session, race_id: str) -> None:
        race = queries.get(session, race_id, lock=True)
        race.copies_bytes = self.copies.size_of(race.id, _kept(race))


def _kept(race: Race) -> set[str]:
    """The entries whose copies stay: none of a race that left no results."""
    over = views.status_of(race) in (RaceStatus.FAILED, RaceStatus.CANCELLED)
    return set() if over else {entry.id for entry in race.entries}


def _check_takes(race: Race, policy: Policy) -> None:
    """Raises ConflictError when the race is closed or full or the policy is in it."""
    queries.require_place(race)
    if any(entry.policy_id == policy.id for entry in race.entries):
        raise ConflictError("That policy is in the race already.")
    service.check_grid(race, len(race.entries) + 1)


def _entry(race: Race, policy: Policy, manifest: Manifest) -> RaceEntry:
    owner = policy.user
    key = competitor(owner.id, owner.created_at, policy.sha256, manner_of(manifest))
    return RaceEntry(
        race_id=race.id,
        number=queries.next_number(race),
        user_id=owner.id,
        policy_id=policy.id,
        username=owner.username,
        policy_name=policy.name,
        policy_version=policy.version,
        policy_sha256=policy.sha256,
        competitor=key,
    )


def _check_deletable(race: Race) -> None:
    status = views.status_of(race)
    if status is RaceStatus.FINISHED:
        raise ConflictError("The race has finished: its results are a public record and stay.")
    if status is RaceStatus.RUNNING:
        raise ConflictError("The race is under way: cancel it first.")
