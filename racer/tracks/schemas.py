"""Wire types of tracks."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from racer.sim.track import track_names

_PLACE = f"^({'|'.join(track_names())}|[0-9]{{1,17}}-[0-9a-f-]{{36}})$"  # shipped ones come first


class TrackSummary(BaseModel):
    """A track as lists show it."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(
        description="Of a shipped track its name, of a user's a UUID.", examples=["toledo"]
    )
    name: str = Field(examples=["toledo"])
    full_name: str = Field(
        description="What droneDetails.track calls it: username/name, or the name of a shipped "
        "one.",
        examples=["ada/my course"],
    )
    username: str | None = Field(description="Whose it is; null: it ships with the product.")
    shipped: bool
    shared: bool = Field(description="Whether others see it and may use it.")
    gates: int = Field(description="Of one lap.")
    laps: int
    length_m: float = Field(description="Of the smooth line from the start through all laps.")
    mean_height_m: float = Field(description="Of the gates' centres.")
    sha256: str = Field(description="Of the file that /tracks/{id}.toml gives.")
    created_at: datetime | None
    updated_at: datetime | None


class TrackOut(TrackSummary):
    """A track with everything in it."""

    airframes: list[str] = Field(
        description="Shipped airframes whose hull fits through every gate."
    )
    course: dict[str, Any] = Field(
        description="name, laps, start, bounds, gates, obstacles and randomisation with every "
        "default, as in docs/tracks.md; may be posted again.",
        examples=[{"name": "toledo", "laps": 3, "gates": [{"position": [4.0, 0.0, 2.0]}]}],
    )


class TrackPage(BaseModel):
    """Some tracks."""

    tracks: list[TrackSummary]
    next: str | None = Field(description="What `before` of the next page is; null on the last.")


class TrackFilter(BaseModel):
    """Which tracks are listed."""

    username: str | None = Field(
        None, pattern=r"^[^\x00]{1,100}$", description="Only this account's."
    )
    before: str | None = Field(
        None,
        max_length=100,
        description="`next` of the page before.",
        json_schema_extra={
            "pattern": f"^({'|'.join(track_names())}|[0-9]{{1,17}}-[0-9a-f-]{{36}})$"
        },
    )
    limit: int = Field(20, ge=1, le=100)


class TrackChange(BaseModel):
    """What of a track changes without its text."""

    model_config = ConfigDict(extra="forbid")

    shared: bool = Field(description="Whether others see it and may use it.", strict=True)


class TrackProblem(BaseModel):
    """One complaint."""

    model_config = ConfigDict(from_attributes=True)

    key: str = Field(description="Empty: the text as a whole.", examples=["gates[1].yaw_deg"])
    message: str = Field(examples=["must be a number from -360 to 360"])


class TrackCheck(BaseModel):
    """What is to be said about a text; numbers only when nothing is wrong with it."""

    valid: bool
    problems: list[TrackProblem]
    name: str | None = None
    gates: int | None = None
    laps: int | None = None
    length_m: float | None = None
    mean_height_m: float | None = None
    airframes: list[str] | None = None
