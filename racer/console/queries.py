"""What only the console asks the database."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import User


def open_usernames(session: Session, limit: int) -> list[str]:
    """Names of the newest accounts without a password. Protected ones are not listed."""
    query = (
        select(User.username)
        .where(User.password_hash.is_(None))
        .order_by(User.created_at.desc(), User.id.desc())
        .limit(limit)
    )
    return list(session.scalars(query))
