"""Deleting an account with everything that is its own: rows, files, and what runs; or one of its
drone models.

What runs is ended and what has files is deleted by the services that have it, one by one, then the
row, in a transaction that finds nothing of the kind any more. A server that is killed on the way
has deleted some of it; the account is still there, and its owner says it again. Files whose rows
are gone are removed by their services at the next start.

A drone model goes at once, in one transaction, and only if none of its trainings lasts. Policies
that were kept of them stay, and with them evaluations and entries in races.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy import or_, select
from sqlalchemy.orm import Session
from starlette.datastructures import State

import crud
from auth import Visitor, get_account, visitor_of
from models import (
    Evaluation,
    Policy,
    Race,
    RaceStatus,
    TrainingRun,
    User,
    UserDroneModel,
    UserTrack,
)
from racer.accounts import audit, changes
from racer.errors import ConflictError, NotFoundError

if TYPE_CHECKING:
    from racer.control.service import ControlService
    from racer.jobs.service import JobService
    from racer.policies.service import PolicyService
    from racer.training.service import TrainingService

_ROUNDS = 5

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Belongings:
    """Ids of what an account has that the database's cascade would not end or whose files it would
    leave."""

    runs: Sequence[str]
    evaluation_jobs: Sequence[str]
    policies: Sequence[str]
    races: Sequence[tuple[str, str | None]]  # that have no results, and the jobs that fly them

    def __bool__(self) -> bool:
        return any((self.runs, self.evaluation_jobs, self.policies, self.races))


async def delete_account(
    state: State,
    username: str,
    token: str | None,
    *,
    check: Callable[[User], None] | None = None,
) -> None:
    """Delete it for who sent the token. `check` may refuse the account before anything is deleted.

    Raises NotFoundError, UnauthorizedError, ConflictError for the only admin's, or when more and
    more is begun under it meanwhile, UnavailableError when files cannot be removed.
    """
    for _ in range(_ROUNDS):
        async with state.database.writers:
            deleted, visitor, found = await run_in_threadpool(
                _delete_row, state, username, token, check=check
            )
        if deleted:
            log.info("account_deleted", username=username)
            return
        check = None  # from here on it is we who change it
        await _remove(state, found, visitor)
    raise ConflictError("Something new is begun under the account all the time. Try again.")


def _delete_row(
    state: State,
    username: str,
    token: str | None,
    *,
    check: Callable[[User], None] | None,
) -> tuple[bool, Visitor, Belongings]:
    """Delete the row if nothing hangs on it that needs more than that."""
    with state.database.session() as session:
        visitor = visitor_of(session, token, state)
        user = get_account(session, username, visitor)
        changes.require_another_admin(session, user)
        if not _hold(session, user):
            raise NotFoundError(crud.no_user(username))
        if check is not None:
            check(user)
        found = _belongings(session, user)
        if not found:
            tracks = select(UserTrack.id).where(UserTrack.user_id == user.id)
            for track_id in session.scalars(tracks):
                audit.record(session, "track.delete", track_id)
            for model in user.drone_models:
                audit.record(session, "drone_model.delete", model.drone_id)
            audit.record(session, "account.delete", user.username)
            session.delete(user)
        return not found, visitor, found


def _hold(session: Session, user: User) -> bool:
    """Nobody adds anything to the account until the end of the transaction; False when somebody
    else deleted it just now."""
    there = session.scalar(select(User.id).where(User.id == user.id).with_for_update())
    models = select(UserDroneModel.id).where(UserDroneModel.user_id == user.id)
    session.execute(models.order_by(UserDroneModel.id).with_for_update())
    return there is not None


def _belongings(session: Session, user: User) -> Belongings:
    runs = select(TrainingRun.id).join(TrainingRun.drone_model)
    jobs = select(Evaluation.job_id).join(Evaluation.policy)
    races = select(Race.id, Race.job_id).where(Race.user_id == user.id)
    return Belongings(
        runs=session.scalars(runs.where(UserDroneModel.user_id == user.id)).all(),
        evaluation_jobs=session.scalars(
            jobs.where(or_(Evaluation.user_id == user.id, Policy.user_id == user.id))
        ).all(),
        policies=session.scalars(select(Policy.id).where(Policy.user_id == user.id)).all(),
        races=[
            (row.id, row.job_id)
            for row in session.execute(races.where(Race.status != RaceStatus.FINISHED))
        ],
    )


async def _remove(state: State, found: Belongings, visitor: Visitor) -> None:
    """By the services that have it."""
    for run_id in found.runs:
        training: TrainingService = state.training
        await _as_far_as_it_goes(training.cancel_run(run_id))
        await _as_far_as_it_goes(training.delete_run(run_id))
    for job_id in found.evaluation_jobs:
        jobs: JobService = state.jobs
        await jobs.delete(job_id)
    for race_id, flown_by in found.races:
        if flown_by is not None:
            await _as_far_as_it_goes(state.jobs.cancel(flown_by))
        await _as_far_as_it_goes(run_in_threadpool(state.races.delete, race_id, visitor=visitor))
    for policy_id in found.policies:
        policies: PolicyService = state.policies
        await _as_far_as_it_goes(policies.delete(policy_id))


async def _as_far_as_it_goes(work: Awaitable[Any]) -> None:
    """What is in the way, or begins anew, is there in the next round."""
    with suppress(NotFoundError, ConflictError):
        await work


async def delete_drone_model(
    state: State,
    username: str,
    drone_id: str,
    token: str | None,
    *,
    check: Callable[[UserDroneModel], None] | None = None,
) -> None:
    """Delete the account's drone model and its runs for who sent the token. `check` may refuse the
    locked model.

    Raises NotFoundError, UnauthorizedError, and ConflictError while one of its trainings lasts or
    the vehicle flies for it.
    """
    control: ControlService = state.control
    training: TrainingService = state.training
    flying = control.active_drone_id
    async with state.database.writers:
        runs = await run_in_threadpool(
            _delete_model, state, username, drone_id, token, check=check, flying=flying
        )
    await training.clear_away(runs)
    log.info("drone_model_deleted", drone_id=drone_id, runs=len(runs))


def _delete_model(
    state: State,
    username: str,
    drone_id: str,
    token: str | None,
    *,
    check: Callable[[UserDroneModel], None] | None,
    flying: str | None,
) -> Sequence[str]:
    """The ids of its runs, whose rows are gone with it."""
    with state.database.session() as session:
        user = get_account(session, username, visitor_of(session, token, state))
        # The account before the model, as for who keeps a policy of its runs: hence no deadlock.
        session.execute(select(User.id).where(User.id == user.id).with_for_update(key_share=True))
        model = crud.get_users_drone_model(session, user, drone_id, lock=True)
        if check is not None:
            check(model)
        if flying == model.drone_id:
            raise ConflictError(
                "The vehicle flies for this drone model. Stop its simulation, then delete it."
            )
        runs = crud.delete_drone_model(session, model)
        for run_id in runs:
            audit.record(session, "run.delete", run_id)
            state.training.doubt_files(run_id)
        audit.record(session, "drone_model.delete", model.drone_id)
        return runs
