"""Statements that change an account: its password and its role."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

import crud
from auth import Visitor, get_account
from models import Role, User
from racer.accounts import audit, tokens
from racer.errors import ConflictError


def whose_password(session: Session, username: str, visitor: Visitor) -> tuple[User, bool]:
    """The account whose password the visitor may set, and whether they need the present one.

    Raises NotFoundError, UnauthorizedError.
    """
    user = get_account(session, username, visitor)
    return user, user.password_hash is not None and user.id == visitor.id


def set_password(session: Session, user: User, password_hash: str) -> None:
    """From now on nobody is signed in."""
    user.password_hash = password_hash
    tokens.end_all(session, user)
    audit.record(session, "account.password", user.username)


def set_role(session: Session, username: str, role: Role) -> User:
    """Raises NotFoundError, and ConflictError for an account that anybody could sign in to, or
    when no admin would be left."""
    user = crud.get_user(session, username)
    if role is not Role.PILOT and user.password_hash is None:
        raise ConflictError(
            f"{user.username!r} has no password, so that anybody could use the role. Set one first."
        )
    if role is not Role.ADMIN:
        require_another_admin(session, user)
    audit.record(session, "account.role", f"{user.username}: {user.role} -> {role}")
    user.role = role
    return user


def require_another_admin(session: Session, user: User) -> None:
    """ConflictError when the account is the only admin's. Holds every admin's row, so that two
    cannot step down at once."""
    admins = select(User.id).where(User.role == Role.ADMIN).order_by(User.id).with_for_update()
    if list(session.scalars(admins)) == [user.id]:
        raise ConflictError(
            "This is the only admin's account. Make somebody else an admin first, here or with "
            "`python -m racer create-admin`."
        )
