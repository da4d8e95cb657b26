"""MJPEG streams: a JPEG after another in one multipart answer, which every browser's <img> shows.

Each part is followed by the next boundary at once, because a browser shows a part when it knows
that the part is complete. The server's flow control makes a slow viewer's generator wait; it
then takes the newest frame (racer.cameras.shared_source), so nothing piles up.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import StreamingResponse
from starlette.types import Send

import crud
from database import SessionDep
from racer.cameras.service import CameraService
from racer.errors import NotFoundError, RacerError
from racer.sim.track import Track
from racer.tracks.service import course_of
from racer.web.openapi import body, errors
from schemas import DroneDetails

router = APIRouter(tags=["cameras"])
_BOUNDARY = b"--frame\r\n"
_FRAMES = "multipart/x-mixed-replace"  # JPEG frames without end, about 15 a second
_RESPONSES = body(_FRAMES, "--frame\r\nContent-Type: image/jpeg\r\n", binary=True) | errors(
    s404="No such user, drone model or drone."
)


class MjpegResponse(StreamingResponse):
    """Frames as parts of a multipart answer; closes their source when the viewer leaves."""

    def __init__(self, frames: AsyncGenerator[bytes, None]) -> None:
        self._parts = _parts(frames)
        super().__init__(
            self._parts,
            media_type="multipart/x-mixed-replace; boundary=frame",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def stream_response(self, send: Send) -> None:
        """As Starlette's, but not leaving the generators to the garbage collector."""
        async with aclosing(self._parts):
            await super().stream_response(send)


async def _parts(frames: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    async with aclosing(frames):
        yield _BOUNDARY
        async for jpeg in frames:
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield b"".join((head.encode(), jpeg, b"\r\n", _BOUNDARY))


def _cameras(request: Request) -> CameraService:
    service: CameraService = request.app.state.cameras
    return service


def _track(
    drone_id: str,
    session: SessionDep,
    username: Annotated[str, Query(description="The owner of the drone model.")],
) -> Track | None:
    """The model's course, None when its track is gone; NotFoundError when the user or the model is
    unknown."""
    model = crud.get_users_drone_model(session, crud.get_user(session, username), drone_id)
    details = DroneDetails.model_validate(model.drone_details)
    try:
        return course_of(session, details, model.user.username).track
    except RacerError:  # who starts a training hears of it; a picture needs some course
        return None


Cameras = Annotated[CameraService, Depends(_cameras)]
ItsTrack = Annotated[Track | None, Depends(_track, scope="function")]


@router.get(
    "/gazebo-stream/{drone_id}",
    summary="Watch a drone model's drone (MJPEG)",
    response_class=StreamingResponse,
    responses=_RESPONSES,
)
async def watch_model(drone_id: str, track: ItsTrack, cameras: Cameras) -> MjpegResponse:
    """The live vehicle while the model's simulation runs, else its training's newest flight."""
    return MjpegResponse(cameras.frames(drone_id.lower(), track=track))


@router.get(
    "/drones/{drone}/stream",
    summary="Watch the vehicle (MJPEG)",
    response_class=StreamingResponse,
    responses=_RESPONSES,
)
async def watch_vehicle(drone: str, cameras: Cameras) -> MjpegResponse:
    """The live vehicle, whichever model flies it."""
    if drone != str(cameras.drone):
        here = f"this service flies drone {cameras.drone}"
        raise NotFoundError(f"There is no drone {drone[:64]!r} here; {here}.")
    return MjpegResponse(cameras.vehicle_frames())
