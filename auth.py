"""Who is asking: passwords (bcrypt), the OAuth2 password flow, 30-minute JSON Web Tokens.

An account without a password is open, as in the seed. One with a password is its owner's: writing
under its name without a token is a 401, with somebody else's a 404, which tells nothing.
A password check costs the same whether the name exists or not, and holds no database connection.
bcrypt is slow on purpose: it runs in two threads of its own, so that guesses wait for each other
and not the whole API for them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, ParamSpec, TypeVar

from fastapi import Depends, Request
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from passlib.context import CryptContext
from sqlalchemy.orm import Session
from starlette.datastructures import State

import crud
from database import SessionDep
from models import User
from racer.errors import ConfigurationError, NotFoundError, UnauthorizedError
from racer.settings import Settings

TOKEN_LIFETIME_S = 30 * 60
_ALGORITHM = "HS256"
_SIGN_IN = "Sign in first: send the token from /token as a bearer token."
_SHORTEST_KEY = 32
_passwords = CryptContext(schemes=["bcrypt"], bcrypt__rounds=12, bcrypt__truncate_error=True)
# The hash of a password nobody has: checking against it takes as long as a real check.
_NOBODY = "$2b$12$2hy6089wQKkckzek/8EiWe4HwQi6VyVA4hvmxjP.9DR30Exm74zI."

P = ParamSpec("P")
T = TypeVar("T")
_bcrypt_threads = ThreadPoolExecutor(2, thread_name_prefix="bcrypt")

oauth2_scheme = OAuth2PasswordBearer(tokenUrl="token", auto_error=False)
Token = Annotated[str | None, Depends(oauth2_scheme)]


def hash_password(password: str) -> str:
    """A salted bcrypt hash. The length (8 to 72 bytes) is checked where the password comes in."""
    return str(_passwords.hash(password))


def password_matches(password: str, password_hash: str | None) -> bool:
    """Constant work, also for an account without a password or none at all (None: never true)."""
    try:
        matches = bool(_passwords.verify(password, password_hash or _NOBODY))
    except ValueError:  # over 72 bytes, a NUL, broken Unicode: nobody's password
        _passwords.verify("", _NOBODY)
        matches = False
    return matches and password_hash is not None


async def in_bcrypt_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run `hash_password` or `password_matches` when its turn comes."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_bcrypt_threads, lambda: work(*args, **kwargs))


def create_token(user: User, secret_key: str, *, now: float | None = None) -> str:
    """A signed token for `user`. Name and id must both fit: SQLite may give an id again."""
    issued = int(time.time() if now is None else now)
    claims = {
        "sub": user.username,
        "uid": user.id,
        "iat": issued,
        "exp": issued + TOKEN_LIFETIME_S,
    }
    return str(jwt.encode(claims, secret_key, algorithm=_ALGORITHM))


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is asking, and under which rules: every answer about access comes from here."""

    user: User | None  # None: nobody signed in
    open_accounts: bool  # AUTH_MODE=open: an account without a password is everybody's

    @property
    def id(self) -> int | None:
        """Of the account."""
        return None if self.user is None else self.user.id

    def may_use(self, owner: User) -> bool:
        """Whether what is `owner`'s is the visitor's to see and to change."""
        if self.user is not None and self.user.id == owner.id:
            return True
        return self.open_accounts and owner.password_hash is None


def visitor_of(session: Session, token: str | None, state: State) -> Visitor:
    """Who sent `token` to the app of this state. Raises UnauthorizedError for a bad token."""
    user = None if token is None else user_of(session, token, state.secret_key)
    return Visitor(user, open_accounts=state.settings.auth_mode == "open")


def _guest(request: Request, session: SessionDep, token: Token) -> Visitor:
    return visitor_of(session, token, request.app.state)


AnyVisitor = Annotated[Visitor, Depends(_guest, scope="function")]  # of what everybody may see


def _visitor(guest: AnyVisitor) -> Visitor:
    """Whoever it is; with AUTH_MODE=required somebody. Raises UnauthorizedError otherwise."""
    if guest.user is None and not guest.open_accounts:
        raise UnauthorizedError(_SIGN_IN)
    return guest


VisitorDep = Annotated[Visitor, Depends(_visitor, scope="function")]


def user_of(session: Session, token: str, secret_key: str) -> User:
    """The token's user. Raises UnauthorizedError for a bad token."""
    try:
        claims = jwt.decode(
            token,
            secret_key,
            algorithms=[_ALGORITHM],
            options={"require_exp": True, "require_sub": True},
        )
    except (JWTError, RecursionError, ArithmeticError, TypeError, ValueError) as error:
        # jose lets pass what JSON and numbers raise: brackets in brackets, `"exp": Infinity`.
        raise UnauthorizedError("The token is wrong or expired. Sign in again.") from error
    user = crud.find_user(session, claims["sub"])
    if user is None or user.id != claims.get("uid") or user.password_hash is None:
        raise UnauthorizedError("The token's account no longer exists. Sign in again.")
    return user


def _current_user(visitor: AnyVisitor) -> User:
    if visitor.user is None:
        raise UnauthorizedError(_SIGN_IN)
    return visitor.user


CurrentUser = Annotated[User, Depends(_current_user, scope="function")]


def require_access(owner: User, visitor: Visitor) -> None:
    """Raise unless `visitor` may see and change what is `owner`'s: 401 for nobody, 404 for
    another."""
    if visitor.may_use(owner):
        return
    if visitor.user is None:
        raise UnauthorizedError(
            f"The account {owner.username!r} is protected. Sign in at /token first."
        )
    raise NotFoundError("There is no such thing among yours.")


def load_secret_key(settings: Settings) -> str:
    """SECRET_KEY, or the installation's own, made once with mode 0600 in DATA_DIR.

    Made complete under another name and then linked: of several processes that start at once, one
    wins and all read the same key.
    """
    if settings.secret_key:
        if len(settings.secret_key) < _SHORTEST_KEY:
            raise ConfigurationError(
                f"SECRET_KEY is shorter than {_SHORTEST_KEY} characters, so that tokens could be "
                "forged. Make one with .venv/bin/python -c "
                "'import secrets; print(secrets.token_urlsafe(48))', or leave it empty."
            )
        return settings.secret_key
    path = settings.data_dir / "secret_key"
    try:
        if not path.exists():
            _create_secret_key(path)
        key = path.read_text("ascii").strip()
    except OSError as error:
        raise ConfigurationError(
            f"Cannot keep the secret key in {path}: {error.strerror}. Make DATA_DIR writable, or "
            "set SECRET_KEY."
        ) from error
    if len(key) < _SHORTEST_KEY:
        raise ConfigurationError(f"{path} is damaged. Delete it (everybody signs in again).")
    return key


def _create_secret_key(path: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with NamedTemporaryFile("w", dir=path.parent, prefix=".secret_key.") as file:  # mode 0600
        file.write(secrets.token_urlsafe(48))
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return  # another process was faster; its key is the key
