"""Recordings as the controller leaves them, of flights that nobody flew: written by the real
recorder's files, with the real messages."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from math import dist
from pathlib import Path
from typing import Any

from builtin_interfaces.msg import Time
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from racer.flight.flight_log import Entry, FlightLog, Stream
from racer.flight.px4 import OdometrySample, Vector
from racer.flight.ros_messages import clock_message, odometry_message
from racer.flight.topics import topics_of

ADA = {"id": 1, "username": "ada"}
BOB = {"id": 2, "username": "bob"}
X500 = {"airframe": "x500", "wind_speed_m_s": "0.000"}
_HZ = 30.0


class Recorder:
    """Writes one flight; its clock begins at Unix time `at_s`, the vehicle's at 100 s."""

    def __init__(
        self,
        folder: Path,
        *,
        at_s: float = 2_000_000_000.0,
        about: dict[str, str] | None = None,
        drone: int = 1,
        pace: float = 1.0,
    ) -> None:
        """`pace`: seconds that pass for the vehicle in one."""
        self.topics = topics_of(drone - 1)
        streams = [Stream(topic, kind) for topic, kind in self.topics.types.items()]
        self._numbers = {stream.topic: number for number, stream in enumerate(streams)}
        about = X500 if about is None else about
        self._log = FlightLog(folder, drone, streams, max_bytes=10**9, about=about)
        self.folder, self.now_s, self._pace = folder, at_s, pace
        self.vehicle_s = 100.0
        self.lease: dict[str, Any] = {"token": 1, "holder": "service"}
        self._place: Vector = (0.0, 0.0, 0.0)

    def write(self, topic: str, message: Any) -> None:
        data = serialize_message(message)
        self._log.add(Entry(self._numbers[topic], int(1e9 * self.now_s), data), flying=True)

    def presence(self, account: dict[str, Any] | None, *, present: bool = True) -> None:
        fields: dict[str, Any] = {"lease": self.lease, "present": present}
        self.text(self.topics.presence, fields | ({"account": account} if account else {}))

    def state(self, *, present: bool = True, **changes: Any) -> None:
        flies = {"in_air": True, "flight_mode": "OFFBOARD", "phase": "offboard"}
        fields = {"lease": self.lease | {"present": present}, **flies} | changes
        self.text(self.topics.state, fields)

    def text(self, topic: str, fields: Any) -> None:
        self.write(topic, String(data=json.dumps(fields)))

    def take(self, account: dict[str, Any] | None) -> None:
        """A new lease, of that account's pilot."""
        self.lease = self.lease | {"token": self.lease["token"] + 1}
        self.presence(account)
        self.state()

    def sample(self, place: Vector, velocity: Vector = (0.0, 0.0, 0.0)) -> None:
        """Where the vehicle is now, looking east, level."""
        level = (1.0, 0.0, 0.0, 0.0)
        still = (0.0, 0.0, 0.0)
        told = OdometrySample(self.vehicle_s, place, velocity, velocity, level, still)
        stamp = Time(sec=int(self.now_s), nanosec=int(1e9 * (self.now_s % 1.0)))
        self.write(self.topics.odometry, odometry_message(told, stamp))
        self.write(self.topics.clock, clock_message(told, stamp))
        self._place = place

    def wait(self, seconds: float) -> None:
        self.now_s += seconds
        self.vehicle_s += seconds * self._pace

    def hover(self, place: Vector, seconds: float) -> None:
        """Stand still there."""
        for _ in range(round(_HZ * seconds)):
            self.sample(place)
            self.wait(1.0 / _HZ)

    def fly(self, places: Sequence[Vector], speed_m_s: float) -> None:
        """Straight from each to the next, by the vehicle's clock; nowhere is braked."""
        for place in points(places, speed_m_s * self._pace / _HZ):
            way = [b - a for a, b in zip(self._place, place, strict=True)]
            length = dist(place, self._place)
            east, north, up = (speed_m_s * part / length if length else 0.0 for part in way)
            self.sample(place, (east, north, up))
            self.wait(1.0 / _HZ)

    def close(self) -> str:
        """The recording's id."""
        self._log.close()
        return sorted(path.stem for path in self.folder.glob("*.mcap"))[-1]


def points(places: Iterable[Vector], step_m: float) -> Iterable[Vector]:
    """Every `step_m` of a way, with its corners."""
    before: Vector | None = None
    for place in places:
        if before is not None:
            count = max(1, round(dist(before, place) / step_m))
            for share in (number / count for number in range(1, count + 1)):
                x, y, z = (a + share * (b - a) for a, b in zip(before, place, strict=True))
                yield x, y, z
        before = place
