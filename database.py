"""The one transaction edge: engine, sessions, migrations.

SQLite (the embedded default) runs in WAL mode with foreign keys on. Its driver's own transaction
handling is switched off: a writing session takes the write lock when it begins (BEGIN IMMEDIATE),
because a transaction that reads first and upgrades later fails at once under contention, whatever
the busy time-out. Reading sessions begin deferred and never wait for a writer.
PostgreSQL gets a pool that tests connections before use and renews them every 30 minutes, and
limits on what a connection may take: who waits too long for a connection, a lock or an answer gets
an OperationalError or a pool's TimeoutError, which racer.web answers with 503.

Nothing is created at import; `from database import engine` builds the process's engine then.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from fastapi import Depends, Request
from sqlalchemy import (
    URL,
    Connection,
    Engine,
    MetaData,
    create_engine,
    event,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from models import Base
from racer.errors import ConfigurationError
from racer.settings import get_settings

if TYPE_CHECKING:
    from alembic.config import Config

    engine: Engine  # made on first access by __getattr__ below

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
_MIGRATION_LOCK = 0x701ED0  # key of PostgreSQL's advisory lock, ours by choice
_BUSY_TIMEOUT_MS = 10_000
_CONNECT_TIMEOUT_S = 5
_WRITERS = 16  # requests at a time; far fewer than the 40 threads of anyio
_POOL_WAIT_S = 10  # for a connection when all are in use
# PostgreSQL ends what takes longer, and gives up on a server of ours that vanished without a word
# within some 20 s. A statement of ours takes milliseconds; `unhurried` is for those that may not.
_LIMITS = {
    "statement_timeout": "30s",
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "2",
}
# And so does our side, also when bytes that we sent are not acknowledged.
_KEEPALIVES = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
}
_FOREIGN_KEY_VIOLATION = "23503"  # PostgreSQL's code
log = structlog.get_logger(__name__)


class Database:
    """One database: its engine, its sessions, its schema."""

    def __init__(self, url: str) -> None:
        self.engine = _make_engine(url)
        self.session_factory = sessionmaker(self.engine, expire_on_commit=False)
        self._read_factory = sessionmaker(
            self.engine.execution_options(read_only=True, postgresql_readonly=True),
            expire_on_commit=False,
        )
        # PostgreSQL's READ COMMITTED lets each statement see the newest rows anyway: a transaction
        # around one would only add round trips, and on SQLite waits for Python's lock.
        alone: dict[str, Any] = {"no_begin": True}
        if self.engine.dialect.name == "postgresql":
            alone = {"isolation_level": "AUTOCOMMIT"}
        self._brief_factory = sessionmaker(
            self.engine.execution_options(**alone), expire_on_commit=False
        )
        # Requests that write hold locks while they wait for a thread, and others that wait for
        # those locks hold the threads: with 40 of them nothing would move until a time-out.
        self.writers = asyncio.Semaphore(_WRITERS)

    @property
    def place(self) -> str:
        """The URL without its password, for messages."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        """One transaction: commits at the end, rolls back on an error. Keep it short."""
        with self.open(read_only=read_only) as session, session.begin():
            yield session

    def open(self, *, read_only: bool) -> Session:
        """A session that its caller commits and closes; it begins with its first statement."""
        return (self._read_factory if read_only else self.session_factory)()

    def open_brief(self) -> Session:
        """A session that its caller closes, for a statement or two that read: each is a transaction
        of its own."""
        return self._brief_factory()

    def ping(self) -> None:
        """Raise SQLAlchemyError unless a trivial query is answered."""
        with self.session(read_only=True) as session:
            session.execute(text("SELECT 1"))

    def upgrade(self, revision: str = "head") -> None:
        """Migrate to `revision`; processes that do it at once take turns.

        Raises ConfigurationError when the database cannot be reached or holds foreign tables.
        """
        from alembic import command  # noqa: PLC0415 - a slow import that only a start needs
        from alembic.migration import MigrationContext  # noqa: PLC0415
        from alembic.util import CommandError  # noqa: PLC0415

        config = alembic_config()
        try:
            with self.migration_connection() as connection:
                _refuse_foreign_tables(connection)
                before = MigrationContext.configure(connection).get_current_revision()
                config.attributes["connection"] = connection
                command.upgrade(config, revision)
                after = MigrationContext.configure(connection).get_current_revision()
        except CommandError as error:
            raise ConfigurationError(
                f"Cannot migrate the database {self.place}: {error}. A newer Toledo Racer may have "
                "made it; use that one, or another database."
            ) from error
        except OSError as error:  # the directory of the SQLite file
            raise ConfigurationError(
                f"Cannot make {error.filename}: {error.strerror}. Set DATA_DIR to a directory that "
                "can be written."
            ) from error
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise ConfigurationError(
                f"Cannot prepare the database {self.place}: {reason}. Check DATABASE_URL and that "
                "the server runs; leave DATABASE_URL empty to use SQLite in DATA_DIR."
            ) from error
        if before != after:
            log.info("database migrated", place=self.place, before=before, after=after)

    @contextmanager
    def migration_connection(self) -> Iterator[Connection]:
        """A connection in one transaction that no other migration enters meanwhile.

        On SQLite foreign keys are off in it: Alembic alters a table there by copying and dropping
        it, and the drop would cascade.
        """
        with self.engine.connect() as connection:
            if self.engine.dialect.name == "sqlite":
                _outside_transaction(connection, "PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    if self.engine.dialect.name == "postgresql":
                        unhurried(connection)
                        connection.execute(
                            text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK}
                        )
                    yield connection
            finally:
                if self.engine.dialect.name == "sqlite":
                    _outside_transaction(connection, "PRAGMA foreign_keys = ON")

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _make_engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(
            "DATABASE_URL is no URL. Write postgresql://user:password@host/name, or leave it "
            "empty to use SQLite in DATA_DIR."
        ) from error
    if parsed.drivername in {"postgresql", "postgres"}:  # as people write it
        parsed = parsed.set(drivername="postgresql+psycopg2")
    options: dict[str, Any] = {"json_serializer": partial(json.dumps, allow_nan=False)}
    if parsed.get_backend_name() == "sqlite":
        if parsed.database in {None, "", ":memory:"}:
            raise ConfigurationError(
                "DATABASE_URL names an SQLite database in memory, which each connection would "
                "see empty. Give it a file: sqlite:///data/toledo_racer.db"
            )
        made = create_engine(
            parsed, pool_size=10, max_overflow=40, pool_timeout=_POOL_WAIT_S, **options
        )
        event.listen(made, "do_connect", _make_directory)
        event.listen(made, "connect", _configure_sqlite)
        event.listen(made, "begin", _begin_sqlite)
        return made
    if parsed.get_backend_name() != "postgresql":
        raise ConfigurationError(
            f"DATABASE_URL names {parsed.get_backend_name()}; Toledo Racer runs on postgresql "
            "and sqlite."
        )
    return create_engine(
        parsed,
        connect_args=_postgresql_arguments(parsed),
        pool_size=10,
        max_overflow=30,
        pool_timeout=_POOL_WAIT_S,
        pool_recycle=1800,
        pool_pre_ping=True,
        **options,
    )


def _postgresql_arguments(url: URL) -> dict[str, Any]:
    """What libpq is told beside the URL; what the URL says itself wins."""
    # Without a time-out, a host that swallows packets would hold a thread for minutes.
    ours = {"connect_timeout": _CONNECT_TIMEOUT_S} | _KEEPALIVES
    limits = [f"-c {name}={value}" for name, value in _LIMITS.items()]
    given = url.query.get("options", "")
    limits += [given] if isinstance(given, str) else given
    return {name: value for name, value in ours.items() if name not in url.query} | {
        "options": " ".join(limits).strip()
    }


def lacks_parent(error: object) -> bool:
    """Whether PostgreSQL refused a row since what it refers to is gone: somebody else deleted it
    between our look and our write. On SQLite nobody writes between."""
    return getattr(getattr(error, "orig", None), "pgcode", None) == _FOREIGN_KEY_VIOLATION


def unhurried(connection: Connection) -> None:
    """Let the rest of this transaction take as long as it takes: a migration, a backup."""
    if connection.dialect.name == "postgresql":
        for name in _LIMITS:
            if name.endswith("_timeout"):
                connection.execute(text(f"SET LOCAL {name} = 0"))


def _make_directory(_dialect: object, _record: object, arguments: list[Any], _named: Any) -> None:
    # For its owner only: the file holds password hashes.
    Path(arguments[0]).parent.mkdir(mode=0o700, parents=True, exist_ok=True)


def _configure_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _begin_sqlite
    for pragma in (
        f"busy_timeout = {_BUSY_TIMEOUT_MS}",
        "journal_mode = WAL",
        "synchronous = NORMAL",  # in WAL mode a power cut may lose the last commits, never more
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("read_only", False):
        _outside_transaction(connection, "BEGIN")  # deferred: it waits for nothing and cannot fail
    elif not options.get("no_begin", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _outside_transaction(connection: Connection, statement: str) -> None:
    driver_connection: Any = connection.connection.driver_connection
    driver_connection.execute(statement).close()


def alembic_config() -> Config:
    """Alembic's configuration, independent of the working directory."""
    from alembic.config import Config  # noqa: PLC0415 - a slow import that only a start needs

    config = Config(MIGRATIONS.parent / "alembic.ini")
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


def _refuse_foreign_tables(connection: Connection) -> None:
    """Tables of our names that no migration made are somebody else's: say so, touch nothing."""
    present = set(inspect(connection).get_table_names())
    ours = present & set(Base.metadata.tables)
    if ours and "alembic_version" not in present:
        raise ConfigurationError(
            f"The database already has tables named {', '.join(sorted(ours))} that Toledo Racer "
            "did not make. Use an empty database."
        )


@event.listens_for(Base.metadata, "after_create")
def _stamp_new_schema(_target: MetaData, connection: Connection, **_: Any) -> None:
    """`Base.metadata.create_all()` makes the newest schema: record that for later migrations."""
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    script = ScriptDirectory.from_config(alembic_config())
    context = MigrationContext.configure(connection)
    if context.get_current_revision() is None:
        context.stamp(script, "head")


@lru_cache
def _process_database() -> Database:
    return Database(get_settings().effective_database_url)


def __getattr__(name: str) -> Any:
    """`engine` of the process's settings, made when somebody asks for it."""
    if name == "engine":
        return _process_database().engine
    raise AttributeError(f"module 'database' has no attribute {name!r}")


async def _request_session(request: Request) -> AsyncIterator[Session]:
    database: Database = request.app.state.database
    read_only = request.method in {"GET", "HEAD"}
    session = database.open(read_only=read_only)  # says nothing to the database yet
    async with nullcontext() if read_only else _turn_of(session, database.writers):
        try:
            yield session
        except BaseException:
            await _in_own_thread(session.close)
            raise
        if session.in_transaction():
            request.state.commit_unheard = True  # until we know; see racer.web.idempotency
            await _in_own_thread(partial(_commit, session))
            request.state.commit_unheard = False


@asynccontextmanager
async def _turn_of(session: Session, writers: asyncio.Semaphore) -> AsyncIterator[None]:
    """A turn to write, as long as the session's transaction: a handler that ends it may wait for
    hours afterwards, for the body of an upload."""
    loop = asyncio.get_running_loop()
    ended = False

    def end() -> None:
        nonlocal ended
        if not ended:
            ended = True
            writers.release()

    await writers.acquire()
    event.listen(session, "after_commit", lambda _: loop.call_soon_threadsafe(end), once=True)
    try:
        yield
    finally:
        end()


async def _in_own_thread(end: Callable[[], None]) -> None:
    """Not one of those that requests share: all of them may be waiting for this end."""
    await run_sync(end, limiter=CapacityLimiter(1))


def _commit(session: Session) -> None:
    with session:
        session.commit()


# The function scope commits before the answer leaves: who reads "created" finds it created.
SessionDep = Annotated[Session, Depends(_request_session, scope="function")]
