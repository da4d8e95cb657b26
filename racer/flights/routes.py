"""`/users/{username}/flights`: the recordings in which an account flew by hand."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from auth import NamedAccount
from database import SessionDep
from racer.flights.schemas import FlightPage
from racer.flights.service import FlightService, Owner, owner_of
from racer.web.openapi import errors

router = APIRouter(tags=["flying"])
_UNKNOWN = errors(s401="The account has a password: sign in first.", s404="There is no such user.")


async def _flights(request: Request) -> FlightService:
    service: FlightService = request.app.state.flights
    return service


def _owner(user: NamedAccount, session: SessionDep) -> Owner:
    """Looked up, and the database let go, before anybody waits for a recording."""
    owner = owner_of(user)
    session.commit()
    return owner


@router.get(
    "/users/{username}/flights",
    summary="Recordings in which an account flew by hand",
    responses=_UNKNOWN,
)
async def list_flights(
    owner: Annotated[Owner, Depends(_owner, scope="function")],
    flights: Annotated[FlightService, Depends(_flights)],
    before: Annotated[str | None, Query(max_length=100, description="`next` of a page.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> FlightPage:
    """The newest first, of those that are still there: the oldest are deleted for new ones."""
    return await flights.listed(owner, before=before, limit=limit)
