"""`/policies/{policy_id}/evaluations` and `/evaluations`: ask for them, read, compare, delete.

They belong to the policy's owner, to see and to change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse

from auth import VisitorDep
from database import SessionDep
from models import Evaluation, Job, JobStatus
from racer.errors import ConflictError
from racer.evaluations import queries
from racer.evaluations.comparison import OWN, difference_of, pairs_of, require_same, same_gusts
from racer.evaluations.courses import course_of
from racer.evaluations.schemas import (
    Comparison,
    EvaluationFilter,
    EvaluationIn,
    EvaluationOut,
    EvaluationPage,
    EvaluationSummary,
    Pair,
    Side,
)
from racer.evaluations.service import FLIGHTS_FILE
from racer.jobs.service import JobService, why_no_files
from racer.web.idempotency import CREATES
from racer.web.openapi import body, errors
from racer.web.paging import place_of

router = APIRouter(tags=["evaluations"])
_PROTECTED = errors(s401="The account has a password: sign in first.")
_NOT_FOUND = _PROTECTED | errors(s404="There is no such thing.")
_CONFLICT = errors(s409="It has not finished.")
_WRITING = _NOT_FOUND | errors(s409="Its state, or the account's others, do not allow it.")
_BINARY = "application/octet-stream"
_NPZ = body(_BINARY, "PK\u0003\u0004", binary=True)


async def _jobs(request: Request) -> JobService:
    service: JobService = request.app.state.jobs
    return service


Jobs = Annotated[JobService, Depends(_jobs)]


def _added(
    policy_id: str, wanted: EvaluationIn, session: SessionDep, visitor: VisitorDep
) -> EvaluationOut:
    """A new evaluation, committed: whoever executes it looks at the database."""
    policy = queries.get_policy(session, policy_id, visitor)
    course = course_of(session, policy, wanted)
    added = _whole(queries.add(session, policy, wanted.model_dump(), course))
    session.commit()
    return added


def _own_job(evaluation_id: str, session: SessionDep, visitor: VisitorDep) -> str:
    """The job of an evaluation that the visitor may change. Ends the request's transaction, since
    the service writes in its own."""
    found = queries.get(session, evaluation_id, visitor).job_id
    session.commit()
    return found


OwnJob = Annotated[str, Depends(_own_job, scope="function")]


@router.post(
    "/policies/{policy_id}/evaluations",
    summary="Evaluate a policy",
    status_code=202,
    openapi_extra=CREATES,
    responses=_WRITING,
)
async def evaluate(
    added: Annotated[EvaluationOut, Depends(_added, scope="function")], jobs: Jobs
) -> EvaluationOut:
    """Queue a job that flies it in simulation from fresh starts."""
    jobs.wake()
    return added


@router.get("/evaluations", summary="List evaluations, the newest first", responses=_PROTECTED)
def list_evaluations(
    session: SessionDep, visitor: VisitorDep, wanted: Annotated[EvaluationFilter, Query()]
) -> EvaluationPage:
    """A page of those that are one's own or an open account's; `next` is null on the last one."""
    found = queries.listed(session, visitor, wanted, limit=wanted.limit + 1)
    shown = found[: wanted.limit]
    last = shown[-1] if len(found) > wanted.limit else None
    return EvaluationPage(
        evaluations=[EvaluationSummary(**_summary(evaluation)) for evaluation in shown],
        next=place_of(last.created_at, last.id) if last else None,
    )


@router.get(
    "/evaluations/compare",
    summary="Compare two evaluations, start by start",
    responses=_NOT_FOUND | _CONFLICT,
)
def compare(
    session: SessionDep,
    visitor: VisitorDep,
    a: Annotated[str, Query(max_length=100)],
    b: Annotated[str, Query(max_length=100)],
) -> Comparison:
    """Of two policies that were flown under the same conditions, from the same starts."""
    evaluation_a, flights_a = queries.get_finished(session, a, visitor)
    evaluation_b, flights_b = queries.get_finished(session, b, visitor)
    conditions, conditions_b = evaluation_a.conditions or {}, evaluation_b.conditions or {}
    require_same(conditions, conditions_b)
    pairs = pairs_of(flights_a["course_time_s"], flights_b["course_time_s"])
    return Comparison(
        conditions=conditions,
        same_gusts=same_gusts(conditions, conditions_b),
        a=_side(evaluation_a, "a", pairs),
        b=_side(evaluation_b, "b", pairs),
        both_finished=sum(pair.a_s is not None and pair.b_s is not None for pair in pairs),
        difference=difference_of(pairs),
        starts=pairs,
    )


@router.get("/evaluations/{evaluation_id}", summary="Read an evaluation", responses=_NOT_FOUND)
def read_evaluation(evaluation_id: str, session: SessionDep, visitor: VisitorDep) -> EvaluationOut:
    """Its state and, when it has finished, its report."""
    return _whole(queries.get(session, evaluation_id, visitor))


@router.get(
    "/evaluations/{evaluation_id}/trajectories",
    summary="The first flights, step by step",
    response_class=FileResponse,
    responses=_NOT_FOUND | _CONFLICT | _NPZ,
)
def read_trajectories(
    evaluation_id: str, session: SessionDep, visitor: VisitorDep, jobs: Jobs
) -> FileResponse:
    """NumPy's `.npz`, the flights one after the other: `steps` (F,) of each; then for all steps
    `t` (T,) s from its flight's start, `position` (T, 3) m in the world (ENU), `quaternion` (T, 4)
    scalar first, body (FLU) to world, `gates_passed` (T,)."""
    evaluation = queries.get(session, evaluation_id, visitor)
    path: Path = jobs.folder_of(evaluation.job_id) / FLIGHTS_FILE
    if evaluation.report is None or not path.is_file():
        raise ConflictError(
            f"The evaluation is {evaluation.job.status} and has no trajectories"
            + (_no_files(evaluation.job) if evaluation.report else " yet.")
        )
    return FileResponse(path, filename=f"{evaluation.id}.npz", media_type=_BINARY)


@router.post(
    "/evaluations/{evaluation_id}/cancel",
    summary="End an evaluation",
    status_code=204,
    responses=_WRITING,
)
async def cancel_evaluation(job_id: OwnJob, jobs: Jobs) -> None:
    """At once; one that has ended is a conflict."""
    await jobs.cancel(job_id)


@router.delete(
    "/evaluations/{evaluation_id}",
    summary="Forget an evaluation",
    status_code=204,
    responses=_WRITING,
)
async def delete_evaluation(job_id: OwnJob, jobs: Jobs) -> None:
    """With its trajectories, whatever its state."""
    await jobs.delete(job_id)


def _no_files(job: Job) -> str:
    why = why_no_files(job)
    return f" any more. {why}" if why else " on this server: its files are gone."


def _side(evaluation: Evaluation, name: str, pairs: list[Pair]) -> Side:
    faster = [pair for pair in pairs if pair.faster == name]
    conditions = evaluation.conditions or {}
    return Side(
        **{key: conditions.get(key) for key in OWN},
        evaluation=EvaluationSummary(**_summary(evaluation)),
        faster=len(faster),
        finished_alone=sum(pair.a_s is None or pair.b_s is None for pair in faster),
    )


def _whole(evaluation: Evaluation) -> EvaluationOut:
    return EvaluationOut(
        **_summary(evaluation),
        track_text=evaluation.track,
        conditions=evaluation.conditions,
        report=evaluation.report,
    )


def _summary(evaluation: Evaluation) -> dict[str, Any]:
    job, policy = evaluation.job, evaluation.policy
    report = evaluation.report or {}
    laps = report.get("lap_time") or {}
    return {
        "id": evaluation.id,
        "policy_id": policy.id,
        "policy_name": policy.name,
        "policy_version": policy.version,
        "username": evaluation.user.username,
        "status": job.status.value,
        "progress": job.progress if job.status is JobStatus.RUNNING else None,
        "error": job.error,
        "settings": evaluation.settings,
        # An older release kept no copy: only shipped courses could be asked for.
        "track": evaluation.track_name or evaluation.settings.get("track"),
        "track_sha256": evaluation.track_sha256,
        "completion": report.get("completion"),
        "best_lap_s": laps.get("best"),
        "median_lap_s": laps.get("median"),
        "created_at": evaluation.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }
