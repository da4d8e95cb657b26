"""The store's promises: reads wait for no writer, a run's own writes outlast a short absence."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session

from models import User
from racer.jobs.store import Store
from tests.training.conftest import Bench, bench_on, play


def add_user(session: Session, name: str) -> None:
    session.add(User(username=name))


def names(session: Session) -> list[str]:
    return [name for (name,) in session.query(User.username).order_by(User.username)]


def test_a_failed_transaction_leaves_nothing(bench: Bench) -> None:
    store = Store(bench.database.session_factory)

    def half(session: Session) -> None:
        add_user(session, "ada")
        session.flush()
        raise ArithmeticError

    async def scenario() -> None:
        with pytest.raises(ArithmeticError):
            await store.write(half)
        assert await store.read(names) == []
        await store.write(add_user, "bob")
        assert await store.read(names) == ["bob"]

    play(scenario())


def test_a_read_neither_writes_nor_waits_for_a_writer(bench: Bench) -> None:
    store = Store(bench.database.session_factory)
    with bench.database.session() as writer:
        add_user(writer, "ada")
        writer.flush()
        done = threading.Event()

        def read() -> None:
            assert store.read_here(names) == []
            done.set()

        threading.Thread(target=read).start()
        assert done.wait(5)  # SQLite's busy time-out is twice as long
    if bench.database.engine.dialect.name == "postgresql":
        with pytest.raises(DBAPIError):
            store.read_here(add_user_now)


def add_user_now(session: Session) -> None:
    add_user(session, "eve")
    session.flush()


def test_a_write_waits_for_a_database_that_is_away_for_a_moment(sqlite_bench: Bench) -> None:
    """A lock held from outside and no patience in the driver: the first try fails at once."""
    bench = sqlite_bench
    event.listen(
        bench.database.engine,
        "connect",
        lambda connection, _record: connection.execute("PRAGMA busy_timeout = 0").close(),
    )
    bench.database.dispose()
    store = Store(bench.database.session_factory)
    path = Path(str(bench.database.engine.url.database))

    async def scenario() -> None:
        holder = sqlite3.connect(path, isolation_level=None)
        try:
            holder.execute("BEGIN EXCLUSIVE")
            with pytest.raises(OperationalError):
                await store.write(add_user, "impatient")
            patient = asyncio.create_task(store.write_patiently(add_user, "patient"))
            await asyncio.sleep(0.05)  # its first try has failed by then, its second comes later
            holder.execute("ROLLBACK")
        finally:
            holder.close()
        await patient
        assert await store.read(names) == ["patient"]

    play(scenario())


def test_a_connection_that_the_database_dropped_is_replaced(
    postgres_url: str, tmp_path: Path
) -> None:
    with bench_on(postgres_url, tmp_path) as bench:
        store = Store(bench.database.session_factory)

        def lose_the_connection_once(session: Session) -> None:
            if not lost:
                lost.append(True)
                session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
            add_user(session, "ada")

        lost: list[bool] = []

        async def scenario() -> None:
            await store.write_patiently(lose_the_connection_once)
            assert await store.read(names) == ["ada"]

        play(scenario())
        assert lost
