"""Statements on the trainings of drone models, one short transaction each.

Those by a run's own id are in run_queries, those of who executes runs in leases. The row is the
truth. Rows that decide something are read FOR UPDATE (PostgreSQL), a model always before its runs;
on SQLite a writing session holds the only write lock from its begin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.orm import Session, object_session

import crud
from models import Status, TrainingEpoch, TrainingRun, User, UserDroneModel, new_uuid, utc_now
from racer.errors import ConflictError, NotFoundError
from racer.web.ids import is_id

ACTIVE = (Status.INITIALIZING, Status.TRAINING, Status.PAUSED)
# A finished run is joined, like an active one; only a new request trains the model anew.
JOINED = (*ACTIVE, Status.FINISHED)

MOST_WAITING = 256  # runs of one account; a sweep has up to 64


@dataclass(frozen=True)
class Progress:
    """A run as a follower sees it: its state and the epochs after the one it has."""

    run_id: str
    status: Status
    error: str | None
    epochs: Sequence[dict[str, Any]]


class Wanted(NamedTuple):
    """A run to be made."""

    config: dict[str, Any]  # for the training process
    sent: dict[str, Any]  # the drone model's settings that it came from
    parent_run_id: str | None = None  # the run whose weights it begins with
    parent_policy_id: str | None = None  # the kept policy, if it is that one's


Configure = Callable[[UserDroneModel], Wanted]


def get_model(session: Session, drone_id: str, *, lock: bool = False) -> UserDroneModel:
    """The drone model; NotFoundError when there is none."""
    model = crud.get_drone_model(session, drone_id)
    if lock:
        try:
            session.refresh(model, with_for_update=True)
        except InvalidRequestError as error:
            raise NotFoundError("The drone model was deleted meanwhile.") from error
    return model


def newest_run(session: Session, drone_id: str) -> TrainingRun | None:
    """The model's latest run; NotFoundError when there is no such model."""
    model = get_model(session, drone_id)
    return session.scalar(
        select(TrainingRun)
        .where(TrainingRun.drone_model_id == model.id)
        .order_by(TrainingRun.created_at.desc(), TrainingRun.id)
        .limit(1)
    )


def run_of(session: Session, drone_id: str, run_id: str | None) -> TrainingRun | None:
    """That run of the model, or its newest. NotFoundError when there is no such model or run."""
    if run_id is None:
        return newest_run(session, drone_id)
    model = get_model(session, drone_id)
    run = session.get(TrainingRun, run_id) if is_id(run_id) else None
    if run is None or run.drone_model_id != model.id:
        raise NotFoundError("The drone model has no run of that id.")
    return run


def run_ids(session: Session, drone_id: str) -> Sequence[str]:
    """Every run of the model, the latest first. NotFoundError when there is no such model."""
    model = get_model(session, drone_id)
    return session.scalars(
        select(TrainingRun.id)
        .where(TrainingRun.drone_model_id == model.id)
        .order_by(TrainingRun.created_at.desc(), TrainingRun.id)
    ).all()


def policy_run(session: Session, name: str) -> str:
    """The newest finished run of the drone model `name`; a name of no model is taken for a run's.

    NotFoundError when the model has no finished run.
    """
    model_id = session.scalar(select(UserDroneModel.id).where(UserDroneModel.drone_id == name))
    if model_id is None:
        return name
    run_id = session.scalar(
        select(TrainingRun.id)
        .where(TrainingRun.drone_model_id == model_id, TrainingRun.status == Status.FINISHED)
        .order_by(TrainingRun.created_at.desc(), TrainingRun.id)
        .limit(1)
    )
    if run_id is None:
        raise NotFoundError("This drone model has no trained policy yet. Train it to its end.")
    return run_id


def start_or_join(
    session: Session,
    drone_id: str,
    configure: Configure,
    *,
    again: bool,
) -> tuple[str, bool]:
    """The id of the model's active (or finished, unless `again`) run, else of a new one; and
    whether there is something to do now. `again` also wakes a paused one."""
    model = get_model(session, drone_id, lock=True)
    run = newest_run(session, drone_id)
    if again and run is not None and run.status is Status.PAUSED:
        queue_again(run)
        return run.id, True
    if run is not None and run.status in (ACTIVE if again else JOINED):
        return run.id, False
    return add_run(session, model, configure(model)), True


def add_run(
    session: Session, model: UserDroneModel, wanted: Wanted, *, run_id: str | None = None
) -> str:
    """Queue a run of the model, which shows it from now on; its id, a new one unless given.

    NotFoundError when the run that it continues is gone, ConflictError when the account has
    MOST_WAITING waiting already.
    """
    _refuse_too_many(session, model.user_id)
    config, parent = wanted.config, wanted.parent_run_id
    if parent is not None and not _keep_run(session, parent):
        if wanted.parent_policy_id is None:
            raise NotFoundError("The run to continue was deleted.")
        parent = None  # the policy outlives its run
    run = TrainingRun(
        id=run_id or new_uuid(),
        drone_model=model,
        config=config,
        sent=wanted.sent,
        seed=config["seed"],
        parent_run_id=parent,
        parent_policy_id=wanted.parent_policy_id,
    )
    session.add(run)
    model.status, model.train_loss, model.train_accuracy = Status.INITIALIZING, None, None
    session.flush()
    return run.id


def _refuse_too_many(session: Session, user_id: int) -> None:
    waiting = (
        select(func.count())
        .select_from(TrainingRun)
        .join(UserDroneModel)
        .where(UserDroneModel.user_id == user_id, TrainingRun.status == Status.INITIALIZING)
    )
    if (session.scalar(waiting) or 0) >= MOST_WAITING:
        raise ConflictError(
            f"{MOST_WAITING} runs of this account wait already. Cancel some, or wait until they "
            "have had their turn."
        )


def _keep_run(session: Session, run_id: str) -> bool:
    """Whether there is such a run; nobody deletes it before the end of the transaction."""
    kept = select(TrainingRun.id).where(TrainingRun.id == run_id)
    return session.scalar(kept.with_for_update(read=True, key_share=True)) is not None


def locked_run(session: Session, run_id: str) -> TrainingRun | None:
    """The run, None when there is none; locked, and its model before it: one order for all, hence
    no deadlock."""
    model_id = session.scalar(select(TrainingRun.drone_model_id).where(TrainingRun.id == run_id))
    if model_id is None:
        return None
    session.scalar(select(UserDroneModel).where(UserDroneModel.id == model_id).with_for_update())
    return session.get(TrainingRun, run_id, with_for_update=True, populate_existing=True)


def queue_again(run: TrainingRun) -> None:
    """Let a run that rested or ended go on where it was."""
    set_status(run, Status.INITIALIZING)
    run.error, run.finished_at, run.interruptions = None, None, 0


def is_shown(run: TrainingRun) -> bool:
    """Whether its model shows this run's status and figures: it is the newest."""
    session = object_session(run)
    assert session is not None  # noqa: S101 - it was just read
    newest = (
        select(TrainingRun.id)
        .where(TrainingRun.drone_model_id == run.drone_model_id)
        .order_by(TrainingRun.created_at.desc(), TrainingRun.id)
        .limit(1)
    )
    return bool(session.scalar(newest) == run.id)


def set_status(run: TrainingRun, status: Status) -> None:
    """Of the run, and of the model that shows it."""
    run.status = status
    if is_shown(run):
        run.drone_model.status = status


def cancel(session: Session, drone_id: str) -> str:
    """Close the model's active run as cancelled and return its id; ConflictError without one."""
    get_model(session, drone_id, lock=True)
    run = newest_run(session, drone_id)
    if run is None or run.status not in ACTIVE:
        raise ConflictError("This drone model is not training, so there is nothing to cancel.")
    close_run(run, Status.CANCELLED, "The training was cancelled.")
    return run.id


def close_run(run: TrainingRun, status: Status, error: str | None) -> None:
    """Nobody executes it any more; paused ones may go on."""
    set_status(run, status)
    run.error = error
    run.lease_holder = run.lease_until = None
    run.finished_at = None if status is Status.PAUSED else utc_now()


def progress(session: Session, run_id: str, *, after: int) -> Progress | None:
    """The run's state with its epochs beyond `after`, in order; None when it was deleted."""
    run = session.get(TrainingRun, run_id)
    if run is None:
        return None
    epochs = session.scalars(
        select(TrainingEpoch.metrics)
        .where(TrainingEpoch.run_id == run_id, TrainingEpoch.epoch > after)
        .order_by(TrainingEpoch.epoch)
    ).all()
    return Progress(run.id, run.status, run.error, epochs)


def newest_open_drone(session: Session) -> str | None:
    """Whose training is worth watching: the latest run of an account without a password."""
    return session.scalar(
        select(UserDroneModel.drone_id)
        .join(TrainingRun)
        .join(User)
        .where(User.password_hash.is_(None), TrainingRun.status.in_(JOINED))
        .order_by(TrainingRun.created_at.desc(), TrainingRun.id)
        .limit(1)
    )
