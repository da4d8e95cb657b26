"""Runs as the API shows them: list, read, epochs as JSON or CSV, log; pause, resume, retry, cancel,
delete.

They belong to the owner of the drone model, to see and to change.
"""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import PlainTextResponse

from auth import VisitorDep, require_access
from database import SessionDep
from models import Status, TrainingRun
from racer.training import queries, run_queries
from racer.training.dependencies import Service
from racer.training.run_queries import RunView, word_of
from racer.training.schemas import RunFilter, RunOut, RunPage
from racer.training.service import TrainingService
from racer.web.openapi import answer, body, errors

router = APIRouter(prefix="/runs", tags=["runs"])
_PROTECTED = errors(s401="The account has a password: sign in first.")
_NOT_FOUND = _PROTECTED | errors(s404="There is no such run.")
_WRITING = _NOT_FOUND | errors(s409="The run is in a state that does not allow this.")
_EPOCHS = [{"epoch": 1, "loss": 0.42, "accuracy": 0.31}]
_STATUSES = {word_of(status): status for status in Status}


def _found(run_id: str, session: SessionDep, visitor: VisitorDep) -> TrainingRun:
    """A run that the visitor may use."""
    run = run_queries.get_run(session, run_id)
    require_access(run.drone_model.user, visitor, missing=run_queries.NO_RUN)
    return run


Found = Annotated[TrainingRun, Depends(_found, scope="function")]


def _own_run(run: Found, session: SessionDep) -> str:
    """Its id. Ends the request's transaction, since the service has its own."""
    found = run.id
    session.commit()
    return found


OwnRun = Annotated[str, Depends(_own_run, scope="function")]


@router.get("", summary="List runs, the newest first", responses=_PROTECTED)
def list_runs(
    session: SessionDep,
    service: Service,
    visitor: VisitorDep,
    wanted: Annotated[RunFilter, Query()],
) -> RunPage:
    """A page of those that are one's own or an open account's; `next` is null on the last one."""
    found = run_queries.list_runs(
        session,
        visitor,
        statuses=[_STATUSES[word] for word in wanted.status],
        username=wanted.username,
        drone_id=wanted.drone_id,
        before=wanted.before,
        limit=wanted.limit + 1,
    )
    views = run_queries.views(session, found[: wanted.limit])
    shown = [run_out(view, service) for view in views]
    place = run_queries.place_of(found[wanted.limit - 1]) if len(found) > wanted.limit else None
    return RunPage(runs=shown, next=place)


@router.get("/{run_id}", summary="Read a run", responses=_NOT_FOUND)
def read_run(run: Found, session: SessionDep, service: Service) -> RunOut:
    """Its state, its configuration, and how far it is."""
    [view] = run_queries.views(session, [run])
    return run_out(view, service)


@router.get(
    "/{run_id}/epochs", summary="Every epoch's metrics", responses=_NOT_FOUND | answer(_EPOCHS)
)
def read_epochs(
    run: Found, session: SessionDep, after: Annotated[int, Query(ge=0, le=1_000_000)] = 0
) -> list[dict[str, Any]]:
    """Of the epochs beyond `after`, in order; what `/ws/train` sends."""
    progress = queries.progress(session, run.id, after=after)
    return [dict(metrics) for metrics in progress.epochs] if progress else []


@router.get(
    "/{run_id}/epochs.csv",
    summary="Every epoch's metrics as a table",
    response_class=Response,
    responses=_NOT_FOUND | body("text/csv", "epoch,loss,accuracy\r\n1,0.42,0.31\r\n"),
)
def read_epochs_as_csv(run: Found, session: SessionDep) -> Response:
    """A line an epoch, a column a metric; an empty field where there is no number."""
    epochs = read_epochs(run, session)
    columns = list(dict.fromkeys(name for metrics in epochs for name in metrics))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, restval="", lineterminator="\r\n")
    table.writeheader()
    table.writerows(epochs)
    name = f"attachment; filename={run.id}.csv"
    return Response(text.getvalue(), media_type="text/csv", headers={"Content-Disposition": name})


@router.get(
    "/{run_id}/log",
    summary="The end of a run's log",
    response_class=Response,
    responses=_NOT_FOUND | body("text/plain", "epoch 1 of 20: loss 0.42\n"),
)
async def read_log(
    run_id: OwnRun, service: Service, lines: Annotated[int, Query(ge=1, le=2000)] = 100
) -> PlainTextResponse:
    """What its training processes wrote to standard error last, 256 KiB at most."""
    return PlainTextResponse(await service.log_of(run_id, lines=lines))


@router.post("/{run_id}/pause", summary="Let a run rest", responses=_WRITING)
async def pause_run(run_id: OwnRun, service: Service) -> RunOut:
    """Its process ends; it goes on from its last checkpoint when it is resumed."""
    return run_out(await service.pause_run(run_id), service)


@router.post("/{run_id}/resume", summary="Go on with a run", responses=_WRITING)
async def resume_run(run_id: OwnRun, service: Service) -> RunOut:
    """One that was paused, failed or was cancelled: from its last checkpoint."""
    return run_out(await service.resume_run(run_id), service)


@router.post("/{run_id}/retry", summary="Begin a run anew", responses=_WRITING)
async def retry_run(run_id: OwnRun, service: Service) -> RunOut:
    """One that failed or was cancelled, from its first epoch: what it has learnt is forgotten."""
    return run_out(await service.retry_run(run_id), service)


@router.post("/{run_id}/cancel", summary="End a run", responses=_WRITING)
async def cancel_run(run_id: OwnRun, service: Service) -> RunOut:
    """At once; the epochs so far stay readable."""
    return run_out(await service.cancel_run(run_id), service)


@router.delete("/{run_id}", summary="Forget a run", status_code=204, responses=_WRITING)
async def delete_run(run_id: OwnRun, service: Service) -> None:
    """One that has ended, with its epochs, its policy and all its files."""
    await service.delete_run(run_id)


def run_out(view: RunView, service: TrainingService) -> RunOut:
    """As the API shows it."""
    run = view.run
    waiting = "memory" if service.short_of_memory else "turn"
    return RunOut(
        id=run.id,
        drone_id=run.drone_model.drone_id,
        username=run.drone_model.user.username,
        title=run.drone_model.title,
        status=word_of(run.status),
        epoch=view.epoch,
        epochs=run.config["epochs"],
        queue_position=view.queue_position,
        waiting_for=waiting if run.status is Status.INITIALIZING else None,
        seconds_left=None if view.seconds_left is None else max(0.0, view.seconds_left),
        seed=run.seed,
        config=run.config,
        sent=run.sent,
        resolved=run.resolved,
        parent_run_id=run.parent_run_id,
        parent_policy_id=run.parent_policy_id,
        attempt=run.attempt,
        error=run.error,
        revision=run.revision,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
    )
