"""Who is asking: passwords (bcrypt), the OAuth2 password flow, 30-minute JSON Web Tokens.

An account without a password is open, as in the seed. One with a password is its owner's: seeing
or changing what is under it is a 401 without a token, and with somebody else's a 404 in the words
of what does not exist, which tells nothing.
A token is of a session (models.SignIn, racer.accounts.tokens) and counts as long as that row does.
A password check costs the same whether the name exists or not, and holds no database connection.
bcrypt is slow on purpose: it runs in two threads of its own, so that guesses wait for each other
and not the whole API for them.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Annotated, Any, ParamSpec, TypeVar

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2PasswordBearer
from jose import JWTError, jwt
from passlib.context import CryptContext
from sqlalchemy import ColumnElement, or_, select, true
from sqlalchemy.orm import Session
from starlette.datastructures import State

import crud
from crud import Account
from database import SessionDep
from models import Role, SignIn, User, utc_now
from racer.errors import NotFoundError, UnauthorizedError

TOKEN_LIFETIME_S = 30 * 60
_ALGORITHM = "HS256"
_USE = "access"  # what our tokens are for: nothing else that the key may sign is one
_SIGN_IN = "Sign in first: send the token from /token as a bearer token."
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


def create_token(
    user: User, secret_key: str, *, session_id: str = "", now: float | None = None
) -> str:
    """A signed token of the user's session. Name and id must both fit: SQLite may give an id
    again."""
    issued = int(time.time() if now is None else now)
    claims = {
        "sub": user.username,
        "uid": user.id,
        "sid": session_id,
        "use": _USE,
        "iat": issued,
        "exp": issued + TOKEN_LIFETIME_S,
    }
    return str(jwt.encode(claims, secret_key, algorithm=_ALGORITHM))


@dataclass(slots=True)
class Caller:
    """Where a request comes from and, once that is known, from whom: for the audit log."""

    address: str = ""
    request_id: str = ""
    user_id: int | None = None
    username: str = ""


# Set for each request by racer.web.middleware. One object a request: what a thread of it writes
# there, all of it reads.
CALLER: ContextVar[Caller] = ContextVar("caller")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is asking, and under which rules: every answer about access comes from here."""

    user: User | None  # None: nobody signed in
    open_accounts: bool  # AUTH_MODE=open: an account without a password is everybody's
    session_id: str | None = None  # of the token

    @property
    def id(self) -> int | None:
        """Of the account."""
        return None if self.user is None else self.user.id

    @property
    def is_admin(self) -> bool:
        """Whether everything is theirs to use."""
        return self.user is not None and self.user.role is Role.ADMIN

    @property
    def manages_races(self) -> bool:
        """Whether every race is theirs to manage."""
        return self.user is not None and self.user.role in (Role.RACE_DIRECTOR, Role.ADMIN)

    def may_use(self, owner: User | Account | None) -> bool:
        """Whether what is `owner`'s is the visitor's to see and to change; None: of an account that
        is gone, or of the installation, which admins may use."""
        if self.is_admin:
            return True
        if owner is None:
            return False
        if self.user is not None and self.user.id == owner.id:
            return True
        return self.open_accounts and owner.password_hash is None

    def usable(self) -> ColumnElement[bool]:
        """`may_use` of a statement's User: what lists show."""
        if self.is_admin:
            return true()
        own = User.id == self.id  # of nobody's None: never
        return or_(own, User.password_hash.is_(None)) if self.open_accounts else own


def visitor_of(session: Session, token: str | None, state: State) -> Visitor:
    """Who sent `token` to the app of this state. Raises UnauthorizedError for a bad token."""
    open_accounts = state.settings.auth_mode == "open"
    if token is None:
        return Visitor(None, open_accounts)
    user, session_id = _signed_in(session, token, state.secret_key)
    if (caller := CALLER.get(None)) is not None:
        caller.user_id, caller.username = user.id, user.username
    return Visitor(user, open_accounts, session_id)


async def _guest(request: Request, session: SessionDep, token: Token) -> Visitor:
    if token is None:  # without the detour through a thread
        return visitor_of(session, None, request.app.state)
    return await run_in_threadpool(visitor_of, session, token, request.app.state)


AnyVisitor = Annotated[Visitor, Depends(_guest, scope="function")]  # of what everybody may see


async def _somebody(request: Request, token: Token) -> None:
    """Refuse who sends no token with AUTH_MODE=required, without asking the database."""
    if token is None and request.app.state.settings.auth_mode == "required":
        raise UnauthorizedError(_SIGN_IN)


Somebody = Annotated[None, Depends(_somebody)]  # for what is done before anybody is looked up


def require_somebody(visitor: Visitor) -> None:
    """Raise UnauthorizedError for nobody with AUTH_MODE=required."""
    if visitor.user is None and not visitor.open_accounts:
        raise UnauthorizedError(_SIGN_IN)


async def _visitor(request: Request, session: SessionDep, token: Token) -> Visitor:
    """Whoever it is; with AUTH_MODE=required somebody. Raises UnauthorizedError otherwise.

    It calls the others instead of depending on them: nearly every request comes by, and FastAPI
    takes longer to resolve a dependency than these take.
    """
    await _somebody(request, token)
    return await _guest(request, session, token)


VisitorDep = Annotated[Visitor, Depends(_visitor, scope="function")]


@dataclass(frozen=True, slots=True)
class Visit:
    """A request that only reads, for handlers that are asked for often: one thread does all of it.

    SessionDep and VisitorDep say the same; resolving them costs more than such a handler does.
    """

    state: State  # of the app
    token: str | None

    @contextmanager
    def reading(self) -> Iterator[tuple[Session, Visitor]]:
        """For a statement or two that read, and who asks; call it in a thread.

        Raises UnauthorizedError for a bad token, and for nobody with AUTH_MODE=required.
        """
        with self.state.database.open_brief() as session:
            visitor = visitor_of(session, self.token, self.state)
            require_somebody(visitor)
            yield session, visitor


async def _visit(request: Request, token: Token) -> Visit:
    return Visit(request.app.state, token)


VisitDep = Annotated[Visit, Depends(_visit)]


def _admitted(session: SessionDep, _visitor: VisitorDep) -> None:
    session.commit()


# For work that takes a while and needs no database: whoever comes, as above, but no transaction
# waits for it.
Admitted = Annotated[None, Depends(_admitted, scope="function")]


def user_of(session: Session, token: str, secret_key: str) -> User:
    """The token's user. Raises UnauthorizedError for a bad token."""
    return _signed_in(session, token, secret_key)[0]


def claims_of(token: str, secret_key: str, *, expired_too: bool = False) -> dict[str, Any]:
    """What a token says that we signed. Raises UnauthorizedError for any other."""
    wanted = {"require_exp": True, "require_sub": True, "verify_exp": not expired_too}
    try:
        claims = dict(jwt.decode(token, secret_key, algorithms=[_ALGORITHM], options=wanted))
        json.dumps(claims, ensure_ascii=False).encode()  # no database takes half a surrogate pair
    except (JWTError, RecursionError, ArithmeticError, TypeError, ValueError) as error:
        # jose lets pass what JSON and numbers raise: brackets in brackets, `"exp": Infinity`.
        raise UnauthorizedError("The token is wrong or expired. Sign in again.") from error
    return claims


def _signed_in(session: Session, token: str, secret_key: str) -> tuple[User, str]:
    """The token's user and session, which must both still be there: one query."""
    claims = claims_of(token, secret_key)
    session_id = claims.get("sid")
    if claims.get("use") != _USE or not isinstance(session_id, str):
        raise UnauthorizedError("The token is for something else. Sign in at /token.")
    lasting = select(User).join(SignIn, SignIn.user_id == User.id)
    lasting = lasting.where(SignIn.id == session_id, SignIn.expires_at > utc_now())
    user = session.scalar(lasting.where(User.username == claims["sub"]))
    if user is None or user.id != claims.get("uid") or user.password_hash is None:
        raise UnauthorizedError("The token's session has ended. Sign in again.")
    return user, session_id


async def _current_user(visitor: AnyVisitor) -> User:
    if visitor.user is None:
        raise UnauthorizedError(_SIGN_IN)
    return visitor.user


CurrentUser = Annotated[User, Depends(_current_user, scope="function")]


def require_access(
    owner: User | Account | None,
    visitor: Visitor,
    *,
    missing: str = "There is no such thing among yours.",
) -> None:
    """Raise unless `visitor` may see and change what is `owner`'s: 401 for nobody, for another a
    404 that says `missing`, which is what is said of things that do not exist."""
    if visitor.may_use(owner):
        return
    if owner is not None and visitor.user is None:
        raise UnauthorizedError(
            f"The account {owner.username!r} is protected. Sign in at /token first."
        )
    raise NotFoundError(missing)


def get_account(session: Session, username: str, visitor: Visitor) -> User:
    """The account of that name, if `visitor` may use it; raises as `require_access`."""
    require_somebody(visitor)
    user = crud.get_user(session, username)
    require_access(user, visitor, missing=crud.no_user(username))
    return user


def _named_account(session: SessionDep, visitor: VisitorDep, username: str) -> User:
    return get_account(session, username, visitor)


# The account that a path's `username` names, of whoever may use it.
NamedAccount = Annotated[User, Depends(_named_account, scope="function")]
