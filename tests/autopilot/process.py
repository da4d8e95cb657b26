"""A real vehicle process in its own slot, and a raw pymavlink peer on its offboard link."""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymavlink import mavutil

from tests.support import REPOSITORY, claim_slot

NAN = math.nan
START_S = 60.0  # a first compilation on a busy machine


@contextmanager
def running_vehicle(folder: Path, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """(instance, process) of a started vehicle; its links may not be up yet."""
    with claim_slot(folder) as environment:
        instance = int(environment["VEHICLE_INSTANCE"])
        command = [sys.executable, "-m", "racer.autopilot", "--instance", str(instance)]
        cache = ["--compile-cache", str(folder.parent / "compile-cache")]
        with subprocess.Popen(
            [*command, *cache, *arguments],
            cwd=REPOSITORY,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield instance, process
            finally:
                process.terminate()
                process.wait(10.0)


class Peer:
    """What an offboard program is to the vehicle: it sends, and remembers all that it hears."""

    def __init__(self, instance: int) -> None:
        self.system = instance + 1
        self.heard: list[Any] = []
        self.link = mavutil.mavlink_connection(
            f"udpin:127.0.0.1:{14540 + instance}",
            source_system=245,
            source_component=190,
            dialect="development",
        )
        self.until(lambda m: m.get_type() == "HEARTBEAT", START_S)

    def close(self) -> None:
        self.link.close()

    def until(
        self,
        wanted: Callable[[Any], bool],
        timeout_s: float,
        repeat: Callable[[], None] | None = None,
    ) -> Any:
        """The first message that is `wanted`; meanwhile `repeat` is called at 20 Hz."""
        deadline = time.monotonic() + timeout_s
        again = 0.0
        while (now := time.monotonic()) < deadline:
            if repeat is not None and now >= again:
                repeat()
                again = now + 0.05
            message = self.link.recv_match(blocking=True, timeout=0.05)
            if message is None:
                continue
            self.heard.append(message)
            if wanted(message):
                return message
        raise AssertionError(f"Not heard within {timeout_s} s; last texts: {self.texts()[-3:]}")

    def listen(self, seconds: float, repeat: Callable[[], None] | None = None) -> list[Any]:
        """What is heard in that time."""
        start, end = len(self.heard), time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                self.until(lambda _: False, left, repeat)
            except AssertionError:
                break
        return self.heard[start:]

    def drain(self) -> None:
        """Forget what arrived meanwhile."""
        while self.link.recv_match(blocking=False) is not None:
            pass

    def command(self, command: int, *params: float, acks: int = 1) -> list[int]:
        """Results of the acknowledgements of COMMAND_LONG; all that come, at least `acks`."""
        padded = [*params, *[NAN] * (7 - len(params))]
        self.link.mav.command_long_send(self.system, 1, command, 0, *padded)
        results: list[int] = []
        for _ in range(acks):
            message = self.until(
                lambda m: m.get_type() == "COMMAND_ACK" and m.command == command, 5.0
            )
            assert (message.target_system, message.target_component) == (245, 190)
            results.append(message.result)
        return results

    def request(self, message_id: int) -> Any:
        """A message by MAV_CMD_REQUEST_MESSAGE."""
        start = len(self.heard)
        assert self.command(512, message_id) == [0]
        return next(m for m in self.heard[start:] if m.get_msgId() == message_id)

    def send_velocity(self, forward: float = 0.0) -> None:
        """MAVSDK's set_velocity_body."""
        self.link.mav.set_position_target_local_ned_send(
            0, self.system, 1, 8, 1479, 0, 0, 0, forward, 0, 0, 0, 0, 0, 0, 0
        )

    def heartbeat(
        self, *, timeout_s: float = 20.0, repeat: Callable[[], None] | None = None, **fields: int
    ) -> Any:
        """The next heartbeat with these fields."""
        return self.until(
            lambda m: (
                m.get_type() == "HEARTBEAT"
                and all(getattr(m, key) == value for key, value in fields.items())
            ),
            timeout_s,
            repeat,
        )

    def texts(self) -> list[str]:
        """Every STATUSTEXT so far, chunks joined."""
        joined: dict[int, str] = {}
        for message in self.heard:
            if message.get_type() == "STATUSTEXT":
                joined[message.id] = joined.get(message.id, "") + message.text
        return list(joined.values())
