"""`/ws/train` and the training part of the REST API.

What is of an account with a password is for its owner alone, over the socket as over REST: see
racer.web.sockets for how a socket brings its token.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

import crud
from auth import Admitted, NamedAccount, Visitor, VisitorDep, require_access
from database import SessionDep
from racer.errors import InvalidInputError, NotFoundError, RacerError
from racer.rewards.check import check
from racer.training import queries
from racer.training.dependencies import Service
from racer.training.run_routes import run_out
from racer.training.schemas import RewardFunction, RunOut, Sweep, TrainingAnswer, TrainingOut
from racer.training.service import TrainingService
from racer.web.idempotency import CREATES
from racer.web.openapi import errors
from racer.web.sockets import Goodbye, converse, first_of, until_gone, until_signed_out
from racer.web.tokens import Admission, Grant, signed_in
from schemas import DiagnosticOut

log = structlog.get_logger(__name__)
router = APIRouter(tags=["training"])
_PROTECTED = errors(s401="The account has a password: sign in first.")
_OWN = _PROTECTED | errors(s404="No such user, or no such drone model of that user.")


def _own_drone(user: NamedAccount, drone_id: str, session: SessionDep) -> str:
    """The drone_id of a model that the visitor may train; ends the request's transaction, since
    the service writes in its own and SQLite has one writer at a time."""
    drone_id = crud.get_users_drone_model(session, user, drone_id).drone_id
    session.commit()
    return drone_id


OwnDrone = Annotated[str, Depends(_own_drone, scope="function")]


@router.get(
    "/users/{username}/drone-models/{drone_id}/training",
    summary="Get a drone model's training",
    responses=_OWN,
)
def read_training(user: NamedAccount, drone_id: str, session: SessionDep) -> TrainingOut:
    """Status and metrics of the newest training; `attempt` 0 and no epochs before the first."""
    model = crud.get_users_drone_model(session, user, drone_id)
    run = queries.newest_run(session, model.drone_id)
    progress = run and queries.progress(session, run.id, after=0)
    return TrainingOut(
        drone_id=model.drone_id,
        status=run.status if run else model.status,
        training_epochs=run.config["epochs"] if run else model.training_epochs,
        attempt=run.attempt if run else 0,
        error=run.error if run else None,
        created_at=run.created_at if run else None,
        started_at=run.started_at if run else None,
        finished_at=run.finished_at if run else None,
        epochs=list(progress.epochs) if progress else [],
    )


@router.post(
    "/users/{username}/drone-models/{drone_id}/start-training",
    summary="Start a drone model's training",
    responses=_OWN,
)
async def start_training(drone_id: OwnDrone, service: Service) -> TrainingAnswer:
    """Joins one that is waiting or running; trains a finished model anew."""
    if not await service.start_again(drone_id):
        return TrainingAnswer(status="already_running", message="The model is training already.")
    return TrainingAnswer(status="success", message="The training starts. Follow it at /ws/train.")


@router.post(
    "/users/{username}/drone-models/{drone_id}/cancel-training",
    summary="Cancel a drone model's training",
    responses=_OWN | errors(s409="The model is not training."),
)
async def cancel_training(drone_id: OwnDrone, service: Service) -> TrainingAnswer:
    """Ends it at once; the epochs so far stay readable."""
    await service.cancel(drone_id)
    return TrainingAnswer(status="success", message="The training was cancelled.")


@router.post(
    "/users/{username}/drone-models/{drone_id}/runs",
    summary="Train a drone model several times",
    status_code=201,
    openapi_extra=CREATES,
    responses=_OWN,
)
async def sweep(
    drone_id: OwnDrone, wanted: Sweep, service: Service, visitor: VisitorDep
) -> list[RunOut]:
    """A run for each seed with each variant of its settings; they wait their turn as all do."""
    views = await service.sweep(drone_id, wanted, visitor)
    return [run_out(view, service) for view in views]


@router.post("/reward-functions/validate", summary="Check a reward function", responses=_PROTECTED)
def validate_reward(_admitted: Admitted, body: RewardFunction) -> list[DiagnosticOut]:
    """What is wrong with the text, and where; an empty list when there is nothing to say.

    Nothing of it runs. Warnings do not keep a drone model from being trained with it.
    """
    _, diagnostics = check(body.source)
    return [DiagnosticOut.model_validate(item.as_dict()) for item in diagnostics]


@router.websocket("/ws/train")
async def train(
    websocket: WebSocket, drone_id: str | None = None, run: str | None = None, after: str = "0"
) -> None:
    """An object an epoch, then `{"done": true, …}`. Leaving stops nothing.

    `run` means that run of the model, and starts none; with it `after` leaves out the epochs that
    a returning client has.
    """
    service: TrainingService = websocket.app.state.training

    async def follow(admission: Admission[None]) -> Goodbye | None:
        messages = _messages(service, drone_id, run=run or None, after=after)
        return await first_of(
            _send_all(websocket, messages), until_gone(websocket), until_signed_out(admission)
        )

    await converse(websocket, _trained_by(drone_id), follow)


def _trained_by(drone_id: str | None) -> Grant[None]:
    """A grant: for whoever may train that model. Another's is as unknown as one that is not there;
    to nobody in particular the conversation itself says what is not there."""

    def grant(session: Session, visitor: Visitor) -> None:
        signed_in(session, visitor)
        if not drone_id:  # left out, or the empty field of a form
            if not visitor.open_accounts:
                raise InvalidInputError("Name a drone model: /ws/train?drone_id=…")
            return
        model = crud.find_drone_model(session, drone_id)
        if model is None and visitor.user is None:
            return
        if model is None or not (visitor.user is None or visitor.may_use(model.user)):
            raise NotFoundError(crud.no_drone_model(drone_id))
        require_access(model.user, visitor)

    return grant


async def _messages(
    service: TrainingService, drone_id: str | None, *, run: str | None, after: str
) -> AsyncGenerator[dict[str, Any], None]:
    """The training's messages, or the one that says why there are none."""
    try:
        if not drone_id:
            drone_id = await service.default_drone()
        if run is None:
            await service.start(drone_id)
        known = int(after) if run is not None and after.isdecimal() and len(after) < 8 else 0
        async with aclosing(service.follow(drone_id, run_id=run, after=known)) as messages:
            async for message in messages:
                yield message
    except RacerError as error:
        yield {"error": error.message, "done": True}
    except SQLAlchemyError:
        log.exception("training_not_followed", drone_id=drone_id)
        yield {"error": "The database does not answer. Try again in a moment.", "done": True}


async def _send_all(websocket: WebSocket, messages: AsyncGenerator[dict[str, Any], None]) -> None:
    """Send until the end and close. A follower who left meanwhile is no error."""
    async with aclosing(messages):
        async for message in messages:
            if not await _sent(websocket.send_json(message)):
                return
    await _sent(websocket.close())


async def _sent(sending: Coroutine[Any, Any, None]) -> bool:
    """Whether the client was still there; the server raises either after it has left."""
    try:
        await sending
    except (WebSocketDisconnect, RuntimeError) as error:
        log.debug("training_follower_left", error=str(error))
        return False
    return True
