"""The controller and the embedded vehicle as real processes, and a ROS 2 node that watches them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pymavlink import mavutil

from tests.flight.ground import Ground
from tests.flight.relay import Relay
from tests.support import REPOSITORY, claim_slot


class Stack:
    """A vehicle and a controller in a slot of their own, and a node that watches them."""

    def __init__(
        self,
        environment: dict[str, str],
        *,
        relay: Relay | None,
        vehicle_options: tuple[str, ...] = (),
    ) -> None:
        self.environment = environment
        self._relay = relay
        self._vehicle_options = vehicle_options
        self.ground = Ground(environment)
        self.vehicle = self.start_vehicle()
        self.controller = self.start_controller()

    @property
    def relay(self) -> Relay:
        """Between the two, in a lossy stack."""
        assert self._relay is not None
        return self._relay

    def start_vehicle(self) -> subprocess.Popen[bytes]:
        instance = self.environment["VEHICLE_INSTANCE"]
        # beside the data of all tests: only the first vehicle of a run compiles the physics
        cache = str(Path(self.environment["DATA_DIR"]).parent / "compile-cache")
        options = ("--instance", instance, "--compile-cache", cache, *self._vehicle_options)
        self.vehicle = self._start("-m", "racer.autopilot", *options)
        return self.vehicle

    def start_controller(self) -> subprocess.Popen[bytes]:
        self.controller = self._start("drone_controller.py")
        return self.controller

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, *arguments]
        return subprocess.Popen(command, cwd=REPOSITORY, env=self.environment)

    def set_parameters(self, **values: float) -> None:
        """Set real-valued ones of the vehicle, as a ground station does on its other link."""
        instance = int(self.environment["VEHICLE_INSTANCE"])
        link = mavutil.mavlink_connection(f"udpout:127.0.0.1:{18570 + instance}")
        try:
            for name, value in values.items():
                link.mav.param_set_send(instance + 1, 1, name.encode(), value, 9)
                answer = link.recv_match(type="PARAM_VALUE", blocking=True, timeout=5.0)
                assert answer is not None, name
                assert (answer.param_id, answer.param_value) == (name, value)
        finally:
            link.close()

    def close(self) -> None:
        for process in (self.controller, self.vehicle):  # in this order, so that its Hold is heard
            process.terminate()
            process.wait(timeout=5)
        self.ground.close()


@contextmanager
def flying_stack(
    data_dir: Path, *, lossy: bool = False, vehicle_options: tuple[str, ...] = (), **settings: str
) -> Iterator[Stack]:
    """`lossy`: with a relay between the two, which loses nothing yet; `settings`: the controller's
    environment."""
    with ExitStack() as exits:
        environment = exits.enter_context(claim_slot(data_dir)) | settings
        relay = None
        if lossy:
            relay = exits.enter_context(Relay(int(environment["VEHICLE_INSTANCE"])))
            environment["AUTOPILOT_URL"] = relay.url
        stack = Stack(environment, relay=relay, vehicle_options=vehicle_options)
        exits.callback(stack.close)
        yield stack
