"""Every error becomes a problem (RFC 9457) whose `detail` is for the person at the client."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from database import lacks_parent
from racer.errors import RacerError, TooManyRequestsError
from racer.rewards.diagnostics import InvalidRewardError

log = structlog.get_logger(__name__)
_MAX_SHOWN_ERRORS = 8
_MAX_TEXT = 400
_RETRY_AFTER_S = "2"
_POSTGRESQL_DISK_FULL = "53100"
_UNREADABLE = "There was an error parsing the body"  # FastAPI's words for what it cannot decode
_NO_JSON = {
    "type": "value_error",
    "loc": ("body",),
    "ctx": {"error": "is no JSON in UTF-8, or has too many brackets in each other"},
}
_PLACES = frozenset({"body", "query", "path", "header", "cookie"})


class Problem(JSONResponse):
    """The answer to a request that failed: RFC 9457, `type` left out because the status says it
    all, and whatever else a program may want.

    ASCII JSON: an error may quote half of a surrogate pair, which UTF-8 cannot hold.
    """

    media_type = "application/problem+json"

    def __init__(
        self, detail: Any, status: int, headers: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        """`detail` is a sentence: what happened and what to do."""
        title = HTTPStatus(status).phrase
        super().__init__(
            {"title": title, "status": status, "detail": detail} | more, status, headers
        )

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode("ascii")


def install_error_handlers(app: FastAPI) -> None:
    """Give `app` the handlers of this module."""
    app.exception_handler(RacerError)(_racer_error)
    app.exception_handler(HTTPException)(_http_error)
    app.exception_handler(RequestValidationError)(_validation_error)
    for lost in (OperationalError, InterfaceError, PoolTimeoutError):
        app.exception_handler(lost)(_database_error)
    for gone in (IntegrityError, StaleDataError):
        app.exception_handler(gone)(_deleted_meanwhile)


async def _racer_error(_request: Request, error: RacerError) -> JSONResponse:
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        log.warning("unavailable", error=error.message, status=error.status)
    return problem_of(error)


def problem_of(error: RacerError) -> Problem:
    """The answer that says it."""
    headers: dict[str, str] = {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, TooManyRequestsError):
        headers["Retry-After"] = str(error.retry_after_s)
    return Problem(error.message, error.status, headers)


async def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    detail, headers = error.detail, error.headers
    if detail == _UNREADABLE:  # no UTF-8, or too many brackets; what is no JSON is a 422, too
        return await _validation_error(request, RequestValidationError([_NO_JSON]))
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"There is nothing at {request.url.path[:200]}. /docs lists what there is."
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        detail = (
            f"{request.method} does nothing at {request.url.path[:200]}. /docs lists what does."
        )
        headers = {"Allow": _methods(request)}
    return Problem(detail, error.status_code, headers)


def _methods(request: Request) -> str:
    """Those of all routes of this path; Starlette names the first route's only. Where two templates
    fit (`/users/me`, `/users/{username}`) the first is meant: no user is named so."""
    path: str = request.scope["path"]
    template, found = None, set[str]()
    for context in iter_route_contexts(request.app.routes):
        if context.path is None or not compile_path(context.path)[0].match(path):
            continue
        template = template or context.path
        if context.path == template:
            found |= context.methods or set()
    return ", ".join(sorted(found))


async def _validation_error(_request: Request, error: RequestValidationError) -> JSONResponse:
    errors = [_field_error(item) for item in error.errors()]
    shown = [_sentence(item) for item in errors[:_MAX_SHOWN_ERRORS]]
    if len(errors) > _MAX_SHOWN_ERRORS:
        shown.append(f"and {len(errors) - _MAX_SHOWN_ERRORS} more")
    return Problem("; ".join(shown), HTTPStatus.UNPROCESSABLE_ENTITY, errors=errors[:100])


async def _deleted_meanwhile(_request: Request, error: Exception) -> JSONResponse:
    """Between our look at a row and our write somebody else deleted it, an account for example."""
    if not (lacks_parent(error) or isinstance(error, StaleDataError)):
        raise error
    return Problem("It, or what it belongs to, was deleted meanwhile.", HTTPStatus.NOT_FOUND)


async def _database_error(_request: Request, error: Exception) -> JSONResponse:
    reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
    log.error("database does not answer", reason=reason)
    if _is_full(error):
        return Problem(
            "The disk of the database is full: nothing can be saved until somebody makes room. "
            "Reading goes on.",
            HTTPStatus.INSUFFICIENT_STORAGE,
        )
    return Problem(
        "The database does not answer now. Try again in a moment.",
        HTTPStatus.SERVICE_UNAVAILABLE,
        {"Retry-After": _RETRY_AFTER_S},
    )


def _is_full(error: Exception) -> bool:
    """Whether SQLite or PostgreSQL says that its disk is."""
    cause = getattr(error, "orig", None)
    return (
        getattr(cause, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
        or getattr(cause, "pgcode", None) == _POSTGRESQL_DISK_FULL
    )


def _field_error(item: Mapping[str, Any]) -> dict[str, Any]:
    loc: Sequence[str | int] = item["loc"]
    context: Mapping[str, Any] = item.get("ctx") or {}
    if item["type"] == "json_invalid":
        return {"loc": ["body"], "msg": f"is not valid JSON (character {loc[-1]})"}
    if item["type"] == "value_error":  # our own sentence, without pydantic's prefix
        return {"loc": list(loc), "msg": str(context["error"])[:_MAX_TEXT]} | _details(context)
    message: str = item["msg"]
    return {"loc": list(loc), "msg": (message[:1].lower() + message[1:])[:_MAX_TEXT]}


def _details(context: Mapping[str, Any]) -> dict[str, Any]:
    """A reward function's diagnostics, line by line."""
    error = context["error"]
    if not isinstance(error, InvalidRewardError):
        return {}
    return {"diagnostics": [item.as_dict() for item in error.diagnostics]}


def _sentence(error: Mapping[str, Any]) -> str:
    """`drone_details.velocityLimit: must be a number from 0.5 to 20 m/s, …`."""
    loc = error["loc"]
    names = loc[1:] if len(loc) > 1 and loc[0] in _PLACES else loc
    return f"{'.'.join(str(name)[:64] for name in names)}: {error['msg']}"
