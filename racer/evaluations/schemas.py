"""Wire types of evaluations."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from racer.web.paging import PLACE_SCHEMA

_NO_NUL = r"^[^\x00]{1,100}$"  # PostgreSQL's text holds none
_TRACK = r"^[^\x00]{1,140}$"
EvaluationStatus = Literal["queued", "running", "finished", "failed", "cancelled"]


class EvaluationIn(BaseModel):
    """How a policy is flown; what is null is flown as in its training."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    track: str | None = Field(
        None,
        pattern=_TRACK,
        description="A shipped course, `username/name` or the UUID of one that the policy's owner "
        "may see; null: the one that it was trained on, where it lay. The evaluation keeps a copy, "
        "and shows it to everybody.",
        examples=["figure_eight"],
    )
    altitude_m: float | None = Field(
        None, ge=0.5, le=100, description="Mean height of the gates of `track`, m."
    )
    laps: int | None = Field(None, ge=1, le=20)
    wind_speed_m_s: float | None = Field(
        None, ge=0, le=30, description="Mean wind, m/s; gusts come with it."
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="Of starts and gusts; no training draws from it."
    )
    starts: int = Field(64, ge=1, le=1000, description="Flights.")
    vary: Literal["none", "course", "full"] | None = Field(
        None,
        description="How flights differ beyond their starts: not at all; as the course's file "
        "says; or vehicle, delay and wind as well.",
    )
    same_start: bool = Field(False, description="Every flight begins exactly at the start.")
    recorded: int = Field(
        8, ge=1, le=32, description="Of how many flights, the first ones, trajectories are kept."
    )

    @model_validator(mode="after")
    def _has_a_track(self) -> Self:
        if self.altitude_m is not None and self.track is None:
            raise ValueError("an altitude needs a track: the policy's own has one already")
        return self


class EvaluationSummary(BaseModel):
    """An evaluation without its details."""

    id: str
    policy_id: str
    policy_name: str
    policy_version: int
    username: str = Field(description="The policy's owner.")
    status: EvaluationStatus
    progress: float | None = Field(description="0 to 1 while it is flown.")
    error: str | None = Field(description="Why it failed, or that it was cancelled.")
    settings: dict[str, Any] = Field(
        description="As asked for.", examples=[{"track": None, "seed": 0, "starts": 64}]
    )
    track: str | None = Field(description="Its name then; null: the policy's own, which it names.")
    track_sha256: str | None = Field(description="Of its text then, as /tracks tells it.")
    completion: float | None = Field(
        description="Share of the starts that passed every gate in time, without a crash."
    )
    best_lap_s: float | None
    median_lap_s: float | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class EvaluationOut(EvaluationSummary):
    """An evaluation."""

    track_text: str | None = Field(description="TOML, as it was when the evaluation was asked for.")
    conditions: dict[str, Any] | None = Field(
        description="As flown, every default filled in; null until it has finished."
    )
    report: dict[str, Any] | None = Field(
        description="Completion, lap times, splits, crash causes; see docs/evaluations.md."
    )


class EvaluationFilter(BaseModel):
    """Which evaluations are listed."""

    policy_id: str | None = Field(None, pattern=_NO_NUL, description="Only of this policy.")
    username: str | None = Field(None, pattern=_NO_NUL, description="Only this account's.")
    status: list[EvaluationStatus] = Field([], description="Only these; may be repeated.")
    before: str | None = Field(
        None,
        max_length=100,
        description="`next` of the page before.",
        json_schema_extra=PLACE_SCHEMA,
    )
    limit: int = Field(50, ge=1, le=200)


class EvaluationPage(BaseModel):
    """Some evaluations."""

    evaluations: list[EvaluationSummary]
    next: str | None = Field(description="What `before` of the next page is; null on the last.")


class Pair(BaseModel):
    """One start, flown by both."""

    start: int = Field(description="1, 2, …", examples=[1])
    a_s: float | None = Field(description="Course time of a, s; null unless it finished.")
    b_s: float | None
    faster: Literal["a", "b"] | None = Field(
        description="Who was; where one alone finished, that one. Null: a tie, or neither did."
    )


class Difference(BaseModel):
    """How much longer b takes than a, over the starts that both finished."""

    starts: int
    mean_s: float = Field(description="Mean of b minus a, s: below zero b is faster.")
    low_s: float | None = Field(description="95 % interval of it; null below 8 starts.")
    high_s: float | None
    method: str = "paired percentile bootstrap, 10000 resamples, 95 %"


class Side(BaseModel):
    """One of the two."""

    evaluation: EvaluationSummary
    faster: int = Field(description="Starts on which it was.", examples=[31])
    finished_alone: int = Field(
        description="Starts that it finished and the other did not.", examples=[2]
    )
    control_hz: float | None = Field(description="How often the policy acts, per second.")
    physics_hz: float | None = Field(
        description="Steps of the simulation per second; null where an older release flew it."
    )
    velocity_limit_m_s: float | None = Field(description="Likewise; the policy's, m/s.")


class Comparison(BaseModel):
    """Two policies on the same starts."""

    conditions: dict[str, Any] = Field(
        description="Of a; of b the same but for control_hz, physics_hz and velocity_limit_m_s.",
        examples=[{"track": "toledo", "laps": 3, "seed": 0, "starts": 64}],
    )
    same_gusts: bool = Field(
        description="Whether gusts and delays were the same too. Gusts are drawn once a control "
        "step and pass by quicker the faster a policy may fly, so with wind they differ between "
        "policies of different control rates or velocity limits; delays end with a control step."
    )
    a: Side
    b: Side
    both_finished: int = Field(examples=[60])
    difference: Difference | None = Field(description="Null where no start was finished by both.")
    starts: list[Pair]
