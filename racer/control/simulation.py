"""The simulation of a drone model: the stack's one vehicle, lent to one model at a time.

"training" is the seed API's word for a simulation that is live.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypedDict

import structlog

from models import UserDroneModel
from racer.control.events import Events

log = structlog.get_logger(__name__)

CONNECT_S = 30.0  # an empty compile cache and two busy cores; a warm one takes about three


class SimulationAnswer(TypedDict):
    """What starting or stopping a simulation answers."""

    status: Literal["success", "already_running", "error"]
    message: str


@dataclass(frozen=True, slots=True)
class Stack:
    """What a simulation needs of the stack."""

    wait_connected: Callable[[float], Awaitable[bool]]
    why_not: Callable[[], str]
    hold: Callable[[], Awaitable[str | None]]  # why the vehicle may still move; None if it holds


class Simulation:
    """Who has the vehicle. Belongs to one event loop: a binding is taken before any await."""

    def __init__(self, stack: Stack, events: Events) -> None:
        self._stack = stack
        self._events = events
        self._title = ""
        self._generation = 0
        self._ending = False
        self.drone_id: str | None = None

    async def start(self, model: UserDroneModel) -> SimulationAnswer:
        """Bind the vehicle to the model and wait until it is live."""
        drone_id, title = model.drone_id, model.title
        if self.drone_id == drone_id and self._ending:
            return _answer("error", f"The simulation of {title!r} is being stopped. Try again.")
        if self.drone_id == drone_id:
            return _answer("already_running", f"The simulation of {title!r} is already running.")
        if self.drone_id is not None:
            return _answer("error", self._taken())
        self.drone_id, self._title = drone_id, title
        self._generation += 1
        generation = self._generation
        self._tell("initializing", f"The vehicle is being prepared for {title!r}.", drone_id)
        connected = False
        try:
            connected = await self._stack.wait_connected(CONNECT_S)
        finally:  # also when the request is cancelled: nobody else would let go
            mine = generation == self._generation and self.drone_id == drone_id
            if mine and not connected:
                self.drone_id = None
                reason = f"No vehicle for {title!r}: {self._stack.why_not()}"
                self._tell("failed", reason, drone_id)
        if not mine:
            return _answer("error", f"The simulation of {title!r} was stopped while it started.")
        if not connected:
            return _answer("error", reason)
        message = f"The vehicle is live for {title!r}."
        self._tell("training", message, drone_id)
        return _answer("success", message)

    async def stop(self, model: UserDroneModel) -> SimulationAnswer:
        """Hold the vehicle where it is, then let it go. Stopping what does not run is fine.

        It is let go also if it does not hold, or a stack that is gone would keep it for ever; the
        answer is then an error that says why.
        """
        drone_id, title = model.drone_id, model.title
        if self.drone_id is None:
            return _answer("success", f"The simulation of {title!r} was not running.")
        if self.drone_id != drone_id:
            return _answer("error", self._taken())
        if self._ending:
            return _answer("error", f"The simulation of {title!r} is already being stopped.")
        return await self._let_go(drone_id, title)

    async def release(self, drone_id: str) -> None:
        """The same for a model that is no more, of which nobody else can let go."""
        if self.drone_id == drone_id and not self._ending:
            await self._let_go(drone_id, self._title)

    async def _let_go(self, drone_id: str, title: str) -> SimulationAnswer:
        self._ending = True
        reason: str | None = "The request ended before the vehicle had answered."
        try:
            reason = await self._stack.hold()
        finally:  # also when the request is cancelled: the binding ends, and everybody hears it
            self.drone_id, self._ending = None, False
            message = f"The simulation of {title!r} is stopped; the vehicle holds."
            if reason is not None:
                message = (
                    f"The simulation of {title!r} is stopped, but the vehicle may still move: "
                    f"{reason} Send stop or land."
                )
                log.warning("the vehicle could not be told to hold", reason=reason)
            self._tell("idle" if reason is None else "failed", message, drone_id)
        return _answer("success" if reason is None else "error", message)

    def _taken(self) -> str:
        return (
            f"The vehicle is flying for {self._title!r} ({self.drone_id}). Stop that simulation "
            "first."
        )

    def _tell(self, status: str, message: str, drone_id: str) -> None:
        self._events.broadcast(
            {
                "type": "simulation_status",
                "status": status,
                "message": message,
                "drone_id": drone_id,
            }
        )


def _answer(
    status: Literal["success", "already_running", "error"], message: str
) -> SimulationAnswer:
    return {"status": status, "message": message}
