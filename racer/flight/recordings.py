"""Recordings as they are read: which are there, what they say of the vehicle, who flew in them.

`python -m racer.flight.recordings FOLDER` reads those that have no index yet, the newest first, and
writes one beside each: who flew for how long. Reading takes seconds a file, so the web service does
it in this process of its own, which may be ended at any time.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import resource
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import structlog
from mcap.exceptions import McapError
from mcap.records import Channel, Message, Metadata
from mcap.stream_reader import StreamReader
from zstandard import ZstdError

from racer.errors import ConflictError, NotFoundError, RacerError
from racer.files import write_atomically
from racer.flight.flight_log import ABOUT, LARGEST
from racer.flight.stretches import Sample, Stretch, StretchFinder, is_sane
from racer.flight.topics import Topics, topics_of
from racer.geometry.rotation import rotate
from racer.process import configure_logging, die_with_parent

log = structlog.get_logger()

INDEX_SUFFIX = ".pilots"
_ID = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{6}Z_drone([1-9]\d{0,2})", re.ASCII)
_MEMORY_BYTES = 4 << 30  # of addresses; half an hour of flight takes some 100 MB of memory
_GONE = "There is no recording of that id. The oldest are deleted for the newest."
_Kinds: TypeAlias = dict[int, tuple[str, Any]]  # by channel: topic and message class


@dataclass(frozen=True)
class Recording:
    """One file. Without `airframe` nobody knows what flew: it is older than that note."""

    id: str  # its file's name
    drone: int
    airframe: str | None
    wind_speed_m_s: float | None
    stretches: tuple[Stretch, ...]  # by hand, each by one account alone, in their order


def drone_of(recording_id: str) -> int | None:
    """The number of the drone in a recording's id; None when it is no id."""
    found = _ID.fullmatch(recording_id)
    return int(found[1]) if found else None


def recording_ids(folder: Path) -> list[str]:
    """Of all recordings there, the newest first."""
    found = (path.stem for path in folder.glob("*Z_drone*.mcap"))
    return sorted(filter(drone_of, found), reverse=True)


def is_written(path: Path) -> bool:
    """Whether its flight still goes on: the recorder holds a lock on it."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def read_recording(folder: Path, recording_id: str) -> Recording:
    """Everything about one flight. Takes seconds.

    Raises NotFoundError when there is no such recording, ConflictError while it is written.
    """
    drone = drone_of(recording_id)
    if drone is None:
        raise NotFoundError(_GONE)
    path = folder / f"{recording_id}.mcap"
    try:
        written = is_written(path)
        with path.open("rb") as file:
            recording = None if written else _read(file, recording_id, drone)
    except FileNotFoundError:
        raise NotFoundError(_GONE) from None
    if recording is None:
        raise ConflictError(
            "That flight is still being recorded: land, and try again ten seconds later."
        )
    return recording


def _read(file: BinaryIO, recording_id: str, drone: int) -> Recording:
    about: dict[str, str] = {}
    finder = StretchFinder()
    topics = topics_of(drone - 1)
    odometry: Any = None  # waits for the vehicle's clock, which is recorded after it
    for heard in _records(file, topics):
        if isinstance(heard, Metadata):
            about |= heard.metadata if heard.name == ABOUT else {}
            continue
        topic, read, wall_s = heard
        if topic in (topics.odometry, topics.clock) and not finder.waits:
            continue  # most of what there is to read
        message = read()
        if topic == topics.presence:
            finder.presence(message.data)
        elif topic == topics.state:
            finder.state(message.data)
        elif topic == topics.odometry:
            odometry = message
        elif odometry is not None and odometry.header.stamp == message.header.stamp:
            sample = _sample(odometry, message, wall_s)
            finder.sample(sample) if is_sane(sample) else finder.end()
    finder.end()
    wind = about.get("wind_speed_m_s")
    return Recording(
        recording_id,
        drone,
        about.get("airframe"),
        None if wind is None else float(wind),
        tuple(finder.found),
    )


def _records(
    file: BinaryIO, topics: Topics
) -> Iterator[Metadata | tuple[str, Callable[[], Any], float]]:
    """Metadata, and (topic, what reads the message, Unix time) of the topics that tell who flew and
    where."""
    from nav_msgs.msg import Odometry  # noqa: PLC0415 - the web service imports this module
    from rclpy.serialization import deserialize_message  # noqa: PLC0415
    from sensor_msgs.msg import TimeReference  # noqa: PLC0415
    from std_msgs.msg import String  # noqa: PLC0415

    wanted = {
        topics.presence: String,
        topics.state: String,
        topics.odometry: Odometry,
        topics.clock: TimeReference,
    }
    kinds: _Kinds = {}
    # Whatever stands where a recording broke off; all before it has passed its checksums.
    with suppress(McapError, ValueError, struct.error, ZstdError):
        for record in StreamReader(file, validate_crcs=True, record_size_limit=LARGEST).records:
            if isinstance(record, Message):
                if (kind := kinds.get(record.channel_id)) is not None:
                    read = partial(deserialize_message, record.data, kind[1])
                    yield kind[0], read, 1e-9 * record.log_time
            elif isinstance(record, Channel) and record.topic in wanted:
                kinds[record.id] = record.topic, wanted[record.topic]
            elif isinstance(record, Metadata):
                yield record


def _sample(odometry: Any, clock: Any, wall_s: float) -> Sample:
    pose, twist = odometry.pose.pose, odometry.twist.twist.linear
    q, place, at = pose.orientation, pose.position, clock.time_ref
    quaternion = (q.w, q.x, q.y, q.z)
    velocity = rotate(quaternion, (twist.x, twist.y, twist.z))
    position = (place.x, place.y, place.z)
    return Sample(at.sec + 1e-9 * at.nanosec, wall_s, position, velocity, quaternion)


def index_of(recording: Recording) -> dict[str, Any]:
    """Who flew how long in it, as JSON's types; `began_s` is Unix time."""
    flown: dict[tuple[int, str], dict[str, Any]] = {}
    for stretch in recording.stretches:
        account = stretch.account
        began = {"began_s": stretch.samples[0].wall_s, "flown_s": 0.0}
        row = flown.setdefault((account.id, account.username), began)
        row["flown_s"] = round(row["flown_s"] + stretch.seconds, 2)
    return {
        "airframe": recording.airframe,
        "wind_speed_m_s": recording.wind_speed_m_s,
        "flown": [{"id": i, "username": name, **row} for (i, name), row in flown.items()],
    }


def write_index(folder: Path, recording_id: str) -> None:
    """Read a recording and leave `<id>.pilots` beside it, whole or not at all."""
    try:
        index = index_of(read_recording(folder, recording_id))
    except (RacerError, OSError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - a damaged file may say anything
        log.warning("a recording is damaged", file=recording_id, error=repr(error))
        index = {"airframe": None, "wind_speed_m_s": None, "flown": []}  # read once, not for ever
    write_atomically(folder / f"{recording_id}{INDEX_SUFFIX}", json.dumps(index).encode())


def unread(folder: Path) -> list[str]:
    """Recordings that are complete and have no index, the newest first."""
    found = []
    for recording_id in recording_ids(folder):
        path = folder / f"{recording_id}.mcap"
        with suppress(FileNotFoundError):  # deleted for a new one meanwhile
            if not path.with_suffix(INDEX_SUFFIX).exists() and not is_written(path):
                found.append(recording_id)
    return found


def limit_memory() -> None:
    """Of a process that reads recordings: whatever is in them, the machine's stays the others'."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    ours = _MEMORY_BYTES if most == resource.RLIM_INFINITY else min(most, _MEMORY_BYTES)
    resource.setrlimit(resource.RLIMIT_AS, (ours, ours))


def main(arguments: list[str]) -> int:
    """Index a folder's recordings; 0 when all were read."""
    die_with_parent()
    os.nice(5)  # requests and the vehicle's clock go first
    configure_logging(os.environ.get("LOG_LEVEL", "INFO"), program="recordings")
    limit_memory()
    folder = Path(arguments[0])
    for recording_id in unread(folder):
        with suppress(NotFoundError, ConflictError):  # deleted meanwhile, or written again
            write_index(folder, recording_id)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
