"""What there is to see of a drone, as JPEG frames for any number of viewers.

One source a drone: the live vehicle while the drone's simulation runs, else the newest recorded
flight of its training in a loop, else a still picture that says what to do. Which of them it is
gets decided anew for every frame, so an open stream follows when a simulation starts or a
training finishes its first epoch. Pictures are drawn in one thread, apart from the threads that
requests use: many streams slow each other down, never the API.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import structlog
from sqlalchemy.exc import SQLAlchemyError

from racer.cameras.replay import FlightFile, flown_on
from racer.cameras.shared_source import SharedSource
from racer.errors import NotFoundError
from racer.sim.track import Track, load_track
from racer.tracks.service import DEFAULT_TRACK
from racer.training.service import TrainingService
from racer.vision.chase import render_chase

FRAME_RATE_HZ = 15.0
_STILL_PERIOD_S = 1.0  # some players show a part only when the next one comes
_LOOK_PERIOD_S = 0.5  # how often we ask for a newer recorded flight
_SILENCE_S = 2.0  # telemetry older than this is no picture of now
_VEHICLE = ""  # key of the source that shows the vehicle whoever flies it

log = structlog.get_logger(__name__)


class Telemetry(Protocol):
    """The newest telemetry, or None."""

    def latest(self) -> dict[str, Any] | None:
        """See racer.control.telemetry."""


class Control(Protocol):
    """What we need of racer.control.service.ControlService."""

    @property
    def active_drone_id(self) -> str | None:
        """The drone model whose simulation runs."""

    @property
    def drone(self) -> int:
        """The number of the drone that is flown here."""

    @property
    def telemetry(self) -> Telemetry:
        """The hub."""


@dataclass(frozen=True)
class Scene:
    """All that a picture depends on."""

    position: tuple[float, ...]  # (3,) m ENU
    quaternion: tuple[float, ...]  # (4,) w x y z
    caption: str
    next_gate: int | None = None
    speed_m_s: float | None = None


@dataclass
class _Stage:
    """One source's memory; used by one frame at a time."""

    drone_id: str
    track: Track
    recording: FlightFile = field(default_factory=FlightFile)
    replay_began_s: float = 0.0
    looked_s: float = -math.inf
    looked: bool = False  # since the last frame
    found: Path | None = None
    drawn: Scene | None = None
    drawn_s: float = -math.inf


class CameraService:
    """Made in the lifespan and kept on `app.state.cameras`; an async context manager."""

    def __init__(
        self,
        control: Control,
        training: TrainingService,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` is monotonic seconds; replays run on it."""
        self._control = control
        self._training = training
        self._clock = clock
        self._sources: dict[str, SharedSource] = {}
        self._artist = ThreadPoolExecutor(1, thread_name_prefix="cameras")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End every stream."""
        for source in list(self._sources.values()):
            source.stop()
        self._artist.shutdown(wait=False, cancel_futures=True)

    async def frames(
        self, drone_id: str, *, track: Track | None = None
    ) -> AsyncGenerator[bytes, None]:
        """JPEG frames of a drone model's drone over its course, the newest one each time.

        `track` is the model's course, on which nothing was recorded yet. Viewers of one drone
        share the frames.
        """
        source = self._sources.get(drone_id)
        if source is None:
            if track is None:
                track = await asyncio.to_thread(load_track, DEFAULT_TRACK)
            source = self._sources.get(drone_id) or self._open(_Stage(drone_id, track))
        try:
            async with aclosing(source.frames()) as frames:
                async for frame in frames:
                    yield frame
        finally:
            if source.viewers == 0 and self._sources.get(drone_id) is source:
                del self._sources[drone_id]

    @property
    def drone(self) -> int:
        """The number of the drone whose vehicle is shown."""
        return self._control.drone

    def vehicle_frames(self) -> AsyncGenerator[bytes, None]:
        """JPEG frames of the vehicle, whichever drone model flies it."""
        return self.frames(_VEHICLE)

    @property
    def watched(self) -> int:
        """How many sources make frames now."""
        return len(self._sources)

    def _open(self, stage: _Stage) -> SharedSource:
        async def shoot() -> bytes | None:
            now = self._clock()
            live = self._live_scene(stage)
            if live is None and now - stage.looked_s >= _LOOK_PERIOD_S:
                stage.looked_s = now
                # Not in the artist's thread: a slow database must not stop the other streams.
                stage.found = await asyncio.to_thread(self._flight_path, stage.drone_id)
                stage.looked = True
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._artist, self._picture, stage, live, now)

        source = self._sources[stage.drone_id] = SharedSource(shoot, rate_hz=FRAME_RATE_HZ)
        return source

    def _live_scene(self, stage: _Stage) -> Scene | None:
        """The vehicle now, if it is this drone's turn."""
        if stage.drone_id not in (_VEHICLE, self._control.active_drone_id):
            return None
        latest = self._control.telemetry.latest()
        position = _numbers(latest, "position", 3)
        quaternion = _numbers(latest, "quaternion", 4)
        if latest is None or position is None or quaternion is None:
            return _resting(stage.track, "waiting for the vehicle")
        age_s = latest.get("age_s")
        if age_s is None or age_s > _SILENCE_S:
            caption = "no signal" if age_s is None else f"no signal for {age_s:.0f} s"
            return Scene(position, quaternion, caption)
        velocity = _numbers(latest, "velocity", 3)
        phase = str(latest.get("phase") or "").replace("_", " ")
        return Scene(
            position,
            quaternion,
            caption=f"live · {phase}" if phase else "live",
            speed_m_s=None if velocity is None else round(math.hypot(*velocity), 1),
        )

    def _picture(self, stage: _Stage, live: Scene | None, now: float) -> bytes | None:
        """Draw, in the artist's thread; None when the last picture still says it all."""
        scene = live or self._recorded_scene(stage, now)
        if scene == stage.drawn and now - stage.drawn_s < _STILL_PERIOD_S:
            return None
        stage.drawn, stage.drawn_s = scene, now
        return render_chase(
            stage.track,
            scene.position,
            scene.quaternion,
            caption=scene.caption,
            next_gate=scene.next_gate,
            speed_m_s=scene.speed_m_s,
        )

    def _recorded_scene(self, stage: _Stage, now: float) -> Scene:
        if stage.looked:
            stage.looked = False
            if stage.recording.refresh(stage.found):
                stage.replay_began_s = now
                if stage.found is not None:
                    stage.track = flown_on(stage.found) or stage.track
        flight = stage.recording.flight
        if flight is None:
            return _resting(stage.track, "Start the simulation or a training to see it fly.")
        pose = flight.in_loop(now - stage.replay_began_s)
        gates = f"gates {pose.gates_passed}/{stage.track.passages}"
        return Scene(
            pose.position,
            pose.quaternion,
            caption=f"epoch {flight.epoch} · {gates} · replay",
            next_gate=pose.gates_passed,
            speed_m_s=round(pose.speed_m_s, 1),
        )

    def _flight_path(self, drone_id: str) -> Path | None:
        """Where the newest flight is; None also while the database cannot say."""
        try:
            return self._training.flight_path(drone_id)
        except (NotFoundError, SQLAlchemyError) as error:
            log.debug("no_flight_path", drone_id=drone_id, reason=str(error).partition("\n")[0])
            return None


def _resting(track: Track, caption: str) -> Scene:
    """The drone at the start, facing the course."""
    x, y, z = (float(value) for value in track.start_position)
    half = track.start_yaw / 2
    return Scene((x, y, z), (math.cos(half), 0.0, 0.0, math.sin(half)), caption)


def _numbers(
    telemetry: Mapping[str, Any] | None, name: str, count: int
) -> tuple[float, ...] | None:
    """A vector of the telemetry; None when it is absent or has a number that is none."""
    value = None if telemetry is None else telemetry.get(name)
    if value is None or len(value) != count or any(part is None for part in value):
        return None
    return tuple(float(part) for part in value)
