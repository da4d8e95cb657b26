"""Wire types of recorded flights."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field


class FlightOut(BaseModel):
    """A recording in which an account flew by hand."""

    id: str = Field(
        description="What a race's entry names.",
        examples=["2026-08-01T12-00-00.000000Z_drone1"],
    )
    drone: int = Field(description="Its number.")
    began_at: datetime = Field(description="When the account first flew in it.")
    flown_s: float = Field(description="For how long it did, all together.")
    airframe: str | None = Field(description="What flew; null: the recording is too old to say.")
    wind_speed_m_s: float | None = Field(description="Around the embedded vehicle.")


class FlightPage(BaseModel):
    """Some of them, the newest first."""

    flights: list[FlightOut]
    next: str | None = Field(description="What `before` of the next page is; null on the last.")
    unread: int = Field(
        description="New recordings that are not read yet: ask again.", examples=[0]
    )
