"""`python -m racer create-admin`: an account that may use everything."""

from __future__ import annotations

import argparse
import getpass
import sys
from typing import TYPE_CHECKING

from racer.errors import InvalidInputError

if TYPE_CHECKING:
    from database import Database

HELP = "make an admin's account, or make an account an admin's"
EXAMPLES = """\
Asks for a password unless the account has one. --password-stdin reads it from standard input
instead; an account that has another one gets it, and everybody signed in to it is signed out.

  python -m racer create-admin ada
  python -m racer create-admin ada --password-stdin < password.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("name", metavar="NAME", help="of the account")
    parser.add_argument(
        "--password-stdin", action="store_true", help="read the password's line from standard input"
    )


def run(options: argparse.Namespace) -> int:
    """Make or promote it."""
    from database import Database  # noqa: PLC0415 - SQLAlchemy
    from racer.settings import get_settings  # noqa: PLC0415

    name = _name(options.name)
    database = Database(get_settings().effective_database_url)
    try:
        database.upgrade()
        given = _from_stdin() if options.password_stdin else None
        if given is None and not _has_password(database, name):
            given = _asked(name)
        _make_admin(database, name, given)
    finally:
        database.dispose()
    print(f"{name} is an admin.")
    return 0


def _name(text: str) -> str:
    from schemas import clean_username  # noqa: PLC0415 - pydantic

    try:
        return clean_username(text)
    except ValueError as error:
        raise InvalidInputError(f"A name {error}.") from error


def _from_stdin() -> str:
    return _checked(sys.stdin.readline().removesuffix("\n"))


def _asked(name: str) -> str:
    """Twice, on the terminal."""
    try:
        password = _checked(getpass.getpass(f"Password of {name}: "))
        again = getpass.getpass("Once more: ")
    except EOFError as error:
        raise InvalidInputError(
            "There is no terminal to type the password at: use --password-stdin."
        ) from error
    if again != password:
        raise InvalidInputError("These are two passwords. Start again.")
    return password


def _checked(password: str) -> str:
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - slow to import

    from schemas import Password  # noqa: PLC0415

    try:
        return TypeAdapter[str](Password).validate_python(password)
    except ValidationError as error:
        why = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise InvalidInputError(f"The password {why}.") from None  # which would quote it


def _has_password(database: Database, name: str) -> bool:
    import crud  # noqa: PLC0415 - SQLAlchemy

    with database.session(read_only=True) as session:
        user = crud.find_user(session, name)
        return user is not None and user.password_hash is not None


def _make_admin(database: Database, name: str, password: str | None) -> None:
    import crud  # noqa: PLC0415 - SQLAlchemy
    from auth import CALLER, Caller, hash_password  # noqa: PLC0415
    from models import Role  # noqa: PLC0415
    from racer.accounts import changes  # noqa: PLC0415

    CALLER.set(Caller(username="python -m racer create-admin"))
    password_hash = None if password is None else hash_password(password)
    with database.session() as session:
        user = crud.find_user(session, name)
        if user is None:
            user = crud.create_user(session, name, password_hash=None)
        if password_hash is not None:
            changes.set_password(session, user, password_hash)
        changes.set_role(session, user.username, Role.ADMIN)
