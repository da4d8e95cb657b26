"""Recorded flights: looked up by time, refused when they are none, reloaded when replaced."""

from __future__ import annotations

import math
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from racer.cameras.replay import FlightFile, load_flight
from racer.errors import InvalidInputError


def arrays(**changes: Any) -> dict[str, Any]:
    """Three seconds east at 2 m/s from t = 10 s, turning left by 90 degrees in the last one."""
    half = math.sqrt(0.5)
    return {
        "t": np.array([10.0, 11.0, 12.0, 13.0]),
        "position": np.array([[0.0, 0, 1], [2, 0, 1], [4, 0, 1], [6, 0, 1]]),
        "quaternion": np.array([[1.0, 0, 0, 0], [1, 0, 0, 0], [-1, 0, 0, 0], [half, 0, 0, half]]),
        "gates_passed": np.array([0, 0, 1, 2]),
        "epoch": np.array(7),
    } | changes


def write(path: Path, **changes: Any) -> Path:
    """As the trainer: beside, then renamed into place."""
    beside = path.with_suffix(".tmp.npz")
    np.savez(beside, **arrays(**changes))
    beside.replace(path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "flight.npz"


def test_a_flight_is_looked_up_between_its_samples(path: Path) -> None:
    flight = load_flight(write(path))
    assert (flight.epoch, flight.duration_s) == (7, 3.0)
    pose = flight.at(0.5)
    assert pose.position == pytest.approx((1, 0, 1))
    assert (pose.speed_m_s, pose.gates_passed) == (pytest.approx(2.0), 0)
    assert flight.at(2.0).gates_passed == 1


def test_attitudes_blend_on_the_short_way(path: Path) -> None:
    flight = load_flight(write(path))
    # (1, 0, 0, 0) and (-1, 0, 0, 0) are the same attitude: no flip between them
    w, x, y, z = flight.at(1.5).quaternion
    assert (abs(w), x, y, z) == pytest.approx((1, 0, 0, 0))
    w, x, y, z = flight.at(2.5).quaternion
    assert 2 * math.atan2(z * math.copysign(1, w), abs(w)) == pytest.approx(math.pi / 4)
    assert math.hypot(w, x, y, z) == pytest.approx(1)


def test_before_and_after_the_flight_the_drone_rests_at_its_ends(path: Path) -> None:
    flight = load_flight(write(path))
    assert flight.at(-5).position == pytest.approx((0, 0, 1))
    end = flight.at(99)
    assert end.position == pytest.approx((6, 0, 1))
    assert (end.speed_m_s, end.gates_passed) == (0.0, 2)


def test_a_replay_pauses_at_the_end_and_begins_again(path: Path) -> None:
    flight = load_flight(write(path))
    assert flight.in_loop(3.7).position == pytest.approx((6, 0, 1))
    assert flight.in_loop(4.5 + 0.5).position == pytest.approx((1, 0, 1))
    assert flight.in_loop(450.0 + 0.5).position == pytest.approx((1, 0, 1))


def test_a_flight_of_one_sample_is_a_still(path: Path) -> None:
    one = {name: array[:1] for name, array in arrays().items() if name != "epoch"}
    pose = load_flight(write(path, **one)).in_loop(2.0)
    assert (pose.position, pose.speed_m_s) == (pytest.approx((0, 0, 1)), 0.0)


@pytest.mark.parametrize(
    "changes",
    [
        {"t": np.array([])},
        {"t": np.array([0.0, 2.0, 1.0, 3.0])},
        {"t": np.array([[0.0, 1.0, 2.0, 3.0]])},
        {"position": np.zeros((4, 2))},
        {"position": np.full((4, 3), np.nan)},
        {"quaternion": np.zeros((3, 4))},
        {"gates_passed": np.zeros(5)},
        {"epoch": np.array([1, 2])},
        {"position": np.array(["far"])},
    ],
)
def test_what_is_not_a_flight_is_refused(path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError, match="not a recorded flight"):
        load_flight(write(path, **changes))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"nonsense", b"\x93NUMPY"])
def test_a_damaged_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(InvalidInputError):
        load_flight(path)


def test_a_file_never_runs_code(path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(path.parent / "boom"),)

    np.savez(path, **arrays(t=np.array([Bomb()], dtype=object)), allow_pickle=True)
    with pytest.raises(InvalidInputError):
        load_flight(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(InvalidInputError):
        load_flight(path)
    assert not (path.parent / "boom").exists()


def test_a_replaced_file_is_noticed_and_a_damaged_one_keeps_the_last_good(path: Path) -> None:
    file = FlightFile()
    assert not file.refresh(None)
    assert not file.refresh(path)
    assert file.flight is None
    write(path)
    assert file.refresh(path)
    assert not file.refresh(path)
    write(path, epoch=np.array(8))
    assert file.refresh(path)
    assert file.flight is not None
    assert file.flight.epoch == 8
    path.write_bytes(b"half a fi")
    assert not file.refresh(path)
    path.unlink()
    assert not file.refresh(path)
    assert file.flight.epoch == 8
    write(path, epoch=np.array(9))
    assert file.refresh(path)
    assert file.flight.epoch == 9
