"""Wire types of trainings."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from models import Status


class TrainingOut(BaseModel):
    """A model's newest training, with every epoch so far."""

    drone_id: str
    status: Status
    training_epochs: int = Field(description="Epochs that the training has when it is complete.")
    attempt: int = Field(description="0 = never trained; more than 1 = begun again after a stop.")
    error: str | None = Field(description="Why it failed, or that it was cancelled.")
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    epochs: list[dict[str, Any]] = Field(
        description="The objects that /ws/train sends: epoch, loss, accuracy and further scalars.",
        examples=[[{"epoch": 1, "loss": 0.42, "accuracy": 0.31}]],
    )


class RewardFunction(BaseModel):
    """A reward function to look at."""

    source: str = Field(
        description="Python text that defines reward_function(params).",
        examples=["def reward_function(params):\n    return params['gate_alignment']\n"],
    )


class TrainingAnswer(BaseModel):
    """The answer to a wish."""

    status: Literal["success", "already_running"]
    message: str
