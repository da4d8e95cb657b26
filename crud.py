"""Queries of the spine: users and drone models.

Functions take the request's session and never commit. What a path names and cannot exist (an
unspeakable user name, a number beyond the column) is simply not found: no driver sees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Row, and_, bindparam, delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from models import ACTIVE, TrainingRun, User, UserDroneModel
from racer.errors import AlreadyExistsError, ConflictError, NotFoundError
from schemas import DroneModelCreate, clean_username

_MAX_ID = 2**31 - 1  # PostgreSQL's integer
MOST_DRONE_MODELS = 500  # of one account: whoever reads the account gets all of them
# Made once: nearly every request begins with one of them.
_USER_BY_NAME = select(User).where(User.username == bindparam("name"))
_MODEL_BY_UUID = select(UserDroneModel).where(UserDroneModel.drone_id == bindparam("uuid"))
_MODEL = UserDroneModel.__table__.c
_ACCOUNT = User.__table__.c
# What the two most frequent reads need, in one statement without entities: each of those would
# cost more than all the rest.
_ACCOUNT_AND_MODELS = (
    select(
        _ACCOUNT.id.label("owner_id"),
        _ACCOUNT.username.label("owner_name"),
        _ACCOUNT.password_hash.label("owner_hash"),
        *_MODEL,
    )
    .select_from(User.__table__.outerjoin(UserDroneModel.__table__))
    .where(_ACCOUNT.username == bindparam("name"))
    .order_by(_MODEL.id)
)
_ACCOUNT_AND_MODEL = (
    select(*_ACCOUNT_AND_MODELS.selected_columns)
    .select_from(
        User.__table__.outerjoin(
            UserDroneModel.__table__,
            and_(_MODEL.user_id == _ACCOUNT.id, _MODEL.drone_id == bindparam("uuid")),
        )
    )
    .where(_ACCOUNT.username == bindparam("name"))
)
_MODEL_BY_ID = select(UserDroneModel).where(UserDroneModel.id == bindparam("id"))


class Account(NamedTuple):
    """Of an account what its owner is known by, without an entity."""

    id: int
    username: str
    password_hash: str | None


def find_user(session: Session, username: str) -> User | None:
    """The account of that name, or None."""
    try:
        name = clean_username(username)
    except ValueError:
        return None
    return session.scalars(_USER_BY_NAME, {"name": name}).one_or_none()


def get_user(session: Session, username: str) -> User:
    """Like `find_user`, but raises NotFoundError."""
    user = find_user(session, username)
    if user is None:
        raise NotFoundError(no_user(username))
    return user


def no_user(username: str) -> str:
    """What is said when there is no such account, or it is not the visitor's to use."""
    return f"There is no user named {username[:64]!r}."


def create_user(session: Session, username: str, *, password_hash: str | None) -> User:
    """Add an account; the unique constraint decides between simultaneous creators.

    Raises AlreadyExistsError when the name is taken.
    """
    user = User(username=username, password_hash=password_hash, drone_models=[])
    try:
        with session.begin_nested():
            session.add(user)
    except IntegrityError as error:
        raise AlreadyExistsError(
            f"The user name {username!r} is already taken. Choose another one."
        ) from error
    return user


def create_drone_model(session: Session, user: User, wanted: DroneModelCreate) -> UserDroneModel:
    """Add a drone model to the user's; `drone_details` are stored as they were sent.

    Raises ConflictError when the user has too many.
    """
    _require_room(session, user)
    model = UserDroneModel(
        user=user,
        title=wanted.title,
        description=wanted.description,
        training_epochs=wanted.training_epochs,
        drone_details=wanted.drone_details.as_sent(),
    )
    session.add(model)
    session.flush()
    return model


def clone_drone_model(
    session: Session, model: UserDroneModel, owner: User, *, title: str | None
) -> UserDroneModel:
    """Add a model with the same settings and reward function to the owner's, without trainings;
    `title` None keeps the title. Raises ConflictError when the owner has too many."""
    _require_room(session, owner)
    clone = UserDroneModel(
        user=owner,
        title=model.title if title is None else title,
        description=model.description,
        training_epochs=model.training_epochs,
        drone_details=dict(model.drone_details),
    )
    session.add(clone)
    session.flush()
    return clone


def _require_room(session: Session, owner: User) -> None:
    """Counted while the account's row is locked: of two at once one sees the other's."""
    session.execute(select(User.id).where(User.id == owner.id).with_for_update())
    held = session.scalar(select(func.count()).where(UserDroneModel.user_id == owner.id)) or 0
    if held >= MOST_DRONE_MODELS:
        raise ConflictError(
            f"An account holds {MOST_DRONE_MODELS} drone models at most. Delete one of them, or "
            "train one again."
        )


def get_users_drone_model(
    session: Session, user: User, drone_id: str, *, lock: bool = False
) -> UserDroneModel:
    """The user's drone model with that UUID; NotFoundError if it is nobody's or another user's.
    `lock` as in `find_drone_model`."""
    model = find_drone_model(session, drone_id, lock=lock)
    if model is None or model.user_id != user.id or model.drone_id != drone_id.lower():
        raise no_model_of(user, drone_id)
    return model


def account_and_models(
    session: Session, username: str, drone_id: str | None = None
) -> tuple[Account, Sequence[Row[Any]]]:
    """The account of that name and its drone models, the oldest first, or only the one with that
    UUID; to be read, not changed. Raises NotFoundError when there is no such account."""
    try:
        wanted = {"name": clean_username(username)}
    except ValueError as error:
        raise NotFoundError(no_user(username)) from error
    statement = _ACCOUNT_AND_MODELS
    if drone_id is not None:
        statement = _ACCOUNT_AND_MODEL
        wanted["uuid"] = drone_id.lower() if _may_be_uuid(drone_id) else ""
    rows = session.connection().execute(statement, wanted).all()
    if not rows:
        raise NotFoundError(no_user(username))
    account = Account(rows[0].owner_id, rows[0].owner_name, rows[0].owner_hash)
    return account, [row for row in rows if row.id is not None]


def no_model_of(user: User | Account, drone_id: str) -> NotFoundError:
    """What is said when the account has no such model."""
    return NotFoundError(f"{user.username} has no drone model {drone_id[:64]!r}.")


def _may_be_uuid(key: str) -> bool:
    return len(key) == 36 and key.isascii() and "\0" not in key


def find_drone_model(session: Session, key: str, *, lock: bool = False) -> UserDroneModel | None:
    """The drone model whose integer id or UUID `key` is, or None; `lock` keeps others from
    changing it until the transaction ends."""
    if key.isascii() and key.isdigit():
        if len(key) > 10 or int(key) > _MAX_ID:
            return None
        query, wanted = _MODEL_BY_ID, dict[str, Any](id=int(key))
    elif _may_be_uuid(key):
        query, wanted = _MODEL_BY_UUID, dict[str, Any](uuid=key.lower())
    else:
        return None
    if lock:  # the session may know the row, as it was before
        query = query.with_for_update().execution_options(populate_existing=True)
    return session.scalars(query, wanted).one_or_none()


def get_drone_model(session: Session, key: str, *, lock: bool = False) -> UserDroneModel:
    """Like `find_drone_model`, but raises NotFoundError."""
    model = find_drone_model(session, key, lock=lock)
    if model is None:
        raise NotFoundError(no_drone_model(key))
    return model


def no_drone_model(key: str) -> str:
    """What is said when there is no such model, or it is not the visitor's to use."""
    return f"There is no drone model {key[:64]!r}."


def update_drone_model(session: Session, model: UserDroneModel, changes: dict[str, Any]) -> None:
    """Set the given columns."""
    for name, value in changes.items():
        setattr(model, name, value)
    session.flush()


def delete_drone_model(session: Session, model: UserDroneModel) -> Sequence[str]:
    """Forget a locked model with its runs; their ids. Policies that were kept stay.

    Raises ConflictError while one of the runs waits, trains or rests.
    """
    runs = session.execute(
        select(TrainingRun.id, TrainingRun.status)
        .where(TrainingRun.drone_model_id == model.id)
        .order_by(TrainingRun.created_at, TrainingRun.id)
    ).all()
    active = [run.id for run in runs if run.status in ACTIVE]
    if active:
        raise ConflictError(
            f"A training of this drone model has not ended ({len(active)} in all; the first is the "
            f"run {active[0]}). Cancel it or wait for its end, then delete the drone model."
        )
    session.execute(delete(UserDroneModel).where(UserDroneModel.id == model.id))
    return [run.id for run in runs]
