"""Signing in: the limits, the password, the session, and the word in the audit log.

bcrypt takes a quarter of a second on purpose and holds no transaction meanwhile. What was read
before is looked at again when the session is written: a password that was changed meanwhile lets
nobody in.
"""

from __future__ import annotations

import asyncio

from fastapi.concurrency import run_in_threadpool
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.datastructures import State

import crud
from auth import CALLER, Caller, in_bcrypt_thread, password_matches
from models import User
from racer.accounts import audit, tokens
from racer.accounts.limits import SignInLimits
from racer.errors import UnauthorizedError
from schemas import TokenOut, clean_username

_WRONG = "The name or the password is wrong."
_NOBODY = "(no such account)"


async def sign_in(state: State, username: str, password: str) -> TokenOut:
    """A session of the account. Raises as `check_password`."""
    user = await check_password(state, username, password)
    return await run_in_threadpool(_begun, state, user)


async def check_password(state: State, username: str, password: str) -> User:
    """The account, if that is its password. Tries are limited, failures are in the audit log.

    Raises UnauthorizedError, TooManyRequestsError.
    """
    user = await run_in_threadpool(_find, state, username)
    if not await is_right(state, user, _spelt(username), password) or user is None:
        await run_in_threadpool(_tell_failure, state, user)
        raise UnauthorizedError(_WRONG)
    return user


async def is_right(state: State, user: User | None, account: str, password: str) -> bool:
    """Whether the password is the user's, one try of the limits. Raises TooManyRequestsError."""
    limits, address = limits_of(state), (CALLER.get(None) or Caller()).address
    await asyncio.sleep(limits.try_to(account, address))
    password_hash = None if user is None else user.password_hash
    if not await in_bcrypt_thread(password_matches, password, password_hash):
        return False
    limits.succeeded(account, address)
    return True


def limits_of(state: State) -> SignInLimits:
    """Of the app of this state, made when first asked for. Call it in the event loop."""
    if not hasattr(state, "sign_in_limits"):
        state.sign_in_limits = SignInLimits()
    limits: SignInLimits = state.sign_in_limits
    return limits


def same_password(session: Session, seen: User) -> User:
    """The account as it is now, held until the end of the transaction. UnauthorizedError when it is
    gone or its password another one."""
    held = select(User).where(User.id == seen.id).with_for_update()
    user = session.scalar(held)
    if user is None or (user.username, user.password_hash) != (seen.username, seen.password_hash):
        raise UnauthorizedError(_WRONG)
    return user


def _find(state: State, username: str) -> User | None:
    with state.database.session(read_only=True) as session:
        return crud.find_user(session, username)


def _begun(state: State, seen: User) -> TokenOut:
    with state.database.session() as session:
        user = same_password(session, seen)
        audit.sweep(session, days=state.settings.audit_days)
        audit.record(session, "account.sign_in", user.username, actor=user)
        return tokens.begin(session, user, state.secret_key)


def _tell_failure(state: State, user: User | None) -> None:
    with state.database.session() as session:
        audit.sweep(session, days=state.settings.audit_days)
        target = _NOBODY if user is None else user.username
        audit.record(session, "account.sign_in", target, outcome="refused")


def _spelt(username: str) -> str:
    try:
        return clean_username(username)
    except ValueError:
        return ""  # nobody's
