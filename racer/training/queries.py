"""Every statement on training runs and their epochs, one short transaction each.

The row is the truth. Whoever executes a run proves it with the attempt number it started with:
a write of an older attempt, or to a run that was cancelled or deleted meanwhile, changes nothing
and answers False. Rows that decide something are read FOR UPDATE (PostgreSQL), a model always
before its runs; on SQLite a writing session holds the only write lock from its begin.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

import crud
from models import Status, TrainingEpoch, TrainingRun, User, UserDroneModel, utc_now
from racer.errors import ConflictError, NotFoundError

ACTIVE = (Status.INITIALIZING, Status.TRAINING)
# A finished run is joined, like an active one; only a new request trains the model anew.
JOINED = (*ACTIVE, Status.FINISHED)


@dataclass(frozen=True)
class Attempt:
    """What executing a run needs, and the number that fences its writes."""

    run_id: str
    drone_id: str
    number: int
    config: dict[str, Any]


@dataclass(frozen=True)
class Progress:
    """A run as a follower sees it: its state and the epochs after the one it has."""

    run_id: str
    status: Status
    error: str | None
    epochs: Sequence[dict[str, Any]]


def get_model(session: Session, drone_id: str, *, lock: bool = False) -> UserDroneModel:
    """The drone model; NotFoundError when there is none."""
    model = crud.get_drone_model(session, drone_id)
    if lock:
        session.refresh(model, with_for_update=True)
    return model


def is_open(session: Session, drone_id: str) -> bool:
    """Whether the model's account has no password. NotFoundError for an unknown model."""
    return get_model(session, drone_id).user.password_hash is None


def newest_run(session: Session, drone_id: str) -> TrainingRun | None:
    """The model's latest run; NotFoundError when there is no such model."""
    model = get_model(session, drone_id)
    return session.scalar(
        select(TrainingRun)
        .where(TrainingRun.drone_model_id == model.id)
        .order_by(TrainingRun.created_at.desc(), TrainingRun.id)
        .limit(1)
    )


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
    configure: Callable[[UserDroneModel], dict[str, Any]],
    *,
    again: bool,
) -> TrainingRun:
    """The model's active (or finished, unless `again`) run, else a new one."""
    model = get_model(session, drone_id, lock=True)
    run = newest_run(session, drone_id)
    if run is not None and run.status in (ACTIVE if again else JOINED):
        return run
    config = configure(model)
    run = TrainingRun(drone_model=model, config=config, seed=config["seed"])
    session.add(run)
    _reset_model(model)
    session.flush()
    return run


def requeue_unfinished(session: Session) -> dict[str, int]:
    """Give every run that a stopped server left behind a new attempt: its number by the run's id,
    oldest first."""
    left = session.scalars(
        select(TrainingRun.id)
        .where(TrainingRun.status.in_(ACTIVE))
        .order_by(TrainingRun.created_at, TrainingRun.id)
    ).all()
    numbers = ((run_id, requeue(session, run_id)) for run_id in left)
    return {run_id: number for run_id, number in numbers if number is not None}


def requeue(session: Session, run_id: str) -> int | None:
    """The number of a new attempt of a run that is active on paper but that nobody executes; None
    when it has ended meanwhile."""
    run = _locked(session, run_id)
    if run is None or run.status not in ACTIVE:
        return None
    session.execute(delete(TrainingEpoch).where(TrainingEpoch.run_id == run.id))
    run.status = Status.INITIALIZING
    run.attempt += 1
    run.started_at = None
    _reset_model(run.drone_model)
    return run.attempt


def _locked(session: Session, run_id: str) -> TrainingRun | None:
    """The run; locked, and its model before it: one order for all, hence no deadlock."""
    model_id = session.scalar(select(TrainingRun.drone_model_id).where(TrainingRun.id == run_id))
    if model_id is None:
        return None
    session.scalar(select(UserDroneModel).where(UserDroneModel.id == model_id).with_for_update())
    return session.get(TrainingRun, run_id, with_for_update=True)


def _reset_model(model: UserDroneModel) -> None:
    model.status = Status.INITIALIZING
    model.train_loss = None
    model.train_accuracy = None


def begin_attempt(session: Session, run_id: str, number: int) -> Attempt | None:
    """Mark a queued attempt as training; None when its run was cancelled or deleted while it
    waited, or has a newer attempt.

    Only the task that queued an attempt asks for its number. If it is training already, that task
    has begun it and never heard so, because the connection broke just after the commit.
    """
    run = _locked(session, run_id)
    if run is None or run.attempt != number or run.status not in ACTIVE:
        return None
    if run.status is Status.INITIALIZING:
        run.status = run.drone_model.status = Status.TRAINING
        run.started_at = utc_now()
    return Attempt(run.id, run.drone_model.drone_id, run.attempt, dict(run.config))


def _executed_run(session: Session, attempt: Attempt) -> TrainingRun | None:
    run = _locked(session, attempt.run_id)
    if run is None or run.attempt != attempt.number or run.status is not Status.TRAINING:
        return None
    return run


def record_epoch(session: Session, attempt: Attempt, metrics: dict[str, Any]) -> bool:
    """Store one epoch and show its figures on the model; False when the run is ours no more."""
    run = _executed_run(session, attempt)
    if run is None:
        return False
    known = select(TrainingEpoch.id).where(
        TrainingEpoch.run_id == run.id, TrainingEpoch.epoch == metrics["epoch"]
    )
    if session.scalar(known) is not None:  # committed just before the connection broke
        return True
    session.add(TrainingEpoch(run_id=run.id, epoch=metrics["epoch"], metrics=metrics))
    run.drone_model.train_loss = metrics["loss"]
    run.drone_model.train_accuracy = metrics["accuracy"]
    return True


def end_attempt(session: Session, attempt: Attempt, status: Status, error: str | None) -> bool:
    """Close the run as finished or failed; False when the run is ours no more."""
    run = _executed_run(session, attempt)
    if run is None:
        return False
    _close(run, status, error)
    return True


def cancel(session: Session, drone_id: str) -> str:
    """Close the model's active run as cancelled and return its id; ConflictError without one."""
    get_model(session, drone_id, lock=True)
    run = newest_run(session, drone_id)
    if run is None or run.status not in ACTIVE:
        raise ConflictError("This drone model is not training, so there is nothing to cancel.")
    _close(run, Status.CANCELLED, "The training was cancelled.")
    return run.id


def _close(run: TrainingRun, status: Status, error: str | None) -> None:
    run.status = run.drone_model.status = status
    run.error = error
    run.finished_at = utc_now()


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
