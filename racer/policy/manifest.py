"""`manifest.json`: everything that one must know to fly the `policy.onnx` beside it. No JAX here.

The network takes raw observations (racer.sim.interface) and answers with actions as the
environment takes them: normalisation and squashing are inside the graph, so that nobody who runs
it can get them wrong. The manifest says what was trained, on what, within which limits; a pilot
needs no other file. It may come from a stranger: sizes, types and ranges are checked, and nothing
in it is executed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from racer.errors import InvalidInputError, NotFoundError
from racer.policy.layout import Element, action_layout, observation_layout
from racer.policy.tables import track_from_table
from racer.sim.airframe import Airframe, parse_airframe
from racer.sim.interface import ActionSpace, Limits, RateLimits
from racer.sim.track import Track

MANIFEST_FILE = "manifest.json"
POLICY_FILE = "policy.onnx"
WEIGHTS_FILE = "policy.safetensors"  # beside them, as trained; not needed to fly
FORMAT: Final = "toledo-racer-policy"
FORMAT_VERSION: Final = 1
MAX_MANIFEST_BYTES = 1 << 20
MAX_POLICY_BYTES = 8 << 20

_Positive = Annotated[float, Field(gt=0.0, le=1e6)]


class _Table(BaseModel):
    """Strict about types; keys that a later release may add are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class PolicyFile(_Table):
    """The network's file, to tell a damaged or a foreign one."""

    file: Literal["policy.onnx"] = "policy.onnx"
    size_bytes: int = Field(gt=0, le=MAX_POLICY_BYTES)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Normalisation(_Table):
    """For the record: (observation − mean) × scale, clipped. Already inside the graph."""

    mean: list[float] = Field(max_length=256)
    scale: list[float] = Field(max_length=256)
    clip: _Positive
    output: Literal["linear", "tanh"]  # what the last layer goes through, inside the graph too


class PolicyLimits(_Table):
    """What actions are measured in and cut to; of both action spaces, SI."""

    velocity_m_s: _Positive
    velocity_unit_m_s: _Positive  # that a velocity action of one asks for
    climb_m_s: _Positive
    descent_m_s: _Positive
    yaw_rate_rad_s: _Positive
    yaw_rate_unit_rad_s: _Positive  # that a velocity policy's yaw action of one asks for
    tilt_deg: Annotated[float, Field(gt=0.0, le=180.0)]  # of the velocity loop
    hover_thrust: Annotated[float, Field(gt=0.0, lt=1.0)]  # of full; what a thrust action of 0 is
    body_rate_rad_s: _Positive  # roll and pitch rate that a ctbr action of ±1 asks for
    body_yaw_rate_rad_s: _Positive  # yaw rate likewise

    @property
    def velocity(self) -> Limits:
        """As racer.sim.interface.velocity_setpoint takes them."""
        return Limits(
            velocity=self.velocity_m_s,
            velocity_unit=self.velocity_unit_m_s,
            climb=self.climb_m_s,
            descent=self.descent_m_s,
            yaw=self.yaw_rate_rad_s,
            yaw_unit=self.yaw_rate_unit_rad_s,
        )

    @property
    def rates(self) -> RateLimits:
        """As racer.sim.interface.rate_setpoint takes them."""
        return RateLimits(
            hover=self.hover_thrust,
            tilt_rate=self.body_rate_rad_s,
            yaw_rate=self.body_yaw_rate_rad_s,
        )

    def scales(self, space: ActionSpace) -> tuple[float, float, float, float]:
        """What an action of one asks for, per element."""
        if space == "velocity":
            unit = self.velocity_unit_m_s
            return unit, unit, unit, self.yaw_rate_unit_rad_s
        return self.body_rate_rad_s, self.body_rate_rad_s, self.body_yaw_rate_rad_s, 1.0


class TrainingRecord(_Table):
    """Where the policy comes from."""

    config: dict[str, JsonValue]  # as racer.learning read it, defaults filled in
    seed: int
    epoch: int = Field(ge=0)
    env_steps: int = Field(ge=0)
    evaluation: dict[str, JsonValue]  # that epoch's report


class Manifest(_Table):
    """The whole file."""

    format: Literal["toledo-racer-policy"]
    format_version: Literal[1]
    name: str = Field(min_length=1, max_length=128)
    created: Annotated[AwareDatetime, Field(strict=False)]  # UTC
    git_revision: str = Field(max_length=64)  # of the code that trained it; or "unknown"
    algorithm: str = Field(min_length=1, max_length=32)
    action_space: ActionSpace
    control_hz: Annotated[float, Field(ge=1.0, le=1000.0)]
    substeps: int = Field(ge=1, le=1000)  # of the simulation, per action
    seen_obstacles: int = Field(default=0, ge=0, le=8)  # nearest poles that an observation tells of
    observation: tuple[Element, ...] = Field(max_length=256, strict=False)
    action: tuple[Element, ...] = Field(max_length=16, strict=False)
    normalisation: Normalisation
    limits: PolicyLimits
    wind_speed_m_s: float = Field(ge=0.0, le=100.0)  # mean wind of the training
    airframe: dict[str, JsonValue]
    track: dict[str, JsonValue]
    training: TrainingRecord
    policy: PolicyFile

    @model_validator(mode="after")
    def _layouts_are_ours(self) -> Manifest:
        """Whoever flies it computes observations with this installation's interface."""
        space = self.action_space
        expected = (
            observation_layout(space, self.seen_obstacles),
            action_layout(space, self.limits.scales(space)),
        )
        for name, given, ours in zip(
            ("observation", "action"), (self.observation, self.action), expected, strict=True
        ):
            if given != ours:
                raise ValueError(
                    f"the {name} layout is not the one that this installation computes; "
                    "train the policy again, or use the release it was made with"
                )
        return self

    @property
    def dt(self) -> float:
        """Seconds between actions."""
        return 1.0 / self.control_hz

    def load_track(self) -> Track:
        """The course it was trained on; InvalidInputError when that is no course."""
        return track_from_table(self.track)

    def load_airframe(self) -> Airframe:
        """The vehicle it was trained for; InvalidInputError when that is no airframe."""
        return parse_airframe(self.airframe)

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(self.model_dump(mode="json"), indent=2) + "\n"


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` in a policy's folder.

    Raises NotFoundError when there is none, InvalidInputError that says what is wrong in it.
    """
    content = read_limited(folder / MANIFEST_FILE, MAX_MANIFEST_BYTES)
    return parse_manifest(content)


def parse_manifest(content: bytes) -> Manifest:
    """Check a manifest's text; InvalidInputError names the key that is wrong."""
    try:
        given = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"{MANIFEST_FILE} is not JSON: {error}") from error
    _check_unicode(given)
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise InvalidInputError(f"{MANIFEST_FILE} is not a policy's manifest ('format': {FORMAT}).")
    version = given.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise InvalidInputError(
            f"The policy has format version {version}, this installation reads {FORMAT_VERSION}. "
            "Update this installation."
        )
    try:
        manifest = Manifest.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the manifest"
        raise InvalidInputError(f"{MANIFEST_FILE}: '{where[:200]}': {first['msg']}.") from error
    manifest.load_track()
    manifest.load_airframe()
    return manifest


def _check_unicode(given: object) -> None:
    """JSON can spell half a surrogate pair, which no answer to a client could hold."""
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        raise InvalidInputError(f"{MANIFEST_FILE} holds what is no Unicode text.") from error


def read_limited(path: Path, limit: int) -> bytes:
    """A regular file's content; InvalidInputError when it is larger than `limit` bytes."""
    try:
        if not path.is_file():
            raise NotFoundError(
                f"There is no {path.name} in {path.parent}. Name a folder that a training or "
                "`python -m racer export` wrote."
            )
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise InvalidInputError(f"Cannot read {path}: {error.strerror}.") from error
    if len(content) > limit:
        raise InvalidInputError(f"{path.name} is larger than {limit} bytes: not one of ours.")
    return content


def describe(table: dict[str, Any]) -> dict[str, JsonValue]:
    """A table whose values JSON can hold; raises InvalidInputError when they are not numbers,
    texts, lists or tables."""
    try:
        result: dict[str, JsonValue] = json.loads(json.dumps(table, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"The policy's description is not JSON: {error}") from error
    return result
