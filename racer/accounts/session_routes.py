"""Signing in, staying signed in, signing out. Tokens go in headers and bodies, never in URLs."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.security import OAuth2PasswordRequestForm

from auth import AnyVisitor
from database import SessionDep
from racer.accounts import audit, signing_in, tokens
from racer.accounts.schemas import RefreshIn
from racer.errors import UnauthorizedError
from racer.web.openapi import errors
from schemas import TokenOut

router = APIRouter(tags=["users"])


@router.post(
    "/token",
    summary="Sign in (OAuth2 password flow)",
    responses=errors(
        s401="The name or the password is wrong.",
        s429="Too many tries; Retry-After says when again.",
    ),
)
async def sign_in(
    form: Annotated[OAuth2PasswordRequestForm, Depends()], request: Request
) -> TokenOut:
    """A bearer token, valid for 30 minutes, and one to get the next. The body is a form, as OAuth2
    wants it."""
    return await signing_in.sign_in(request.app.state, form.username, form.password)


@router.post(
    "/token/refresh",
    summary="Stay signed in",
    responses=errors(s401="The token is wrong, old or used."),
)
async def refresh(wanted: RefreshIn, request: Request) -> TokenOut:
    """New tokens for a refresh token, which counts once: one that comes again was stolen from
    somebody, and its session ends."""
    state = request.app.state

    def renewed() -> TokenOut | None:
        with state.database.session() as session:  # our own: a refusal is to be committed, too
            audit.sweep(session, days=state.settings.audit_days)
            return tokens.renew(session, wanted.refresh_token, state.secret_key)

    async with state.database.writers:
        told = await run_in_threadpool(renewed)
    if told is None:
        raise UnauthorizedError("The refresh token is wrong, expired or used. Sign in again.")
    return told


@router.post(
    "/logout",
    summary="Sign out",
    status_code=204,
    response_class=Response,
    responses=errors(s401="No token, or a wrong or expired one."),
)
def sign_out(session: SessionDep, visitor: AnyVisitor) -> None:
    """The token's session ends: neither it nor its refresh token count any more."""
    if visitor.user is None or visitor.session_id is None:
        raise UnauthorizedError("Nobody is signed in: send the token to be ended.")
    tokens.end(session, visitor.session_id)
    audit.record(session, "account.sign_out", visitor.user.username)
