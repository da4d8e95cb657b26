"""The same behaviour on both databases: transactions, migrations, several processes at once."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError

from database import Database, alembic_config
from models import Base, Status, TrainingEpoch, TrainingRun, User, UserDroneModel
from racer.errors import ConfigurationError
from tests.support import REPOSITORY

PARALLEL_STARTS = 4


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Migrated and empty."""
    made = Database(database_url)
    made.upgrade()
    yield made
    made.dispose()


def a_model(**changes: object) -> UserDroneModel:
    values = {"title": "First", "drone_details": {"velocityLimit": "15"}} | changes
    return UserDroneModel(**values)


def test_migrations_make_exactly_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        names = {
            constraint["name"]
            for table in Base.metadata.tables
            for constraint in inspect(connection).get_foreign_keys(table)
        }
        expected = {
            constraint.name
            for table in Base.metadata.tables.values()
            for constraint in table.foreign_key_constraints
        }
    assert names == expected  # a migration alters them by name


def test_down_and_up_again(database: Database) -> None:
    config = alembic_config()
    with database.migration_connection() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert set(inspect(database.engine).get_table_names()) == {"alembic_version"}
    database.upgrade()
    assert set(Base.metadata.tables) <= set(inspect(database.engine).get_table_names())


def test_a_second_upgrade_changes_nothing(database: Database) -> None:
    with database.session() as session:
        session.add(User(username="ada"))
    database.upgrade()
    with database.session(read_only=True) as session:
        assert session.query(User.username).all() == [("ada",)]


def test_processes_that_migrate_at_once_take_turns(database_url: str, tmp_path: Path) -> None:
    program = "import sys; from database import Database; Database(sys.argv[1]).upgrade()"
    arguments = [sys.executable, "-c", program, database_url]
    starts = [
        subprocess.Popen(arguments, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
        for _ in range(PARALLEL_STARTS)
    ]
    complaints = [start.communicate(timeout=60)[1] for start in starts]
    assert [start.returncode for start in starts] == [0] * PARALLEL_STARTS, complaints
    again = Database(database_url)
    assert "training_epochs" in inspect(again.engine).get_table_names()
    again.dispose()


def test_alembic_from_the_command_line(database_url: str, tmp_path: Path) -> None:
    environment = os.environ | {"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path)}
    alembic = [sys.executable, "-m", "alembic", "-c", str(REPOSITORY / "alembic.ini")]
    for arguments in (["upgrade", "head"], ["check"], ["downgrade", "base"], ["upgrade", "head"]):
        subprocess.run([*alembic, *arguments], check=True, env=environment, cwd=tmp_path)


def test_the_seeds_own_line_makes_a_database_that_later_migrations_know(
    database_url: str, tmp_path: Path
) -> None:
    line = (
        "from database import engine; from models import Base; "
        "Base.metadata.create_all(bind=engine)"
    )
    environment = os.environ | {"DATABASE_URL": database_url, "DATA_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", line], check=True, env=environment, cwd=REPOSITORY)
    database = Database(database_url)
    database.upgrade()
    with database.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() is not None
    database.dispose()


def test_importing_creates_nothing(tmp_path: Path) -> None:
    environment = os.environ | {"DATABASE_URL": "", "DATA_DIR": str(tmp_path / "data")}
    line = "import database, models, auth, crud, main; main.create_app()"
    subprocess.run([sys.executable, "-c", line], check=True, env=environment, cwd=REPOSITORY)
    assert list(tmp_path.iterdir()) == []


def test_tables_of_somebody_else_are_left_alone(database_url: str) -> None:
    database = Database(database_url)
    with database.engine.begin() as connection:
        connection.execute(text("CREATE TABLE users (name TEXT)"))
    with pytest.raises(ConfigurationError, match="users that Toledo Racer did not make"):
        database.upgrade()
    assert inspect(database.engine).get_table_names() == ["users"]
    database.dispose()


def test_a_database_of_a_newer_release_is_refused(database: Database) -> None:
    with database.session() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="newer Toledo Racer"):
        database.upgrade()


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2"])
def test_postgresql_urls_as_people_write_them(scheme: str) -> None:
    engine = Database(f"{scheme}://u:p@host/name?sslmode=require").engine
    assert engine.url.drivername == "postgresql+psycopg2"
    assert engine.url.query == {"sslmode": "require"}


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql+psycopg2://nobody:hush@127.0.0.1:9/none", "Cannot prepare the database"),
        ("mysql://host/name", "runs on postgresql"),
        ("sqlite://", "in memory"),
        ("nonsense", "no URL"),
    ],
)
def test_a_wrong_url_is_explained_without_its_password(url: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        Database(url).upgrade()
    assert "hush" not in caught.value.message


def test_an_error_rolls_everything_back(database: Database) -> None:
    def fail_after_writing() -> None:
        with database.session() as session:
            session.add(User(username="ada"))
            session.flush()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_after_writing()
    with database.session(read_only=True) as session:
        assert session.query(User).count() == 0


def test_deleting_a_user_deletes_what_hangs_on_it(database: Database) -> None:
    run = TrainingRun(config={}, epochs=[TrainingEpoch(epoch=1, metrics={"loss": 0.5})])
    with database.session() as session:
        session.add(User(username="ada", drone_models=[a_model(runs=[run])]))
    with database.session() as session:
        session.execute(text("DELETE FROM users"))  # the database does it, not the mapper
    with database.session(read_only=True) as session:
        assert session.query(TrainingEpoch).count() == 0
        assert session.query(UserDroneModel).count() == 0


def test_an_epoch_is_recorded_once(database: Database) -> None:
    epochs = [TrainingEpoch(epoch=1, metrics={}), TrainingEpoch(epoch=1, metrics={})]
    user = User(
        username="ada", drone_models=[a_model(runs=[TrainingRun(config={}, epochs=epochs)])]
    )
    with pytest.raises(IntegrityError), database.session() as session:
        session.add(user)


def test_values_come_back_as_they_went_in(database: Database) -> None:
    moment = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5)))
    details = {"note": "naïve\0 \U0001f681", "n": 10**30, "x": 0.1, "deep": [{"a": None}]}
    with database.session() as session:
        model = a_model(drone_details=details, created_at=moment, train_loss=0.1)
        session.add(User(username="Zoë", drone_models=[model]))
    with database.session(read_only=True) as session:
        model = session.query(UserDroneModel).one()
        assert model.drone_details == details
        assert model.created_at == moment
        assert model.created_at.tzinfo is UTC
        assert model.train_loss == 0.1
        assert model.status is Status.INITIALIZING
        assert model.user.username == "Zoë"


def test_a_time_without_zone_and_a_metric_without_value_are_refused(database: Database) -> None:
    for wrong in ({"created_at": datetime(2026, 3, 1)}, {"drone_details": {"x": float("nan")}}):
        with pytest.raises(StatementError), database.session() as session:
            session.add(User(username="ada", drone_models=[a_model(**wrong)]))


def test_writers_that_read_first_all_get_their_turn(database: Database) -> None:
    """On SQLite a deferred transaction would fail here at once, whatever its busy time-out."""
    with database.session() as session:
        session.add(User(username="ada", drone_models=[a_model(training_epochs=0)]))

    def count_up() -> None:
        for _ in range(20):
            with database.session() as session:
                model = session.query(UserDroneModel).with_for_update().one()
                model.training_epochs += 1

    threads = [threading.Thread(target=count_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.session(read_only=True) as session:
        assert session.query(UserDroneModel.training_epochs).scalar() == 160


def test_a_reader_does_not_wait_for_a_writer(database: Database) -> None:
    with database.session() as writer:
        writer.add(User(username="ada"))
        writer.flush()
        with database.session(read_only=True) as reader:
            assert reader.query(User).count() == 0


def test_sqlite_is_set_up_for_a_service(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    database.upgrade()
    wanted = {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 10_000, "synchronous": 1}
    for _ in range(2):  # also on the connection that has migrated
        with database.engine.connect() as connection:
            for name, value in wanted.items():
                assert connection.execute(text(f"PRAGMA {name}")).scalar() == value
    database.dispose()


def test_postgresql_refuses_a_write_in_a_reading_session(postgres_url: str) -> None:
    database = Database(postgres_url)
    database.upgrade()
    with pytest.raises(DBAPIError, match="read-only"), database.session(read_only=True) as session:
        session.add(User(username="ada"))
    database.dispose()


def test_postgresql_connections_that_were_cut_are_replaced(postgres_url: str) -> None:
    database = Database(postgres_url)
    database.ping()
    with database.session() as session:
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    database.ping()
    database.dispose()


def test_the_directory_of_a_new_sqlite_file_is_its_owners_alone(tmp_path: Path) -> None:
    directory = tmp_path / "new"
    made = Database(f"sqlite:///{directory / 'racer.db'}")
    made.ping()
    made.dispose()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
