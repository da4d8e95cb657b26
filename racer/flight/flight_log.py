"""Flights as MCAP files with ROS 2 messages (https://mcap.dev/spec), which Foxglove opens.

A file begins five seconds before the vehicle arms, with the command that armed it, and ends five
seconds after it stands again. Files are rotated by size and, all together, bounded: the oldest go.
Everything goes to the disk in chunks of about a second, so a file that was never finished can be
read up to its last chunk; the next start finishes it (`mend_all`).
"""

from __future__ import annotations

import errno
import fcntl
import shutil
import struct
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import structlog
from mcap.exceptions import McapError
from mcap.records import Channel, Message, Metadata, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import MCAP0_MAGIC, Writer
from zstandard import ZstdError

from racer.files import sync
from racer.flight.message_definitions import definition

log = structlog.get_logger()

_AROUND_NS = 5_000_000_000  # recorded before and after a flight
_AGAIN_NS = 10_000_000_000  # between tries on a disk that refuses
_BEFORE = 2_000_000  # bytes kept on the ground: more than five seconds of sticks and telemetry
_CHUNK = 32 * 1024  # bytes: about a second of flight
LARGEST = 64 * 1024 * 1024  # bytes of a file: about half an hour
_FILES = 8  # at least so many share the bound, so that a rotation forgets little
ABOUT = "vehicle"  # metadata: which airframe flew, in which wind
_LEAVE_FREE = 256 * 1024 * 1024  # bytes of the disk that others need, the database first


@dataclass(frozen=True, slots=True)
class Stream:
    """A topic and its ROS 2 type, as in `nav_msgs/msg/Odometry`."""

    topic: str
    type_name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A message: its stream's number, when it was heard or said (Unix time, ns), its CDR bytes."""

    stream: int
    stamp_ns: int
    data: bytes


class FlightLog:
    """The files of one drone. Nothing raises: what cannot be written is said once and left out."""

    def __init__(
        self,
        folder: Path,
        drone: int,
        streams: Sequence[Stream],
        *,
        max_bytes: int,
        about: Mapping[str, str] | None = None,
    ) -> None:
        """`about` the vehicle: said at the beginning of each file, as metadata `ABOUT`."""
        self.folder, self.drone = folder, drone
        self._about = dict(about or {})
        self._streams = [(stream, definition(stream.type_name)) for stream in streams]
        self._max_bytes = max_bytes
        self._file_bytes = min(LARGEST, max_bytes // _FILES)
        self._before: deque[Entry] = deque()
        self._before_bytes = 0
        self._file: _File | None = None
        self._flew_ns = -2 * _AROUND_NS  # when the vehicle was last seen to fly
        self._refused_ns: int | None = None  # when the disk refused

    def add(self, entry: Entry, *, flying: bool) -> None:
        """Take one message; `flying`: whether it belongs to a flight rather than to a wait."""
        if flying:
            self._flew_ns = entry.stamp_ns
        wanted = 0 <= entry.stamp_ns - self._flew_ns <= _AROUND_NS  # a clock may be set back
        try:
            if self._file is None:
                self._remember(entry)
                if wanted and not self._refused(entry.stamp_ns):
                    self._begin()
            else:
                self._file.write(entry)
                if not wanted or self._file.size > self._file_bytes:
                    self._end()
        except OSError as error:
            self._give_up(entry.stamp_ns, error)

    def close(self) -> None:
        """Finish the file, if one is open."""
        try:
            self._end()
        except OSError as error:
            self._give_up(self._flew_ns, error)

    def _remember(self, entry: Entry) -> None:
        self._before.append(entry)
        self._before_bytes += len(entry.data)
        oldest_ns = entry.stamp_ns - _AROUND_NS
        while self._before[0].stamp_ns < oldest_ns or self._before_bytes > _BEFORE:
            self._before_bytes -= len(self._before.popleft().data)

    def _refused(self, now_ns: int) -> bool:
        return self._refused_ns is not None and 0 <= now_ns - self._refused_ns < _AGAIN_NS

    def _begin(self) -> None:
        for made in (self.folder.parent, self.folder):  # DATA_DIR too, when it is not there yet
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._make_room()
        began = datetime.fromtimestamp(self._before[0].stamp_ns * 1e-9, UTC)
        name = f"{began:%Y-%m-%dT%H-%M-%S.%f}Z_drone{self.drone}.mcap"
        self._file = _File(self.folder / name, self._streams, self._about)
        for entry in self._before:
            self._file.write(entry)
        self._before.clear()
        self._before_bytes = 0
        log.info("recording the flight", file=name)
        self._refused_ns = None

    def _end(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.finish()

    def _make_room(self) -> None:
        """Delete the oldest until one more file fits. Raises OSError if the disk is too full."""
        files = list(_files(self.folder, self.drone))
        sizes = [_size(path) for path in files]
        while files and sum(sizes) + self._file_bytes > self._max_bytes:
            log.info("an old flight is deleted for the next", file=files[0].name)
            files.pop(0).unlink(missing_ok=True)
            sizes.pop(0)
        if shutil.disk_usage(self.folder).free < _LEAVE_FREE + self._file_bytes:
            raise OSError(errno.ENOSPC, "the disk is nearly full", str(self.folder))

    def _give_up(self, now_ns: int, error: OSError) -> None:
        if self._refused_ns is None:
            advice = "make room or give DATA_DIR another place; it is tried again in flight"
            log.error("the flight is not recorded", error=str(error), advice=advice)
        self._refused_ns = now_ns
        if self._file is not None:
            file, self._file = self._file, None
            file.abandon()


class _File:
    """One MCAP file. Locked while it is written, so that nobody mends it."""

    def __init__(
        self, path: Path, streams: Sequence[tuple[Stream, str]], about: dict[str, str]
    ) -> None:
        """`streams`: each with its type's definition."""
        new = path.with_suffix(".new")
        self._output = new.open("xb")
        fcntl.flock(self._output, fcntl.LOCK_EX)
        new.rename(path)  # it was never there without the lock
        self._writer = _writer(self._output)
        if about:
            self._writer.add_metadata(ABOUT, about)
        self._channels = [_channel(self._writer, *stream) for stream in streams]

    def write(self, entry: Entry) -> None:
        channel = self._channels[entry.stream]
        self._writer.add_message(channel, entry.stamp_ns, entry.data, publish_time=entry.stamp_ns)
        self._output.flush()  # no chunk waits here for the next one

    @property
    def size(self) -> int:
        return self._output.tell()

    def finish(self) -> None:
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._output.close()

    def abandon(self) -> None:
        """Leave it as it is: readable up to the last chunk."""
        with suppress(OSError):  # what it still holds cannot be written either
            self._output.close()


def _writer(output: BinaryIO) -> Writer:
    writer = Writer(output, chunk_size=_CHUNK)
    writer.start(profile="ros2", library="toledo-racer")
    return writer


def _channel(writer: Writer, stream: Stream, text: str) -> int:
    schema = writer.register_schema(stream.type_name, "ros2msg", text.encode())
    return writer.register_channel(stream.topic, "cdr", schema)


def _files(folder: Path, drone: int) -> Iterator[Path]:
    """That drone's, the oldest first; also what was never finished."""
    yield from sorted(folder.glob(f"*Z_drone{drone}.*"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # another controller made room as well
        return 0


def mend_all(folder: Path, drone: int) -> None:
    """Finish the files that a dead recorder left: viewers want the index at the end. What cannot be
    read at all is renamed to `….damaged`."""
    for path in _files(folder, drone):
        try:
            if path.suffix == ".part":
                path.unlink()  # of a mending that was killed
            elif path.suffix == ".mcap":
                _mend(path)
        except OSError as error:
            log.warning("a recording was not mended", file=path.name, error=str(error))
        except Exception as error:  # noqa: BLE001 - a damaged file may say anything
            log.warning("a recording is damaged", file=path.name, error=repr(error))
            path.rename(path.with_suffix(".damaged"))


def _mend(path: Path) -> None:
    with path.open("rb") as broken:
        try:
            fcntl.flock(broken, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody writes it
        broken.seek(max(0, path.stat().st_size - len(MCAP0_MAGIC)))
        if broken.read() == MCAP0_MAGIC:
            return
        broken.seek(0)
        if shutil.disk_usage(path.parent).free < _LEAVE_FREE:
            raise OSError(errno.ENOSPC, "the disk is nearly full")
        part = path.with_suffix(".part")
        try:
            with part.open("wb") as output:
                _copy(broken, _writer(output))
                sync(output)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        log.info("a recording was cut short; it can be read up to there", file=path.name)


def _copy(source: BinaryIO, writer: Writer) -> None:
    """All whole records of `source`."""
    schemas: dict[int, int] = {}
    channels: dict[int, int] = {}
    # Whatever stands where a recording broke off; all before it has passed its checksums.
    with suppress(McapError, ValueError, struct.error, ZstdError):
        for record in StreamReader(source, validate_crcs=True, record_size_limit=LARGEST).records:
            if isinstance(record, Schema) and record.id not in schemas:
                schemas[record.id] = writer.register_schema(
                    record.name, record.encoding, record.data
                )
            elif isinstance(record, Metadata):
                writer.add_metadata(record.name, record.metadata)
            elif isinstance(record, Channel) and record.id not in channels:
                channels[record.id] = writer.register_channel(
                    record.topic, record.message_encoding, schemas[record.schema_id]
                )
            elif isinstance(record, Message):
                writer.add_message(
                    channels[record.channel_id],
                    record.log_time,
                    record.data,
                    record.publish_time,
                    record.sequence,
                )
    writer.finish()  # type: ignore[no-untyped-call]
