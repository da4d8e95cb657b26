"""Ghosts: what is written is read, and what was tampered with is not."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from racer.errors import InvalidInputError
from racer.policy.tables import track_from_table
from racer.racing.flight import Flight
from racer.racing.replay import MAGIC, Recorded, decode, encode, record, to_json
from racer.sim.track import load_track
from tests.racing.paths import flight, straight

TRACK = load_track("toledo")


@st.composite
def flights(draw: st.DrawFn) -> Flight:
    """Random walks at any control rate with any attitude."""
    count, hz = draw(st.integers(2, 60)), draw(st.sampled_from([10.0, 25.0, 48.0, 100.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    steps = rng.uniform(-30.0, 30.0, (count, 3)) / hz
    attitude = rng.normal(size=(count, 4))
    attitude /= np.linalg.norm(attitude, axis=1, keepdims=True)
    time = draw(st.floats(0.0, 100.0)) + np.arange(count) / hz
    passages = np.sort(rng.uniform(0.0, count / hz, draw(st.integers(0, 4))))
    return flight(time, np.cumsum(steps, axis=0), attitude=attitude, passages=passages)


@settings(max_examples=40, deadline=None)
@given(st.lists(flights(), min_size=1, max_size=4))
def test_what_is_written_is_read_to_the_millimetre(paths: list[Flight]) -> None:
    kept = record(TRACK, "x500", [Recorded(i, f"ghost {i}", 0, one) for i, one in enumerate(paths)])
    content = encode(kept)
    back = decode(content)
    assert back.header == kept.header
    assert encode(back)[:16] == content[:16]
    for one, own, found in zip(paths, kept.paths, back.paths, strict=True):
        assert found.time == pytest.approx(own.time, abs=1e-9)
        assert (found.time[0], found.time[-1]) == pytest.approx((one.start_s, one.end_s))
        assert np.abs(found.position - own.position).max() <= 0.0005 + 1e-9
        assert np.abs(found.position[[0, -1]] - one.position[[0, -1]]).max() <= 0.0005 + 1e-9
        assert np.abs(found.attitude - own.attitude).max() < 1e-4


def two_ghosts() -> bytes:
    paths = [
        straight((0.0, 0.0, 2.5), (1.0, 2.0, 0.0), seconds=2.0, end="crashed", cause="frame"),
        straight((1.0, 0.0, 2.5), (1.0, 2.0, 0.1), seconds=3.0, start_s=1.0, hz=60.0),
    ]
    return encode(record(TRACK, "x500", [Recorded(i, "ghost", 0, p) for i, p in enumerate(paths)]))


def test_a_second_of_a_drone_takes_less_than_two_kilobytes() -> None:
    long, short = (
        len(
            encode(
                record(
                    TRACK, "x500", [Recorded(1, "g", 0, straight((0, 0, 2), (1, 0, 0), seconds=s))]
                )
            )
        )
        for s in (60.0, 10.0)
    )
    assert (long - short) / 50.0 < 2000.0


def test_a_browser_gets_numbers_and_the_course() -> None:
    told = json.loads(json.dumps(to_json(decode(two_ghosts()))))
    assert track_from_table(told["track"]).name == "toledo"
    first, second = told["drones"]
    assert (first["status"], first["cause"], second["start_s"]) == ("crashed", "frame", 1.0)
    assert first["position_m"][-1] == [2.0, 4.0, 2.5]
    assert len(first["position_m"]) == len(first["time_s"]) == len(first["quaternion_wxyz"]) == 101
    assert second["time_s"][0] == 1.0


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_damage_is_noticed(data: st.DataObject) -> None:
    content = bytearray(two_ghosts())
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    with pytest.raises(InvalidInputError):
        decode(bytes(content))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(content: bytes) -> None:
    for given_bytes in (
        content,
        MAGIC + content,
        signed(MAGIC + struct.pack("<HH", 1, 0) + content),
    ):
        with pytest.raises(InvalidInputError):
            decode(given_bytes)


def signed(body: bytes) -> bytes:
    return body + hashlib.sha256(body).digest()


def rewritten(**changes: Any) -> bytes:
    """The two ghosts, with another header and a checksum that fits."""
    content = two_ghosts()
    (length,) = struct.unpack_from("<I", content, 12)
    header = json.loads(content[16 : 16 + length])
    drone = changes.pop("drone", {})
    header |= changes
    header["drones"] = [header["drones"][0] | drone, *header["drones"][1:]]
    text = json.dumps(header).encode()
    return signed(content[:12] + struct.pack("<I", len(text)) + text + content[16 + length : -32])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drone": {"samples": 2**31}}, "samples"),
        ({"drone": {"samples": 2}}, "samples"),
        ({"drone": {"end_s": 1.0, "samples": 51}}, "length"),
        ({"drone": {"end_s": 1e300}}, "end_s"),
        ({"drone": {"end_s": float("nan")}}, "end_s"),
        ({"drone": {"status": "won"}}, "status"),
        ({"drone": {"passages_s": [0.0] * 2000}}, "passages_s"),
        ({"rate_hz": 0.0}, "rate_hz"),
        ({"position_unit_m": 1e9}, "position_unit_m"),
        ({"track": [[]]}, "track"),
        ({"format": "something"}, "format"),
    ],
)
def test_a_header_that_lies_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        decode(rewritten(**changes))
    decode(rewritten())  # the test's own rewriting is sound


def test_an_attitude_of_nothing_is_refused() -> None:
    content = two_ghosts()
    with pytest.raises(InvalidInputError, match="attitude"):
        decode(signed(content[:-40] + bytes(8)))


def test_a_newer_version_says_so() -> None:
    content = two_ghosts()
    with pytest.raises(InvalidInputError, match="version 2"):
        decode(signed(content[:8] + struct.pack("<H", 2) + content[10:-32]))


def test_what_the_format_cannot_hold_is_not_written() -> None:
    for path in ([[0, 0, 0], [np.nan, 0, 0]], [[0, 0, 0], [40.0, 0, 0]]):
        kept = record(TRACK, "x500", [Recorded(1, "g", 0, flight([0.0, 0.02], path))])
        with pytest.raises(InvalidInputError):
            encode(kept)
