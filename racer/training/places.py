"""The places of waiting runs in the queue: whose is the first claim from now, the second …

Claims take turns between owners (racer.jobs.turns), so a place does not go by age.
"""

from __future__ import annotations

from itertools import islice

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from models import Status, TrainingRun, UserDroneModel
from racer.jobs.turns import Waiting, claims_to_come

MOST_TOLD = 1000  # places: bounds the work; who waits behind them is told none


def queue_places(session: Session) -> dict[str, int]:
    """Of the waiting runs by their ids; 1 is next."""
    owner = UserDroneModel.user_id
    begun = TrainingRun.attempt > 0
    order = (case((begun, 0), else_=1), TrainingRun.created_at, TrainingRun.id)
    rows = session.execute(
        select(
            TrainingRun.id,
            owner,
            begun,
            TrainingRun.started_at,
            TrainingRun.created_at,
            func.count().over(partition_by=owner),
        )
        .join(UserDroneModel)
        .where(TrainingRun.status == Status.INITIALIZING)
        .order_by(func.row_number().over(partition_by=owner, order_by=order), *order)
        .limit(MOST_TOLD)
    ).all()
    waiting = [Waiting(*row[:-1]) for row in rows]
    held_back = {row[1]: row[-1] for row in rows}  # of each owner all that wait
    for one in waiting:
        held_back[one.owner] -= 1
    running = select(owner).select_from(TrainingRun).join(UserDroneModel)
    running = running.where(TrainingRun.status == Status.TRAINING)
    last_turns = (
        select(owner, func.max(TrainingRun.started_at))
        .select_from(TrainingRun)
        .join(UserDroneModel)
        .where(owner.in_([*held_back]), TrainingRun.started_at.is_not(None))
        .group_by(owner)
    )
    claims = claims_to_come(
        waiting,
        running=session.scalars(running.order_by(TrainingRun.started_at, TrainingRun.id)).all(),
        last_turns={row[0]: row[1] for row in session.execute(last_turns) if row[1]},
        held_back=held_back,
    )
    return {run_id: place for place, run_id in enumerate(islice(claims, MOST_TOLD), start=1)}
