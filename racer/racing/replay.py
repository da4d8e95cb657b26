"""Ghosts: the flights of a race in one small file, for whoever wants to see or draw it. No JAX.

Little-endian throughout; docs/replays.md is the format's page:

    8 B  magic  89 54 52 47 0D 0A 1A 0A
    u16  version, 1
    u16  0
    u32  length of the header
    …    header: UTF-8 JSON (racer.racing.replay_header)
    per drone of the header, in its order, for S samples:
      i32 × 3        first position, in header.position_unit_m
      i16 × 3 (S-1)  differences to the sample before, likewise
      i16 × 4 S      quaternion w, x, y, z, in 1/32767
    32 B SHA-256 of everything before it

Positions are rounded before differences are taken, so that errors do not add up. Sample i is
i / rate_hz after the drone's start, and the last one is at its end. Read from strangers: every
length is checked before anything is allocated by it, and every number before it is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from pydantic import ValidationError

from racer.errors import InvalidInputError, NotFoundError
from racer.policy.tables import track_table
from racer.racing.flight import Flight, FloatArray
from racer.racing.replay_header import (
    MAX_DRONES,
    MAX_SAMPLES,
    POSITION_UNIT_M,
    RATE_HZ,
    Ghost,
    Header,
)
from racer.sim.track import Track

MAGIC = bytes.fromhex("8954524 70d0a1a0a".replace(" ", ""))
VERSION = 1
REPLAY_FILE = "replay.bin"
MAX_HEADER_BYTES = 4 << 20
MAX_REPLAY_BYTES = 64 << 20
_PREFIX = struct.Struct("<8sHHI")
_DIGEST_BYTES = 32
_FULL = 32767
_STEP_MOST = 32767  # units between two samples: 32 m in a fiftieth of a second


class Recorded(NamedTuple):
    """A flight that goes into the file."""

    id: int
    name: str
    heat: int  # number of the heat it belongs to; drones of one heat flew together or in turn
    flight: Flight


@dataclasses.dataclass(frozen=True, eq=False)
class Path:
    """One drone's samples, S of them."""

    time: FloatArray  # (S,) s of the race
    position: FloatArray  # (S, 3) m ENU
    attitude: FloatArray  # (S, 4) quaternion wxyz, body to world


@dataclasses.dataclass(frozen=True, eq=False)
class Replay:
    """A file's content."""

    header: Header
    paths: tuple[Path, ...]  # one for each of header.drones

    def of_heat(self, number: int) -> Replay:
        """Only the drones of one heat; NotFoundError when there is none of that number."""
        kept = [i for i, ghost in enumerate(self.header.drones) if ghost.heat == number]
        if not kept:
            raise NotFoundError(f"The replay has no heat {number}.")
        drones = tuple(self.header.drones[i] for i in kept)
        header = self.header.model_copy(update={"drones": drones})
        return Replay(header, tuple(self.paths[i] for i in kept))


def record(track: Track, airframe: str, flights: Sequence[Recorded]) -> Replay:
    """Sample flights at RATE_HZ."""
    paths = [_sampled(one.flight) for one in flights]
    ghosts = tuple(
        Ghost(
            id=one.id,
            name=one.name,
            heat=one.heat,
            start_s=one.flight.start_s,
            end_s=one.flight.end_s,
            samples=len(path.time),
            status=one.flight.end,
            cause=one.flight.cause,
            passages_s=tuple(round(float(moment), 4) for moment in one.flight.passages),
        )
        for one, path in zip(flights, paths, strict=True)
    )
    header = Header(
        format="toledo-racer-replay",
        rate_hz=RATE_HZ,
        position_unit_m=POSITION_UNIT_M,
        airframe=airframe,
        track=track_table(track),
        drones=ghosts,
    )
    return Replay(header, tuple(paths))


def encode(replay: Replay) -> bytes:
    """The file. Raises InvalidInputError for what the format cannot hold."""
    header = replay.header.model_dump_json().encode()
    if len(header) > MAX_HEADER_BYTES or len(replay.paths) > MAX_DRONES:
        raise InvalidInputError("The race is too large for one replay file: enter fewer drones.")
    parts = [_PREFIX.pack(MAGIC, VERSION, 0, len(header)), header]
    for path in replay.paths:
        parts += _packed(path, replay.header.position_unit_m)
    content = b"".join(parts)
    return content + hashlib.sha256(content).digest()


def decode(content: bytes) -> Replay:
    """Read a file. Raises InvalidInputError that says what is wrong with it."""
    if len(content) > MAX_REPLAY_BYTES:
        raise _damaged(f"it is larger than {MAX_REPLAY_BYTES} bytes")
    if len(content) < _PREFIX.size + _DIGEST_BYTES or not content.startswith(MAGIC):
        raise _damaged("it does not begin as one")
    body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    _, version, reserved, length = _PREFIX.unpack_from(body)
    if version != VERSION or reserved != 0:
        raise InvalidInputError(
            f"The replay has format version {version}, this installation reads {VERSION}."
        )
    if hashlib.sha256(body).digest() != digest:
        raise _damaged("its checksum is not that of its content")
    if length > min(MAX_HEADER_BYTES, len(body) - _PREFIX.size):
        raise _damaged("its header is longer than the file")
    header = _header(body[_PREFIX.size : _PREFIX.size + length])
    blocks = memoryview(body)[_PREFIX.size + length :]
    if len(blocks) != sum(_block_bytes(ghost.samples) for ghost in header.drones):
        raise _damaged("its length is not the one that its header tells")
    paths = []
    for ghost in header.drones:
        size = _block_bytes(ghost.samples)
        paths.append(_unpacked(blocks[:size], ghost, header))
        blocks = blocks[size:]
    return Replay(header, tuple(paths))


def to_json(replay: Replay) -> dict[str, Any]:
    """For a browser: the header, and of each drone lists of times, positions and quaternions."""
    told = replay.header.model_dump(mode="json")
    for ghost, path in zip(told["drones"], replay.paths, strict=True):
        ghost["time_s"] = np.round(path.time, 4).tolist()
        ghost["position_m"] = np.round(path.position, 4).tolist()
        ghost["quaternion_wxyz"] = np.round(path.attitude, 5).tolist()
    return told


def _sampled(flight: Flight) -> Path:
    length = flight.end_s - flight.start_s
    whole = np.arange(int(np.ceil(length * RATE_HZ - 1e-6)))
    time = flight.start_s + np.append(whole / RATE_HZ, length)
    if len(time) > MAX_SAMPLES:
        raise InvalidInputError(f"A flight of {length:.0f} s is too long for a replay.")

    def at(columns: FloatArray) -> FloatArray:
        return np.stack([np.interp(time, flight.time, column) for column in columns.T], axis=1)

    # q and -q are one attitude: neighbours must be on one side before one can go between them
    turned = np.einsum("ij,ij->i", flight.attitude[1:], flight.attitude[:-1]) < 0.0
    sign = np.cumprod(np.where(np.append(False, turned), -1.0, 1.0))
    attitude = at(flight.attitude * sign[:, None])
    attitude /= np.linalg.norm(attitude, axis=1, keepdims=True)
    return Path(time, at(flight.position), attitude)


def _packed(path: Path, unit_m: float) -> list[bytes]:
    if not (np.all(np.isfinite(path.position)) and np.all(np.isfinite(path.attitude))):
        raise InvalidInputError("A replay's positions and attitudes must be finite numbers.")
    places = np.round(path.position / unit_m)
    steps = np.diff(places, axis=0)
    if np.any(np.abs(places) > 2**31 - 1) or np.any(np.abs(steps) > _STEP_MOST):
        raise InvalidInputError("A drone flew too far between two samples for a replay.")
    return [
        places[0].astype("<i4").tobytes(),
        steps.astype("<i2").tobytes(),
        np.round(path.attitude * _FULL).astype("<i2").tobytes(),
    ]


def _block_bytes(samples: int) -> int:
    return 12 + 6 * (samples - 1) + 8 * samples


def _unpacked(block: memoryview, ghost: Ghost, header: Header) -> Path:
    steps = 3 * (ghost.samples - 1)
    first = np.frombuffer(block, "<i4", 3)
    rest = np.frombuffer(block, "<i2", steps, offset=12).reshape(-1, 3)
    attitude = np.frombuffer(block, "<i2", offset=12 + 2 * steps).reshape(-1, 4) / _FULL
    places = np.cumsum(np.concatenate([first[None], rest]), axis=0, dtype=np.int64)
    length = np.linalg.norm(attitude, axis=1, keepdims=True)
    if np.any(length < 0.5):
        raise _damaged("an attitude in it is none")
    whole = np.arange(ghost.samples - 1) / header.rate_hz
    return Path(
        time=ghost.start_s + np.append(whole, ghost.end_s - ghost.start_s),
        position=places.astype(np.float64) * header.position_unit_m,
        attitude=attitude / length,
    )


def _header(text: bytes) -> Header:
    try:
        return Header.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "header"
        raise _damaged(f"'{where[:100]}' in its header: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise _damaged("its header is not JSON") from error


def _damaged(why: str) -> InvalidInputError:
    return InvalidInputError(f"This is no replay of ours: {why}. Download it again.")
