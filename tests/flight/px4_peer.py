"""A peer that answers MAVSDK with what PX4 was recorded to answer, refusals included.

The embedded vehicle accepts what a healthy PX4 accepts; what a healthy one refuses on a bad day
cannot be had from it. This peer has no physics: a test says which answers it gives.
"""

from __future__ import annotations

import socket
import time

from pymavlink.dialects.v20 import common as mavlink

from tests.flight.in_thread import InThread

HOLD, OFFBOARD, POSCTL = 50593792, 393216, 196608
_STANDBY, _ACTIVE, _CRITICAL = 3, 4, 5


class Px4Peer(InThread):
    """Sends heartbeat, landed state, odometry and clock; records what it is sent."""

    def __init__(
        self, port: int, *, in_air: bool, report_s: float = 0.1, obeys: bool = False
    ) -> None:
        """`report_s`: between reports. `obeys`: a mode that is asked for is the mode, as in PX4;
        without it a test sets `custom_mode`."""
        super().__init__()
        self._report_s = report_s
        self._obeys = obeys
        self._address = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.settimeout(0.02)
        self._mav = mavlink.MAVLink(None, srcSystem=1, srcComponent=1)
        self._booted = time.monotonic()
        self.in_air = in_air
        self.armed = in_air
        self.custom_mode = HOLD
        self.critical = False  # in a failsafe
        self.silent = False
        self.deaf = False  # it tells, and answers nothing
        self.reports_motion = True  # ODOMETRY
        self.landed_state: int | None = None  # MAV_LANDED_STATE instead of what `in_air` says
        self.answers: dict[int, list[int]] = {}  # MAV_CMD -> MAV_RESULTs; default one ACCEPTED
        self.texts: dict[int, str] = {}  # MAV_CMD -> STATUSTEXT sent with its last answer
        self.commands: list[int] = []
        self.parameters: dict[str, float] = {}
        self.setpoints: list[mavlink.MAVLink_set_position_target_local_ned_message] = []
        self.arrivals: list[
            tuple[float, mavlink.MAVLink_set_position_target_local_ned_message]
        ] = []  # the same with their times, monotonic s
        self.rates: list[tuple[float, mavlink.MAVLink_set_attitude_target_message]] = []

    def close(self) -> None:
        """Fall silent."""
        self._socket.close()

    def reboot(self) -> None:
        """Start the vehicle's clock again and forget its parameters, as a restart does."""
        self._booted = time.monotonic()
        self.parameters.clear()

    def work(self) -> None:
        """Report, and answer what comes."""
        tick, began = 0, time.monotonic()
        while not self.stopped.is_set():
            if not self.silent:
                if tick % round(0.5 / self._report_s) == 0:
                    self._beat()
                self._report()
            tick += 1
            until = began + tick * self._report_s
            self._socket.settimeout(min(0.02, self._report_s))
            while time.monotonic() < until and not self.stopped.is_set():
                self._receive()

    def _send(self, message: mavlink.MAVLink_message) -> None:
        self._socket.sendto(message.pack(self._mav), self._address)

    def _beat(self) -> None:
        base_mode = 157 if self.armed else 29
        status = _CRITICAL if self.critical else _ACTIVE if self.armed else _STANDBY
        self._send(self._mav.heartbeat_encode(2, 12, base_mode, self.custom_mode, status))

    def _report(self) -> None:
        now_s = time.monotonic() - self._booted
        height = 2.5 if self.in_air else 0.0
        send, mav = self._send, self._mav
        send(mav.system_time_encode(0, int(now_s * 1e3)))
        landed = self.landed_state
        send(
            mav.extended_sys_state_encode(
                0, (2 if self.in_air else 1) if landed is None else landed
            )
        )
        if not self.reports_motion:
            return
        unknown = [float("nan")] * 21
        north_level = [1.0, 0.0, 0.0, 0.0]
        still = (0.0,) * 6
        send(
            mav.odometry_encode(
                int(now_s * 1e6), 1, 12, 0.0, 0.0, -height, north_level, *still, unknown, unknown
            )
        )

    def _receive(self) -> None:
        try:
            data = self._socket.recv(2048)
        except TimeoutError:
            return
        for message in [] if self.silent or self.deaf else self._mav.parse_buffer(data) or []:
            if message.get_type() == "COMMAND_LONG":
                self._answer(message)
            elif message.get_type() == "PARAM_SET":
                self.parameters[message.param_id] = message.param_value
                self._send(
                    self._mav.param_value_encode(
                        message.param_id.encode(), message.param_value, message.param_type, 1, 0
                    )
                )
            elif message.get_type() == "SET_POSITION_TARGET_LOCAL_NED":
                self.setpoints.append(message)
                self.arrivals.append((time.monotonic(), message))
            elif message.get_type() == "SET_ATTITUDE_TARGET":
                self.rates.append((time.monotonic(), message))

    def _answer(self, message: mavlink.MAVLink_command_long_message) -> None:
        self.commands.append(message.command)
        if message.command == 176 and self._obeys:
            self.custom_mode = int(message.param2) << 16 | int(message.param3) << 24
        if message.command == 400 and 400 not in self.answers:
            self.armed = message.param1 == 1
        for result in self.answers.get(message.command, [0]):
            self._send(self._mav.command_ack_encode(message.command, result, 0, 0, 245, 190))
        if text := self.texts.get(message.command):
            self._send(self._mav.statustext_encode(2, text.encode()))
        if message.command == 512 and message.param1 == 0:
            self._beat()
