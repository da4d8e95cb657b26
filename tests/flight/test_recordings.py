"""Who flew in a recording, and which of it was flown by them alone and by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from racer.errors import ConflictError, NotFoundError
from racer.flight import recordings
from racer.flight.flight_log import mend_all
from racer.flight.recordings import INDEX_SUFFIX, read_recording, unread
from tests.flight.recorded import ADA, BOB, Recorder
from tests.support import REPOSITORY

HERE = (1.0, 2.0, 2.5)


def flown(tmp_path: Path, story: Callable[[Recorder], object]) -> list[tuple[str, float]]:
    """(who, for how many seconds) of each stretch of a flight that ada begins."""
    recorder = Recorder(tmp_path)
    recorder.take(ADA)
    recorder.hover(HERE, 1.0)
    story(recorder)
    recording = read_recording(tmp_path, recorder.close())
    return [(one.account.username, round(one.seconds, 1)) for one in recording.stretches]


def test_a_flight_is_its_pilots_from_the_first_word_to_the_last(tmp_path: Path) -> None:
    def story(recorder: Recorder) -> None:
        for _ in range(10):
            recorder.presence(ADA)
            recorder.state()
            recorder.hover(HERE, 0.2)

    assert flown(tmp_path, story) == [("ada", 3.0)]


@pytest.mark.parametrize(
    "breaks",
    [
        lambda r: r.presence(ADA, present=False),
        lambda r: r.presence(None),
        lambda r: r.text(r.topics.presence, ["no", "heartbeat"]),
        lambda r: r.state(present=False),
        lambda r: r.state(lease=None),
        lambda r: r.state(lease={"token": 3, "holder": "another service", "present": True}),
        lambda r: r.state(phase="policy"),
        lambda r: r.state(in_air=False),
        lambda r: r.state(flight_mode="POSCTL"),  # a remote control took over
        lambda r: r.text(r.topics.state, 7),
    ],
    ids=[
        *("the pilot left", "the pilot has no account", "nonsense is said"),
        *("the controller misses the pilot", "nobody has the lease", "another service flies"),
        *("a policy flies", "it stands", "another station flies", "nonsense is told"),
    ],
)
def test_what_ends_a_stretch_and_how_it_goes_on(
    tmp_path: Path, breaks: Callable[[Recorder], None]
) -> None:
    def story(recorder: Recorder) -> None:
        breaks(recorder)
        recorder.hover(HERE, 1.0)
        recorder.presence(ADA)
        recorder.state()
        recorder.hover(HERE, 2.0)

    assert flown(tmp_path, story) == [("ada", 1.0), ("ada", 2.0)]


def test_another_pilots_stretch_is_theirs_and_none_is_flown_by_two(tmp_path: Path) -> None:
    def story(recorder: Recorder) -> None:
        recorder.take(BOB)
        recorder.hover(HERE, 2.0)
        recorder.take(None)
        recorder.hover(HERE, 2.0)
        recorder.take(ADA)
        recorder.hover(HERE, 3.0)

    assert flown(tmp_path, story) == [("ada", 1.0), ("bob", 2.0), ("ada", 3.0)]


def test_a_claim_that_the_controller_does_not_confirm_is_none(tmp_path: Path) -> None:
    """A heartbeat for a lease by which nobody steers."""

    def story(recorder: Recorder) -> None:
        recorder.lease = recorder.lease | {"token": 9}
        recorder.presence(BOB)
        recorder.hover(HERE, 2.0)

    assert flown(tmp_path, story) == [("ada", 1.0)]


@pytest.mark.parametrize(
    "breaks",
    [
        lambda r: r.hover((3.0, 2.0, 2.5), 1.0),
        lambda r: (r.wait(0.7), r.hover(HERE, 1.0)),
        lambda r: (setattr(r, "vehicle_s", 3.0), r.hover(HERE, 1.0)),
    ],
    ids=["set elsewhere", "not seen for a while", "started anew"],
)
def test_where_the_vehicle_did_not_fly_the_stretch_ends(
    tmp_path: Path, breaks: Callable[[Recorder], None]
) -> None:
    assert flown(tmp_path, breaks) == [("ada", 1.0), ("ada", 1.0)]


def test_numbers_that_are_none_end_it_too(tmp_path: Path) -> None:
    def story(recorder: Recorder) -> None:
        recorder.sample((float("nan"), 0.0, 0.0))
        recorder.hover(HERE, 1.0)

    assert flown(tmp_path, story) == [("ada", 1.0), ("ada", 1.0)]


@pytest.mark.parametrize(("pace", "real"), [(1.0, True), (0.9, True), (0.5, False), (2.0, False)])
def test_a_slow_or_hurried_simulation_is_noticed(tmp_path: Path, pace: float, real: bool) -> None:
    recorder = Recorder(tmp_path, pace=pace)
    recorder.take(ADA)
    recorder.hover(HERE, 2.0)
    [stretch] = read_recording(tmp_path, recorder.close()).stretches
    assert stretch.in_real_time is real
    assert stretch.seconds == pytest.approx(pace * 2.0, rel=0.05)


def test_a_recording_says_what_flew_also_when_it_was_mended(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, about={"airframe": "mini", "wind_speed_m_s": "3.5"}, drone=2)
    recorder.take(ADA)
    recorder.hover(HERE, 60.0)
    whole = read_recording(tmp_path, name := recorder.close())
    assert (whole.drone, whole.airframe, whole.wind_speed_m_s) == (2, "mini", 3.5)
    path = tmp_path / f"{name}.mcap"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    broken = read_recording(tmp_path, name)  # as its process left it
    until_s = broken.stretches[0].seconds
    assert 10.0 < until_s < 50.0
    mend_all(tmp_path, 2)
    mended = read_recording(tmp_path, name)
    assert (mended.airframe, mended.wind_speed_m_s) == ("mini", 3.5)
    assert mended.stretches[0].seconds == until_s


def test_what_is_no_recording_or_is_still_written_is_said(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    recorder.take(ADA)
    recorder.hover(HERE, 1.0)
    [path] = tmp_path.glob("*.mcap")
    with pytest.raises(ConflictError, match="still being recorded"):
        read_recording(tmp_path, path.stem)
    assert unread(tmp_path) == []
    recorder.close()
    assert unread(tmp_path) == [path.stem]
    (tmp_path.parent / "2026-01-01T00-00-00.000000Z_drone1.mcap").write_bytes(b"")
    for name in ("2026-01-01T00-00-00.000000Z_drone1", "../x", "", f"../{path.stem}"):
        with pytest.raises(NotFoundError):
            read_recording(tmp_path, name)


def test_the_program_indexes_what_is_new_and_a_damaged_file_only_once(tmp_path: Path) -> None:
    for at_s in (2e9, 2e9 + 100.0):
        recorder = Recorder(tmp_path, at_s=at_s)
        recorder.take(ADA)
        recorder.hover(HERE, 2.0)
        recorder.take(BOB)
        recorder.hover(HERE, 1.0)
        recorder.close()
    good, odd = sorted(tmp_path.glob("*.mcap"))
    odd.write_bytes(b"no recording at all")
    command = [sys.executable, "-m", recordings.__name__, str(tmp_path)]
    subprocess.run(command, check=True, cwd=REPOSITORY, timeout=60)
    assert unread(tmp_path) == []
    index = json.loads(good.with_suffix(INDEX_SUFFIX).read_text())
    ada, bob = index["flown"]
    assert (ada["username"], ada["flown_s"]) == ("ada", pytest.approx(2.0, abs=0.1))
    assert (bob["id"], bob["began_s"]) == (2, pytest.approx(2e9 + 2.0, abs=0.1))
    assert index["airframe"] == "x500"
    assert json.loads(odd.with_suffix(INDEX_SUFFIX).read_text())["flown"] == []
