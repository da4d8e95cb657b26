"""Kept policies as the rest of the product sees them: keep, take in, send, export, delete.

The policy of every finished run becomes a version, once. Nobody has to say that a run finished:
this looks for such runs by itself, at the start and every few seconds, so that a server that was
killed at any moment has lost nothing; `wake` only makes it look at once.

SQL and files are worked on in threads, networks in child processes (racer.policies.child).
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterable, AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from functools import partial
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import structlog
from sqlalchemy.exc import IntegrityError

from database import Database
from models import new_uuid
from racer.errors import (
    ConfigurationError,
    ConflictError,
    InvalidInputError,
    RacerError,
    UnavailableError,
)
from racer.folders import Folders, Staging, confirm, disk_in_words, doubt_if_possible, size_of
from racer.jobs.store import Store
from racer.policies import contents, queries
from racer.policies.child import Tasks
from racer.policies.queries import NewPolicy, PolicyView, RunFacts
from racer.policies.schemas import ExportFormat, Origin
from racer.policy.archive import read_network
from racer.policy.manifest import POLICY_FILE, WEIGHTS_FILE
from racer.settings import Settings
from racer.web.ids import is_id

LOOK_S = 5.0  # between looks for runs that finished
_RETRY_S = 60.0  # after a full disk
_LONGEST_NAME = 200  # the column's

log = structlog.get_logger(__name__)


class PolicyService:
    """Keeps policies; an async context manager that lives as long as the server."""

    def __init__(self, settings: Settings, database: Database) -> None:
        data_dir = settings.data_dir.resolve()
        self._folders, self._runs_dir = Folders(data_dir / "policies"), data_dir / "runs"
        self._quota_bytes = settings.policies_mb * 10**6
        self._store = Store(database.session_factory)
        self._tasks = Tasks()
        self._news = asyncio.Event()
        self._passed_over: dict[str, float] = {}  # runs that could not be kept; until when
        self._looking: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        """Remove what a killed server left half done, and begin to look for finished runs."""
        try:
            removed = await asyncio.to_thread(self._folders.tidy_up, self._recorded)
        except OSError as error:
            raise ConfigurationError(
                f"Cannot keep policies in {self._folders.root}: {error.strerror}. Make DATA_DIR "
                "writable."
            ) from error
        if removed:
            log.info("policy_folders_removed", folders=removed)
        self._looking = asyncio.create_task(self._keep_finished_runs())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._looking.cancel()
        await asyncio.gather(self._looking, return_exceptions=True)

    def wake(self, _run_id: str = "") -> None:
        """There may be a run that finished."""
        self._news.set()

    def folder_of(self, policy_id: str) -> Path:
        """Where the policy's files are, or would be. Does not ask whether there is one: `find`
        does."""
        if not is_id(policy_id) or "/" in policy_id or policy_id.startswith("."):
            raise InvalidInputError("A policy's id is a UUID.")
        return self._folders.root / policy_id

    async def find(self, policy_id: str) -> PolicyView:
        """The policy's row; NotFoundError when there is none."""
        return await self._store.read(queries.get_policy, policy_id)

    async def keep_run(self, run_id: str) -> tuple[str, bool]:
        """Keep the best policy of a run as a version; its id, and whether it is new.

        The same network of the same run again is the version that is there. Raises NotFoundError
        for an unknown run, ConflictError when it has no policy yet or its owner too many,
        UnavailableError when the disk is full.
        """
        run = await self._store.read(queries.run_facts, run_id)
        with disk_in_words("policy"):
            async with self._staging() as staging:
                source = self._runs_dir / run.run_id
                task = await asyncio.to_thread(
                    contents.collect, source, staging.folder, finished=run.finished
                )
                found = await self._tasks.run(task, staging.folder)
                name = _clean(run.title)
                return await self._record(
                    staging, found, user_id=run.user_id, name=name, origin="trained", run=run
                )

    async def upload(
        self, user_id: int, chunks: AsyncIterable[bytes], *, name: str | None
    ) -> tuple[str, bool]:
        """Take a zip in that may be a stranger's; the version's id, and whether it is new.

        A network that the user has already is the version that is there. Without a `name` it has
        its manifest's. Raises InvalidInputError that says what is wrong with it, ConflictError
        when the user has too many, UnavailableError when the disk is full.
        """
        with disk_in_words("policy"):
            async with self._staging() as staging:
                archive = staging.folder / "upload.zip"
                await contents.spool(chunks, archive)
                found = await self._tasks.run("unpack", archive, staging.folder)
                await asyncio.to_thread(archive.unlink)
                return await self._record(
                    staging,
                    found,
                    user_id=user_id,
                    name=_clean(name or found["name"]),
                    origin="uploaded",
                )

    async def delete(self, policy_id: str) -> None:
        """Forget the policy with its files; what was made from it stays. A vehicle that flies it
        has it in memory and flies on. Raises NotFoundError."""
        folder = self.folder_of(policy_id)
        await self._store.write(
            queries.delete_policy, policy_id, doubt=partial(doubt_if_possible, folder)
        )
        await asyncio.to_thread(self._folders.discard, policy_id)
        self._passed_over.clear()  # there is room again
        self.wake()
        log.info("policy_deleted", policy_id=policy_id)

    async def archive(self, policy_id: str, *, sha256: str) -> IO[bytes]:
        """The policy as a zip that `upload` takes, from its beginning. Raises NotFoundError when
        its files are gone, UnavailableError when they are damaged."""
        return await asyncio.to_thread(contents.archived, self.folder_of(policy_id), sha256)

    async def export(
        self, policy_id: str, wanted: ExportFormat, *, sha256: str
    ) -> tuple[str, IO[bytes]]:
        """The policy in another format: the file's name and its bytes.

        Raises NotFoundError when its files are gone, UnavailableError when they are damaged,
        NotInstalledError for OpenVINO without that package, InvalidInputError for weights of a
        network that is not built as ours are.
        """
        folder = self.folder_of(policy_id)
        network = await asyncio.to_thread(read_network, folder, sha256=sha256)
        if wanted == "onnx":
            return POLICY_FILE, BytesIO(network)
        if wanted == "safetensors":
            with suppress(FileNotFoundError):  # an upload has none
                return WEIGHTS_FILE, await asyncio.to_thread((folder / WEIGHTS_FILE).open, "rb")
        name = WEIGHTS_FILE if wanted == "safetensors" else "openvino.zip"
        with disk_in_words("policy"):
            async with self._staging() as staging:
                made = staging.folder / name
                await self._tasks.run(wanted, folder, made)
                return name, await asyncio.to_thread(made.open, "rb")

    async def _record(
        self,
        staging: Staging,
        found: dict[str, Any],
        *,
        user_id: int,
        name: str,
        origin: Origin,
        run: RunFacts | None = None,
    ) -> tuple[str, bool]:
        """Give the staged folder its place and then its row. The id, and whether it is new."""
        new = NewPolicy(
            id=new_uuid(),
            user_id=user_id,
            name=name,
            origin=origin,
            sha256=found["sha256"],
            size_bytes=await asyncio.to_thread(size_of, staging.folder),
            track=found["track"],
            manifest=found["manifest"],
            run=run,
        )
        place = await asyncio.to_thread(self._folders.settle, staging.folder, new.id, marked=True)
        try:
            kept = await self._store.write(queries.add_policy, new, quota_bytes=self._quota_bytes)
        except IntegrityError as error:
            await asyncio.to_thread(self._folders.discard, new.id)
            raise ConflictError("The run or its drone model was deleted meanwhile.") from error
        except RacerError:
            await asyncio.to_thread(self._folders.discard, new.id)
            raise
        # After any other error nobody knows whether there is a row: the next start looks.
        if kept != new.id:
            await asyncio.to_thread(self._folders.discard, new.id)
        else:
            await asyncio.to_thread(confirm, place)
            run_id = run.run_id if run else None
            log.info("policy_kept", policy_id=kept, run_id=run_id, origin=origin, name=name)
        return kept, kept == new.id

    async def _keep_finished_runs(self) -> None:
        failing = False
        while True:
            self._news.clear()
            try:
                for run_id in await self._store.read(queries.finished_runs_not_kept):
                    if self._passed_over.get(run_id, 0.0) <= time.monotonic():
                        await self._keep_finished_run(run_id)
                failing = False
            except Exception as error:  # whatever it is, policies must be kept when it is over
                if not failing:
                    log.exception("finished_runs_not_kept", error=str(error))
                failing = True
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._news.wait()

    async def _keep_finished_run(self, run_id: str) -> None:
        """One that cannot be kept does not stop the others, and is told of once."""
        again_s = math.inf
        try:
            await self.keep_run(run_id)
        except UnavailableError as error:
            again_s, why = time.monotonic() + _RETRY_S, error.message
        except RacerError as error:
            why = error.message
        else:
            self._passed_over.pop(run_id, None)
            return
        if run_id not in self._passed_over:
            log.warning("policy_not_kept", run_id=run_id, why=why)
        self._passed_over[run_id] = again_s

    @asynccontextmanager
    async def _staging(self) -> AsyncIterator[Staging]:
        staging = self._folders.staging()
        try:
            await asyncio.to_thread(staging.open)
            yield staging
        finally:
            await asyncio.to_thread(staging.close)

    def _recorded(self, policy_ids: Collection[str]) -> set[str]:
        return self._store.read_here(queries.recorded, policy_ids)


def _clean(name: str) -> str:
    """As a column and a terminal can hold it."""
    printable = "".join(c for c in name if c.isprintable()).strip()
    return printable[:_LONGEST_NAME] or "policy"
