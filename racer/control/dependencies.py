"""What the routes ask FastAPI for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from racer.control.service import ControlService


async def _control(connection: HTTPConnection) -> ControlService:
    service: ControlService = connection.app.state.control
    return service


ControlDep = Annotated[ControlService, Depends(_control)]
