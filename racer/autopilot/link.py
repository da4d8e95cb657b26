"""A MAVLink link over UDP: one socket, one partner, one sequence counter.

Like PX4, a link sends unprompted to its default partner and latches on to whoever speaks MAVLink
to it first. Here the default partner takes over when it speaks, and one that has been silent for a
while can be replaced by any, so that a restarted controller is answered.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

import psutil
import structlog

from racer.autopilot.mavlink import Message, encode, parse
from racer.errors import UnavailableError

_LOCALHOST: Final = "127.0.0.1"
_DATAGRAM_BYTES: Final = 1200  # several frames share a datagram up to here, below any MTU
_SILENCE_S: Final = 5.0
_READ_AT_ONCE: Final = 64  # datagrams; a flood must not keep the control loop waiting
_log = structlog.get_logger(__name__)


class Link:
    """One end of a link. Raises UnavailableError, naming the holder, if the port is taken."""

    def __init__(self, name: str, *, port: int, partner_port: int, system: int) -> None:
        self.name = name
        self.heard = False
        self._system = system
        self._default = self._partner = (_LOCALHOST, partner_port)
        self._heard_at_s = -_SILENCE_S
        self._sequence = 0
        self._out = bytearray()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((_LOCALHOST, port))
        except OSError as error:
            self._socket.close()
            if error.errno != errno.EADDRINUSE:
                raise
            raise UnavailableError(_who_holds(port)) from error
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """For select()."""
        return self._socket.fileno()

    def close(self) -> None:
        """Send what is left and free the port."""
        self.flush()
        self._socket.close()

    def send(self, name: str, fields: Mapping[str, Any]) -> None:
        """Queue a message; `flush` sends. A value that does not fit is a bug of ours: logged."""
        try:
            frame = encode(name, fields, system=self._system, component=1, sequence=self._sequence)
        except (struct.error, OverflowError):
            _log.exception("a message could not be encoded", message=name)
            return
        self._sequence += 1
        if len(self._out) + len(frame) > _DATAGRAM_BYTES:
            self.flush()
        self._out += frame

    def flush(self) -> None:
        """Hand the queue to the kernel. Datagrams may be lost: a full buffer drops them."""
        if not self._out:
            return
        data, self._out = bytes(self._out), bytearray()
        try:
            self._socket.sendto(data, self._partner)
        except OSError as error:
            # nobody listens, or the buffer is full: what UDP does to a message anyway
            _log.debug("a datagram was dropped", link=self.name, reason=str(error))

    def receive(self, now_s: float) -> list[Message]:
        """Messages that have arrived. `now_s`: monotonic clock."""
        messages: list[Message] = []
        for _ in range(_READ_AT_ONCE):
            try:
                data, sender = self._socket.recvfrom(65536)
            except BlockingIOError:
                break
            except ConnectionError:
                continue  # the kernel reports an earlier datagram that nobody took
            found, _ = parse(data)
            if found:
                self._note(sender, now_s)
                messages += found
        return messages

    def discard(self) -> None:
        """Forget what arrived before the vehicle was up."""
        while self.receive(0.0):
            pass
        self.heard, self._partner, self._heard_at_s = False, self._default, -_SILENCE_S

    def _note(self, sender: tuple[str, int], now_s: float) -> None:
        silent = now_s - self._heard_at_s > _SILENCE_S
        if sender != self._partner and (silent or sender == self._default):
            self._partner = sender
        if sender == self._partner:
            self._heard_at_s, self.heard = now_s, True


def _who_holds(port: int) -> str:
    """One line about the process behind a UDP port, as far as this user may see."""
    for connection in psutil.net_connections("udp4"):
        if connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                command = " ".join(psutil.Process(connection.pid).cmdline())
            except psutil.Error:
                command = "a process that cannot be read"
            return (
                f"UDP port {port} is taken by pid {connection.pid} ({command}). "
                "Stop it, or choose another --instance."
            )
    return f"UDP port {port} is taken by another user's process. Choose another --instance."
