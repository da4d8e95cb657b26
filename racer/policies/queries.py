"""Statements on kept policies, one short transaction each.

Who adds one holds its owner's row (PostgreSQL; SQLite has one writer anyway): that makes the
version's number, the quota and "is it there already" one decision, with however many servers.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, contains_eager

from auth import Visitor
from models import KeptRun, Policy, Status, TrainingEpoch, TrainingRun, User, UserDroneModel
from racer.accounts.service import audit
from racer.errors import ConflictError, NotFoundError
from racer.web import paging
from racer.web.ids import is_id

NO_POLICY = "There is no policy of that id."  # or not for who asks
NO_RUN = "There is no run of that id."


@dataclass(frozen=True)
class RunFacts:
    """What a version takes from its run."""

    run_id: str
    user_id: int
    drone_model_id: int
    title: str  # of the drone model
    parent_run_id: str | None  # the run that it continued
    parent_policy_id: str | None  # the policy, if it was one
    finished: bool
    metrics: dict[str, Any]  # of the newest epoch


@dataclass(frozen=True)
class NewPolicy:
    """A row to be."""

    id: str
    user_id: int
    name: str
    origin: str
    sha256: str
    size_bytes: int
    track: str
    manifest: dict[str, Any]
    run: RunFacts | None  # that it comes from


@dataclass(frozen=True)
class PolicyView:
    """A policy with the names of what it refers to."""

    policy: Policy  # its user is loaded
    drone_id: str | None


def get_policy(session: Session, policy_id: str) -> PolicyView:
    """The policy; NotFoundError when there is none."""
    found = None
    if is_id(policy_id):
        found = session.execute(_views().where(Policy.id == policy_id)).one_or_none()
    if found is None:
        raise NotFoundError(NO_POLICY)
    return PolicyView(*found)


def list_policies(
    session: Session,
    visitor: Visitor,
    *,
    username: str | None,
    name: str | None,
    track: str | None,
    origin: str | None,
    drone_id: str | None,
    before: str | None,
    limit: int,
) -> Sequence[PolicyView]:
    """Those that the visitor may use, the newest first; after the place `before` (racer.web.paging)
    in that order. InvalidInputError when that is no place."""
    statement = _views().where(visitor.usable()).order_by(Policy.created_at.desc(), Policy.id)
    for column, wanted in (
        (User.username, username),
        (Policy.name, name),
        (Policy.track, track),
        (Policy.origin, origin),
        (UserDroneModel.drone_id, drone_id and drone_id.lower()),
    ):
        if wanted is not None:
            statement = statement.where(column == wanted)
    if before is not None:
        statement = statement.where(paging.after(before, Policy.created_at, Policy.id))
    return [PolicyView(*row) for row in session.execute(statement.limit(limit)).all()]


def _views() -> Select[Policy, str]:
    return (
        select(Policy, UserDroneModel.drone_id)
        .join(Policy.user)
        .outerjoin(UserDroneModel, Policy.drone_model_id == UserDroneModel.id)
        .options(contains_eager(Policy.user))
    )


def run_owner(session: Session, run_id: str) -> User:
    """Whose drone model the run trains; NotFoundError when there is no such run."""
    owner = None
    if is_id(run_id):
        statement = select(User).join(User.drone_models).join(UserDroneModel.runs)
        owner = session.scalar(statement.where(TrainingRun.id == run_id))
    if owner is None:
        raise NotFoundError(NO_RUN)
    return owner


def run_facts(session: Session, run_id: str) -> RunFacts:
    """What a version takes from the run; NotFoundError when there is no such run."""
    run = session.get(TrainingRun, run_id)
    if run is None:
        raise NotFoundError(NO_RUN)
    newest = (
        select(TrainingEpoch.metrics)
        .where(TrainingEpoch.run_id == run_id)
        .order_by(TrainingEpoch.epoch.desc())
        .limit(1)
    )
    model = run.drone_model
    return RunFacts(
        run_id=run.id,
        user_id=model.user_id,
        drone_model_id=model.id,
        title=model.title,
        parent_run_id=run.parent_run_id,
        parent_policy_id=run.parent_policy_id,
        finished=run.status is Status.FINISHED,
        metrics=dict(session.scalar(newest) or {}),
    )


def finished_runs_not_kept(session: Session) -> Sequence[str]:
    """Finished runs of which no policy was ever kept, the oldest first."""
    return session.scalars(
        select(TrainingRun.id)
        .outerjoin(KeptRun, KeptRun.run_id == TrainingRun.id)
        .where(TrainingRun.status == Status.FINISHED, KeptRun.run_id.is_(None))
        .order_by(TrainingRun.created_at, TrainingRun.id)
    ).all()


def recorded(session: Session, policy_ids: Collection[str]) -> set[str]:
    """Those of the ids that have a row."""
    return set(session.scalars(select(Policy.id).where(Policy.id.in_(policy_ids))))


def add_policy(session: Session, new: NewPolicy, *, quota_bytes: int) -> str:
    """The id of the new row, or of one that is there: of the same run, or for an upload of the
    same user, with the same network. ConflictError when the user has too many bytes of policies,
    NotFoundError when the user is gone."""
    locked = select(User.id).where(User.id == new.user_id).with_for_update(key_share=True)
    if session.scalar(locked) is None:
        raise NotFoundError("The account was deleted.")
    run_id = new.run.run_id if new.run else None
    if new.run is not None and new.run.finished and session.get(KeptRun, run_id) is None:
        session.add(KeptRun(run_id=run_id))
    if (there := _same(session, new)) is not None:
        return there
    used = select(func.sum(Policy.size_bytes)).where(Policy.user_id == new.user_id)
    if (session.scalar(used) or 0) + new.size_bytes > quota_bytes:
        raise ConflictError(
            f"More than {quota_bytes // 10**6} MB of policies (POLICIES_MB) is more than one user "
            "may keep. Delete some first."
        )
    named = select(func.max(Policy.version)).where(
        Policy.user_id == new.user_id, Policy.name == new.name
    )
    session.add(
        Policy(
            id=new.id,
            user_id=new.user_id,
            drone_model_id=new.run.drone_model_id if new.run else None,
            run_id=run_id,
            parent_id=_parent_of(session, new.run) if new.run else None,
            name=new.name,
            version=(session.scalar(named) or 0) + 1,
            origin=new.origin,
            sha256=new.sha256,
            size_bytes=new.size_bytes,
            track=new.track,
            manifest=new.manifest,
            metrics=new.run.metrics if new.run else {},
        )
    )
    session.flush()
    return new.id


def _parent_of(session: Session, run: RunFacts) -> str | None:
    """The policy that the run continued, or the newest one of the run that it continued; nobody
    deletes it before the end of the transaction."""
    if run.parent_policy_id is not None:
        parents = select(Policy.id).where(Policy.id == run.parent_policy_id)
    else:
        parents = select(Policy.id).where(Policy.run_id == run.parent_run_id)
    newest = parents.order_by(Policy.created_at.desc(), Policy.id).limit(1)
    return session.scalar(newest.with_for_update(read=True, key_share=True))


def _same(session: Session, new: NewPolicy) -> str | None:
    same = select(Policy.id).where(Policy.user_id == new.user_id, Policy.sha256 == new.sha256)
    if new.run is not None:
        same = same.where(Policy.run_id == new.run.run_id)
    return session.scalar(same.order_by(Policy.created_at, Policy.id).limit(1))


def delete_policy(session: Session, policy_id: str, *, doubt: Callable[[], None]) -> None:
    """Forget it; those that were made from it stay, without a parent. NotFoundError. `doubt` says
    of its files that they may be nobody's."""
    session.delete(get_policy(session, policy_id).policy)
    session.flush()
    doubt()
    audit.record(session, "policy.delete", policy_id)
