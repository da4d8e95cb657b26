"""The seed's REST API: users, their drone models, signing in.

Handlers that only use the database are plain functions: they run in the thread pool, where waiting
holds up nobody else. Passwords are hashed in threads of their own (see auth).
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.security import OAuth2PasswordRequestForm

import crud
from auth import (
    TOKEN_LIFETIME_S,
    CurrentUser,
    VisitorDep,
    create_token,
    hash_password,
    in_bcrypt_thread,
    password_matches,
    require_access,
)
from database import Database, SessionDep
from models import User, UserDroneModel
from racer.accounts.service import check_reward
from racer.errors import UnauthorizedError
from racer.rewards.diagnostics import InvalidRewardError
from racer.web.answers import answered
from schemas import (
    DroneModelClone,
    DroneModelCreate,
    DroneModelOut,
    DroneModelUpdate,
    ErrorOut,
    TokenOut,
    UserCreate,
    UserOut,
)

router = APIRouter()


def _errors(**descriptions: str) -> dict[int | str, dict[str, Any]]:
    """OpenAPI entries: `_errors(s404="No such user.")`."""
    return {
        int(status[1:]): {"model": ErrorOut, "description": text}
        for status, text in descriptions.items()
    }


_UNKNOWN_USER = "No user has that name."
_PROTECTED = "The account has a password: sign in first, or the token is wrong or expired."


async def _new_account(wanted: UserCreate) -> tuple[str, str | None]:
    """Name and password hash; hashed before the first query, as no transaction may wait for it."""
    if wanted.password is None:
        return wanted.username, None
    return wanted.username, await in_bcrypt_thread(hash_password, wanted.password)


async def _new_drone_model(wanted: DroneModelCreate) -> DroneModelCreate:
    """Its reward function is checked before the first query, in a thread, for the same reason."""
    try:
        await run_in_threadpool(check_reward, wanted.drone_details)
    except InvalidRewardError as error:
        problem = {
            "type": "value_error",
            "loc": ("body", "drone_details", "rewardFunction"),
            "msg": error.message,
            "ctx": {"error": error},
        }
        raise RequestValidationError([problem]) from error
    return wanted


NewAccount = Annotated[tuple[str, str | None], Depends(_new_account)]
NewDroneModel = Annotated[DroneModelCreate, Depends(_new_drone_model)]


@router.post(
    "/users/",
    tags=["users"],
    summary="Create a user",
    response_model=UserOut,
    responses=_errors(s400="The name is taken."),
)
def create_user(account: NewAccount, session: SessionDep) -> User:
    """A bare `username` is enough. With a `password` the account is its owner's alone."""
    username, password_hash = account
    return crud.create_user(session, username, password_hash=password_hash)


@router.get(
    "/users/me",
    tags=["users"],
    summary="Who am I?",
    response_model=UserOut,
    responses=_errors(s401="No token, or a wrong or expired one."),
)
def read_me(user: CurrentUser) -> User:
    """The account of the token."""
    return user


@router.get(
    "/users/{username}",
    tags=["users"],
    summary="Get a user by name",
    response_model=UserOut,
    responses=_errors(s404=_UNKNOWN_USER),
)
def read_user(username: str, session: SessionDep) -> Response:
    """The account and its drone models."""
    user = crud.get_user(session, username)
    models = crud.drone_model_rows(session, user)
    told = {"id": user.id, "username": user.username, "drone_models": models}
    return answered(session, UserOut, told)


@router.get(
    "/users/{username}/drone-models/",
    tags=["drone models"],
    summary="List a user's drone models",
    response_model=list[DroneModelOut],
    responses=_errors(s404=_UNKNOWN_USER),
)
def list_drone_models(username: str, session: SessionDep) -> list[UserDroneModel]:
    """Oldest first."""
    return crud.get_user(session, username).drone_models


@router.post(
    "/users/{username}/drone-models/",
    tags=["drone models"],
    summary="Create a drone model for a user",
    response_model=DroneModelOut,
    responses=_errors(s401=_PROTECTED, s404=_UNKNOWN_USER),
)
def create_drone_model(
    username: str, wanted: NewDroneModel, session: SessionDep, visitor: VisitorDep
) -> UserDroneModel:
    """`drone_details` are texts, "" for the default, and come back unchanged.

    A `rewardFunction` with errors is refused; `errors` has its diagnostics.
    """
    user = crud.get_user(session, username)
    require_access(user, visitor)
    return crud.create_drone_model(session, user, wanted)


@router.get(
    "/users/{username}/drone-models/{drone_id}",
    tags=["drone models"],
    summary="Get one drone model",
    response_model=DroneModelOut,
    responses=_errors(s404="No such user, or no such drone model of that user."),
)
def read_drone_model(username: str, drone_id: str, session: SessionDep) -> Response:
    """By the user's name and the model's UUID."""
    model = crud.drone_model_row(session, crud.get_user(session, username), drone_id)
    return answered(session, DroneModelOut, model)


@router.post(
    "/users/{username}/drone-models/{drone_id}/clone",
    tags=["drone models"],
    summary="Copy a drone model, also somebody else's",
    status_code=201,
    response_model=DroneModelOut,
    responses=_errors(s401=_PROTECTED, s404="No such user, or no such drone model of that user."),
)
def clone_drone_model(
    username: str,
    drone_id: str,
    session: SessionDep,
    visitor: VisitorDep,
    wanted: DroneModelClone | None = None,
) -> UserDroneModel:
    """A new model with the same settings and reward function, without its trainings.

    Everybody may copy what everybody may read; only who may write to an account puts a model there.
    """
    wanted = wanted or DroneModelClone()
    model = crud.get_users_drone_model(session, crud.get_user(session, username), drone_id)
    owner = model.user if wanted.username is None else crud.get_user(session, wanted.username)
    require_access(owner, visitor)
    return crud.clone_drone_model(session, model, owner, title=wanted.title)


@router.put(
    "/drone-models/{model_id}/",
    tags=["drone models"],
    summary="Update a drone model's metrics and status",
    response_model=DroneModelOut,
    responses=_errors(s401=_PROTECTED, s404="No such drone model."),
)
def update_drone_model(
    model_id: str, changes: DroneModelUpdate, session: SessionDep, visitor: VisitorDep
) -> UserDroneModel:
    """`model_id` is the integer `id`; the UUID `drone_id` works too. Fields left out stay."""
    model = crud.get_drone_model(session, model_id)
    require_access(model.user, visitor)
    crud.update_drone_model(session, model, changes.model_dump(exclude_unset=True))
    return model


@router.post(
    "/token",
    tags=["users"],
    summary="Sign in (OAuth2 password flow)",
    responses=_errors(s401="The name or the password is wrong."),
)
async def sign_in(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], request: Request
) -> TokenOut:
    """A bearer token, valid for 30 minutes. The body is a form, as OAuth2 wants it."""
    user = await run_in_threadpool(_find_user, request.app.state.database, form.username)
    # The session is closed: checking a password takes a quarter of a second, on purpose.
    password_hash = None if user is None else user.password_hash
    matches = await in_bcrypt_thread(password_matches, form.password, password_hash)
    if not matches or user is None:
        raise UnauthorizedError("The name or the password is wrong.")
    return TokenOut(
        access_token=create_token(user, request.app.state.secret_key),
        expires_in=TOKEN_LIFETIME_S,
    )


def _find_user(database: Database, username: str) -> User | None:
    with database.session(read_only=True) as session:
        return crud.find_user(session, username)
