"""What the training slice's routes ask FastAPI for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from racer.training.service import TrainingService


async def _service(request: Request) -> TrainingService:
    service: TrainingService = request.app.state.training
    return service


Service = Annotated[TrainingService, Depends(_service)]
