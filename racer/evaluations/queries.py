"""Statements on evaluations. Who is executed and how that ended is the job's (racer.jobs)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, contains_eager

from auth import Visitor, require_access
from models import Evaluation, Job, JobStatus, Policy, User
from racer.errors import ConflictError, NotFoundError
from racer.evaluations.courses import Course
from racer.evaluations.schemas import EvaluationFilter
from racer.jobs.service import submit
from racer.web.ids import is_id
from racer.web.paging import after

KIND = "evaluation"
_NO_POLICY = "There is no policy of that id."  # or not for who asks
_NO_EVALUATION = "There is no evaluation of that id."
MOST_WAITING = 50  # evaluations of one account


def get_policy(session: Session, policy_id: str, visitor: Visitor) -> Policy:
    """A policy that the visitor may use; raises NotFoundError, UnauthorizedError."""
    policy = session.get(Policy, policy_id) if is_id(policy_id) else None
    if policy is None:
        raise NotFoundError(_NO_POLICY)
    require_access(policy.user, visitor, missing=_NO_POLICY)
    return policy


def add(
    session: Session, policy: Policy, settings: dict[str, Any], course: Course | None
) -> Evaluation:
    """Queue an evaluation of the policy, under its owner, on a course or on the policy's own.
    ConflictError when too many of the owner's wait already."""
    waiting = select(func.count()).select_from(Evaluation).join(Evaluation.job)
    waiting = waiting.where(
        Evaluation.user_id == policy.user_id, Job.status.in_((JobStatus.QUEUED, JobStatus.RUNNING))
    )
    if (session.scalar(waiting) or 0) >= MOST_WAITING:
        raise ConflictError(
            f"{MOST_WAITING} evaluations of this account wait already: let some finish, or cancel "
            "them."
        )
    config = settings | {"policy_id": policy.id, "track": course.text if course else None}
    evaluation = Evaluation(
        policy=policy,
        user=policy.user,
        job=submit(session, KIND, config, owner_id=policy.user_id),
        settings=settings,
        track_name=course.name if course else None,
        track=course.text if course else None,
        track_sha256=course.sha256 if course else None,
    )
    session.add(evaluation)
    session.flush()
    return evaluation


def ended(session: Session, job: Job) -> None:
    """Keep what the job found; it is told once, in the transaction that ends the job."""
    evaluation = session.scalar(select(Evaluation).where(Evaluation.job_id == job.id))
    if evaluation is None or job.status is not JobStatus.FINISHED or job.result is None:
        return
    found = job.result
    evaluation.report, evaluation.conditions = found["report"], found["conditions"]
    evaluation.flights = found["flights"]
    job.result = None  # it is here now, and long


def get(session: Session, evaluation_id: str, visitor: Visitor) -> Evaluation:
    """An evaluation that the visitor may use, with its job, policy and owner; raises NotFoundError,
    UnauthorizedError."""
    wanted = _whole().where(Evaluation.id == evaluation_id)
    evaluation = session.scalar(wanted) if is_id(evaluation_id) else None
    if evaluation is None:
        raise NotFoundError(_NO_EVALUATION)
    require_access(evaluation.user, visitor, missing=_NO_EVALUATION)
    return evaluation


def get_finished(
    session: Session, evaluation_id: str, visitor: Visitor
) -> tuple[Evaluation, dict[str, Any]]:
    """With its flights, start by start; ConflictError when it has not finished."""
    evaluation = get(session, evaluation_id, visitor)
    session.refresh(evaluation, ["flights"])
    if evaluation.flights is None:
        raise ConflictError(
            f"The evaluation {evaluation.id} is {evaluation.job.status}, so there is nothing to "
            "compare. Only finished ones can be."
        )
    return evaluation, evaluation.flights


def listed(
    session: Session, visitor: Visitor, wanted: EvaluationFilter, *, limit: int
) -> Sequence[Evaluation]:
    """Those that the visitor may use, the newest first. InvalidInputError when `before` is no place
    in that order."""
    statement = (
        _whole().where(visitor.usable()).order_by(Evaluation.created_at.desc(), Evaluation.id)
    )
    if wanted.status:
        statement = statement.where(Job.status.in_([JobStatus(word) for word in wanted.status]))
    if wanted.username is not None:
        statement = statement.where(User.username == wanted.username)
    if wanted.policy_id is not None:
        statement = statement.where(Evaluation.policy_id == wanted.policy_id)
    if wanted.before is not None:
        statement = statement.where(after(wanted.before, Evaluation.created_at, Evaluation.id))
    return session.scalars(statement.limit(limit)).all()


def _whole() -> Select[Evaluation]:
    return (
        select(Evaluation)
        .join(Evaluation.job)
        .join(Evaluation.policy)
        .join(Evaluation.user)
        .options(
            contains_eager(Evaluation.job),
            contains_eager(Evaluation.policy),
            contains_eager(Evaluation.user),
        )
    )
