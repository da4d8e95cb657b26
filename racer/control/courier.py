"""Takes commands to the controller and brings their results back: order, pace, time-outs, deaths.

What was accepted is published, also if its sender no longer waits: a pilot whose last words were
`move_forward, stop` must not leave a vehicle that moves. Only the wait for the result ends early.

A process that dies takes commands with it, and nobody knows how far they got: even a young
`move_forward` may be flying already. So after a death only what is safe to do twice is sent again.
`stop` and `land` are, always. `takeoff` is when the vehicle died, because the next one stands on
the ground; when the controller died the vehicle may be climbing, and PX4 finishes that by itself.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from uuid import uuid4

import structlog

from racer.errors import RacerError, UnavailableError
from racer.flight.authority import Lease
from racer.flight.commands import TIME_LIMITS_S, Command, CommandResult, Order

log = structlog.get_logger(__name__)

MARGIN_S = 3.0  # beyond the pilot's own limit: its answer is the better one
PACE_S = 0.004  # between publications: other controllers' queues may keep ten, ROS 2's default
AGAIN = frozenset({Command.STOP, Command.LAND})  # sent to the next controller
AGAIN_GROUNDED = AGAIN | {Command.TAKEOFF}  # sent to the next vehicle
YOUNG_S = 1.0  # a vehicle's death: the controller itself answers what is older


@dataclass(frozen=True, slots=True)
class Route:
    """The way to the controller. `wait_flyable` raises UnavailableError if there is none."""

    flyable: Callable[[], bool]
    wait_flyable: Callable[[], Awaitable[None]]
    publish: Callable[[Order, str, Lease | None], None]


Right = Callable[[], Lease | None]  # by which a command is flown; may raise RacerError


def nobody() -> None:
    """A command without a lease."""
    return


class _LostError(Exception):
    """A process that our supervisor runs died with the command."""

    def __init__(self, message: str, *, again: bool) -> None:
        super().__init__(message)
        self.message = message
        self.again = again


@dataclass(eq=False, slots=True)
class _Request:
    """A command on its way, from its place in the sequence to its result."""

    order: Order
    right: Right
    result: asyncio.Future[CommandResult]
    since_s: float = math.inf  # inf: it still waits for a controller, and no death concerns it
    published: bool = False


class Courier:
    """Belongs to one event loop; `close` it before the route ends."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._pending: dict[str, _Request] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._next_publication = 0.0

    @property
    def pending(self) -> int:
        """How many commands somebody waits for."""
        return len(self._pending)

    async def deliver(self, order: Order, right: Right = nobody) -> CommandResult:
        """Publish one command and return its result. Raises UnavailableError if none comes.

        `right`: the lease by which its pilot flies, asked for when it is published; what it
        raises, this raises.

        Cancelling ends the wait only; what has a controller to go to, and every `stop` and
        `land`, is published all the same.
        """
        try:
            return await self._ask(order, right)
        except _LostError as lost:
            if not lost.again:
                raise UnavailableError(lost.message) from None
        try:
            return await self._ask(order, right)
        except _LostError as lost:
            raise UnavailableError(lost.message) from None

    async def _ask(self, order: Order, right: Right) -> CommandResult:
        """Publish and wait for the answer. Raises _LostError if it will not come."""
        command_id = uuid4().hex
        request = _Request(order, right, asyncio.get_running_loop().create_future())
        self._pending[command_id] = request
        limit_s = TIME_LIMITS_S[order.command] + MARGIN_S
        try:
            await self._start(request, command_id)
            async with asyncio.timeout(limit_s):
                return await request.result
        except TimeoutError:
            raise UnavailableError(
                f"The controller did not answer {order.command} within {limit_s:.0f} s. "
                "It may still act on it: watch the telemetry, and send stop if in doubt."
            ) from None
        finally:
            del self._pending[command_id]

    async def _start(self, request: _Request, command_id: str) -> None:
        sending = asyncio.create_task(self._send(request, command_id))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        try:
            await asyncio.shield(sending)
        except asyncio.CancelledError:
            if request.order.command not in AGAIN and math.isinf(request.since_s):
                sending.cancel()  # nobody is there to fly it, and nobody waits for it any more
            raise

    async def _send(self, request: _Request, command_id: str) -> None:
        if not self._route.flyable():
            await self._route.wait_flyable()
        request.since_s = asyncio.get_running_loop().time()
        await self._turn()
        if not request.result.done():  # or its controller died a moment ago
            try:
                lease = request.right()
            except RacerError as error:
                request.result.set_exception(error)
                return
            self._route.publish(request.order, command_id, lease)
            request.published = True

    async def _turn(self) -> None:
        """Wait for this command's place in the sequence; alone it has none before it.

        First come, first served, also for `stop`: overtaking a `move_forward` that the same pilot
        sent before it would leave the vehicle moving.
        """
        now = asyncio.get_running_loop().time()
        wait_s = max(0.0, self._next_publication - now)
        self._next_publication = now + wait_s + PACE_S
        if wait_s > 0.0:
            await asyncio.sleep(wait_s)

    def controller_died(self) -> None:
        """The controller's process has ended, and with it every answer."""
        self._lose(
            AGAIN,
            "The controller ended before it answered; it may have begun. Check where the vehicle "
            "is, then send the command again.",
        )

    def vehicle_died(self) -> None:
        """The vehicle's process has ended. The controller answers what it was told long ago: a
        takeoff in its fifth second has failed, and it says so."""
        self._lose(
            AGAIN_GROUNDED,
            "The vehicle died before the answer; the next one stands on the ground. Send takeoff.",
            younger_than_s=YOUNG_S,
        )

    def _lose(
        self, again: Collection[Command], message: str, *, younger_than_s: float = math.inf
    ) -> None:
        now = asyncio.get_running_loop().time()
        for request in self._pending.values():
            started = not math.isinf(request.since_s)
            if started and not request.result.done() and now - request.since_s < younger_than_s:
                sent_again = not request.published or request.order.command in again
                request.result.set_exception(_LostError(message, again=sent_again))

    def on_result(self, text: str) -> CommandResult:
        """Match a result to our command; those of other publishers' commands are not for us.

        Returns the result as understood. Raises ValueError if the text is no result.
        """
        try:
            fields = json.loads(text)
            result = CommandResult(
                command=str(fields["command"]),
                ok=fields["ok"] is True,
                message=str(fields["message"]),
                id=None if fields["id"] is None else str(fields["id"]),
            )
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError("not a command result") from error
        request = self._pending.get(result.id or "")
        if request is not None and not request.result.done():
            request.result.set_result(result)
        return result

    async def close(self) -> None:
        """End every wait; what still waits for a controller is not sent any more."""
        for request in self._pending.values():
            if not request.result.done():
                request.result.set_exception(UnavailableError("The service is stopping."))
        sending = list(self._sending)
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)
