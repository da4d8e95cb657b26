"""What the policies slice's routes ask FastAPI for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from racer.policies.service import PolicyService


async def _service(request: Request) -> PolicyService:
    service: PolicyService = request.app.state.policies
    return service


Service = Annotated[PolicyService, Depends(_service)]
