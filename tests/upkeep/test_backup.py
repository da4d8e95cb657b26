"""What was backed up is there again after a restore, on either database."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from database import Database
from models import (
    Base,
    Job,
    JobStatus,
    SignIn,
    Status,
    TrainingEpoch,
    TrainingRun,
    User,
    UserDroneModel,
)
from racer.accounts import tokens
from racer.errors import ConfigurationError, ConflictError, InvalidInputError
from racer.upkeep.backup import back_up
from racer.upkeep.restore import restore
from tests.postgres import temporary_database

FILES = {"runs/a/policy.onnx": b"\x00\x01", "races/b/c/manifest.json": b"{}", "flights/x.mcap": b""}
Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    made = Database(database_url)
    made.upgrade()
    fill(made)
    yield made
    made.dispose()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for name, content in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "secret_key").write_text("nobody's business")
    (folder / "jax_cache").mkdir()
    (folder / "jax_cache" / "jit_f-cache").write_bytes(b"x")
    return folder


@pytest.fixture
def exits() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path, exits: ExitStack) -> Database:
    """A second database, of each kind."""
    if request.param == "sqlite":
        made = Database(f"sqlite:///{tmp_path / 'second.db'}")
    else:
        made = Database(
            exits.enter_context(temporary_database(request.getfixturevalue("postgres")))
        )
    exits.callback(made.dispose)
    return made


def fill(database: Database) -> None:
    """Rows with every kind of value, and one that refers to a row that comes after it."""
    when = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)
    with database.session() as session:
        ada = User(username="ada ✈", created_at=when)
        model = UserDroneModel(title="First", drone_details={"windSpeed": "", "x": None})
        ada.drone_models.append(model)
        session.add(ada)
        session.flush()
        parent = TrainingRun(
            id="f" * 36, drone_model_id=model.id, status=Status.FINISHED, config={}
        )
        session.add(parent)
        session.flush()
        child = TrainingRun(
            id="0" * 36, drone_model_id=model.id, config={}, parent_run_id=parent.id
        )
        session.add(child)
        session.flush()
        session.add_all(
            TrainingEpoch(run_id=child.id, epoch=n, metrics={"loss": 0.1 * n}) for n in range(1200)
        )
        session.add(Job(kind="race", config={"list": [1, 2.5, "ü"]}, status=JobStatus.FINISHED))


def rows(database: Database) -> Rows:
    with database.session(read_only=True) as session:
        return {
            table.name: sorted((tuple(row) for row in session.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }


def test_everything_is_there_again(
    database: Database, data_dir: Path, empty: Database, tmp_path: Path
) -> None:
    target = tmp_path / "backup.tar.gz"
    size = back_up(database, data_dir, target)
    assert target.stat().st_size == size
    assert target.stat().st_mode & 0o077 == 0  # it holds password hashes
    restored = tmp_path / "restored"
    restore(target, empty, restored)
    assert rows(empty) == rows(database)
    found = {
        str(p.relative_to(restored)): p.read_bytes() for p in restored.rglob("*") if p.is_file()
    }
    assert {name: found.get(name) for name in FILES} == FILES
    assert not any(name.startswith(("secret_key", "jax_cache", ".restore")) for name in found)
    with empty.session() as session:  # the next id is a new one
        session.add(User(username="bob"))


def test_a_restore_that_fails_can_be_tried_again(
    database: Database, data_dir: Path, empty: Database, tmp_path: Path
) -> None:
    """Its folders may be there already, empty: the roots of volumes."""
    target, restored = tmp_path / "backup.tar.gz", tmp_path / "restored"
    back_up(database, data_dir, target)
    (restored / "runs").mkdir(parents=True)
    empty.upgrade()
    with empty.session() as session:
        session.add(User(username="in the way"))
    with pytest.raises(ConflictError, match="not empty"):
        restore(target, empty, restored)
    assert [path for path in restored.rglob("*") if path.is_file()] == []
    with empty.session() as session:
        session.delete(session.query(User).one())
    restore(target, empty, restored)
    assert rows(empty) == rows(database)
    assert (restored / next(iter(FILES))).is_file()


def test_a_folder_that_vanishes_does_not_stop_a_backup(
    database: Database, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = os.scandir

    def late(path: str | int) -> object:
        """Between the listing of a folder and that of one inside it, somebody deletes that."""
        if isinstance(path, str) and Path(path).parent == data_dir / "runs":
            shutil.rmtree(path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", late)
    back_up(database, data_dir, tmp_path / "backup.tar.gz")


def test_a_database_of_another_release_is_not_backed_up(data_dir: Path, tmp_path: Path) -> None:
    older = Database(f"sqlite:///{tmp_path / 'older.db'}")
    older.upgrade("0001")
    with pytest.raises(ConfigurationError, match="init-db"):
        back_up(older, data_dir, tmp_path / "backup.tar.gz")
    older.dispose()


def test_sessions_that_were_ended_since_stay_ended(
    database: Database, data_dir: Path, empty: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        tokens.begin(session, session.query(User).one(), "k" * 32)
    back_up(database, data_dir, tmp_path / "backup.tar.gz")
    restore(tmp_path / "backup.tar.gz", empty, tmp_path / "restored")
    with empty.session(read_only=True) as session:
        assert session.query(User).count() == 1
        assert session.query(SignIn).count() == 0


def test_a_full_installation_is_not_overwritten(
    database: Database, data_dir: Path, tmp_path: Path
) -> None:
    target = tmp_path / "backup.tar.gz"
    back_up(database, data_dir, target)
    before = rows(database)
    with pytest.raises(ConflictError, match="not empty"):
        restore(target, database, tmp_path / "elsewhere")
    with pytest.raises(ConflictError, match="not empty"):
        restore(target, database, data_dir)
    assert rows(database) == before
    assert list((tmp_path / "elsewhere").glob(".restore.*")) == []


def test_no_database_no_backup(tmp_path: Path) -> None:
    nothing = Database(f"sqlite:///{tmp_path / 'nothing.db'}")
    with pytest.raises(ConfigurationError, match="no database"):
        back_up(nothing, tmp_path, tmp_path / "backup.tar.gz")
    assert not (tmp_path / "backup.tar.gz").exists()
    assert not list(tmp_path.glob(".backup*"))
    nothing.dispose()


def archive(tmp_path: Path, **files: bytes) -> Path:
    target = tmp_path / "hostile.tar.gz"
    with tarfile.open(target, "w:gz") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return target


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "/etc/evil",
        "data/../../evil",
        "data/secret_key",
        "data/jax_cache/evil",
        "tables/a/b",
    ],
)
def test_a_hostile_archive_writes_nothing(tmp_path: Path, name: str) -> None:
    source = archive(tmp_path, **{name: b"evil"})
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(InvalidInputError, match="no backup"):
        restore(source, database, tmp_path / "data")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [source]
    database.dispose()


def test_a_link_is_no_backup(tmp_path: Path) -> None:
    source = tmp_path / "link.tar.gz"
    with tarfile.open(source, "w:gz") as made:
        entry = tarfile.TarInfo("data/runs/link")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc"
        made.addfile(entry)
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    with pytest.raises(InvalidInputError, match="no backup"):
        restore(source, database, tmp_path / "data")
    database.dispose()


def damaged(content: bytes) -> Iterator[bytes]:
    """Cut short, changed, another format, a broken row, one of too few values."""
    middle = len(content) // 2
    yield from (b"", b"hello", content[:middle], content[:-6])
    yield content[:middle] + bytes([content[middle] ^ 0xFF]) + content[middle + 1 :]
    told = gzip.decompress(content)
    for sound, broken in (
        (b'"format": 1,', b'"format": 9,'),
        (b'[1,"ada', b'{1,"ada'),
        (b'[1,"ada', b'["1_ada'),
        (b"tables/users.jsonl", b"tables/losers.json"),
    ):
        assert sound in told
        yield gzip.compress(told.replace(sound, broken))


def test_a_damaged_backup_leaves_nothing(tmp_path: Path, data_dir: Path) -> None:
    full = Database(f"sqlite:///{tmp_path / 'full.db'}")
    full.upgrade()
    fill(full)
    whole = tmp_path / "whole.tar.gz"
    back_up(full, data_dir, whole)
    content = whole.read_bytes()
    for number, broken in enumerate(damaged(content)):
        source, target = tmp_path / f"{number}.tar.gz", tmp_path / f"data{number}"
        source.write_bytes(broken)
        database = Database(f"sqlite:///{tmp_path / f'{number}.db'}")
        with pytest.raises(InvalidInputError):
            restore(source, database, target)
        assert not target.exists() or os.listdir(target) == []
        database.upgrade()
        assert rows(database)["users"] == []
        database.dispose()
    full.dispose()
