"""A radio between vehicle and controller that loses what a test tells it to lose."""

from __future__ import annotations

import random
import select
import socket

from tests.flight.in_thread import InThread

_LOCALHOST = "127.0.0.1"


class Relay(InThread):
    """Passes datagrams both ways between vehicle `instance` and the controller at `url`.

    The vehicle speaks to its usual port, which is ours; the controller listens at a port of its
    own. Each datagram is lost with the probability that its way has; which, a seed decides.
    """

    def __init__(self, instance: int, *, seed: int = 1) -> None:
        super().__init__()
        self._loss_up = self._loss_down = 0.0
        self._random = random.Random(seed)
        self._vehicle = (_LOCALHOST, 14580 + instance)
        self._to_vehicle = _bound(14540 + instance)
        self._to_controller = _bound(0)
        with _bound(0) as free:
            self._controller = (_LOCALHOST, int(free.getsockname()[1]))

    @property
    def url(self) -> str:
        """AUTOPILOT_URL of the controller."""
        return f"udpin://{_LOCALHOST}:{self._controller[1]}"

    def close(self) -> None:
        """Give the ports back."""
        self._to_vehicle.close()
        self._to_controller.close()

    def lose(self, share: float, *, down: float | None = None) -> None:
        """From now on, on the way to the vehicle, and `down` to the controller if not the same."""
        self._loss_up, self._loss_down = share, share if down is None else down

    def work(self) -> None:
        """Pass on what comes."""
        ends = [self._to_vehicle, self._to_controller]
        while not self.stopped.is_set():
            readable, _, _ = select.select(ends, [], [], 0.05)
            if self._to_controller in readable:
                self._pass_on(self._to_controller, self._to_vehicle, self._vehicle, self._loss_up)
            if self._to_vehicle in readable:
                self._pass_on(
                    self._to_vehicle, self._to_controller, self._controller, self._loss_down
                )

    def _pass_on(
        self, end: socket.socket, other: socket.socket, to: tuple[str, int], loss: float
    ) -> None:
        try:
            data = end.recv(65536)
        except ConnectionError:  # the kernel tells of an earlier datagram that nobody took
            return
        if self._random.random() < loss:
            return
        try:
            other.sendto(data, to)
        except ConnectionError:  # likewise
            return


def _bound(port: int) -> socket.socket:
    end = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    end.bind((_LOCALHOST, port))
    return end
