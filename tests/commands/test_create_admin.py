"""The first admin comes from the machine itself."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

import auth
import crud
from database import Database
from models import AuditEntry, Role, SignIn
from racer.accounts import tokens
from racer.cli import main
from racer.settings import get_settings

OLD, NEW = "correct horse", "a red kite over the moor"


@pytest.fixture
def database(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    """That of the settings, migrated by the command itself."""
    monkeypatch.setattr(auth, "_passwords", auth._passwords.copy(bcrypt__rounds=4))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setenv("DATABASE_URL", database_url)
    get_settings.cache_clear()
    made = Database(database_url)
    yield made
    made.dispose()
    get_settings.cache_clear()


def typed(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What a person types at the prompts; the prompts."""
    answers, prompts = iter(words), list[str]()

    def ask(prompt: str = "") -> str:
        prompts.append(prompt)
        return next(answers)

    monkeypatch.setattr("getpass.getpass", ask)
    return prompts


def piped(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(text))


def add(database: Database, name: str, password: str | None) -> None:
    database.upgrade()
    with database.session() as session:
        password_hash = None if password is None else auth.hash_password(password)
        user = crud.create_user(session, name, password_hash=password_hash)
        if password is not None:
            tokens.begin(session, user, "k" * 32)


def is_admin(database: Database, name: str, password: str) -> bool:
    with database.session(read_only=True) as session:
        user = crud.get_user(session, name)
        return user.role is Role.ADMIN and auth.password_matches(password, user.password_hash)


def test_a_new_account_is_made_with_the_password_that_is_typed(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    prompts = typed(monkeypatch, NEW, NEW)
    assert main(["create-admin", " ada "]) == 0
    assert len(prompts) == 2
    assert is_admin(database, "ada", NEW)
    told = capsys.readouterr()
    assert told.out.endswith("ada is an admin.\n")
    assert NEW not in told.out + told.err
    with database.session(read_only=True) as session:
        entries = session.scalars(select(AuditEntry).order_by(AuditEntry.number)).all()
    assert [entry.action for entry in entries] == ["account.password", "account.role"]
    assert {entry.actor for entry in entries} == {"python -m racer create-admin"}


def test_an_account_with_a_password_is_promoted_as_it_is(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, "ada", OLD)
    prompts = typed(monkeypatch)
    for _ in range(2):
        assert main(["create-admin", "ada"]) == 0
    assert prompts == []
    assert is_admin(database, "ada", OLD)
    with database.session(read_only=True) as session:
        assert session.query(SignIn).count() == 1


def test_an_open_account_gets_the_password_that_is_piped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, "ada", None)
    piped(monkeypatch, f"{NEW}\n")
    assert main(["create-admin", "ada", "--password-stdin"]) == 0
    assert is_admin(database, "ada", NEW)


def test_a_password_that_is_piped_replaces_the_old_one_and_signs_out(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(database, "ada", OLD)
    piped(monkeypatch, NEW)
    assert main(["create-admin", "ada", "--password-stdin"]) == 0
    assert is_admin(database, "ada", NEW)
    with database.session(read_only=True) as session:
        assert session.query(SignIn).count() == 0


@pytest.mark.parametrize("word", ["", "short\n", "x" * 73])
def test_a_password_that_breaks_the_rule_makes_nobody_an_admin(
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    word: str,
) -> None:
    add(database, "ada", None)
    piped(monkeypatch, word)
    assert main(["create-admin", "ada", "--password-stdin"]) == 2
    error = capsys.readouterr().err
    assert "8 to 72 bytes" in error
    assert error.count("\n") == 1
    assert not word or word not in error
    assert not is_admin(database, "ada", word)


def test_words_that_differ_and_names_that_break_the_rule_are_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    typed(monkeypatch, NEW, OLD)
    assert main(["create-admin", "ada"]) == 2
    assert "two passwords" in capsys.readouterr().err
    assert main(["create-admin", "a/b"]) == 2
    assert "letter" in capsys.readouterr().err
    with database.session(read_only=True) as session:
        assert crud.find_user(session, "ada") is None
