"""A backup becomes an installation again: an empty one, of this release or a newer one."""

from __future__ import annotations

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import IO, Any

from alembic.script import ScriptDirectory
from pydantic import ValidationError
from sqlalchemy import Connection, MetaData, Table, func, insert, select, text, update
from sqlalchemy.exc import SQLAlchemyError

from database import Database, alembic_config
from racer.errors import ConfigurationError, ConflictError, InvalidInputError, UnavailableError
from racer.upkeep.contents import DATA, FOLDERS, FORMAT, HEAD, TABLES, Head, from_line

_ROWS = 500  # inserted at once


def restore(source: Path, database: Database, data_dir: Path) -> Head:
    """Put everything back, the database last and all at once; returns the backup's head.

    What fails leaves nothing behind. Raises ConflictError when there is something
    already, InvalidInputError for a file that is no backup or a damaged one, UnavailableError when
    it cannot be read or written.
    """
    _require_no_files(data_dir)
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        staging = Path(mkdtemp(dir=data_dir, prefix=".restore."))
    except OSError as error:
        raise ConfigurationError(
            f"Nothing can be written to {data_dir}: {error.strerror}. Set DATA_DIR."
        ) from error
    try:
        head = _unpack(source, staging)
        _require_known(head)
        database.upgrade(head.revision)
        with _in_place(staging / DATA, data_dir):
            _fill(database, head, staging)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    database.upgrade()
    return head


@contextmanager
def _in_place(unpacked: Path, data_dir: Path) -> Iterator[None]:
    """The files of a backup in their places, unless what is done meanwhile fails.

    Folder by folder what is inside: a folder may be the root of a volume, and cannot be replaced.
    """
    made = [folder for folder in FOLDERS if not (data_dir / folder).exists()]
    moved: list[Path] = []
    try:
        for source in (path for folder in FOLDERS for path in (unpacked / folder).glob("*")):
            target = data_dir / source.relative_to(unpacked)
            target.parent.mkdir(mode=0o700, exist_ok=True)
            moved.append(target)
            shutil.move(source, target)  # a volume is another file system
        yield
    except BaseException as error:
        for target in (*moved, *(data_dir / folder for folder in made)):
            if target.is_dir():
                shutil.rmtree(target, ignore_errors=True)
            else:
                target.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UnavailableError(
                f"The files cannot be put into {data_dir}: {error.strerror or error}."
            ) from error
        raise


def _require_no_files(data_dir: Path) -> None:
    for folder in FOLDERS:
        if any((data_dir / folder).glob("*")):
            raise ConflictError(
                f"{data_dir / folder} is not empty. A backup is restored into an empty "
                "installation: set DATA_DIR and DATABASE_URL to new ones."
            )


def _unpack(source: Path, staging: Path) -> Head:
    """Every file of the backup, below `staging`. Reads it to the end, checksum included."""
    try:
        with gzip.open(source) as content, tarfile.open(fileobj=content, mode="r|") as archive:
            for entry in archive:
                if not _is_ours(entry):
                    raise InvalidInputError(f"{source} holds {entry.name!r}: it is no backup.")
                if (file := archive.extractfile(entry)) is not None:
                    _write(file, staging / entry.name)
            while content.read(1 << 20):  # the checksum comes last
                continue
        return Head.model_validate_json((staging / HEAD).read_bytes())
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, ValidationError) as error:
        raise InvalidInputError(
            f"{source} is no backup of Toledo Racer, or a damaged one: {error}."
        ) from error
    except OSError as error:
        raise UnavailableError(f"{error.filename or source}: {error.strerror or error}.") from error


def _is_ours(entry: tarfile.TarInfo) -> bool:
    """A regular file in one of the places that a backup fills."""
    parts = PurePosixPath(entry.name).parts
    if not entry.isreg() or ".." in parts or entry.name.startswith("/"):
        return False
    return (
        parts == (HEAD,)
        or (len(parts) == 2 and parts[0] == TABLES)
        or (len(parts) > 2 and parts[0] == DATA and parts[1] in FOLDERS)
    )


def _write(content: IO[bytes], target: Path) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(content, file)


def _require_known(head: Head) -> None:
    known = {
        script.revision for script in ScriptDirectory.from_config(alembic_config()).walk_revisions()
    }
    if head.format != FORMAT or head.revision not in known:
        raise InvalidInputError(
            f"The backup was made by a newer Toledo Racer (database {head.revision}). Restore it "
            "with that one."
        )


def _fill(database: Database, head: Head, staging: Path) -> None:
    """All rows in one transaction, into a database that has none."""
    try:
        with database.migration_connection() as connection:
            metadata = MetaData()
            metadata.reflect(connection, only=list(head.tables))
            tables = [metadata.tables[name] for name in head.tables]
            for table in tables:
                if connection.scalar(select(func.count()).select_from(table)):
                    raise ConflictError(
                        f"The database {database.place} is not empty. A backup is restored into "
                        "an empty installation: set DATABASE_URL and DATA_DIR to new ones."
                    )
            for table in metadata.sorted_tables:
                _fill_table(connection, table, head, staging / TABLES / f"{table.name}.jsonl")
            _forward_sequences(connection, tables)
    except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
        raise InvalidInputError(f"The backup is damaged: {error!r}.") from error
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        raise UnavailableError(
            f"The rows cannot be written to {database.place}: {reason}."
        ) from error


def _fill_table(connection: Connection, table: Table, head: Head, source: Path) -> None:
    """References to rows of the same table come second: their order is anybody's."""
    own = [key.parent for key in table.foreign_keys if key.column.table is table]
    key = list(table.primary_key.columns)
    later: list[tuple[dict[str, Any], dict[str, Any]]] = []
    for rows in _chunks(_rows(connection, table, head, source)):
        for row in rows:
            references = {c.name: row[c.name] for c in own if row[c.name] is not None}
            if references:
                later.append(({c.name: row[c.name] for c in key}, references))
                row.update(dict.fromkeys(references))
        connection.execute(insert(table), rows)
    for identity, references in later:
        connection.execute(update(table).filter_by(**identity).values(**references))


def _rows(
    connection: Connection, table: Table, head: Head, source: Path
) -> Iterator[dict[str, Any]]:
    columns = [table.columns[name] for name in head.tables[table.name]]
    keeps_zones = connection.dialect.name == "postgresql"
    with source.open("rb") as lines:
        for line in lines:
            yield from_line(line, columns, keeps_zones=keeps_zones)


def _chunks(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == _ROWS:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _forward_sequences(connection: Connection, tables: list[Table]) -> None:
    """PostgreSQL counts ids apart from the rows: the next one comes after all of them."""
    if connection.dialect.name != "postgresql":
        return
    for table in tables:
        for column in table.primary_key.columns:
            sequence = connection.scalar(
                text("SELECT pg_get_serial_sequence(:table, :column)"),
                {"table": table.name, "column": column.name},
            )
            newest = connection.scalar(select(func.max(column))) if sequence else None
            if newest is not None:
                connection.execute(text("SELECT setval(:s, :n)"), {"s": sequence, "n": newest})
