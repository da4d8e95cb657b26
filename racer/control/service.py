"""Flying, as the rest of the web process sees it: commands in, results and telemetry out.

`ControlService` owns the ROS 2 node, the supervised stack, the telemetry hub and the broadcasts.
Every command ends: with the controller's result, or within its time-out with an error that says
what to do.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import structlog

import crud
from database import Database
from models import UserDroneModel
from racer.control.bridge import Bridge, Listeners
from racer.control.child import Program
from racer.control.courier import Courier, Route
from racer.control.events import Events
from racer.control.pilots import Pilot, Pilots, cancelled
from racer.control.pulse import Pulse
from racer.control.simulation import Simulation, SimulationAnswer, Stack
from racer.control.supervisor import Supervisor, Surroundings
from racer.control.take_overs import TakeOverLog
from racer.control.telemetry import TelemetryHub, lease_in_state, state_fields
from racer.errors import InvalidInputError, RacerError, UnavailableError
from racer.flight.admission import OPEN
from racer.flight.authority import Account, Lease
from racer.flight.commands import (
    COMMAND_NAMES,
    PREEMPTED,
    STICKS,
    BodyVelocity,
    Command,
    CommandResult,
    Order,
    order_of,
    parse_order,
    sticks_of,
)
from racer.flight.topics import Topics, topics_of
from racer.settings import Settings

log = structlog.get_logger(__name__)

DISCOVERY_S = 5.0  # a controller that runs is discovered by ROS 2 within this, on a busy machine


FindPolicy = Callable[[str], Awaitable[str]]


def parse_command(text: str) -> Order:
    """What a person means: words, whatever their case and surrounding space, or a JSON object
    `{"command": "fly_policy", "policy": "<id>"}`.

    Raises InvalidInputError that names the commands.
    """
    words = text.strip()
    if not words.startswith("{"):
        return parse_order(words.lower())
    try:
        fields = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"Not valid JSON. Commands: {COMMAND_NAMES}.") from error
    return order_of(fields)


class ControlService:
    """Made in the lifespan and kept on `app.state.control`; an async context manager."""

    def __init__(
        self,
        settings: Settings,
        *,
        find_policy: FindPolicy | None = None,
        database: Database | None = None,
        vehicle: Program | None = None,
        controller: Program | None = None,
    ) -> None:
        """`find_policy` turns what a person calls a policy (a run's id, a kept one's or a
        drone model's) into an id that the controller knows; without it an id is taken as it is.
        `database` is where the audit log hears who got the controls from whom, and who has the
        drone model that flies.
        `vehicle` and `controller` replace the programs that the supervisor runs."""
        self._find_policy = find_policy
        self._database = database
        self._newest: Order | None = None  # the last one that was asked for
        self._settings = settings
        self._programs = (vehicle, controller)
        self._pulse = Pulse()
        self._courier = Courier(
            Route(
                flyable=self._flyable,
                wait_flyable=self._wait_flyable,
                publish=self._publish,
            )
        )
        self._bridge: Bridge
        self._beating: asyncio.Task[None]
        self._supervisor: Supervisor
        self._exit = AsyncExitStack()
        self._complaints: set[str] = set()
        self.telemetry = TelemetryHub(self._pulse)
        self.events = Events()
        self._take_overs = TakeOverLog(database, drone=self.drone) if database else None
        took_over = self._take_overs.tell if self._take_overs else None
        self.pilots = Pilots(self.events, self._tell_presence, took_over)
        self._simulation = Simulation(
            Stack(
                wait_connected=self._wait_connected,
                why_not=self._why_no_vehicle,
                hold=self._hold,
            ),
            self.events,
        )

    async def __aenter__(self) -> Self:
        """Raises ConfigurationError if STACK=embedded and somebody holds the UDP ports."""
        self._bridge = Bridge(
            self._settings,
            Listeners(
                result=self._on_result,
                odometry=self.telemetry.update_odometry,
                battery=self.telemetry.update_battery,
                state=self._on_state,
                matched=self._pulse.fire,
            ),
        )
        vehicle, controller = self._programs
        self._supervisor = Supervisor(
            self._settings,
            Surroundings(
                controller_in_graph=self._bridge.controller_in_graph,
                vehicle_connected=lambda: self.telemetry.connected,
                on_controller_death=self._on_controller_death,
                on_vehicle_death=self._on_vehicle_death,
            ),
            vehicle=vehicle,
            controller=controller,
        )
        async with AsyncExitStack() as undo:
            if self._take_overs is not None:
                await undo.enter_async_context(self._take_overs)
            undo.callback(self._bridge.close)
            undo.push_async_callback(self._supervisor.stop)
            await self._supervisor.start()
            self._beating = asyncio.create_task(self.pilots.beat())
            undo.push_async_callback(cancelled, self._beating)
            self._exit = undo.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._courier.close()
        await self._exit.__aexit__(kind, error, traceback)

    async def send_command(self, command: str | Order, pilot: Pilot | None = None) -> CommandResult:
        """Fly one command and return the controller's result (`ok` may be False).

        `pilot` gets the controls if nobody has them; `stop` and `land` need none. Without a pilot
        it counts as one of the bare topic's: see racer.flight.authority.

        Raises InvalidInputError on an unknown command, ConflictError while another pilot flies,
        NotFoundError for a policy that is not there, UnavailableError when no controller answers.
        Commands overlap: `stop` does not wait for `takeoff`. Cancelling ends the wait for the
        result, not the command: see `Courier`.
        """
        order = parse_command(command) if isinstance(command, str) else command
        self._lease_for(order, pilot)  # refused at once, if somebody else flies
        self._newest = order
        if order.policy is not None and self._find_policy is not None:
            found = Order(order.command, await self._find_policy(order.policy))
            if (later := self._newest) is not order:  # a stop must not be overtaken
                message = f"{PREEMPTED}{later.command}."
                return CommandResult(order.command, ok=False, message=message)
            order = found
        return await self._courier.deliver(order, lambda: self._lease_for(order, pilot))

    def _lease_for(self, order: Order, pilot: Pilot | None) -> Lease | None:
        if pilot is None:
            return None
        if order.command in OPEN:
            pilot.seen()
            return self.pilots.lease_of(pilot)
        return self.pilots.acquire(pilot)

    def send_sticks(self, sticks: dict[str, Any], pilot: Pilot) -> None:
        """Fly as the sticks stand; see racer.flight.commands. Centred ones take no controls.

        Raises InvalidInputError for what are no sticks, ConflictError while another pilot flies,
        UnavailableError when no controller answers.
        """
        velocity = sticks_of(sticks)
        if velocity == BodyVelocity() and self.pilots.lease_of(pilot) is None:
            return
        lease = self.pilots.acquire(pilot)
        if not self._bridge.controller_ready:  # sticks that wait are worth nothing
            raise UnavailableError(f"No drone controller answers. {self._advice()}")
        self._bridge.publish_sticks(sticks | {"id": pilot.id}, lease)

    async def start_simulation(self, model: UserDroneModel) -> SimulationAnswer:
        """Lend the vehicle to this model and wait until it is live."""
        held = self._simulation.drone_id
        if held not in (None, model.drone_id) and not await asyncio.to_thread(self._exists, held):
            await self._simulation.release(held)
        return await self._simulation.start(model)

    def _exists(self, drone_id: str) -> bool:
        if self._database is None:
            return True
        with self._database.session(read_only=True) as session:
            return crud.find_drone_model(session, drone_id) is not None

    async def stop_simulation(self, model: UserDroneModel) -> SimulationAnswer:
        """Take the vehicle back; it holds where it is."""
        return await self._simulation.stop(model)

    @property
    def topics(self) -> Topics:
        """Those of the drone that this service flies."""
        return topics_of(self._settings.vehicle_instance)

    @property
    def drone(self) -> int:
        """Its number: 1 is PX4's instance 0."""
        return self.topics.drone

    @property
    def active_drone_id(self) -> str | None:
        """The drone model whose simulation runs."""
        return self._simulation.drone_id

    def status(self) -> dict[str, Any]:
        """For `/readyz`: `ros` is required; the rest is told for information."""
        return {
            "ros": self._bridge.spinning and not self._beating.done(),
            "controller": self._bridge.controller_ready,
            "vehicle": self.telemetry.connected,
            "stack": self._supervisor.status(),
            "simulation": self.active_drone_id,
        }

    def _publish(self, order: Order, command_id: str, lease: Lease | None) -> None:
        self._bridge.publish(order, command_id, lease)

    def _tell_presence(self, lease: Lease, present: bool, account: Account | None) -> None:
        self._bridge.publish_presence(lease, present, account)

    def _flyable(self) -> bool:
        """Whether a command sent now is heard, and by our own vehicle too if we run it."""
        return self._bridge.controller_ready and (
            self.telemetry.connected or not self._supervisor.runs_vehicle
        )

    async def _wait_flyable(self) -> None:
        """Wait for discovery, or for our own children to come (back) up.

        A controller without its vehicle is let through: it says itself why it cannot fly.
        """
        limit_s = max(DISCOVERY_S, self._supervisor.patience_s)
        if not await self._pulse.wait_until(self._flyable, limit_s) and (
            not self._bridge.controller_ready
        ):
            raise UnavailableError(f"No drone controller answers. {self._advice()}")

    def _advice(self) -> str:
        mode = self._supervisor.mode
        if mode == "embedded":
            return "It is being restarted; the log says why. Try again in a few seconds."
        if mode in {"waiting", "looking"}:
            return self._supervisor.message
        return "Start it with: python drone_controller.py"

    async def _wait_connected(self, timeout_s: float) -> bool:
        return await self._pulse.wait_until(lambda: self.telemetry.connected, timeout_s)

    def _why_no_vehicle(self) -> str:
        if not self._bridge.controller_ready:
            return f"no drone controller answers. {self._advice()}"
        return "the controller has no vehicle. Start PX4, or set STACK=embedded."

    async def _hold(self) -> str | None:
        """Make the vehicle hold its place; None if it does or stands, else why that is unknown."""
        latest = self.telemetry.latest()
        if latest is None or latest["age_s"] is None:
            return None  # no vehicle has told its position, or a new one is being started
        if self.telemetry.connected and not latest["in_air"]:
            return None
        try:
            result = await self.send_command(Command.STOP)
        except RacerError as error:
            return error.message
        return None if result.ok else result.message

    def _on_controller_death(self) -> None:
        self._bridge.controller_died()
        self._courier.controller_died()

    def _on_vehicle_death(self) -> None:
        self.telemetry.forget_vehicle()
        self._courier.vehicle_died()

    def _on_result(self, text: str) -> None:
        try:
            result = self._courier.on_result(text)
        except ValueError:
            self._complain("a command result", text)
            return
        if result.command == STICKS and result.id and self.pilots.knows(result.id):
            self.events.broadcast({"type": "error", "message": result.message, "for": result.id})

    def _on_state(self, text: str) -> None:
        try:
            fields, (lease, present) = state_fields(text), lease_in_state(text)
        except (ValueError, RecursionError):
            self._complain("the controller's state", text)
            return
        self.pilots.heard(lease, present=present)
        self.telemetry.update_state(fields)

    def _complain(self, what: str, text: str) -> None:
        """Say it once: a broken sender repeats itself, between others that are not broken."""
        if what not in self._complaints:
            self._complaints.add(what)
            log.warning(f"{what} was not understood", text=text[:200])
