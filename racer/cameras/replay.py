"""A training's recorded flight, read from the file that the trainer replaces every epoch.

The file is only ever data: NumPy reads it with pickling off, and whatever is not a flight of
finite numbers is refused, so that a half-copied or foreign file shows as no flight.
"""

from __future__ import annotations

import json
import zipfile
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from racer.errors import InvalidInputError, RacerError
from racer.sim.track import Track, load_track

_MAX_SAMPLES = 100_000  # over an hour at 25 Hz
_MAX_CONFIG_BYTES = 1 << 20
_PAUSE_S = 1.5  # at the end of a replay, before it begins again

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Pose:
    """Where the drone is at one moment of a flight."""

    position: tuple[float, ...]  # (3,) m ENU
    quaternion: tuple[float, ...]  # (4,) w x y z, body (FLU) to world; about unit length
    speed_m_s: float
    gates_passed: int


class Flight:
    """A flight to look up by time."""

    def __init__(
        self,
        *,
        t: NDArray[np.float64],  # (T,) s, ascending
        position: NDArray[np.float64],  # (T, 3) m ENU
        quaternion: NDArray[np.float64],  # (T, 4) w x y z
        gates_passed: NDArray[np.float64],  # (T,)
        epoch: int,
    ) -> None:
        self.epoch = epoch
        self._t = (t - t[0]).tolist()
        self._position = position
        self._quaternion = quaternion
        self._gates = gates_passed

    @property
    def duration_s(self) -> float:
        """From the first sample to the last."""
        return float(self._t[-1])

    def in_loop(self, elapsed_s: float) -> Pose:
        """The pose after `elapsed_s` of an endless replay with a pause at each end."""
        return self.at(elapsed_s % (self.duration_s + _PAUSE_S))

    def at(self, time_s: float) -> Pose:
        """The pose at a time, linear between samples; before and after: the first and last one.

        Quaternions are blended and normalised, on the nearer side of their double cover.
        """
        after = min(bisect_right(self._t, time_s), len(self._t) - 1)
        before = max(after - 1, 0)
        step = self._t[after] - self._t[before]
        share = min(max((time_s - self._t[before]) / step, 0.0), 1.0) if step > 0 else 1.0
        p0, p1 = self._position[before], self._position[after]
        q0, q1 = self._quaternion[before], self._quaternion[after]
        blend = (1 - share) * q0 + share * (q1 if float(q0 @ q1) >= 0 else -q1)
        resting = time_s >= self.duration_s or step <= 0
        return Pose(
            position=tuple(((1 - share) * p0 + share * p1).tolist()),
            quaternion=tuple((blend / max(float(np.linalg.norm(blend)), 1e-9)).tolist()),
            speed_m_s=0.0 if resting else float(np.linalg.norm(p1 - p0)) / step,
            gates_passed=int(self._gates[before if share < 1 else after]),
        )


def load_flight(path: Path) -> Flight:
    """Read a `flight.npz`. Raises OSError, or InvalidInputError when it is not a flight."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            t, position, quaternion, gates_passed = (
                np.asarray(file[name], dtype=np.float64)
                for name in ("t", "position", "quaternion", "gates_passed")
            )
            epoch = int(file["epoch"])
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidInputError(f"{path.name} is not a recorded flight: {error}") from error
    samples = len(t) if t.ndim == 1 else 0
    shapes = (position.shape, quaternion.shape, gates_passed.shape)
    if not 1 <= samples <= _MAX_SAMPLES or shapes != ((samples, 3), (samples, 4), (samples,)):
        raise InvalidInputError(f"{path.name} is not a recorded flight: its shapes are wrong.")
    finite = all(np.isfinite(array).all() for array in (t, position, quaternion, gates_passed))
    if not finite or (np.diff(t) < 0).any():
        raise InvalidInputError(f"{path.name} is not a recorded flight: its numbers are wrong.")
    return Flight(
        t=t, position=position, quaternion=quaternion, gates_passed=gates_passed, epoch=epoch
    )


def flown_on(flight: Path) -> Track | None:
    """The course that the training which recorded a flight was told; None when nothing says it."""
    try:
        with flight.with_name("config.json").open("rb") as file:
            config = json.loads(file.read(_MAX_CONFIG_BYTES))
        return load_track(config["track"], altitude_m=config.get("altitude_m"))
    except (OSError, ValueError, KeyError, TypeError, RacerError) as error:
        log.debug("flight_without_course", path=str(flight), reason=str(error)[:200])
        return None


class FlightFile:
    """Keeps the newest readable flight of a path that is replaced now and then."""

    def __init__(self) -> None:
        self.flight: Flight | None = None
        self._seen: tuple[Path, int, int] | None = None

    def refresh(self, path: Path | None) -> bool:
        """Look again; True when there is another flight than before."""
        if path is None:
            return False
        try:
            stat = path.stat()
            signature = (path, stat.st_ino, stat.st_mtime_ns)
            if signature == self._seen:
                return False
            flight = load_flight(path)
        except (OSError, InvalidInputError):
            return False  # removed or being copied: what we have stays, and we look again
        self._seen, self.flight = signature, flight
        return True
