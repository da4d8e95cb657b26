"""The seed's REST API: users and their drone models; with session_routes and account_routes.

Handlers that only use the database are plain functions: they run in the thread pool, where waiting
holds up nobody else. Passwords are hashed in threads of their own (see auth).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError

import crud
from auth import (
    CurrentUser,
    NamedAccount,
    Somebody,
    Token,
    VisitDep,
    VisitorDep,
    get_account,
    hash_password,
    in_bcrypt_thread,
    require_access,
)
from database import SessionDep
from models import User, UserDroneModel
from racer.accounts import account_routes, deletion, session_routes
from racer.accounts.schemas import MeOut
from racer.accounts.service import check_reward
from racer.rewards.diagnostics import InvalidRewardError
from racer.web.conditional import ReadingDep, WritingDep
from racer.web.idempotency import CREATES
from racer.web.openapi import errors
from racer.web.paging import next_link
from schemas import (
    DroneModelClone,
    DroneModelCreate,
    DroneModelOut,
    DroneModelUpdate,
    UserCreate,
    UserOut,
)

router = APIRouter()


_UNKNOWN_USER = "No user has that name."
_FULL = f"The account has {crud.MOST_DRONE_MODELS} drone models, or the key is in use."
_PROTECTED = "The account has a password: sign in first, or the token is wrong or expired."


async def _new_account(wanted: UserCreate, request: Request) -> tuple[str, str | None]:
    """Name and password hash; hashed before the first query, as no transaction may wait for it."""
    if wanted.password is None:
        if request.app.state.settings.auth_mode == "required":
            missing = ValueError("is needed: this server has no accounts without one")
            raise _refused("password", missing, str(missing))
        return wanted.username, None
    return wanted.username, await in_bcrypt_thread(hash_password, wanted.password)


async def _new_drone_model(_somebody: Somebody, wanted: DroneModelCreate) -> DroneModelCreate:
    """Its reward function is checked before the first query, in a thread, for the same reason."""
    try:
        await run_in_threadpool(check_reward, wanted.drone_details)
    except InvalidRewardError as error:
        raise _refused("drone_details.rewardFunction", error, error.message) from error
    return wanted


def _refused(field: str, error: Exception, message: str) -> RequestValidationError:
    """As pydantic says it of a field of the body."""
    place = ("body", *field.split("."))
    problem = {"type": "value_error", "loc": place, "msg": message, "ctx": {"error": error}}
    return RequestValidationError([problem])


NewAccount = Annotated[tuple[str, str | None], Depends(_new_account)]
NewDroneModel = Annotated[DroneModelCreate, Depends(_new_drone_model)]


@router.post(
    "/users/",
    tags=["users"],
    summary="Create a user",
    response_model=UserOut,
    responses=errors(s400="The name is taken."),
    openapi_extra=CREATES,
)
def create_user(account: NewAccount, session: SessionDep) -> User:
    """A bare `username` is enough. With a `password` the account is its owner's alone."""
    username, password_hash = account
    return crud.create_user(session, username, password_hash=password_hash)


@router.get(
    "/users/me",
    tags=["users"],
    summary="Who am I?",
    response_model=MeOut,
    responses=errors(s401="No token, or a wrong or expired one."),
)
def read_me(user: CurrentUser, reading: ReadingDep) -> Response:
    """The account of the token."""
    return reading.answer(MeOut.model_validate(user))


@router.get(
    "/users/{username}",
    tags=["users"],
    summary="Get a user by name",
    response_model=UserOut,
    responses=errors(s401=_PROTECTED, s404=_UNKNOWN_USER),
)
def read_user(username: str, visit: VisitDep, reading: ReadingDep) -> Response:
    """The account and its drone models."""
    with visit.reading() as (session, visitor):
        account, models = crud.account_and_models(session, username)
    require_access(account, visitor, missing=crud.no_user(username))
    told = {"id": account.id, "username": account.username, "drone_models": models}
    return reading.answer(UserOut.model_validate(told))


@router.get(
    "/users/{username}/drone-models/",
    tags=["drone models"],
    summary="List a user's drone models",
    response_model=list[DroneModelOut],
    responses=errors(s401=_PROTECTED, s404=_UNKNOWN_USER),
)
def list_drone_models(
    user: NamedAccount,
    *,
    request: Request,
    response: Response,
    after: Annotated[int, Query(ge=0, description="Only newer ones: an `id`.")] = 0,
    limit: Annotated[int, Query(ge=1, le=crud.MOST_DRONE_MODELS)] = crud.MOST_DRONE_MODELS,
) -> list[UserDroneModel]:
    """Oldest first, as many as an account may have; where there are more than `limit`, a `Link`
    header with `rel="next"` leads to them."""
    rest = [model for model in user.drone_models if model.id > after]
    shown = rest[:limit]
    if len(rest) > limit:
        response.headers["Link"] = next_link(request, limit=limit, after=shown[-1].id)
    return shown


@router.post(
    "/users/{username}/drone-models/",
    tags=["drone models"],
    summary="Create a drone model for a user",
    response_model=DroneModelOut,
    openapi_extra=CREATES,
    responses=errors(s401=_PROTECTED, s404=_UNKNOWN_USER, s409=_FULL),
)
def create_drone_model(
    wanted: NewDroneModel, session: SessionDep, user: NamedAccount
) -> UserDroneModel:
    """`drone_details` are texts, "" for the default, and come back unchanged.

    A `rewardFunction` with errors is refused; `errors` has its diagnostics.
    """
    return crud.create_drone_model(session, user, wanted)


@router.get(
    "/users/{username}/drone-models/{drone_id}",
    tags=["drone models"],
    summary="Get one drone model",
    response_model=DroneModelOut,
    responses=errors(s401=_PROTECTED, s404="No such user, or no such drone model of that user."),
)
def read_drone_model(
    username: str, drone_id: str, visit: VisitDep, reading: ReadingDep
) -> Response:
    """By the user's name and the model's UUID."""
    with visit.reading() as (session, visitor):
        account, found = crud.account_and_models(session, username, drone_id)
    require_access(account, visitor, missing=crud.no_user(username))
    if not found:
        raise crud.no_model_of(account, drone_id)
    return reading.answer(DroneModelOut.model_validate(found[0]))


@router.post(
    "/users/{username}/drone-models/{drone_id}/clone",
    tags=["drone models"],
    summary="Copy a drone model, also somebody else's",
    status_code=201,
    response_model=DroneModelOut,
    openapi_extra=CREATES,
    responses=errors(
        s401=_PROTECTED,
        s404="No such user, or no such drone model of that user.",
        s409=_FULL,
    ),
)
def clone_drone_model(
    user: NamedAccount,
    drone_id: str,
    session: SessionDep,
    visitor: VisitorDep,
    wanted: DroneModelClone | None = None,
) -> UserDroneModel:
    """A new model with the same settings and reward function, without its trainings.

    For those who may use both accounts: whose the model is, and whose the copy is to be.
    """
    wanted = wanted or DroneModelClone()
    model = crud.get_users_drone_model(session, user, drone_id)
    owner = user if wanted.username is None else get_account(session, wanted.username, visitor)
    return crud.clone_drone_model(session, model, owner, title=wanted.title)


@router.put(
    "/drone-models/{model_id}/",
    tags=["drone models"],
    summary="Update a drone model's metrics and status",
    response_model=DroneModelOut,
    responses=errors(s401=_PROTECTED, s404="No such drone model."),
)
def update_drone_model(
    model_id: str,
    changes: DroneModelUpdate,
    session: SessionDep,
    visitor: VisitorDep,
    writing: WritingDep,
) -> Response:
    """`model_id` is the integer `id`; the UUID `drone_id` works too. Fields left out stay."""
    model = crud.get_drone_model(session, model_id, lock=True)
    require_access(model.user, visitor, missing=crud.no_drone_model(model_id))
    writing.require(lambda: DroneModelOut.model_validate(model))
    crud.update_drone_model(session, model, changes.model_dump(exclude_unset=True))
    return writing.answer(DroneModelOut.model_validate(model))


@router.delete(
    "/users/{username}/drone-models/{drone_id}",
    tags=["drone models"],
    summary="Delete a drone model",
    status_code=204,
    response_class=Response,
    responses=errors(
        s401=_PROTECTED,
        s404="No such user, or no such drone model of that user.",
        s409="One of its trainings has not ended, or the vehicle flies for it.",
    ),
)
async def delete_drone_model(
    username: str, drone_id: str, request: Request, token: Token, writing: WritingDep
) -> None:
    """With its runs and their files. Policies that were kept of them stay, and so do evaluations
    and races in which they flew."""

    def as_seen(model: UserDroneModel) -> None:
        writing.require(lambda: DroneModelOut.model_validate(model))

    await deletion.delete_drone_model(request.app.state, username, drone_id, token, check=as_seen)


router.include_router(session_routes.router)
router.include_router(account_routes.router)
