"""The audit log: what an operator may have to know later, told in the transaction that does it.

    audit.record(session, "race.delete", race.id)

Who did it, from which address and in which request is known of the request (auth.CALLER). Entries
go after AUDIT_DAYS, looked at whenever somebody signs in, and beyond MOST the oldest ones. Neither
passwords nor tokens are ever in it, and no name that nobody has: people type passwords there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from auth import CALLER, Caller
from models import AuditEntry, User, utc_now
from racer.web.paging import after

MOST = 200_000
_AT_ONCE = 1000  # rows that one request deletes


def record(
    session: Session,
    action: str,
    target: str,
    *,
    outcome: str = "done",
    actor: User | None = None,
) -> None:
    """Add an entry to what the session commits. `action` is `noun.verb`, up to 32 characters.

    `actor`: who does it, where the request does not say so yet.
    """
    caller = CALLER.get(None) or Caller()
    actor_id, name = (
        (actor.id, actor.username) if actor is not None else (caller.user_id, caller.username)
    )
    entry = AuditEntry(
        actor_id=actor_id,
        actor=name,
        action=action,
        target="".join(c for c in target if c.isprintable())[:200],
        outcome=outcome,
        address=caller.address[:64],
        request_id=caller.request_id,
    )
    session.add(entry)
    session.flush()
    oldest = select(AuditEntry.number).where(AuditEntry.number <= entry.number - MOST)
    # What another transaction deletes already is passed over: to wait for it could deadlock.
    oldest = oldest.limit(_AT_ONCE).with_for_update(skip_locked=True)
    session.execute(delete(AuditEntry).where(AuditEntry.number.in_(oldest)))


def sweep(session: Session, *, days: int) -> None:
    """Delete entries that are older."""
    old = select(AuditEntry.number).where(AuditEntry.created_at < utc_now() - timedelta(days=days))
    old = old.limit(_AT_ONCE).with_for_update(skip_locked=True)
    session.execute(delete(AuditEntry).where(AuditEntry.number.in_(old)))


def listed(session: Session, *, before: str | None, limit: int) -> Sequence[AuditEntry]:
    """The newest first. InvalidInputError when `before` is no place in that order."""
    wanted = select(AuditEntry).order_by(AuditEntry.created_at.desc(), AuditEntry.id)
    if before is not None:
        wanted = wanted.where(after(before, AuditEntry.created_at, AuditEntry.id))
    return session.scalars(wanted.limit(limit)).all()
