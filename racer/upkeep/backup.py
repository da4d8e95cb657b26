"""One file with everything that an installation knows, made while the service runs."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Table, select
from sqlalchemy.exc import SQLAlchemyError

from database import Database, alembic_config, unhurried
from models import Base, SignIn
from racer.errors import ConfigurationError, UnavailableError
from racer.files import becoming
from racer.upkeep.contents import DATA, FOLDERS, FORMAT, HEAD, TABLES, Head, to_line

_ROWS = 1000  # fetched at once
_LEVEL = 3  # of gzip: most of it is compressed already


def back_up(database: Database, data_dir: Path, target: Path) -> int:
    """Write the backup to `target`, which appears when it is whole; returns its size in bytes.

    Rows are those of one moment; files are copied after it, so that every file that they name is
    there unless somebody deleted it meanwhile. The key of tokens and compiled programs stay out.
    Raises ConfigurationError without a database of ours, UnavailableError when it cannot be read
    or the backup cannot be written.
    """
    try:
        with (
            becoming(target, mode=0o600) as file,  # for its owner alone
            tarfile.open(fileobj=file, mode="w:gz", compresslevel=_LEVEL) as archive,
        ):
            with _one_moment(database) as connection:
                _add_rows(archive, connection)
            for folder in FOLDERS:
                _add_files(archive, data_dir, folder)
    except OSError as error:
        raise UnavailableError(
            f"The backup cannot be written to {target}: {error.strerror}. Make room, or name "
            "another place."
        ) from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise UnavailableError(
            f"The database {database.place} cannot be read: {reason}."
        ) from error
    return target.stat().st_size


@contextmanager
def _one_moment(database: Database) -> Iterator[Connection]:
    """A reading transaction that sees nothing of what is written meanwhile."""
    options: dict[str, Any] = {"read_only": True}
    if database.engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with database.engine.connect().execution_options(**options) as connection, connection.begin():
        unhurried(connection)
        yield connection


def _add_rows(archive: tarfile.TarFile, connection: Connection) -> None:
    revision = MigrationContext.configure(connection).get_current_revision()
    if revision is None:
        raise ConfigurationError(
            "There is no database of Toledo Racer to back up. Check DATABASE_URL and DATA_DIR."
        )
    newest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    if revision != newest:
        raise ConfigurationError(
            f"The database is at {revision} and this release at {newest}: bring it up to date with "
            "python -m racer init-db, or back it up with the release that made it."
        )
    # Sessions stay out: one that was ended meanwhile would come back to life.
    tables = [t for t in Base.metadata.sorted_tables if t.name != SignIn.__tablename__]
    head = Head(
        format=FORMAT,
        revision=revision,
        made_at=datetime.now(UTC).isoformat(timespec="seconds"),
        tables={table.name: [column.name for column in table.columns] for table in tables},
    )
    content = head.model_dump_json(indent=1).encode()
    archive.addfile(_entry(HEAD, len(content)), io.BytesIO(content))
    for table in tables:
        _add_table(archive, connection, table)


def _add_table(archive: tarfile.TarFile, connection: Connection, table: Table) -> None:
    with TemporaryFile() as lines:
        for row in connection.execute(select(table).execution_options(yield_per=_ROWS)):
            lines.write(to_line(row))
        size = lines.tell()
        lines.seek(0)
        archive.addfile(_entry(f"{TABLES}/{table.name}.jsonl", size), lines)


def _add_files(archive: tarfile.TarFile, data_dir: Path, folder: str) -> None:
    """Regular files as they are now. What is renamed into place later was not there yet."""
    for parent, folders, names in os.walk(data_dir / folder):  # which may lose folders meanwhile
        folders.sort()
        for path in (Path(parent, name) for name in sorted(names)):
            if path.is_symlink() or path.name.endswith(".tmp"):
                continue
            try:
                file = path.open("rb")
            except FileNotFoundError:  # deleted meanwhile
                continue
            except OSError as error:
                raise UnavailableError(f"{path} cannot be read: {error.strerror}.") from error
            with file:
                size = os.fstat(file.fileno()).st_size
                name = f"{DATA}/{path.relative_to(data_dir)}"
                archive.addfile(_entry(name, size), _Exactly(file, size))  # type: ignore[arg-type]


class _Exactly:
    """So many bytes of a file that may be growing, or be cut shorter, at this moment."""

    def __init__(self, file: io.BufferedReader, size: int) -> None:
        self._file, self._left = file, size

    def read(self, count: int) -> bytes:
        """The next bytes; zeros where the file has ended early."""
        count = min(count, self._left)
        self._left -= count
        return self._file.read(count).ljust(count, b"\0")


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, 0o600, time.time()
    return entry
