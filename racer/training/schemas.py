"""Wire types of trainings."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models import Status
from racer.web.paging import PLACE_SCHEMA


class TrainingOut(BaseModel):
    """A model's newest training, with every epoch so far."""

    drone_id: str
    status: Status
    training_epochs: int = Field(description="Epochs that the training has when it is complete.")
    attempt: int = Field(description="0 = not begun; more than 1 = gone on with after a stop.")
    error: str | None = Field(description="Why it failed, or that it was cancelled.")
    created_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    epochs: list[dict[str, Any]] = Field(
        description="The objects that /ws/train sends: epoch, loss, accuracy and further scalars.",
        examples=[[{"epoch": 1, "loss": 0.42, "accuracy": 0.31}]],
    )


_NO_NUL = r"^[^\x00]{1,100}$"  # PostgreSQL's text holds none
_MOST_RUNS = 64  # of one request
RunStatus = Literal["queued", "running", "paused", "finished", "failed", "cancelled"]


class RunOut(BaseModel):
    """A training run."""

    id: str
    drone_id: str = Field(description="The drone model that it trains.")
    username: str
    title: str = Field(description="The drone model's.")
    status: RunStatus
    epoch: int = Field(description="The newest on record; 0 before the first.")
    epochs: int = Field(description="When it is complete.")
    queue_position: int | None = Field(
        description="1 is next: accounts take turns. It holds if what runs ends in its order and "
        "nobody asks for more; null unless it waits among the first thousand."
    )
    waiting_for: Literal["turn", "memory"] | None = Field(
        description='Of a queued run. "memory": the next one waits until there is enough.'
    )
    seconds_left: float | None = Field(
        description="If the rest goes as its epochs so far; null while nothing is known."
    )
    seed: int
    config: dict[str, Any] = Field(
        description="What the training process is given.",
        examples=[{"algorithm": "ppo", "epochs": 20, "seed": 0}],
    )
    sent: dict[str, Any] | None = Field(description="The model's settings, as they were sent.")
    resolved: dict[str, Any] | None = Field(
        description="The configuration with every default; null until the process has read it."
    )
    parent_run_id: str | None = Field(
        description="Whose weights it began with; null: none's, or that run was deleted."
    )
    parent_policy_id: str | None = Field(
        description="The kept policy that it began with, if it was one; it may have been deleted."
    )
    attempt: int = Field(description="How often it was begun or gone on with.")
    error: str | None = Field(
        description="Why it failed, rests or waits, or that it was cancelled."
    )
    revision: str | None = Field(description="Of the code that trained last.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class RunFilter(BaseModel):
    """Which runs are listed."""

    status: list[RunStatus] = Field([], description="Only these; may be repeated.")
    username: str | None = Field(None, pattern=_NO_NUL, description="Only this account's.")
    drone_id: str | None = Field(None, pattern=_NO_NUL, description="Only this drone model's.")
    before: str | None = Field(
        None,
        max_length=100,
        description="`next` of the page before.",
        json_schema_extra=PLACE_SCHEMA,
    )
    limit: int = Field(20, ge=1, le=100)


class Sweep(BaseModel):
    """Runs that are wanted at once: each seed with each variant of the model's settings."""

    model_config = ConfigDict(extra="forbid", strict=True)

    seeds: list[Annotated[int, Field(ge=0, le=2**31 - 1)]] = Field(
        [0], min_length=1, max_length=32, description="Of the trainings' random numbers."
    )
    variants: list[dict[str, str]] = Field(
        [{}],
        min_length=1,
        max_length=32,
        description="Keys of droneDetails that differ from the model's.",
        examples=[[{"velocityLimit": "8"}, {"velocityLimit": "12"}]],
    )
    training_epochs: int | None = Field(None, ge=1, le=1000, description="Null: the model's.")
    continue_from: str | None = Field(
        None,
        pattern=_NO_NUL,
        description="A run, anybody's, or a kept policy of the model's owner, whose best weights "
        "these begin with; null: random ones. Algorithm and action space must be the same.",
    )

    @model_validator(mode="after")
    def _is_bounded(self) -> Self:
        if len(self.seeds) * len(self.variants) > _MOST_RUNS:
            raise ValueError(f"at most {_MOST_RUNS} runs (seeds × variants) at once")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed stands twice among the seeds")
        return self


class RunPage(BaseModel):
    """Some runs."""

    runs: list[RunOut]
    next: str | None = Field(description="What `before` of the next page is; null on the last.")


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
