"""Wire types of kept policies."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from racer.web.paging import PLACE_SCHEMA

_NO_NUL = r"^[^\x00]{1,200}$"  # PostgreSQL's text holds none
Origin = Literal["trained", "uploaded"]
ExportFormat = Literal["onnx", "openvino", "safetensors"]


class PolicyOut(BaseModel):
    """A version of a trained policy."""

    id: str
    username: str
    name: str = Field(
        description="The drone model's title; of an uploaded one as it was named.",
        examples=["First laps"],
    )
    version: int = Field(description="Counts from 1 among the user's policies of this name.")
    origin: Origin
    drone_id: str | None = Field(description="The drone model that was trained, while it is there.")
    run_id: str | None = Field(description="The run that it comes from, while that is there.")
    parent_id: str | None = Field(description="The policy that its training began with.")
    track: str = Field(description="That it was trained on.")
    sha256: str = Field(description="Of policy.onnx.")
    size_bytes: int = Field(description="Of all its files.")
    metrics: dict[str, Any] = Field(
        description="Of its run's newest epoch when it was kept.",
        examples=[{"epoch": 20, "loss": 0.12, "accuracy": 0.94}],
    )
    created_at: datetime


class PolicyDetail(PolicyOut):
    """With everything that one must know to fly it."""

    manifest: dict[str, Any] = Field(
        description="docs/policies.md says what is in it.",
        examples=[{"format": "toledo-racer-policy", "format_version": 1}],
    )


class PolicyFilter(BaseModel):
    """Which policies are listed."""

    username: str | None = Field(None, pattern=_NO_NUL, description="Only this account's.")
    name: str | None = Field(None, pattern=_NO_NUL, description="Only of this name.")
    track: str | None = Field(None, pattern=_NO_NUL, description="Only trained on this course.")
    origin: Origin | None = None
    drone_id: str | None = Field(None, pattern=_NO_NUL, description="Only of this drone model.")
    before: str | None = Field(
        None,
        max_length=100,
        description="`next` of the page before.",
        json_schema_extra=PLACE_SCHEMA,
    )
    limit: int = Field(20, ge=1, le=100)


class PolicyPage(BaseModel):
    """Some policies."""

    policies: list[PolicyOut]
    next: str | None = Field(description="What `before` of the next page is; null on the last.")
