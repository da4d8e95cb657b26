"""Statements about runs by their own ids: look up, list, pause, go on, begin anew, delete."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session, contains_eager

from auth import Visitor
from models import ACTIVE, Status, TrainingEpoch, TrainingRun, User, UserDroneModel
from racer.accounts.service import audit
from racer.errors import ConflictError, NotFoundError
from racer.training.places import queue_places
from racer.training.queries import (
    close_run,
    is_shown,
    locked_run,
    newest_run,
    queue_again,
)
from racer.web import paging
from racer.web.ids import is_id

NO_RUN = "There is no run of that id."  # or not for who asks
WORDS = {Status.INITIALIZING: "queued", Status.TRAINING: "running"}  # of a run; others as they are


@dataclass(frozen=True)
class RunView:
    """A run with what is counted about it."""

    run: TrainingRun  # its model and the model's user are loaded
    epoch: int  # the newest on record, 0 before the first
    queue_position: int | None  # 1 is next, None unless it waits, and far behind
    seconds_left: float | None  # if the rest goes as the epochs so far; None while unknown


def word_of(status: Status) -> str:
    """How the API calls a run's status."""
    return WORDS.get(status, status.value)


def get_run(session: Session, run_id: str) -> TrainingRun:
    """The run with its model and user; NotFoundError when there is none."""
    run = session.scalar(_with_owner().where(TrainingRun.id == run_id)) if is_id(run_id) else None
    if run is None:
        raise NotFoundError(NO_RUN)
    return run


def list_runs(
    session: Session,
    visitor: Visitor,
    *,
    statuses: Sequence[Status],
    username: str | None,
    drone_id: str | None,
    before: str | None,
    limit: int,
) -> Sequence[TrainingRun]:
    """Those that the visitor may use, the newest first; after the place `before` (`place_of`) in
    that order. InvalidInputError when that is no place."""
    statement = _with_owner().where(visitor.usable())
    statement = statement.order_by(TrainingRun.created_at.desc(), TrainingRun.id)
    if statuses:
        statement = statement.where(TrainingRun.status.in_(statuses))
    if username is not None:
        statement = statement.where(User.username == username)
    if drone_id is not None:
        statement = statement.where(UserDroneModel.drone_id == drone_id.lower())
    if before is not None:
        statement = statement.where(paging.after(before, TrainingRun.created_at, TrainingRun.id))
    return session.scalars(statement.limit(limit)).all()


def place_of(run: TrainingRun) -> str:
    """Where in the list a run stands; it stays a place when the run is gone."""
    return paging.place_of(run.created_at, run.id)


def _with_owner() -> Select[TrainingRun]:
    return (
        select(TrainingRun)
        .join(TrainingRun.drone_model)
        .join(UserDroneModel.user)
        .options(contains_eager(TrainingRun.drone_model).contains_eager(UserDroneModel.user))
    )


def views(session: Session, runs: Sequence[TrainingRun]) -> list[RunView]:
    """The runs and what is counted about them."""
    waits = any(run.status is Status.INITIALIZING for run in runs)
    places = queue_places(session) if waits else {}
    return [_view(session, run, places.get(run.id)) for run in runs]


def _view(session: Session, run: TrainingRun, position: int | None) -> RunView:
    newest = _newest_epoch(session, run)
    epoch = newest.epoch if newest else 0
    left = None
    if newest is not None and run.status in ACTIVE:
        seconds = newest.metrics.get("seconds")
        if isinstance(seconds, int | float):
            left = round(float(seconds) / epoch * (run.config["epochs"] - epoch), 1)
    return RunView(run, epoch, position, left)


def _newest_epoch(session: Session, run: TrainingRun) -> TrainingEpoch | None:
    epochs = select(TrainingEpoch).where(TrainingEpoch.run_id == run.id)
    return session.scalar(epochs.order_by(TrainingEpoch.epoch.desc()).limit(1))


def cancel_run(session: Session, run_id: str) -> None:
    """Close it as cancelled. ConflictError when it has ended."""
    run = _existing(session, run_id)
    if run.status not in ACTIVE:
        raise ConflictError(f"The run has {word_of(run.status)}; there is nothing to cancel.")
    close_run(run, Status.CANCELLED, "The training was cancelled.")


def pause_run(session: Session, run_id: str) -> None:
    """Let it rest until it is resumed. ConflictError unless it waits or runs."""
    run = _existing(session, run_id)
    if run.status not in (Status.INITIALIZING, Status.TRAINING):
        raise ConflictError(
            f"The run is {word_of(run.status)}: only a waiting or running one rests."
        )
    close_run(run, Status.PAUSED, None)


def resume_run(session: Session, run_id: str) -> None:
    """Queue a paused run again, or one that failed or was cancelled: it goes on from its last
    checkpoint. ConflictError for others."""
    run = _existing(session, run_id)
    if run.status not in (Status.PAUSED, Status.FAILED, Status.CANCELLED):
        raise ConflictError(f"The run is {word_of(run.status)}: there is nothing to resume.")
    queue_again(run)


def retry_run(session: Session, run_id: str, *, forget: Callable[[str], None]) -> None:
    """Queue a run that failed or was cancelled as if it had never begun: its epochs are deleted,
    and `forget` deletes its files while nobody else can have it. ConflictError for others."""
    run = _existing(session, run_id)
    if run.status not in (Status.FAILED, Status.CANCELLED):
        raise ConflictError(
            f"The run is {word_of(run.status)}: only one that failed or was cancelled is retried."
        )
    session.execute(delete(TrainingEpoch).where(TrainingEpoch.run_id == run.id))
    queue_again(run)
    run.started_at = None
    if is_shown(run):
        run.drone_model.train_loss = run.drone_model.train_accuracy = None
    session.flush()
    forget(run.id)


def delete_run(session: Session, run_id: str, *, doubt: Callable[[str], None]) -> None:
    """Forget a run that has ended; its model shows the one before it. ConflictError while it is
    active. `doubt` says of its files that they may be nobody's."""
    run = _existing(session, run_id)
    if run.status in ACTIVE:
        raise ConflictError(f"The run is {word_of(run.status)}. Cancel it first.")
    model = run.drone_model
    audit.record(session, "run.delete", run.id)
    session.delete(run)
    session.flush()
    doubt(run_id)
    left = newest_run(session, model.drone_id)
    model.status = left.status if left else Status.INITIALIZING
    last = _newest_epoch(session, left) if left else None
    model.train_loss = last.metrics["loss"] if last else None
    model.train_accuracy = last.metrics["accuracy"] if last else None


def known_among(session: Session, run_ids: Collection[str]) -> Collection[str]:
    """Those that are runs."""
    return session.scalars(select(TrainingRun.id).where(TrainingRun.id.in_(run_ids))).all()


def _existing(session: Session, run_id: str) -> TrainingRun:
    run = locked_run(session, run_id) if is_id(run_id) else None
    if run is None:
        raise NotFoundError(NO_RUN)
    return run
