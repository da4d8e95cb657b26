"""The recordings: what is in them, when they begin and end, and how much of the disk they take."""

from __future__ import annotations

import random
import resource
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from racer.flight import flight_log
from racer.flight.flight_log import Entry, FlightLog, Stream, mend_all

STREAMS = [Stream("/drone/state", "std_msgs/msg/String")]
S = 1_000_000_000
PLENTY = 10**9


def entry(at_s: float, text: str = "") -> Entry:
    data = serialize_message(String(data=text or f"at {at_s:g}"))
    return Entry(0, int(at_s * S), data)


def texts(path: Path) -> list[str]:
    """Read as a third party does: by the schema in the file."""
    with path.open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        assert reader.get_header().profile == "ros2"
        return [message.data for *_, message in reader.iter_decoded_messages()]


def recordings(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mcap"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FlightLog]:
    files = FlightLog(tmp_path / "flights", 1, STREAMS, max_bytes=PLENTY)
    yield files
    files.close()


def fly(log: FlightLog, begin_s: int, end_s: int, text: str = "") -> None:
    """A wait of 20 s on the ground, a flight, and 20 s on the ground again; 5 Hz."""
    for tick in range(5 * (begin_s - 20), 5 * (end_s + 20)):
        log.add(entry(tick / 5, text), flying=5 * begin_s <= tick < 5 * end_s)


def test_a_recording_begins_before_the_flight_and_ends_after_it(log: FlightLog) -> None:
    fly(log, 100, 130)
    fly(log, 300, 310)
    first, second = recordings(log.folder)
    assert (texts(first)[0], texts(first)[-1]) == ("at 95", "at 135")
    assert (texts(second)[0], texts(second)[-1]) == ("at 295", "at 315")
    assert len(texts(first)) == 5 * 40 + 1
    assert first.name == "1970-01-01T00-01-35.000000Z_drone1.mcap"


def test_a_clock_that_is_set_back_on_the_ground_begins_no_recording(log: FlightLog) -> None:
    fly(log, 5_000, 5_010)
    for tick in range(100):
        log.add(entry(1_000 + tick / 5), flying=False)
    assert len(recordings(log.folder)) == 1


def test_nothing_is_written_on_the_ground(log: FlightLog) -> None:
    for tick in range(1000):
        log.add(entry(tick / 5), flying=False)
    assert not log.folder.exists()


def test_long_flights_are_cut_into_files_that_follow_each_other(tmp_path: Path) -> None:
    log = FlightLog(tmp_path, 1, STREAMS, max_bytes=4_000_000)
    for tick in range(3_000):
        log.add(entry(100 + tick / 50, _incompressible(tick)), flying=True)
    log.close()
    files = recordings(tmp_path)
    assert len(files) >= 3
    assert sum(len(texts(path)) for path in files) == 3_000
    for before, after in pairwise(map(texts, files)):
        assert before[-1] < after[0]


def _incompressible(number: int) -> str:
    return f"{number:06d}" + random.Random(number).randbytes(600).hex()


def test_the_oldest_flights_make_room_and_another_drones_stay(tmp_path: Path) -> None:
    bound = 2_000_000
    other = FlightLog(tmp_path, 2, STREAMS, max_bytes=bound)
    fly(other, 50, 60)
    log = FlightLog(tmp_path, 1, STREAMS, max_bytes=bound)
    for tick in range(6_000):
        log.add(entry(100 + tick / 50, _incompressible(tick)), flying=True)
    log.close()
    ours = [path for path in recordings(tmp_path) if "drone1" in path.name]
    assert sum(path.stat().st_size for path in ours) <= bound
    assert texts(ours[-1])[-1].startswith("005999")
    assert len(ours) >= 4
    assert len(recordings(tmp_path)) == len(ours) + 1


@pytest.mark.parametrize("spoilt", [0, 1, 7, 500], ids="{} bytes short".format)
def test_a_recording_that_broke_off_is_mended(tmp_path: Path, spoilt: int) -> None:
    log = FlightLog(tmp_path, 1, STREAMS, max_bytes=PLENTY)
    for tick in range(500):
        log.add(entry(100 + tick / 50, _incompressible(tick)), flying=True)
    [path] = recordings(tmp_path)
    assert log._file is not None
    log._file.abandon()  # as the death of its process does
    whole = path.read_bytes()
    assert len(whole) > 5 * flight_log._CHUNK
    path.write_bytes(whole[: len(whole) - spoilt])
    mend_all(tmp_path, 1)
    found = texts(path)
    assert found == [_incompressible(tick) for tick in range(len(found))]
    assert len(found) > 400
    before = path.read_bytes()
    mend_all(tmp_path, 1)
    assert path.read_bytes() == before


def test_a_recording_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    log = FlightLog(tmp_path, 1, STREAMS, max_bytes=PLENTY)
    log.add(entry(1), flying=True)
    [path] = recordings(tmp_path)
    mend_all(tmp_path, 1)
    log.add(entry(2), flying=True)
    log.close()
    assert texts(path) == ["at 1", "at 2"]


def test_a_full_disk_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = shutil.disk_usage(tmp_path)
    full: Any = usage._replace(free=flight_log._LEAVE_FREE)
    log = FlightLog(tmp_path, 1, STREAMS, max_bytes=PLENTY)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: full)
        for tick in range(100):
            log.add(entry(tick / 5), flying=True)
    assert recordings(tmp_path) == []
    assert capsys.readouterr().out.count("the flight is not recorded") == 1
    for tick in range(100, 200):
        log.add(entry(tick / 5), flying=True)
    log.close()
    [path] = recordings(tmp_path)
    assert texts(path)[-1] == "at 39.8"


def test_a_disk_that_takes_no_more_is_tried_again(tmp_path: Path) -> None:
    """The system's own refusal in the middle of a file, for which a limit on file sizes stands."""
    log = FlightLog(tmp_path, 1, STREAMS, max_bytes=PLENTY)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        for tick in range(1_000):
            log.add(entry(100 + tick / 50, _incompressible(tick)), flying=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    for tick in range(1_000, 2_000):
        log.add(entry(100 + tick / 50, _incompressible(tick)), flying=True)
    log.close()
    assert texts(recordings(tmp_path)[-1])[-1].startswith("001999")
    assert len(recordings(tmp_path)) >= 2


def test_a_file_that_is_no_recording_harms_no_other(tmp_path: Path) -> None:
    log = FlightLog(tmp_path, 1, STREAMS, max_bytes=PLENTY)
    log.add(entry(1), flying=True)
    log.close()
    [good] = recordings(tmp_path)
    for name, content in {
        "0000Z_drone1.mcap": good.read_bytes()[:9] + b"\xff" * 100,  # of absurd lengths
        "0001Z_drone1.mcap": b"no recording at all",
        "9999Z_drone1.part": b"of a mending that was killed",
    }.items():
        (tmp_path / name).write_bytes(content)
    mend_all(tmp_path, 1)
    assert texts(good) == ["at 1"]
    assert not (tmp_path / "9999Z_drone1.part").exists()
    again = FlightLog(tmp_path, 1, STREAMS, max_bytes=PLENTY)
    again.add(entry(2), flying=True)
    again.close()
    assert len(list(tmp_path.glob("1970*.mcap"))) == 2


def test_a_rotation_after_the_landing_loses_nothing(tmp_path: Path) -> None:
    log = FlightLog(tmp_path, 1, STREAMS, max_bytes=800_000)
    for tick in range(400):
        log.add(entry(100 + tick / 100, _incompressible(tick)), flying=tick < 150)
    log.close()
    found = [text for path in recordings(tmp_path) for text in texts(path)]
    assert found == [_incompressible(tick) for tick in range(400)]


def test_a_folder_that_cannot_be_made_ends_nothing(tmp_path: Path) -> None:
    (tmp_path / "flights").write_text("a file")
    log = FlightLog(tmp_path / "flights", 1, STREAMS, max_bytes=PLENTY)
    fly(log, 100, 110)
    log.close()
    assert (tmp_path / "flights").read_text() == "a file"
