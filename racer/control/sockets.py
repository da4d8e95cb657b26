"""The conversations over `/ws/control` and `/ws/telemetry`, one object or function each.

A control socket reads, writes and relays broadcasts in three tasks, and each command waits for its
result in a task of its own: `stop` overtakes a `takeoff` that is still climbing. Everything a
socket can make us keep is bounded; a client that does not read its answers is not read from.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing
from typing import Any, NamedTuple

from starlette.websockets import WebSocket, WebSocketDisconnect

from racer.control.events import Subscription
from racer.control.service import ControlService, parse_command
from racer.errors import InvalidInputError, RacerError
from racer.flight.commands import COMMAND_NAMES, Command, CommandResult, Order

MAX_TEXT = 256  # characters; the longest command, with a policy's id as JSON, has about 80
MAX_IN_FLIGHT = 16  # commands of one socket that wait for their results, of one word
RATE_HZ, BURST = 50.0, 20.0  # frames of one socket; a key that is held repeats 30 times a second
PATIENCE = 1000  # frames above the rate before the socket is closed
_UNREAD_ANSWERS = 64
_POLICY_VIOLATION = 1008
_URGENT = frozenset({Command.STOP, Command.LAND})  # never refused for what was sent before


class Goodbye(NamedTuple):
    """How we close a socket."""

    code: int
    reason: str


class Allowance:
    """A token bucket: `BURST` frames at once, `RATE_HZ` of them a second on average."""

    def __init__(self, now_s: float) -> None:
        self._tokens = BURST
        self._at_s = now_s
        self.refused = 0

    def take(self, now_s: float) -> bool:
        """Whether one more frame is within the rate; counts those that are not."""
        self._tokens = min(BURST, self._tokens + (now_s - self._at_s) * RATE_HZ)
        self._at_s = now_s
        if self._tokens < 1.0:
            self.refused += 1
            return False
        self._tokens -= 1.0
        return True


class ControlSession:
    """One pilot's socket, from accept to close."""

    def __init__(self, socket: WebSocket, control: ControlService) -> None:
        self._socket = socket
        self._control = control
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue(_UNREAD_ANSWERS)
        self._flights: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[Command] = Counter()
        self._allowance = Allowance(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Talk until the client leaves or is asked to."""
        with self._control.events.subscribe() as events:
            try:
                goodbye = await first_of(self._read(), self._write(), self._relay(events))
            finally:
                for flight in self._flights:
                    flight.cancel()
        await say(self._socket, goodbye)

    async def _read(self) -> Goodbye | None:
        while True:
            message = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                return None
            await self._take(message.get("text"))
            if self._allowance.refused > PATIENCE:
                return Goodbye(_POLICY_VIOLATION, "Too many messages; reconnect and send fewer.")

    async def _take(self, text: str | None) -> None:
        """Answer one frame."""
        within_rate = self._allowance.take(asyncio.get_running_loop().time())
        try:
            order = _understand(text)
        except InvalidInputError as error:
            await self._refuse(error.message if within_rate else _TOO_FAST)
            return
        command = order.command
        if not within_rate and command not in _URGENT:
            await self._refuse(_TOO_FAST)
        elif self._in_flight[command] >= MAX_IN_FLIGHT:
            await self._refuse(f"{MAX_IN_FLIGHT} {command} commands already wait for results.")
        else:
            await self._answers.put({"type": "command_sent"} | _named(order))
            self._in_flight[command] += 1
            flight = asyncio.create_task(self._fly(order))
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)

    async def _refuse(self, message: str) -> None:
        await self._answers.put({"type": "error", "message": message})

    async def _fly(self, order: Order) -> None:
        try:
            result = await self._control.send_command(order)
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
            await self._answers.put(event)


_TOO_FAST = f"Too many messages: at most {RATE_HZ:.0f} a second are read; stop and land always."


def _named(order: Order) -> dict[str, Any]:
    """The command as the answers name it."""
    argument = {} if order.policy is None else {"policy": order.policy}
    return {"command": order.command} | argument


def _understand(text: str | None) -> Order:
    if text is None:
        raise InvalidInputError(f"Send text, not binary frames. Commands: {COMMAND_NAMES}.")
    if len(text) > MAX_TEXT:
        raise InvalidInputError(
            f"No command has more than {MAX_TEXT} characters. Commands: {COMMAND_NAMES}."
        )
    return parse_command(text)


async def stream_telemetry(socket: WebSocket, control: ControlService, hz: float) -> None:
    """Send the newest telemetry at most `hz` times a second until the viewer leaves."""
    await first_of(_send_each(socket, control.telemetry.stream(hz)), _until_gone(socket))


async def _send_each(socket: WebSocket, values: AsyncIterator[dict[str, Any]]) -> None:
    async with aclosing(values):  # type: ignore[type-var]  # an async generator has aclose
        async for value in values:
            await socket.send_text(json.dumps(value, allow_nan=False))


async def _until_gone(socket: WebSocket) -> None:
    while (await socket.receive())["type"] != "websocket.disconnect":
        continue  # a viewer has nothing to say; what it says is not kept


async def say(socket: WebSocket, goodbye: Goodbye | None) -> None:
    """Close with code and reason; None: the client has already left."""
    if goodbye is not None:
        try:
            await socket.close(*goodbye)
        except WebSocketDisconnect:
            return  # it left at the same moment


async def first_of(*conversations: Coroutine[Any, Any, Goodbye | None]) -> Goodbye | None:
    """Run them until the first ends, end the others, and return its goodbye.

    A client that leaves while we send is an ordinary end; any other error is raised.
    """
    tasks = [asyncio.create_task(conversation) for conversation in conversations]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    goodbye = None
    for task in done:
        try:
            goodbye = task.result() or goodbye
        except WebSocketDisconnect:
            continue
    return goodbye
