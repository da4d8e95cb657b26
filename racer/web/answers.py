"""Answers that are read much: made where the rows are, in the handler's thread."""

from __future__ import annotations

from typing import Any

from fastapi import Response
from pydantic import BaseModel
from sqlalchemy.orm import Session


def answered(session: Session, kind: type[BaseModel], row: Any) -> Response:
    """`row` as the route's `response_model` has it; ends the reading `session`.

    FastAPI would check the answer in a second thread and end the session in a third: every visit
    of the thread pool costs about as much as the query.
    """
    body = kind.model_validate(row).model_dump_json()
    session.close()
    return Response(body, media_type="application/json")
