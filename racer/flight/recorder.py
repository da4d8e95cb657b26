"""The flight recorder: everything a controller hears, says and asks of its vehicle, as MCAP files.

The files are written by a forked process. So the controller's loop only hands bytes to a socket,
and a controller that is killed in flight leaves a file that ends with its last message: the
recorder notices the end of the socket and finishes the file. See `racer.flight.flight_log`.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from racer.flight.flight_log import Entry, FlightLog, Stream, mend_all
from racer.flight.topics import Topics
from racer.process import fork_companion

log = structlog.get_logger()

_HEAD = struct.Struct("<BBQ")  # stream, whether the vehicle flies, ns
_LONGEST = 16 * 1024  # bytes of a message; the longest that the controller understands has less


class Recorder:
    """The controller's end. `record` never blocks and never fails a flight."""

    def __init__(self, channel: socket.socket, topics: Topics) -> None:
        self._channel = channel
        self._numbers = {topic: number for number, topic in enumerate(topics.types)}
        self._epoch_ns = 0  # of the monotonic clock, Unix time
        self._complained = False  # about this flight
        self.flying = False  # whether what comes now belongs to a flight

    def record(self, topic: str, message: bytes) -> None:
        """One message, in CDR. It is lost if it is absurdly long, or the recorder is behind by more
        than the socket holds, about a second of flight; either is said once a flight."""
        if not self.flying:  # a clock that is set in flight does not bend the recording
            self._epoch_ns = time.time_ns() - time.monotonic_ns()
            self._complained = False
        now_ns = self._epoch_ns + time.monotonic_ns()
        try:
            if len(message) > _LONGEST:
                raise OSError(errno.EMSGSIZE, "the message is too long")  # noqa: TRY301
            self._channel.send(_HEAD.pack(self._numbers[topic], self.flying, now_ns) + message)
        except OSError as error:  # full, too large, or nobody there any more
            if not self._complained:
                self._complained = True
                log.warning("the flight recorder lost messages", topic=topic, error=str(error))


def fork_recorder(
    folder: Path, topics: Topics, *, max_bytes: int, about: Mapping[str, str]
) -> Recorder:
    """Fork it; before anything starts a thread. `folder` need not exist; this drone's files take
    `max_bytes` of it at most. `about` is said in each file."""
    hears, speaks = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def work() -> None:
        os.setsid()  # who ends the controller's processes lets it finish its file
        streams = [Stream(topic, kind) for topic, kind in topics.types.items()]
        _write(hears, FlightLog(folder, topics.drone, streams, max_bytes=max_bytes, about=about))

    fork_companion("recorder", hears.fileno(), work)
    hears.close()
    speaks.setblocking(False)
    return Recorder(speaks, topics)


def _write(hears: socket.socket, files: FlightLog) -> None:
    mending = threading.Thread(target=mend_all, args=(files.folder, files.drone), daemon=True)
    mending.start()  # takes seconds, and a flight may be under way
    while packet := hears.recv(_HEAD.size + _LONGEST):
        stream, flying, stamp_ns = _HEAD.unpack_from(packet)
        files.add(Entry(stream, stamp_ns, packet[_HEAD.size :]), flying=bool(flying))
    nobody = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # who supervised the controller waits for the end of its output
        os.dup2(nobody, standard)
    files.close()
