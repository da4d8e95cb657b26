"""Is the service alive, and are the parts that it needs there?

Ready means that requests can be served: database and ROS 2. Controller and vehicle are told for
information; they come and go in any order.
"""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy.exc import SQLAlchemyError

from database import Database

log = structlog.get_logger(__name__)
router = APIRouter(tags=["health"])
_REQUIRED = ("database", "ros")


class Alive(BaseModel):
    """The process answers."""

    alive: bool = True


class Readiness(BaseModel):
    """Whether the service can serve, and each part's state."""

    ready: bool
    parts: dict[str, Any] = Field(examples=[{"database": True, "ros": True, "controller": True}])


@router.get("/livez", summary="Does the process answer?")
async def livez() -> Alive:
    """Touches nothing else; use it to decide about a restart."""
    return Alive()


@router.get(
    "/readyz",
    summary="Can it serve? Which part is missing?",
    responses={503: {"model": Readiness, "description": "A required part is missing."}},
)
def readyz(request: Request, response: Response) -> Readiness:
    """`database` and `ros` are required; `controller` and `vehicle` inform."""
    parts: dict[str, Any] = {"database": _database_answers(request.app.state.database)}
    parts |= request.app.state.control.status()
    ready = all(parts.get(name) is True for name in _REQUIRED)
    if not ready:
        response.status_code = 503
    return Readiness(ready=ready, parts=parts)


def _database_answers(database: Database) -> bool:
    try:
        database.ping()
    except SQLAlchemyError as error:
        log.warning("database does not answer", reason=str(error).partition("\n")[0])
        return False
    return True
