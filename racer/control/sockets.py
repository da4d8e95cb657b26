"""The conversations over `/ws/control` and `/ws/telemetry`, one object or function each.

A control socket reads, writes and relays broadcasts in three tasks, and each command waits for its
result in a task of its own: `stop` overtakes a `takeoff` that is still climbing. Everything a
socket can make us keep is bounded; a client that does not read its answers is not read from.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from starlette.websockets import WebSocket

from racer.control.accounts import SignIn, token_in
from racer.control.events import Subscription
from racer.control.pilots import Pilot
from racer.control.service import ControlService, parse_command
from racer.errors import (
    ConflictError,
    InvalidInputError,
    RacerError,
    UnauthorizedError,
    UnavailableError,
)
from racer.flight.admission import OPEN
from racer.flight.authority import Account
from racer.flight.commands import (
    COMMAND_NAMES,
    STICKS,
    Command,
    CommandResult,
    Order,
    order_of,
)
from racer.web.sockets import Goodbye, first_of, until_gone, until_signed_out
from racer.web.tokens import Admission

MAX_TEXT = 256  # characters; the longest command, with a policy's id as JSON, has about 80
MAX_IN_FLIGHT = 16  # commands of one socket that wait for their results, of one word
RATE_HZ, BURST = 50.0, 20.0  # frames of one socket; a key that is held repeats 30 times a second
STICK_RATE_HZ = 75.0  # of sticks and heartbeats: 50 Hz and 10 Hz, and a clock that is not ours
PATIENCE = 1000  # frames above the rate before the socket is closed
_UNREAD_ANSWERS = 64
_POLICY_VIOLATION = 1008
_HEARTBEAT = "heartbeat"
_MAX_NAME = 40


class Allowance:
    """A token bucket: `BURST` frames at once, `rate_hz` of them a second on average."""

    def __init__(self, now_s: float, rate_hz: float = RATE_HZ) -> None:
        self._rate_hz = rate_hz
        self._tokens = BURST
        self._at_s = now_s
        self.refused = 0

    def take(self, now_s: float) -> bool:
        """Whether one more frame is within the rate; counts those that are not."""
        self._tokens = min(BURST, self._tokens + (now_s - self._at_s) * self._rate_hz)
        self._at_s = now_s
        if self._tokens < 1.0:
            self.refused += 1
            return False
        self.refused = max(0, self.refused - 1)  # a network that stalls sends bursts
        self._tokens -= 1.0
        return True


class ControlSession:
    """One pilot's socket, from accept to close."""

    def __init__(
        self,
        socket: WebSocket,
        control: ControlService,
        admission: Admission[Account | None],
        name: str = "",
    ) -> None:
        """`name`: what other pilots see; by default the account's."""
        self._socket = socket
        self._control = control
        self._admission = admission
        name = name or (admission.granted.username if admission.granted else "")
        self._name = name.strip()[:_MAX_NAME] or "A pilot"
        # Clients of the seed's protocol, which knows no leases, are not told of them.
        self._knows_leases = bool(name)
        self._pilot: Pilot
        self._sign_in: SignIn
        self._complained_s = -math.inf  # about sticks
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_UNREAD_ANSWERS)
        self._flights: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[Command] = Counter()
        self._allowance = Allowance(asyncio.get_running_loop().time())
        self._stick_allowance = Allowance(asyncio.get_running_loop().time(), STICK_RATE_HZ)

    async def run(self) -> Goodbye | None:
        """Talk until the client leaves or is asked to: the goodbye."""
        pilots = self._control.pilots
        pilot = pilots.pilot(self._name, self._admission.granted)
        with self._control.events.subscribe() as events, pilot as self._pilot:
            self._sign_in = SignIn(self._admission, pilots, self._pilot, self._answers.put)
            try:
                return await first_of(
                    self._read(), self._write(), self._relay(events), self._sign_in.watch()
                )
            finally:
                self._sign_in.close()
                for flight in self._flights:
                    flight.cancel()

    async def _read(self) -> Goodbye | None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            await self._take(message.get("text"))
            if self._allowance.refused + self._stick_allowance.refused > PATIENCE:
                return Goodbye(_POLICY_VIOLATION, "Too many messages; reconnect and send fewer.")

    async def _take(self, text: str | None) -> None:
        """Answer one frame."""
        now_s = asyncio.get_running_loop().time()
        if (token := token_in(text)) is not None:
            if not (self._allowance.take(now_s) and self._sign_in.renew(token)):
                await self._refuse(_TOO_FAST)
            return
        try:
            fields = _fields(text)
        except InvalidInputError as error:
            await self._refuse(error.message if self._allowance.take(now_s) else _TOO_FAST)
            return
        if "type" not in fields:
            await self._command(fields, text or "", within_rate=self._allowance.take(now_s))
            return
        self._knows_leases = True
        try:
            if fields["type"] not in (STICKS, _HEARTBEAT):
                await self._arrange(fields, within_rate=self._allowance.take(now_s))
            elif self._stick_allowance.take(now_s):  # else the next one says it, too
                self._steer(fields)
        except RacerError as error:
            await self._refuse(error.message)

    def _steer(self, fields: dict[str, Any]) -> None:
        """Sticks and heartbeats: answered only when something is wrong with them, and once a second
        when that is that they cannot be flown now."""
        self._pilot.seen(beat=fields["type"] == _HEARTBEAT)
        if fields["type"] != STICKS:
            return
        try:
            sticks = {key: value for key, value in fields.items() if key != "type"}
            self._control.send_sticks(sticks, self._pilot)
        except (ConflictError, UnauthorizedError, UnavailableError):
            now_s = asyncio.get_running_loop().time()
            if now_s - self._complained_s >= 1.0:
                self._complained_s = now_s
                raise

    async def _arrange(self, fields: dict[str, Any], *, within_rate: bool) -> None:
        """What pilots agree on between them: who has the controls. Everyone hears of changes."""
        if not within_rate:
            await self._refuse(_TOO_FAST)
            return
        pilots, pilot = self._control.pilots, self._pilot
        if pilot.suspended is not None:
            raise UnauthorizedError(pilot.suspended)
        pilot.seen()
        match fields["type"]:
            case "acquire" | "renew":
                pilots.acquire(pilot)
                await self._answers.put(self._lease({"type": "lease"} | pilots.status()))
            case "release":
                pilots.release(pilot)
            case "request":
                pilots.ask(pilot)
            case "hand_over":
                pilots.hand_over(pilot, str(fields.get("to")))
            case _:
                raise InvalidInputError(
                    "The type is velocity, heartbeat, acquire, renew, release, request or "
                    f"hand_over; a command has none. Commands: {COMMAND_NAMES}."
                )

    async def _command(self, fields: dict[str, Any], text: str, *, within_rate: bool) -> None:
        """`fields` of a JSON frame; without any, `text` is bare words."""
        try:
            order = order_of(fields) if fields else parse_command(text)
        except InvalidInputError as error:
            await self._refuse(error.message if within_rate else _TOO_FAST)
            return
        command = order.command
        if (why := self._why_not(command)) is not None:
            await self._refuse(why)
        elif not within_rate and command not in OPEN:
            await self._refuse(_TOO_FAST)
        elif self._in_flight[command] >= MAX_IN_FLIGHT:
            await self._refuse(f"{MAX_IN_FLIGHT} {command} commands already wait for results.")
        else:
            await self._answers.put({"type": "command_sent"} | _named(order))
            self._in_flight[command] += 1
            flight = asyncio.create_task(self._fly(order))
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)

    def _why_not(self, command: Command) -> str | None:
        """Why a pilot whose sign-in has ended may not command this: all they may is land what they
        left in the air, not what somebody else flies."""
        if self._pilot.suspended is None:
            return None
        if command is Command.LAND and self._control.pilots.flying is None:
            return None
        return self._pilot.suspended

    async def _refuse(self, message: str) -> None:
        await self._answers.put({"type": "error", "message": message})

    async def _fly(self, order: Order) -> None:
        try:
            result = await self._control.send_command(order, self._pilot)
        except RacerError as error:
            result = CommandResult(order.command, ok=False, message=error.message)
        finally:
            self._in_flight[order.command] -= 1
        outcome = {"ok": result.ok, "message": result.message}
        await self._answers.put({"type": "command_result"} | _named(order) | outcome)

    async def _write(self) -> None:
        while True:
            await self._socket.send_text(json.dumps(await self._answers.get()))

    async def _relay(self, events: Subscription) -> None:
        async for event in events:
            if event.pop("for", self._pilot.id) != self._pilot.id:
                continue
            if "pilot_id" not in event:
                await self._answers.put(event)
            elif self._knows_leases:
                await self._answers.put(self._lease(event))

    def _lease(self, event: dict[str, Any]) -> dict[str, Any]:
        return event | {"yours": event["pilot_id"] == self._pilot.id}


_TOO_FAST = f"Too many messages: at most {RATE_HZ:.0f} a second are read; stop and land always."


def _named(order: Order) -> dict[str, Any]:
    """The command as the answers name it."""
    argument = {} if order.policy is None else {"policy": order.policy}
    return {"command": order.command} | argument


def _fields(text: str | None) -> dict[str, Any]:
    """What a JSON frame holds; nothing for bare words. Raises InvalidInputError."""
    if text is None:
        raise InvalidInputError(f"Send text, not binary frames. Commands: {COMMAND_NAMES}.")
    if len(text) > MAX_TEXT:
        raise InvalidInputError(
            f"No command has more than {MAX_TEXT} characters. Commands: {COMMAND_NAMES}."
        )
    if not text.lstrip().startswith("{"):
        return {}
    try:
        fields: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"Not valid JSON. Commands: {COMMAND_NAMES}.") from error
    return fields


async def stream_telemetry(
    socket: WebSocket, control: ControlService, hz: float, admission: Admission[None]
) -> Goodbye | None:
    """Send the newest telemetry at most `hz` times a second until the viewer leaves, or may not
    watch any more."""
    return await first_of(
        _send_each(socket, control.telemetry.stream_json(hz)),
        until_gone(socket),
        until_signed_out(admission),
    )


async def _send_each(socket: WebSocket, texts: AsyncIterator[str]) -> None:
    async with aclosing(texts):  # type: ignore[type-var]  # an async generator has aclose
        async for text in texts:
            await socket.send_text(text)
