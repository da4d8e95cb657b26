"""What is known about the vehicle now, and waiting for it to change.

One place takes the events of the link, advances the state machine and wakes who waits: no polling.
Lives on one asyncio loop; nothing here is called from another thread.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from racer.flight.commands import Setpoint
from racer.flight.px4 import BatterySample, OdometrySample
from racer.flight.state import Event, FlightState, Landed, StatusText, advance

_WARNING = 4  # syslog severity: this and below (worse) explains why something failed

Update = FlightState | OdometrySample | BatterySample | Setpoint


class FlightMonitor:
    """The newest state, odometry and battery; listeners get each as it comes, and every setpoint
    that is sent."""

    def __init__(self) -> None:
        self.state = FlightState()
        self.odometry: OdometrySample | None = None
        self.battery: BatterySample | None = None
        self._ground_m = 0.0  # ENU height of the ground under the last place it stood on
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self._listeners: list[Callable[[Update], None]] = []
        self._warnings: deque[tuple[int, str]] = deque(maxlen=8)
        self._texts = 0

    def listen(self, listener: Callable[[Update], None]) -> None:
        """Call `listener` with every update."""
        self._listeners.append(listener)

    @contextmanager
    def listening(self, listener: Callable[[Update], None]) -> Iterator[None]:
        """Call `listener` likewise, until the end of the block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def apply(self, event: Event) -> None:
        """Advance the state machine by one event."""
        if isinstance(event, StatusText):
            self._texts += 1
            if event.severity <= _WARNING:
                self._warnings.append((self._texts, event.text))
        before, self.state = self.state, advance(self.state, event)
        if not self.state.connected:
            self.odometry = self.battery = None
        if self.state != before:
            self._tell(self.state)
        self._wake()

    def observe(self, sample: OdometrySample | BatterySample) -> None:
        """Take a measurement."""
        if isinstance(sample, OdometrySample):
            self.odometry = sample
            if self.state.landed is Landed.ON_GROUND:
                self._ground_m = sample.position[2]
        else:
            self.battery = sample
        self._tell(sample)
        self._wake()

    def steered(self, setpoint: Setpoint) -> None:
        """Note what is asked of the vehicle."""
        self._tell(setpoint)

    @property
    def height_m(self) -> float:
        """Height above the place of take-off; 0 while nothing is known."""
        return self.odometry.position[2] - self._ground_m if self.odometry else 0.0

    @property
    def climb_m_s(self) -> float:
        """Vertical speed, up positive; 0 while nothing is known."""
        return self.odometry.velocity[2] if self.odometry else 0.0

    def mark(self) -> int:
        """A point in the vehicle's stream of texts, for `warnings_since`."""
        return self._texts

    def warnings_since(self, mark: int) -> str:
        """What the vehicle complained about after `mark`, as one line; empty if it did not."""
        texts = dict.fromkeys(text for count, text in self._warnings if count > mark)
        return "; ".join(texts)

    async def wait_for(self, predicate: Callable[[], bool], *, timeout_s: float) -> bool:
        """Whether `predicate` came true in time. It is asked at every update; what it raises,
        this raises."""
        if predicate():
            return True
        waiter = (predicate, asyncio.get_running_loop().create_future())
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter[1]
        except TimeoutError:
            return False
        finally:
            self._waiters.remove(waiter)
        return True

    def _tell(self, update: Update) -> None:
        for listener in self._listeners:
            try:
                listener(update)
            except Exception as error:  # not to be taken for the vehicle's message being bad
                raise RuntimeError("a listener failed") from error

    def _wake(self) -> None:
        for predicate, future in self._waiters:
            if future.done():
                continue
            try:
                if predicate():
                    future.set_result(None)
            except Exception as error:  # noqa: BLE001 - belongs to the waiter: raised there
                future.set_exception(error)
