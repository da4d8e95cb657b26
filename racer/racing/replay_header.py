"""What a replay's file says about itself before the numbers begin. No JAX."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from racer.racing.flight import Cause, End
from racer.sim.track import MAX_GATES, MAX_LAPS

RATE_HZ = 50.0
POSITION_UNIT_M = 0.001
MAX_DRONES = 160  # a knockout of 32 flies 31 heats of two and a seeding
MAX_SAMPLES = 1 << 16  # of one drone: 21 minutes at 50 Hz
MAX_SECONDS = 1e5

_Seconds = Annotated[float, Field(ge=0.0, le=MAX_SECONDS)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Ghost(_Table):
    """One drone of one heat."""

    id: int
    name: str = Field(min_length=1, max_length=128)
    heat: int = Field(ge=0, lt=MAX_DRONES)
    start_s: _Seconds  # of the race's time
    end_s: _Seconds
    samples: int = Field(ge=2, le=MAX_SAMPLES)
    status: End
    cause: Cause | None = None
    passages_s: Annotated[
        tuple[_Seconds, ...], Field(max_length=MAX_GATES * MAX_LAPS, strict=False)
    ]  # since its start


class Header(_Table):
    """All of it."""

    format: Literal["toledo-racer-replay"]
    rate_hz: float = Field(gt=0.0, le=1000.0)
    position_unit_m: float = Field(gt=0.0, le=1.0)
    airframe: str = Field(min_length=1, max_length=128)
    track: dict[str, JsonValue]  # as racer.policy.tables.track_table writes it
    drones: Annotated[tuple[Ghost, ...], Field(min_length=1, max_length=MAX_DRONES, strict=False)]

    @model_validator(mode="after")
    def _times_match_the_samples(self) -> Header:
        for ghost in self.drones:
            length = ghost.end_s - ghost.start_s
            if length <= 0.0 or ghost.samples != 1 + math.ceil(length * self.rate_hz - 1e-6):
                raise ValueError(f"{ghost.samples} samples do not last {length:g} s")
        return self
