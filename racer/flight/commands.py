"""What a pilot can ask for, how the asking is spelt, and what comes back.

A command arrives as the bare words (`takeoff`, from any ROS 2 node or the command line) or as the
JSON envelope `{"id": "…", "command": "takeoff"}`, whose id lets a sender match the result. One of
them takes an argument: `fly_policy 1b4e28ba-…`, or `"policy": "1b4e28ba-…"` in the envelope.

Sticks are `{"type": "velocity", "forward": 1.5, "right": 0, "up": 0, "yaw_rate": 20}`, many times a
second: m/s in the body's level frame, °/s clockwise from above as a compass counts. Only those that
are refused are answered.

A bridge adds two fields to either: `"lease": {"token": 7, "holder": "…"}`, by which right its pilot
flies, and `"sent": {"boot": "…", "s": 81.25}`, when it was sent on this machine's monotonic clock.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from enum import StrEnum
from math import isfinite, radians
from types import MappingProxyType
from typing import Any

from racer.errors import InvalidInputError
from racer.flight.authority import Lease
from racer.identity import boot_id

MAX_TEXT = 4096  # characters of one message; an envelope has about 80
_ECHO = 80  # characters of a text nobody understands that are sent back
PREEMPTED = "Pre-empted by "  # how the result of a command begins that another one replaced
_MAX_ID = 64  # characters of a policy's id; a UUID has 36


class Command(StrEnum):
    """The seven verbs of the remote control, and the one that takes a policy's id."""

    TAKEOFF = "takeoff"
    LAND = "land"
    MOVE_FORWARD = "move_forward"
    MOVE_BACKWARD = "move_backward"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    STOP = "stop"
    FLY_POLICY = "fly_policy"


COMMAND_NAMES = ", ".join(Command) + " <id>"  # the last one's argument

# Within this after it was understood, the controller has answered a command, whatever became of
# it. Who waits for an answer from elsewhere waits this and a margin for the way there and back.
TIME_LIMITS_S: Mapping[Command, float] = MappingProxyType(
    {
        Command.TAKEOFF: 55.0,  # 15 s to be ready, 20 s climb, 4 s to settle, the rest is radio
        Command.LAND: 120.0,  # from 100 m; PX4 descends at 1.5 m/s, the last 5 m at 0.7 m/s
        Command.MOVE_FORWARD: 12.0,  # MAVSDK gives up on an unanswered request after about 2 s
        Command.MOVE_BACKWARD: 12.0,
        Command.TURN_LEFT: 12.0,
        Command.TURN_RIGHT: 12.0,
        Command.STOP: 15.0,  # it may have to bring down a vehicle that has just left the ground
        # take-off, 75 s to the start, the longest race (MAX_RACE_S), 10 s to stand still
        Command.FLY_POLICY: 360.0,
    }
)


@dataclass(frozen=True, slots=True)
class BodyVelocity:
    """Velocity in the body's level frame, FLU: m/s and rad/s (counter-clockwise from above)."""

    forward_m_s: float = 0.0
    left_m_s: float = 0.0
    up_m_s: float = 0.0
    yaw_rate_rad_s: float = 0.0


@dataclass(frozen=True, slots=True)
class BodyRates:
    """Body rates, FLU, rad/s, and collective thrust, in [0, 1] of full."""

    roll_rad_s: float
    pitch_rad_s: float
    yaw_rad_s: float
    collective: float


@dataclass(frozen=True, slots=True)
class Place:
    """A place to fly to and a heading to have there: m ENU, rad counter-clockwise from east."""

    east_m: float
    north_m: float
    up_m: float
    yaw_rad: float


Setpoint = BodyVelocity | BodyRates | Place


def is_finite(setpoint: Setpoint) -> bool:
    """Whether all of it are numbers."""
    return all(map(isfinite, astuple(setpoint)))


# The pilot's -30 °/s (clockwise-positive, as a compass counts) is +30 °/s in FLU.
VELOCITIES = {
    Command.MOVE_FORWARD: BodyVelocity(forward_m_s=2.0),
    Command.MOVE_BACKWARD: BodyVelocity(forward_m_s=-2.0),
    Command.TURN_LEFT: BodyVelocity(yaw_rate_rad_s=radians(30.0)),
    Command.TURN_RIGHT: BodyVelocity(yaw_rate_rad_s=radians(-30.0)),
}


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for; `policy` is the id that `fly_policy` takes, None for all others."""

    command: Command
    policy: str | None = None

    def __str__(self) -> str:
        """As it is spelt."""
        return f"{self.command} {self.policy}" if self.policy else str(self.command)


@dataclass(frozen=True, slots=True)
class Sent:
    """When a message was sent: s on the monotonic clock of the machine that booted as `boot`."""

    boot: str
    s: float

    def age_s(self, now_s: float) -> float | None:
        """How long ago that was; None when this machine's clock cannot tell."""
        return now_s - self.s if self.boot == boot_id() and self.s <= now_s else None


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """One understood message from `/control_commands`."""

    command: Command
    id: str | None = None
    policy: str | None = None
    lease: Lease | None = None
    sent: Sent | None = None


@dataclass(frozen=True, slots=True)
class StickRequest:
    """Where the sticks stand now; finite numbers, not yet held to any limit."""

    velocity: BodyVelocity
    id: str | None = None
    lease: Lease | None = None
    sent: Sent | None = None


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The one answer to one message; `command` echoes what was asked, understood or not."""

    command: str
    ok: bool
    message: str
    id: str | None = None

    def to_json(self) -> str:
        """The JSON of `/drone/command_result`."""
        return json.dumps(
            {"id": self.id, "command": self.command, "ok": self.ok, "message": self.message}
        )


def parse_order(text: str, policy: object = None) -> Order:
    """Understand bare words; `policy` is the argument where it came apart from them.

    Raises InvalidInputError that names the commands.
    """
    words = text.strip()
    word, _, argument = words.partition(" ")
    try:
        command = Command(word if word == Command.FLY_POLICY else words)
    except ValueError:
        raise InvalidInputError(
            f"Unknown command {_short(words)!r}. Commands: {COMMAND_NAMES}."
        ) from None
    if command is not Command.FLY_POLICY:
        if policy is not None:
            raise InvalidInputError(f"{command} takes no argument. Commands: {COMMAND_NAMES}.")
        return Order(command)
    given = argument.strip() or policy
    if not isinstance(given, str) or not given or len(given) > _MAX_ID:
        raise InvalidInputError(
            "fly_policy wants a policy's id, which is that of a finished training run. "
            f"Commands: {COMMAND_NAMES}."
        )
    return Order(command, given)


def order_of(fields: Mapping[str, Any]) -> Order:
    """Understand an envelope's `command` and `policy`; InvalidInputError names the commands."""
    word = fields.get("command")
    if not isinstance(word, str):
        raise InvalidInputError(f"The command must be a string. {_SPELLING}")
    return parse_order(word, fields.get("policy"))


def parse_request(text: str) -> CommandRequest | StickRequest | CommandResult:
    """Understand one message, or answer why not. Never raises, whatever was sent."""
    if len(text) > MAX_TEXT:
        return _refuse(text, f"The message is longer than {MAX_TEXT} characters.")
    words, fields = text.strip(), dict[str, Any]()
    try:
        if not words.startswith("{"):
            order = parse_order(words)
            return CommandRequest(order.command, policy=order.policy)
        fields = _object(words)
        return _envelope(fields)
    except InvalidInputError as error:
        word = str(fields.get("type", fields.get("command"))) if fields else text
        given = fields.get("id")
        return _refuse(word, error.message, given if isinstance(given, str) else None)


def _object(words: str) -> dict[str, Any]:
    try:
        fields: dict[str, Any] = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"This is not valid JSON ({error}). {_SPELLING}") from error
    return fields


def _envelope(fields: Mapping[str, Any]) -> CommandRequest | StickRequest:
    request_id = fields.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInputError(f"The id must be a string. {_SPELLING}")
    lease, sent = lease_of(fields.get("lease")), _sent_of(fields.get("sent"))
    if fields.get("type") == STICKS:
        return StickRequest(sticks_of(fields), request_id, lease, sent)
    order = order_of(fields)
    return CommandRequest(order.command, request_id, order.policy, lease, sent)


def sticks_of(fields: Mapping[str, Any]) -> BodyVelocity:
    """Understand sticks; InvalidInputError says what is wrong. What is left out is 0."""
    values = {}
    for name, most in _STICKS.items():
        value = fields.get(name, 0.0)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidInputError(f"'{name}' must be a number. {_STICKS_SPELLING}")
        if not abs(value) <= most:  # NaN is not, either
            raise InvalidInputError(
                f"'{name}' must lie between -{most:g} and {most:g}. {_STICKS_SPELLING}"
            )
        values[name] = float(value)
    return BodyVelocity(
        forward_m_s=values["forward"],
        left_m_s=-values["right"],
        up_m_s=values["up"],
        yaw_rate_rad_s=-radians(values["yaw_rate"]),
    )


def lease_of(given: object) -> Lease | None:
    """An envelope's lease; InvalidInputError when it is none."""
    if given is None:
        return None
    token = given.get("token") if isinstance(given, dict) else None
    holder = given.get("holder") if isinstance(given, dict) else None
    if type(token) is not int or not isinstance(holder, str):
        raise InvalidInputError('A lease is {"token": 7, "holder": "…"}.')
    return Lease(token, holder)


def _sent_of(given: object) -> Sent | None:
    if given is None:
        return None
    boot = given.get("boot") if isinstance(given, dict) else None
    stamp_s = given.get("s") if isinstance(given, dict) else None
    if not isinstance(stamp_s, (int, float)) or not 0.0 <= stamp_s < _LONG_S:
        stamp_s = None
    if not isinstance(boot, str) or stamp_s is None:
        raise InvalidInputError('When it was sent is {"boot": "…", "s": 81.25}.')
    return Sent(boot, float(stamp_s))


_LONG_S = 1e10  # three centuries since a machine's start
STICKS = "velocity"  # the `type` of their message
_STICKS = {"forward": 100.0, "right": 100.0, "up": 100.0, "yaw_rate": 3600.0}  # m/s, °/s; absurd
_STICKS_SPELLING = (
    'Send {"type": "velocity", "forward": 1.5, "right": 0, "up": 0, "yaw_rate": 20}: m/s and °/s.'
)
_SPELLING = f'Send a bare word or {{"id": "…", "command": "takeoff"}}. Commands: {COMMAND_NAMES}.'


def _refuse(text: str, message: str, request_id: str | None = None) -> CommandResult:
    return CommandResult(_short(text), ok=False, message=message, id=request_id)


def _short(text: str) -> str:
    return text if len(text) <= _ECHO else text[:_ECHO] + "…"
