"""The vehicle on its links: answers what MAVLink peers send, streams what they expect.

One method a message or command, found by name in a table. A request we cannot serve is refused in
the way its protocol provides (COMMAND_ACK, MISSION_ACK, PARAM_ERROR, FTP NAK), never ignored: a
peer that waits for a time-out looks like a broken link.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from racer.autopilot.commands import Command, Commands
from racer.autopilot.link import Link
from racer.autopilot.mavlink import Message
from racer.autopilot.modes import Severity
from racer.autopilot.parameters import PUSHED_AT_BOOT, from_wire, to_wire
from racer.autopilot.setpoints import (
    FRAME_LOCAL_NED,
    from_attitude_target,
    from_position_target,
)
from racer.autopilot.streams import STREAMS, Schedule
from racer.autopilot.vehicle import Vehicle

_AUTOPILOT: Final = 1  # MAV_COMP_ID_AUTOPILOT1
_TEXT_BYTES: Final = 50
_PARAM_DOES_NOT_EXIST, _PARAM_OUT_OF_RANGE, _PARAM_TYPE_MISMATCH = 1, 2, 7  # MAV_PARAM_ERROR
_MISSION_UNSUPPORTED: Final = 3  # MAV_MISSION_UNSUPPORTED
_NO_INDEX: Final = 65535
_FRAMES_AMSL: Final = (0, 5)  # MAV_FRAME_GLOBAL, MAV_FRAME_GLOBAL_INT
_FRAMES_RELATIVE: Final = (3, 6)
_FTP_NAK, _FTP_UNKNOWN_COMMAND = 129, 7


@dataclass
class Port:
    """A link and its streams."""

    link: Link
    schedule: Schedule
    quiet: bool  # only heartbeats until somebody speaks


class Protocol:
    """Everything that crosses the links of one vehicle."""

    def __init__(self, vehicle: Vehicle, *, offboard: Link, ground: Link) -> None:
        self.vehicle = vehicle
        self.ports = [
            Port(offboard, Schedule({n: s.offboard_hz for n, s in STREAMS.items()}), quiet=False),
            Port(ground, Schedule({n: s.ground_hz for n, s in STREAMS.items()}), quiet=True),
        ]
        self._commands = Commands(vehicle)
        self._text_number = 0
        self._acks: list[tuple[Port, Message, int, int]] = []
        self._handlers: Mapping[str, Callable[[Port, Message], None]] = {
            "HEARTBEAT": self._on_heartbeat,
            "COMMAND_LONG": self._on_command_long,
            "COMMAND_INT": self._on_command_int,
            "SET_POSITION_TARGET_LOCAL_NED": self._on_position_target,
            "SET_POSITION_TARGET_GLOBAL_INT": self._on_global_target,
            "SET_ATTITUDE_TARGET": self._on_attitude_target,
            "SET_MODE": self._on_set_mode,
            "PARAM_REQUEST_READ": self._on_param_read,
            "PARAM_REQUEST_LIST": self._on_param_list,
            "PARAM_SET": self._on_param_set,
            "PING": self._on_ping,
            "TIMESYNC": self._on_timesync,
            "MISSION_REQUEST_LIST": self._on_mission_list,
            "MISSION_COUNT": self._refuse_mission,
            "MISSION_REQUEST": self._refuse_mission,
            "MISSION_REQUEST_INT": self._refuse_mission,
            "MISSION_CLEAR_ALL": self._on_mission_clear,
            "LOG_REQUEST_LIST": self._on_log_list,
            "FILE_TRANSFER_PROTOCOL": self._on_file_transfer,
        }

    def announce(self) -> None:
        """What PX4 sends once after its boot: the parameters that booting changed."""
        for port in self.ports:
            if not port.quiet:
                self._send_params(port, PUSHED_AT_BOOT)

    def handle(self, port: Port, messages: Sequence[Message]) -> None:
        """Act on what arrived and answer at once."""
        for message in messages:
            handler = self._handlers.get(message.name)
            if handler is not None and self._is_for_us(message):
                handler(port, message)
        self._send_texts()
        port.link.flush()

    def report(self) -> None:
        """After each tick: verdicts, texts and the streams that are due."""
        acks, self._acks = self._acks, []
        for port, request, command, result in acks:
            self._ack(port, request, command, result)
        self._send_texts()
        now, view = self.vehicle.time_s, None
        for port in self.ports:
            for name in port.schedule.due(now):
                if port.quiet and not port.link.heard and name != "HEARTBEAT":
                    continue
                view = view or self.vehicle.view()
                port.link.send(name, STREAMS[name].fill(view))
            port.link.flush()

    def _is_for_us(self, message: Message) -> bool:
        """Addressed to this vehicle's autopilot, or to everybody."""
        if (message.system, message.component) == (self.vehicle.system, _AUTOPILOT):
            return False  # an echo of our own
        system = message.fields.get("target_system", 0)
        component = message.fields.get("target_component", 0)
        return system in (0, self.vehicle.system) and component in (0, _AUTOPILOT)

    def _on_heartbeat(self, _: Port, message: Message) -> None:
        v, aboard = self.vehicle, message.system == self.vehicle.system
        v.commander.companions.hear(message.fields["type"], v.time_s, aboard=aboard)

    # Commands

    def _on_command_long(self, port: Port, message: Message) -> None:
        f = message.fields
        params = tuple(f[f"param{n}"] for n in range(1, 8))
        self._run(port, message, Command(f["command"], params))

    def _on_command_int(self, port: Port, message: Message) -> None:
        """As COMMAND_LONG, with latitude and longitude as integers."""
        f = message.fields
        place = (f["x"] * 1e-7, f["y"] * 1e-7, f["z"])
        params = (*(f[f"param{n}"] for n in range(1, 5)), *place)
        self._run(port, message, Command(f["command"], params, frame=f["frame"]))

    def _run(self, port: Port, message: Message, command: Command) -> None:
        outcome = self._commands.run(command, port.schedule)
        for name, fields in outcome.messages:
            port.link.send(name, fields)
        for name in outcome.reports:
            port.link.send(name, STREAMS[name].fill(self.vehicle.view()))
        self._ack(port, message, command.id, outcome.result)
        if outcome.verdict is not None:  # PX4's second acknowledgement comes from its commander
            self._acks.append((port, message, command.id, outcome.verdict))

    def _ack(self, port: Port, request: Message, command: int, result: int) -> None:
        sender = {"target_system": request.system, "target_component": request.component}
        port.link.send("COMMAND_ACK", {"command": command, "result": result} | sender)

    def _on_set_mode(self, port: Port, message: Message) -> None:
        """The old way to change mode; PX4 answers it as DO_SET_MODE."""
        custom = message.fields["custom_mode"]
        mode = (float(message.fields["base_mode"]), float(custom >> 16 & 0xFF), float(custom >> 24))
        self._run(port, message, Command(176, (*mode, *(math.nan,) * 4)))

    # Setpoints

    def _on_position_target(self, _: Port, message: Message) -> None:
        setpoint = from_position_target(message.fields)
        if setpoint is not None:
            self.vehicle.accept(setpoint)

    def _on_global_target(self, _: Port, message: Message) -> None:
        """A place on Earth; velocities and the rest as in the local message."""
        f, home = message.fields, self.vehicle.home
        if f["coordinate_frame"] not in (*_FRAMES_AMSL, *_FRAMES_RELATIVE):
            return
        east, north = home.to_local(f["lat_int"] * 1e-7, f["lon_int"] * 1e-7)
        up = f["alt"] - (home.altitude_m if f["coordinate_frame"] in _FRAMES_AMSL else 0.0)
        local = {"x": north, "y": east, "z": -up, "coordinate_frame": FRAME_LOCAL_NED}
        setpoint = from_position_target(f | local)
        if setpoint is not None:
            self.vehicle.accept(setpoint)

    def _on_attitude_target(self, _: Port, message: Message) -> None:
        setpoint = from_attitude_target(message.fields)
        if setpoint is not None:
            self.vehicle.accept(setpoint)

    # Parameters

    def _on_param_read(self, port: Port, message: Message) -> None:
        f, parameters = message.fields, self.vehicle.parameters
        name = f["param_id"] if f["param_index"] < 0 else parameters.name_at(f["param_index"])
        if name is None or name not in parameters:
            self._param_error(port, message, _PARAM_DOES_NOT_EXIST)
        else:
            self._send_params(port, [name])

    def _on_param_list(self, port: Port, _: Message) -> None:
        self._send_params(port, list(self.vehicle.parameters))

    def _on_param_set(self, port: Port, message: Message) -> None:
        f = message.fields
        try:
            self.vehicle.parameters.set(f["param_id"], from_wire(f["param_value"], f["param_type"]))
        except KeyError:
            self._param_error(port, message, _PARAM_DOES_NOT_EXIST)
        except TypeError:
            self._param_error(port, message, _PARAM_TYPE_MISMATCH)
        except ValueError:
            self._param_error(port, message, _PARAM_OUT_OF_RANGE)
        else:
            self._send_params(port, [f["param_id"]])

    def _param_error(self, port: Port, message: Message, error: int) -> None:
        f = message.fields
        port.link.send(
            "PARAM_ERROR",
            {
                "target_system": message.system,
                "target_component": message.component,
                "param_id": f["param_id"],
                "param_index": f.get("param_index", -1),
                "error": error,
            },
        )

    def _send_params(self, port: Port, names: Sequence[str]) -> None:
        parameters = self.vehicle.parameters
        for name in names:
            value, kind = to_wire(parameters[name])
            port.link.send(
                "PARAM_VALUE",
                {
                    "param_id": name,
                    "param_value": value,
                    "param_type": kind,
                    "param_count": len(parameters),
                    "param_index": parameters.index_of(name),
                },
            )

    # Small protocols

    def _on_ping(self, port: Port, message: Message) -> None:
        """A question has no target; an answer to ours has."""
        f = message.fields
        if f["target_system"] == 0:
            sender = {"target_system": message.system, "target_component": message.component}
            port.link.send("PING", {"time_usec": f["time_usec"], "seq": f["seq"]} | sender)

    def _on_timesync(self, port: Port, message: Message) -> None:
        if message.fields["tc1"] == 0:
            now = int(self.vehicle.time_s * 1e9)
            port.link.send("TIMESYNC", {"tc1": now, "ts1": message.fields["ts1"]})

    def _on_mission_list(self, port: Port, message: Message) -> None:
        port.link.send("MISSION_COUNT", self._mission_reply(message) | {"count": 0})

    def _on_mission_clear(self, port: Port, message: Message) -> None:
        port.link.send("MISSION_ACK", self._mission_reply(message) | {"type": 0})

    def _refuse_mission(self, port: Port, message: Message) -> None:
        reply = self._mission_reply(message) | {"type": _MISSION_UNSUPPORTED}
        port.link.send("MISSION_ACK", reply)

    def _mission_reply(self, message: Message) -> dict[str, Any]:
        return {
            "target_system": message.system,
            "target_component": message.component,
            "mission_type": message.fields["mission_type"],
        }

    def _on_log_list(self, port: Port, _: Message) -> None:
        port.link.send("LOG_ENTRY", {})  # num_logs = 0

    def _on_file_transfer(self, port: Port, message: Message) -> None:
        """There are no files: NAK with "unknown command" (MAVLink FTP, payload layout)."""
        request = message.fields["payload"]
        sequence = (request[0] | request[1] << 8) + 1
        payload = bytearray(251)
        payload[0:2] = (sequence & 0xFFFF).to_bytes(2, "little")
        payload[2:6] = bytes((request[2], _FTP_NAK, 1, request[3]))
        payload[12] = _FTP_UNKNOWN_COMMAND
        sender = {"target_system": message.system, "target_component": message.component}
        port.link.send("FILE_TRANSFER_PROTOCOL", sender | {"payload": tuple(payload)})

    def _send_texts(self) -> None:
        """STATUSTEXT on every link; a long text is cut into chunks with one number."""
        for severity, text in self.vehicle.take_texts():
            for chunk, start in enumerate(range(0, len(text), _TEXT_BYTES)):
                piece = text[start : start + _TEXT_BYTES]
                self._send_text(severity, piece, chunk)
            self._text_number = self._text_number + 1 & 0xFFFF

    def _send_text(self, severity: Severity, text: str, chunk: int) -> None:
        fields = {"severity": int(severity), "text": text, "id": self._text_number}
        for port in self.ports:
            if not port.quiet or port.link.heard:
                port.link.send("STATUSTEXT", fields | {"chunk_seq": chunk})
