"""What a pilot can ask for, how the asking is spelt, and what comes back.

A command arrives as the bare word (`takeoff`, from any ROS 2 node or the command line) or as the
JSON envelope `{"id": "…", "command": "takeoff"}`, whose id lets a sender match the result.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import radians
from types import MappingProxyType

MAX_TEXT = 4096  # characters of one message; an envelope has about 80
_ECHO = 80  # characters of a text nobody understands that are sent back


class Command(StrEnum):
    """The seven commands."""

    TAKEOFF = "takeoff"
    LAND = "land"
    MOVE_FORWARD = "move_forward"
    MOVE_BACKWARD = "move_backward"
    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    STOP = "stop"


COMMAND_NAMES = ", ".join(Command)

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
    }
)


@dataclass(frozen=True, slots=True)
class BodyVelocity:
    """Velocity in the body's level frame, FLU: m/s and rad/s (counter-clockwise from above)."""

    forward_m_s: float = 0.0
    left_m_s: float = 0.0
    up_m_s: float = 0.0
    yaw_rate_rad_s: float = 0.0


# The pilot's -30 °/s (clockwise-positive, as a compass counts) is +30 °/s in FLU.
VELOCITIES = {
    Command.MOVE_FORWARD: BodyVelocity(forward_m_s=2.0),
    Command.MOVE_BACKWARD: BodyVelocity(forward_m_s=-2.0),
    Command.TURN_LEFT: BodyVelocity(yaw_rate_rad_s=radians(30.0)),
    Command.TURN_RIGHT: BodyVelocity(yaw_rate_rad_s=radians(-30.0)),
}


@dataclass(frozen=True, slots=True)
class CommandRequest:
    """One understood message from `/control_commands`."""

    command: Command
    id: str | None = None


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


def parse_request(text: str) -> CommandRequest | CommandResult:
    """Understand one message, or answer why not. Never raises, whatever was sent."""
    if len(text) > MAX_TEXT:
        return _refuse(text, f"The message is longer than {MAX_TEXT} characters.")
    word, request_id = text.strip(), None
    if word.startswith("{"):
        try:
            envelope = json.loads(word)
        except (ValueError, RecursionError) as error:
            return _refuse(text, f"This is not valid JSON ({error}). {_SPELLING}")
        request_id = envelope.get("id")
        word = envelope.get("command")
        if request_id is not None and not isinstance(request_id, str):
            return _refuse(text, f"The id must be a string. {_SPELLING}")
        if not isinstance(word, str):
            return _refuse(text, f"The command must be a string. {_SPELLING}", request_id)
    try:
        return CommandRequest(Command(word.strip()), request_id)
    except ValueError:
        message = f"Unknown command {_short(word)!r}. Commands: {COMMAND_NAMES}."
        return _refuse(word, message, request_id)


_SPELLING = f'Send a bare word or {{"id": "…", "command": "takeoff"}}. Commands: {COMMAND_NAMES}.'


def _refuse(text: str, message: str, request_id: str | None = None) -> CommandResult:
    return CommandResult(_short(text), ok=False, message=message, id=request_id)


def _short(text: str) -> str:
    return text if len(text) <= _ECHO else text[:_ECHO] + "…"
