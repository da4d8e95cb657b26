"""Passwords, roles, deletion, and the audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from starlette.datastructures import State

from auth import CurrentUser, Token, hash_password, in_bcrypt_thread, visitor_of
from database import SessionDep
from models import Role, User
from racer.accounts import audit, changes, deletion, signing_in
from racer.accounts.schemas import (
    AccountOut,
    AuditEntryOut,
    AuditFilter,
    AuditPage,
    PasswordChange,
    RoleChange,
)
from racer.errors import NotFoundError, UnauthorizedError
from racer.web.conditional import WritingDep
from racer.web.openapi import errors
from racer.web.paging import place_of
from schemas import UserOut

router = APIRouter()
_OWN = errors(
    s401="Sign in first, or the password is wrong.",
    s404="There is no such account, or it is not yours.",
)
_LAST = errors(s409="No admin would be left, or it goes on changing.")
_TRIES = errors(s429="Too many tries; Retry-After says when again.")
_ADMINS = errors(s401="Sign in first.", s404="There is no such account, or you are no admin.")


def _admin(user: CurrentUser) -> User:
    if user.role is not Role.ADMIN:
        raise NotFoundError("There is nothing here for you: it is for admins.")
    return user


Admin = Annotated[User, Depends(_admin, scope="function")]


@router.put(
    "/users/{username}/password",
    tags=["users"],
    summary="Set an account's password",
    status_code=204,
    response_class=Response,
    responses=_OWN | _TRIES,
)
async def set_password(
    username: str, wanted: PasswordChange, request: Request, token: Token
) -> None:
    """Whoever sets an account's first password owns everything under the name: with AUTH_MODE=open
    anybody may, with AUTH_MODE=required an admin. Changing it takes the `current` one, except for
    an admin, and signs everybody out."""
    state = request.app.state
    # No transaction waits for bcrypt: who asks is looked at before and again when it is written.
    user, needs_current = await run_in_threadpool(_looked_at, state, username, token)
    if needs_current and not await signing_in.is_right(
        state, user, user.username, wanted.current or ""
    ):
        raise UnauthorizedError("`current` must be the present password.")
    password_hash = await in_bcrypt_thread(hash_password, wanted.password)
    await run_in_threadpool(_set_password, state, user, token, password_hash)


def _looked_at(state: State, username: str, token: str | None) -> tuple[User, bool]:
    with state.database.session(read_only=True) as session:
        return changes.whose_password(session, username, visitor_of(session, token, state))


def _set_password(state: State, seen: User, token: str | None, password_hash: str) -> None:
    with state.database.session() as session:
        user = signing_in.same_password(session, seen)
        changes.whose_password(session, user.username, visitor_of(session, token, state))
        changes.set_password(session, user, password_hash)


@router.put(
    "/users/{username}/role",
    tags=["users"],
    summary="Give an account a role",
    responses=_ADMINS | _LAST,
)
def set_role(username: str, wanted: RoleChange, session: SessionDep, _admin: Admin) -> AccountOut:
    """By an admin. Race directors manage every race, admins use everything."""
    return AccountOut.model_validate(changes.set_role(session, username, wanted.role))


@router.delete(
    "/users/{username}",
    tags=["users"],
    summary="Delete an account",
    status_code=204,
    response_class=Response,
    responses=_OWN | _LAST,
)
async def delete_user(username: str, request: Request, token: Token, writing: WritingDep) -> None:
    """With its drone models, runs, policies, evaluations, tracks and races that have no results;
    what runs is ended first. Races that were flown keep the names of who took part."""

    def as_seen(user: User) -> None:
        writing.require(lambda: UserOut.model_validate(user))

    await deletion.delete_account(request.app.state, username, token, check=as_seen)


@router.get("/audit", tags=["operations"], summary="Read the audit log", responses=_ADMINS)
def read_audit(
    session: SessionDep, _admin: Admin, wanted: Annotated[AuditFilter, Query()]
) -> AuditPage:
    """By an admin; the newest first. `next` is null on the last page."""
    found = audit.listed(session, before=wanted.before, limit=wanted.limit + 1)
    shown = found[: wanted.limit]
    last = shown[-1] if len(found) > wanted.limit else None
    return AuditPage(
        entries=[AuditEntryOut.model_validate(entry) for entry in shown],
        next=place_of(last.created_at, last.id) if last else None,
    )
