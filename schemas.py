"""Wire types of the spine: users, drone models, tokens, errors.

`DroneDetails` keeps every text as the client typed it and checks that it means something;
`flight_settings()` gives the numbers. Messages are written for the person at the client, which
shows them as they are: they name the allowed range, never echo more than a few characters.
"""

# The drone details' names are the seed API's.
# ruff: noqa: N815

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FiniteFloat,
    WithJsonSchema,
    model_validator,
)

from models import Status

Algorithm: TypeAlias = Literal["ppo", "sac", "apg"]
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_MAX_DETAILS_BYTES = 16_384
_MAX_DETAILS_DEPTH = 16
_MAX_TRACK_CHARACTERS = 160
_MAX_REWARD_CHARACTERS = 65_536  # as in racer.rewards.limits, which the spine does not import
_ON = frozenset({"true", "on", "yes", "1"})
_OFF = frozenset({"false", "off", "no", "0", ""})
USERNAME_RULE = (
    "must be 1 to 64 letters, digits, spaces or . _ - @ + ' characters, with at least one letter "
    "or digit"
)


@dataclass(frozen=True)
class NumberField:
    """What one numeric drone detail accepts, and what "" means."""

    low: float
    high: float
    default: float
    unit: str

    def parse(self, value: object) -> float:
        """The number meant by a text, a JSON number, or nothing; ValueError names the range."""
        if isinstance(value, str):
            value = value.strip(" \t\r\n")
        if value is None or value == "":
            return self.default
        number: object = value
        if isinstance(value, str) and len(value) <= 32 and _NUMBER.fullmatch(value):
            number = float(value)
        # Compared before any conversion: a JSON integer may exceed every float.
        if (
            isinstance(number, (int, float))
            and not isinstance(number, bool)
            and self.low <= number <= self.high
        ):
            return float(number) + 0.0  # -0.0 becomes 0.0
        raise ValueError(
            f"must be a number from {self.low:g} to {self.high:g} {self.unit}, "
            f"or empty for the default; got {_shown(value)}"
        )

    def json_schema(self) -> dict[str, Any]:
        """How the API's document describes the field."""
        return {
            "type": ["string", "number", "null"],
            "description": f"{self.low:g} to {self.high:g} {self.unit}, empty for the default "
            f"({self.default:g}). Text, or a JSON number.",
            "examples": [f"{self.default:g}"],
        }


ALTITUDE = NumberField(1.5, 100.0, 2.5, "m")
VELOCITY = NumberField(0.5, 20.0, 8.0, "m/s")
YAW = NumberField(5.0, 360.0, 90.0, "°/s")
WIND = NumberField(0.0, 15.0, 3.0, "m/s")


def _shown(value: object) -> str:
    """A few harmless characters of what was sent."""
    if isinstance(value, int) and abs(value) > 10**20:
        return "a huge number"  # printing one may take longer than Python allows
    if not isinstance(value, (str, int, float)):
        return "no number or text" if value is not None else "nothing"
    text = ascii(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _parse_switch(value: object) -> bool:
    word = value.strip().lower() if isinstance(value, str) else value
    if word is None or word is False or (isinstance(word, str) and word in _OFF):
        return False
    if word is True or (isinstance(word, str) and word in _ON):
        return True
    raise ValueError(f'must be "true", "false" or empty (off); got {_shown(value)}')


def _parse_algorithm(value: object) -> Algorithm:
    word = value.strip().lower() if isinstance(value, str) else value
    if word in ("", None, "ppo"):
        return "ppo"
    if word == "sac":
        return "sac"
    if word == "apg":
        return "apg"
    raise ValueError(f'must be "ppo", "sac", "apg" or empty for ppo; got {_shown(value)}')


def _parse_race_type(value: object) -> str:
    if value is None:
        return "time-trial"
    if not isinstance(value, str) or len(value) > 64:
        raise ValueError("must be a text of at most 64 characters, or empty for time-trial")
    return value.strip() or "time-trial"


def _parse_reward(value: object) -> str | None:
    """The source of a reward function; None for the built-in reward.

    What the text means is checked where it comes in (racer.accounts.service): the spine knows no
    engine, and a stored one need not be checked again whenever it is read.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError(  # noqa: TRY004 - pydantic listens to ValueError
            f"must be the text of a reward function, or empty; got {_shown(value)}"
        )
    if len(value) > _MAX_REWARD_CHARACTERS:
        raise ValueError(f"must be at most {_MAX_REWARD_CHARACTERS} characters long")
    if "\0" in value:
        raise ValueError("must not contain NUL characters")
    return value if value.strip() else None


def _parse_track(value: object) -> str | None:
    """The name of a track; None when there is none. Whether it exists is asked when it is flown."""
    word = value.strip(" \t\r\n") if isinstance(value, str) else value
    if word is None or word == "":
        return None
    if not isinstance(word, str) or len(word) > _MAX_TRACK_CHARACTERS or not word.isprintable():
        raise ValueError(
            "must be the name of a shipped track, username/name of a user's, or empty; got "
            f"{_shown(value)}"
        )
    return word


def _unchanged(parse: Any) -> AfterValidator:
    """Check with `parse`, keep what was sent."""

    def check(value: object) -> object:
        parse(value)
        return value

    return AfterValidator(check)


@dataclass(frozen=True)
class FlightSettings:
    """What the drone details mean. Wind is 0 when it is off."""

    altitude_m: float | None  # mean height of the gates; None: where the named track has them
    velocity_limit_m_s: float
    yaw_limit_deg_s: float
    wind_speed_m_s: float
    algorithm: Algorithm
    race_type: str
    reward: str | None = None  # source of a reward function; None for the built-in reward
    track: str | None = None  # its name; None for the product's own course


_AltitudeText = Annotated[Any, _unchanged(ALTITUDE.parse), WithJsonSchema(ALTITUDE.json_schema())]
_VelocityText = Annotated[Any, _unchanged(VELOCITY.parse), WithJsonSchema(VELOCITY.json_schema())]
_YawText = Annotated[Any, _unchanged(YAW.parse), WithJsonSchema(YAW.json_schema())]
_WindText = Annotated[Any, _unchanged(WIND.parse), WithJsonSchema(WIND.json_schema())]
_Switch = Annotated[
    Any,
    _unchanged(_parse_switch),
    WithJsonSchema(
        {
            "type": ["string", "boolean", "null"],
            "description": "true, on, yes, 1, or false, off, no, 0; empty means false.",
            "examples": ["true"],
        }
    ),
]
_Algorithm = Annotated[
    Any,
    _unchanged(_parse_algorithm),
    WithJsonSchema(
        {
            "type": ["string", "null"],
            "description": "ppo, sac or apg; empty means ppo.",
            "examples": ["ppo"],
        }
    ),
]
_RaceType = Annotated[
    Any,
    _unchanged(_parse_race_type),
    WithJsonSchema({"type": ["string", "null"], "maxLength": 64, "examples": ["time-trial"]}),
]
_TrackText = Annotated[
    Any,
    _unchanged(_parse_track),
    WithJsonSchema(
        {
            "type": ["string", "null"],
            "maxLength": _MAX_TRACK_CHARACTERS,
            "description": "A shipped track, or username/name of a user's own or shared one (GET "
            "/tracks). Empty: toledo. With a track an empty flightAltitude leaves it as it is.",
            "examples": ["split_s", "ada/my course"],
        }
    ),
]
_RewardText = Annotated[
    Any,
    _unchanged(_parse_reward),
    WithJsonSchema(
        {
            "type": ["string", "null"],
            "maxLength": _MAX_REWARD_CHARACTERS,
            "description": "A reward function in Python, empty for the built-in reward. "
            "POST /reward-functions/validate checks one.",
            "examples": ["def reward_function(params):\n    return params['gate_alignment']\n"],
        }
    ),
]


class DroneDetails(BaseModel):
    """Race configuration as the client sends it: texts, "" where nothing was typed, extras kept."""

    model_config = ConfigDict(extra="allow")

    raceType: _RaceType = ""
    algorithm: _Algorithm = ""
    flightAltitude: _AltitudeText = ""
    velocityLimit: _VelocityText = ""
    yawLimit: _YawText = ""
    enableWind: _Switch = ""
    windSpeed: _WindText = ""
    rewardFunction: _RewardText = ""
    track: _TrackText = ""

    @model_validator(mode="after")
    def _storable(self) -> Self:
        """Whatever else is in it must be small, finite JSON that every client can read back."""
        if _too_deep(sent := self.as_sent()):
            raise ValueError(f"must be nested at most {_MAX_DETAILS_DEPTH} deep")
        try:
            json.dumps(sent, allow_nan=False, ensure_ascii=False).encode()
            sent.pop("rewardFunction", None)  # has a limit of its own
            size = len(json.dumps(sent, ensure_ascii=False).encode())
        except ValueError as error:  # an infinite number, or half of a surrogate pair
            raise ValueError("must hold only finite numbers and valid Unicode text") from error
        if size > _MAX_DETAILS_BYTES:
            raise ValueError(f"must be at most {_MAX_DETAILS_BYTES} bytes of JSON")
        return self

    def as_sent(self) -> dict[str, Any]:
        """Exactly the keys and values that came, for storage and answers."""
        sent = {
            name: getattr(self, name) for name in _DETAIL_NAMES if name in self.model_fields_set
        }
        return sent | (self.model_extra or {})

    def flight_settings(self) -> FlightSettings:
        """The parsed numbers, with the default wherever nothing was typed."""
        wind, track = WIND.parse(self.windSpeed), _parse_track(self.track)
        altitude = str(self.flightAltitude or "").strip()  # 0 is out of range
        return FlightSettings(
            altitude_m=ALTITUDE.parse(self.flightAltitude) if altitude or not track else None,
            velocity_limit_m_s=VELOCITY.parse(self.velocityLimit),
            yaw_limit_deg_s=YAW.parse(self.yawLimit),
            wind_speed_m_s=wind if _parse_switch(self.enableWind) else 0.0,
            algorithm=_parse_algorithm(self.algorithm),
            race_type=_parse_race_type(self.raceType),
            reward=_parse_reward(self.rewardFunction),
            track=track,
        )


_DETAIL_NAMES = tuple(DroneDetails.model_fields)


def _too_deep(value: object) -> bool:
    level = [value]
    for _ in range(_MAX_DETAILS_DEPTH + 1):
        children = [
            item.values() if isinstance(item, dict) else item
            for item in level
            if isinstance(item, (dict, list))
        ]
        level = [child for group in children for child in group]
        if not level:
            return False
    return True


def clean_username(value: str) -> str:
    """The one spelling of a name: trimmed and composed (NFC); ValueError tells the rule."""
    name = unicodedata.normalize("NFC", value.strip())
    kinds = [unicodedata.category(character)[0] for character in name]
    allowed = all(
        kind in "LMN" or character in " ._-@+'" for kind, character in zip(kinds, name, strict=True)
    )
    if not 1 <= len(name) <= 64 or not allowed or not {"L", "N"} & set(kinds):
        raise ValueError(USERNAME_RULE)
    if name == "me":
        raise ValueError('must not be "me", which means the signed-in user')
    return name


def _check_password(value: str) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode text") from error
    # bcrypt reads 72 bytes and stops at a NUL: longer passwords would be cut silently.
    if not 8 <= size <= 72 or "\0" in value:
        raise ValueError("must be 8 to 72 bytes long (an accented letter takes two), without NUL")
    return value


Password = Annotated[str, AfterValidator(_check_password)]


def _check_text(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair: no database takes it
        raise ValueError("must be valid Unicode text") from error
    return value


def _default_epochs(value: object) -> object:
    return 20 if value is None or value == "" else value


def _no_text(value: object) -> object:
    return "" if value is None else value


Text = Annotated[str, AfterValidator(_check_text)]
_Description = Annotated[Text, Field(max_length=10_000)]
_Epochs = Annotated[int, Field(ge=1, le=1000)]


class UserCreate(BaseModel):
    """A new account; a password makes everything under the name its owner's."""

    username: Annotated[
        str,
        AfterValidator(clean_username),
        Field(description=f"Trimmed; {USERNAME_RULE}.", examples=["ada"]),
    ]
    password: Password | None = Field(
        None,
        description="8 to 72 bytes. Without one the account is open to everybody; with "
        "AUTH_MODE=required it is needed.",
    )


class DroneModelCreate(BaseModel):
    """A drone model to configure and train."""

    title: Text = Field(max_length=200, examples=["First laps"])
    description: Annotated[
        _Description, BeforeValidator(_no_text, json_schema_input_type=_Description | None)
    ] = ""
    training_epochs: Annotated[
        _Epochs,
        BeforeValidator(_default_epochs, json_schema_input_type=_Epochs | Literal[""] | None),
    ] = 20
    drone_details: DroneDetails = Field(default_factory=DroneDetails)


class DroneModelClone(BaseModel):
    """What differs in a copy of a drone model; every field may be left out."""

    title: Text | None = Field(None, max_length=200, description="Null: the same.")
    username: str | None = Field(
        None, max_length=64, description="Whose the copy is; null: the same account's."
    )


class DroneModelUpdate(BaseModel):
    """Metrics and status; what is left out stays as it is."""

    status: Status | None = None
    train_loss: FiniteFloat | None = None
    train_accuracy: FiniteFloat | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give at least one of status, train_loss and train_accuracy")
        if "status" in self.model_fields_set and self.status is None:
            raise ValueError(f"status must be one of {', '.join(Status)}")
        return self


class DroneModelOut(BaseModel):
    """A drone model; `drone_details` as they were sent."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[7])
    user_id: int
    drone_id: str = Field(description="UUID", examples=["6f8d2f0e-3c1b-4c55-9a77-0f6d3c9a1b2e"])
    title: str
    description: str
    training_epochs: int
    drone_details: dict[str, Any] = Field(
        examples=[{"flightAltitude": "2", "velocityLimit": "8", "rewardFunction": ""}]
    )
    status: Status
    train_loss: float | None
    train_accuracy: float | None
    created_at: datetime
    updated_at: datetime


class UserOut(BaseModel):
    """An account and its drone models."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(examples=[1])
    username: str
    drone_models: list[DroneModelOut]


class TokenOut(BaseModel):
    """What signing in and refreshing answer."""

    access_token: str = Field(examples=["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.…"])
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the scheme's name, no secret
    expires_in: int = Field(description="Seconds that the token is valid.", examples=[1800])
    refresh_token: str = Field(
        description="For /token/refresh, once; its answer has the next one.",
        examples=["p2Yp0mC1q3hX8z7T9bW4Lg.8Qk1r0C5yq2mJt6nV3xZsA7dF9hE4uKw-bLpGiOYcRM"],
    )


class ErrorOut(BaseModel):
    """A problem (RFC 9457): its `detail` can be shown to people as it is."""

    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["There is no user named 'ada'."])


class DiagnosticOut(BaseModel):
    """One complaint about a reward function; lines and columns count from 1."""

    line: int = Field(examples=[2])
    column: int = Field(examples=[12])
    message: str = Field(examples=["There is no parameter 'sped'. Did you mean 'speed'?"])
    severity: Literal["error", "warning"]


class FieldError(BaseModel):
    """One refused part of a request."""

    loc: list[str | int] = Field(examples=[["body", "drone_details", "velocityLimit"]])
    msg: str = Field(examples=["must be a number from 0.5 to 20 m/s, or empty; got 'fast'"])
    diagnostics: list[DiagnosticOut] | None = Field(
        None, description="Every complaint about a reward function."
    )


class ValidationErrorOut(ErrorOut):
    """`detail` names every refused field; `errors` lists them for programs."""

    errors: list[FieldError] = Field(
        default_factory=list, description="Left out when no single field is wrong."
    )
