"""Sessions: a row from signing in until signing out, renewed by rotating refresh tokens.

A refresh token is `handle.secret`, both random. All of a session's have one handle, only the newest
has the secret that counts: whoever comes with an older one had it from a thief, or is the thief,
and the session ends for both. Nothing grows with the number of renewals.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from hmac import compare_digest

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from auth import TOKEN_LIFETIME_S, create_token
from models import SignIn, User, utc_now
from racer.accounts import audit
from schemas import TokenOut

SESSION_LIFETIME = timedelta(days=30)  # since it was last renewed
MOST_SESSIONS = 100  # of an account: the oldest go, as of a script that never signs out
_AT_ONCE = 1000  # rows that one request deletes


def begin(session: Session, user: User, secret_key: str) -> TokenOut:
    """A new session of the user."""
    _sweep(session, user)
    handle, secret = secrets.token_urlsafe(16), secrets.token_urlsafe(32)
    row = SignIn(
        user_id=user.id,
        handle_sha256=_digest(handle),
        secret_sha256=_digest(secret),
        expires_at=utc_now() + SESSION_LIFETIME,
    )
    session.add(row)
    session.flush()
    return _told(user, row, f"{handle}.{secret}", secret_key)


def renew(session: Session, token: str, secret_key: str) -> TokenOut | None:
    """What comes after the refresh token; None for one that is not, or no longer, any. One that was
    used before ends its session: commit in any case."""
    handle, _, secret = token.partition(".")
    wanted = select(SignIn).where(SignIn.handle_sha256 == _digest(handle)).with_for_update()
    row = session.scalar(wanted)
    if row is None or row.expires_at <= utc_now():
        return None
    user = row.user
    if not compare_digest(row.secret_sha256, _digest(secret)):
        session.delete(row)
        audit.record(session, "token.reuse", user.username, outcome="refused")
        return None
    fresh = secrets.token_urlsafe(32)
    row.secret_sha256, row.expires_at = _digest(fresh), utc_now() + SESSION_LIFETIME
    session.flush()
    return _told(user, row, f"{handle}.{fresh}", secret_key)


def end(session: Session, session_id: str) -> None:
    """Its tokens count no more."""
    session.execute(delete(SignIn).where(SignIn.id == session_id))


def end_all(session: Session, user: User) -> None:
    """Of an account."""
    session.execute(delete(SignIn).where(SignIn.user_id == user.id))


def _sweep(session: Session, user: User) -> None:
    """What has expired, whosever, and the user's sessions that are too many."""
    # What another transaction deletes already is passed over: to wait for it could deadlock.
    old = select(SignIn.id).where(SignIn.expires_at <= utc_now())
    old = old.limit(_AT_ONCE).with_for_update(skip_locked=True)
    session.execute(delete(SignIn).where(SignIn.id.in_(old)))
    theirs = select(SignIn.id).where(SignIn.user_id == user.id)
    theirs = theirs.order_by(SignIn.expires_at.desc(), SignIn.id).offset(MOST_SESSIONS - 1)
    too_many = session.scalars(theirs.limit(_AT_ONCE)).all()
    if too_many:
        session.execute(delete(SignIn).where(SignIn.id.in_(too_many)))


def _told(user: User, row: SignIn, refresh_token: str, secret_key: str) -> TokenOut:
    return TokenOut(
        access_token=create_token(user, secret_key, session_id=row.id),
        expires_in=TOKEN_LIFETIME_S,
        refresh_token=refresh_token,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
