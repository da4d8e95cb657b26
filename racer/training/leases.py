"""Who executes a run: claimed by lease, kept by heartbeats, fenced by the attempt's number.

Any number of server processes may share one database. A claim takes the next run that nobody
executes: a waiting one, or one whose holder has not renewed its lease in time. Each claim counts a
new attempt, and whatever an older attempt still writes changes nothing. All statements lock the
drone model before its run; a claim skips what another transaction has locked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.orm import Session, aliased

from models import Status, TrainingEpoch, TrainingRun, UserDroneModel, utc_now
from racer.jobs.executor import TRIES, Claimed, Held, held, is_left, lease_end
from racer.jobs.turns import by_turns, standings
from racer.training.queries import close_run, is_shown, locked_run, set_status

_LOOKED_AT = 20  # candidates of one claim: others may be claiming the first ones


@dataclass(frozen=True)
class Attempt(Claimed):
    """What executing a run needs, and the number that fences its writes."""

    drone_id: str
    config: dict[str, Any]
    known_epochs: int  # on record from earlier attempts


def leased(session: Session) -> list[Held]:
    """All leases."""
    return held(session, TrainingRun, running=Status.TRAINING)


def claim(
    session: Session,
    worker: str,
    *,
    executing: Collection[str],
    silent: Collection[Held],
    affordable: Callable[[dict[str, Any]], bool] = lambda config: True,
) -> Attempt | None:
    """The next run to execute, now leased to `worker`; None when there is none.

    `executing`: runs that it executes already and does not want again. Any other that is leased to
    it is one whose claim was committed while the connection broke. `silent`: leases that have run
    out. `affordable` says of the next run's configuration whether there is memory for it; if not,
    smaller ones do not overtake it, or it might wait for ever.

    Owners take turns (racer.jobs.turns).
    """
    free = _is_free(worker, executing, silent)
    other, its_model = aliased(TrainingRun), aliased(UserDroneModel)
    of_all = select(other).join(its_model, other.drone_model_id == its_model.id)
    owners = standings(of_all, other, its_model.user_id, running=Status.TRAINING)
    candidates = (
        select(TrainingRun.id, TrainingRun.drone_model_id)
        .join(UserDroneModel)
        .join(owners, owners.c.owner == UserDroneModel.user_id)
        .where(free)
        .order_by(*by_turns(TrainingRun, owners))
        .limit(_LOOKED_AT)
    )
    for run_id, model_id in session.execute(candidates).all():
        locking = select(UserDroneModel.id).where(UserDroneModel.id == model_id)
        if session.scalar(locking.with_for_update(skip_locked=True)) is None:
            continue
        again = select(TrainingRun).where(TrainingRun.id == run_id, free).with_for_update()
        run = session.scalar(again)
        if run is None:  # somebody else was faster
            continue
        if not affordable(run.config):
            return None
        set_status(run, Status.TRAINING)
        run.attempt += 1
        run.started_at = run.started_at or utc_now()
        run.lease_holder, run.lease_until, run.error = worker, lease_end(), None
        newest = select(func.max(TrainingEpoch.epoch)).where(TrainingEpoch.run_id == run.id)
        known = session.scalar(newest) or 0
        return Attempt(run.id, run.attempt, run.drone_model.drone_id, dict(run.config), known)
    return None


def _is_free(
    worker: str, executing: Collection[str], silent: Collection[Held]
) -> ColumnElement[bool]:
    """Whether a run waits, or nobody executes it any more."""
    left = is_left(TrainingRun, worker, silent)
    waits = TrainingRun.status == Status.INITIALIZING
    abandoned = and_(TrainingRun.status == Status.TRAINING, left)
    return and_(TrainingRun.id.not_in(executing), or_(waits, abandoned))


def free_runs_of_the_dead(session: Session, is_dead: Callable[[str], bool]) -> list[str]:
    """Queue what was executed by processes that are known to be dead, and say which runs."""
    holders = (
        select(TrainingRun.id, TrainingRun.lease_holder)
        .where(TrainingRun.status == Status.TRAINING)
        .order_by(TrainingRun.drone_model_id)  # one order for all, hence no deadlock
    )
    freed = []
    for run_id, holder in session.execute(holders).all():
        if holder is not None and not is_dead(holder):
            continue
        run = locked_run(session, run_id)
        if run is not None and run.status is Status.TRAINING and run.lease_holder == holder:
            _queue(run)
            freed.append(run.id)
    return freed


def statuses_of(session: Session, run_ids: Collection[str]) -> dict[str, Status]:
    """Of those of the runs that exist."""
    wanted = select(TrainingRun.id, TrainingRun.status).where(TrainingRun.id.in_(run_ids))
    return {row.id: row.status for row in session.execute(wanted)}


def wanted_among(session: Session, run_ids: Collection[str]) -> list[str]:
    """Those of the runs that are executed, or will be."""
    under_way = TrainingRun.status.in_((Status.INITIALIZING, Status.TRAINING))
    wanted = select(TrainingRun.id).where(under_way)
    return list(session.scalars(wanted.where(TrainingRun.id.in_(run_ids))))


def executed_run(session: Session, attempt: Attempt) -> TrainingRun | None:
    """The run, locked, if this attempt is still the one that executes it."""
    run = locked_run(session, attempt.id)
    if run is None or run.attempt != attempt.number or run.status is not Status.TRAINING:
        return None
    return run


def renew(session: Session, attempt: Attempt) -> bool:
    """Keep the lease; False when the run is ours no more."""
    run = executed_run(session, attempt)
    if run is None:
        return False
    run.lease_until = lease_end()
    return True


def release(session: Session, attempt: Attempt) -> None:
    """Give a run back that is not at its end: whoever comes next goes on with it."""
    if (run := executed_run(session, attempt)) is not None:
        _queue(run)


def interrupted(session: Session, attempt: Attempt, why: str) -> bool:
    """The process that trained was killed: try again, unless that was tried too often already
    without getting any further. Whether it is tried again."""
    run = executed_run(session, attempt)
    if run is None:
        return False
    run.interruptions += 1
    if run.interruptions >= TRIES:
        close_run(run, Status.FAILED, why)
        return False
    _queue(run)
    return True


def _queue(run: TrainingRun) -> None:
    set_status(run, Status.INITIALIZING)
    run.lease_holder = run.lease_until = run.error = None


def record_wait(session: Session, attempt: Attempt, why: str | None) -> None:
    """Show why nothing goes on at the moment; None when it does."""
    if (run := executed_run(session, attempt)) is not None:
        run.error = why


def record_epoch(session: Session, attempt: Attempt, metrics: dict[str, Any]) -> bool:
    """Store one epoch and show its figures on the model; False when the run is ours no more."""
    run = executed_run(session, attempt)
    if run is None:
        return False
    known = select(TrainingEpoch.id).where(
        TrainingEpoch.run_id == run.id, TrainingEpoch.epoch == metrics["epoch"]
    )
    if session.scalar(known) is not None:  # committed just before the connection broke
        return True
    session.add(TrainingEpoch(run_id=run.id, epoch=metrics["epoch"], metrics=metrics))
    if is_shown(run):
        run.drone_model.train_loss = metrics["loss"]
        run.drone_model.train_accuracy = metrics["accuracy"]
    run.interruptions = 0
    return True


def record_process(session: Session, attempt: Attempt, told: dict[str, Any]) -> None:
    """Store what the training process says of itself: its configuration with every default, and
    the revision of its code."""
    if (run := executed_run(session, attempt)) is not None:
        run.resolved, run.revision = told["resolved"], told.get("revision")


def end_attempt(session: Session, attempt: Attempt, status: Status, error: str | None) -> bool:
    """Close the run as finished, failed or paused; False when the run is ours no more."""
    run = executed_run(session, attempt)
    if run is None:
        return False
    close_run(run, status, error)
    return True
