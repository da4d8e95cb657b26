"""Which parts of the stack this process runs itself, by STACK, and keeping those alive.

- `external`: none, ever.
- `embedded`: vehicle and controller, at once. If their UDP ports are held the start fails.
- `auto`: looks two seconds for a running controller node, without delaying the web service.
  - None: both are started. If a port is held that is reported, and tried again until the port is
    free or a controller appears.
  - One is there: it stays external for the life of this process, also if it goes away: its owner
    restarts it. If it says for five seconds that it has no vehicle and nobody holds the vehicle's
    ports, the embedded vehicle (alone) is started for it.

A controller that is started by hand later takes the place of ours (`racer.flight.handover`), so
that the documented terminals may be opened in any order; with `embedded` it is refused.

rclpy offers no event for "a node appeared": those looks are a slow poll.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from racer.control.child import SETTLING_S, Child, Program
from racer.control.host_lock import HostLock, check_ports
from racer.errors import ConfigurationError
from racer.flight.handover import offer
from racer.settings import REPOSITORY, Settings

log = structlog.get_logger(__name__)

LOOK_S = 2.0  # STACK=auto: how long a running controller node may take to be discovered
RETRY_S = 2.0  # between attempts at ports that somebody holds
NO_VEHICLE_S = 5.0  # an external controller without a vehicle for this long gets ours
_POLL_S = 0.1
Mode = Literal["looking", "waiting", "embedded", "external"]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the supervisor asks, and whom it tells that a process it runs has ended."""

    controller_in_graph: Callable[[], bool]
    vehicle_connected: Callable[[], bool]
    on_controller_death: Callable[[], None]
    on_vehicle_death: Callable[[], None]


def vehicle_program(settings: Settings) -> Program:
    """The embedded vehicle."""
    cache = settings.data_dir / "jax_cache"
    return Program(
        name="vehicle",
        arguments=(
            "-m",
            "racer.autopilot",
            "--instance",
            str(settings.vehicle_instance),
            "--airframe",
            settings.airframe,
            f"--wind={settings.vehicle_wind_east},{settings.vehicle_wind_north}",
            "--seed",
            str(settings.vehicle_seed),
            "--noise" if settings.vehicle_noise else "--no-noise",
            "--speed-factor",
            str(settings.speed_factor),
            "--compile-cache",
            str(cache),
        ),
        environment=_environment(settings),
        directory=REPOSITORY,
    )


def controller_program(settings: Settings) -> Program:
    """The drone controller."""
    return Program(
        name="controller",
        arguments=("drone_controller.py",),
        environment=_environment(settings),
        directory=REPOSITORY,
    )


def _environment(settings: Settings) -> dict[str, str]:
    return {
        "ROS_DOMAIN_ID": str(settings.ros_domain_id),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": settings.ros_automatic_discovery_range,
        "VEHICLE_INSTANCE": str(settings.vehicle_instance),
        "AUTOPILOT_URL": settings.autopilot_url,
        "DATA_DIR": str(settings.data_dir.absolute()),
        "LOG_LEVEL": settings.log_level,
    }


class Supervisor:
    """Runs what STACK asks for between `start` and `stop`."""

    def __init__(
        self,
        settings: Settings,
        surroundings: Surroundings,
        *,
        vehicle: Program | None = None,
        controller: Program | None = None,
    ) -> None:
        """`vehicle` and `controller` replace the shipped programs."""
        self._settings = settings
        self._around = surroundings
        self._vehicle = Child(
            vehicle or vehicle_program(settings), on_death=surroundings.on_vehicle_death
        )
        self._controller = Child(
            controller or controller_program(settings), on_death=surroundings.on_controller_death
        )
        self._lock = HostLock(settings.vehicle_instance)
        self._running: list[Child] = []
        self._task: asyncio.Task[None] | None = None
        self._handover: asyncio.Server | None = None
        self.mode: Mode = "external" if settings.stack == "external" else "looking"
        self.message = "STACK=external: start the vehicle and drone_controller.py yourself."

    async def start(self) -> None:
        """Raises ConfigurationError if STACK=embedded and somebody holds a port it needs."""
        if self._settings.stack == "embedded":
            await self._embed_now()
        elif self._settings.stack == "auto":
            self._task = asyncio.create_task(self._decide(), name="stack")
            self._task.add_done_callback(self._decided)

    async def stop(self) -> None:
        """End every child, all at the same time; nothing is left behind."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._handover is not None:
            self._handover.close()
        await asyncio.gather(*(child.stop() for child in self._running))
        self._lock.release()

    @property
    def runs_vehicle(self) -> bool:
        """Whether the vehicle is a child of ours."""
        return self._vehicle in self._running

    @property
    def patience_s(self) -> float:
        """How long the parts that we run, or may run in a moment, may still take to answer."""
        if self.mode == "looking":
            return SETTLING_S
        return max((child.patience_s for child in self._running), default=0.0)

    def status(self) -> dict[str, Any]:
        """For `/readyz`: what is run here and why."""
        return {
            "mode": self.mode,
            "message": self.message,
            "children": {child.name: child.status() for child in self._running},
        }

    async def _embed_now(self) -> None:
        """Start at once; a stack that was just killed gets two seconds to let go of its ports."""
        deadline = asyncio.get_running_loop().time() + LOOK_S
        while True:
            try:
                await self._embed()
            except ConfigurationError:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(_POLL_S)
            else:
                return

    async def _embed(self) -> None:
        """Start both. Raises ConfigurationError, having started nothing, if something is held."""
        instance = self._settings.vehicle_instance
        await self._claim(14540 + instance, 14580 + instance, 18570 + instance)
        self.mode = "embedded"
        self.message = "The embedded vehicle and the controller run as children of this process."
        self._launch((self._vehicle, self._controller))

    async def _claim(self, *ports: int) -> None:
        await self._lock.acquire()
        try:
            await check_ports(*ports)
        except ConfigurationError:
            self._lock.release()
            raise

    def _launch(self, children: Iterable[Child]) -> None:
        for child in children:
            child.start()
            self._running.append(child)
        log.info(self.message)

    async def _decide(self) -> None:
        """STACK=auto: see the module's docstring."""
        self.message = "Looking for a running controller."
        if await self._controller_appears(LOOK_S):
            await self._use_external()
            return
        while True:
            try:
                await self._embed()
            except ConfigurationError as error:
                if self.message != error.message:
                    self.mode, self.message = "waiting", error.message
                    log.warning("Cannot start vehicle and controller", reason=error.message)
            else:
                self._handover = await offer(self._settings.vehicle_instance, self._step_aside)
                return
            if await self._controller_appears(RETRY_S):
                await self._use_external()
                return

    def _decided(self, task: asyncio.Task[None]) -> None:
        """A decision that failed leaves the stack as it is; somebody must hear of it."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.message = f"The stack is not looked after any more: {error}. Restart the service."
            log.error("The decision about the stack failed", exc_info=error)

    async def _step_aside(self) -> None:
        """Somebody started a controller by hand: ours leaves, and the vehicle holds meanwhile."""
        if self._controller not in self._running:
            return
        self._running.remove(self._controller)
        await self._controller.stop()
        self._around.on_controller_death()
        self.mode = "external"
        self.message = "A controller that was started by hand took the place of ours."
        log.info(self.message)

    async def _controller_appears(self, within_s: float) -> bool:
        for _ in range(round(within_s / _POLL_S)):
            if self._around.controller_in_graph():
                return True
            await asyncio.sleep(_POLL_S)
        return False

    async def _use_external(self) -> None:
        self.mode = "external"
        self.message = "A controller was already running; this process uses it and starts none."
        log.info(self.message)
        if self._settings.autopilot_url:
            return  # its vehicle is somewhere particular, and not ours to replace
        without = 0.0
        while without < NO_VEHICLE_S:
            if self._around.vehicle_connected():
                return
            await asyncio.sleep(_POLL_S)
            without += _POLL_S
        instance = self._settings.vehicle_instance
        try:
            await self._claim(14580 + instance, 18570 + instance)
        except ConfigurationError as error:
            log.info("The running controller has no vehicle yet", reason=error.message)
            return
        self.message = (
            "The controller that was already running had no vehicle: the embedded one was "
            "started for it. To fly another one, set STACK=external."
        )
        self._launch((self._vehicle,))
