"""Transcripts of a real PX4, played to the embedded vehicle in the vehicle's own time.

`transcripts/` holds what PX4 v1.17 SITL was heard to say and what it was told, one JSON line a
message; t in s since its boot. The vehicle runs in this process behind its real links: it is ticked
as fast as the machine can, and what it is told arrives at the tick of the recorded moment.
"""

from __future__ import annotations

import json
import math
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pymavlink.dialects.v20 import development as mavlink

from racer.autopilot.link import Link
from racer.autopilot.protocol import Protocol
from racer.autopilot.vehicle import Vehicle
from racer.sim.airframe import load_airframe
from tests.support import claim_slot

TRANSCRIPTS: Final = Path(__file__).parent / "transcripts"
STATION: Final = (245, 190)  # MAVSDK's system and component
REPEATED_HZ: Final = {
    "SET_POSITION_TARGET_LOCAL_NED": 20.0,
    "SET_ATTITUDE_TARGET": 100.0,
    "HEARTBEAT": 1.0,
}
PREARM_CHECK: Final = 0x10000000  # MAV_SYS_STATUS_SENSOR
BATTERY: Final = 0x2000000
HEALTH: Final = PREARM_CHECK | BATTERY  # the bits of health that are compared


@dataclass(frozen=True)
class Event:
    """Something that a vehicle said: ("ACK", command, result), ("TEXT", severity, text),
    ("MODE", base_mode, custom_mode, system_status), or (message,)."""

    t: float
    what: tuple[Any, ...]


@dataclass
class Listener:
    """Messages to events: chunks of a text are joined, a heartbeat counts when it differs."""

    events: list[Event] = field(default_factory=list)
    _mode: tuple[Any, ...] = ()
    _values: dict[str, int] = field(default_factory=dict)
    _texts: dict[int, int] = field(default_factory=dict)  # id: index of its event
    _cut: bool = False  # the last piece of a text filled its message

    def hear(self, t: float, name: str, fields: dict[str, Any]) -> None:
        """Take note of one message."""
        if name == "HEARTBEAT":
            mode = tuple(fields[key] for key in ("base_mode", "custom_mode", "system_status"))
            if mode != self._mode:
                self._mode = mode
                self.events.append(Event(t, ("MODE", *mode)))
        elif name == "COMMAND_ACK":
            self.events.append(Event(t, ("ACK", fields["command"], fields["result"])))
        elif name == "STATUSTEXT":
            self._hear_text(t, fields)
        elif name == "PARAM_VALUE":
            self.events.append(Event(t, ("PARAM", fields["param_id"])))
        elif name == "SYS_STATUS":
            self._hear_change(t, name, fields["onboard_control_sensors_health"] & HEALTH)
        elif name == "BATTERY_STATUS":
            self._hear_change(t, name, fields["charge_state"])
        elif name in ("AUTOPILOT_VERSION", "COMMAND_LONG", "TIME_ESTIMATE_TO_TARGET"):
            self.events.append(Event(t, (name,)))

    def _hear_change(self, t: float, name: str, value: int) -> None:
        """A value that is sent again and again counts when it differs."""
        if self._values.get(name) != value:
            self._values[name] = value
            self.events.append(Event(t, (name, value)))

    def hear_piece(self, t: float, severity: int, text: str) -> None:
        """A text as the recorded programs wrote it: without a number, in pieces of up to 50."""
        number = len(self._texts) - self._cut
        piece = {"severity": severity, "text": text, "id": number, "chunk_seq": int(self._cut)}
        self._hear_text(t, piece)
        self._cut = len(text) == 50

    def _hear_text(self, t: float, fields: dict[str, Any]) -> None:
        if fields["chunk_seq"] and fields["id"] in self._texts:
            index = self._texts[fields["id"]]
            _, severity, text = self.events[index].what
            self.events[index] = Event(t, ("TEXT", severity, text + _named(fields["text"])))
            return
        self._texts[fields["id"]] = len(self.events)
        self.events.append(Event(t, ("TEXT", fields["severity"], _named(fields["text"]))))


def _named(text: str) -> str:
    """How high a return begins depends on the flight, not on who answers."""
    return re.sub(r"-?\d+ m", "# m", text) if "RTL" in text or "destination" in text else text


def _bytes(value: Any) -> Any:
    """pymavlink takes texts as bytes."""
    return value.encode() if isinstance(value, str) else value


def _kind(name: str) -> str:
    """A new setpoint takes the place of any other."""
    return name if name == "HEARTBEAT" else "setpoint"


@dataclass
class Repeated:
    """A message that the station sends again when it is `due`."""

    name: str
    fields: dict[str, Any]
    due: float = 0.0


class Player:
    """A vehicle behind real links, and the station that talks with it."""

    def __init__(self, instance: int) -> None:
        self.listener = Listener()
        self._station = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._station.bind(("127.0.0.1", 14540 + instance))
        self._station.setblocking(False)
        self._address = ("127.0.0.1", 14580 + instance)
        self._coder = mavlink.MAVLink(None, *STATION)
        self._reader = mavlink.MAVLink(None)
        self._reader.robust_parsing = True
        system = 1 + instance
        self.vehicle = Vehicle(load_airframe("x500"), system=system)
        offboard = Link(
            "offboard", port=14580 + instance, partner_port=14540 + instance, system=system
        )
        ground = Link("ground", port=18570 + instance, partner_port=14550, system=system)
        self.links = (offboard, ground)
        self._protocol = Protocol(self.vehicle, offboard=offboard, ground=ground)
        self._repeated: dict[str, Repeated] = {}  # one setpoint, one heartbeat
        self._protocol.announce()

    def close(self) -> None:
        for link in self.links:
            link.close()
        self._station.close()

    def run_until(self, t: float) -> None:
        """Let the vehicle live, repeating setpoint and heartbeat."""
        while self.vehicle.time_s < t:
            for message in self._repeated.values():
                if self.vehicle.time_s >= message.due:
                    message.due = self.vehicle.time_s + 1.0 / REPEATED_HZ[message.name]
                    self.send(message.name, message.fields)
            self.vehicle.tick()
            self._protocol.report()
            self._listen()

    def send(self, name: str, fields: dict[str, Any]) -> None:
        """The station says it and the vehicle hears it."""
        target = {"target_system": self.vehicle.system, "target_component": 1}
        make = getattr(mavlink, f"MAVLink_{name.lower()}_message")
        known = {key: _bytes(fields[key]) for key in make.fieldnames if key in fields}
        message = make(**(known | {k: v for k, v in target.items() if k in make.fieldnames}))
        self._station.sendto(message.pack(self._coder), self._address)
        port = self._protocol.ports[0]
        self._protocol.handle(port, port.link.receive(self.vehicle.time_s))
        self._listen()

    def repeat(self, name: str, fields: dict[str, Any]) -> None:
        """Send a setpoint or a heartbeat from now on, as often as its program did."""
        self._repeated[_kind(name)] = Repeated(name, fields)

    def stop_repeating(self, name: str) -> None:
        """The program that sent it has ended."""
        self._repeated.pop(_kind(name), None)

    def _listen(self) -> None:
        while True:
            try:
                data = self._station.recv(65536)
            except BlockingIOError:
                return
            for message in self._reader.parse_buffer(data) or ():
                self.listener.hear(self.vehicle.time_s, message.get_type(), message.to_dict())


@contextmanager
def playing(folder: Path) -> Iterator[Player]:
    """A player in a slot of its own."""
    with claim_slot(folder) as environment:
        player = Player(int(environment["VEHICLE_INSTANCE"]))
        try:
            yield player
        finally:
            player.close()


def lines(name: str) -> list[dict[str, Any]]:
    """A transcript's lines; what JSON cannot say ("NaN") as numbers."""
    text = (TRANSCRIPTS / f"{name}.jsonl").read_text()
    return [
        {key: math.nan if value == "NaN" else value for key, value in json.loads(line).items()}
        for line in text.splitlines()
    ]
