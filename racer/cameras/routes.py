"""MJPEG streams: a JPEG after another in one multipart answer, which every browser's <img> shows.

Each part is followed by the next boundary at once, because a browser shows a part when it knows
that the part is complete. The server's flow control makes a slow viewer's generator wait; it
then takes the newest frame (racer.cameras.shared_source), so nothing piles up.

A page cannot send a header with an <img>, so these routes, and no others, also take a cookie, which
`POST /stream-session` sets for whoever has a token. A stream ends when its token does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.orm import Session
from starlette.responses import StreamingResponse
from starlette.types import Send

import crud
from auth import TOKEN_LIFETIME_S, AnyVisitor, CurrentUser, Visitor, create_token, get_account
from racer.cameras.service import CameraService
from racer.errors import NotFoundError, RacerError
from racer.sim.track import Track
from racer.tracks.service import course_of
from racer.web.openapi import body, errors
from racer.web.tokens import STREAM_COOKIE, Admission, admit_viewer, signed_in, stream_key
from schemas import DroneDetails

router = APIRouter(tags=["cameras"])
_BOUNDARY = b"--frame\r\n"
_FRAMES = "multipart/x-mixed-replace"  # JPEG frames without end, about 15 a second
_RESPONSES = body(_FRAMES, "--frame\r\nContent-Type: image/jpeg\r\n", binary=True) | errors(
    s401="Sign in first: a token, or the cookie, is missing.",
    s404="No such user, drone model or drone.",
)


class MjpegResponse(StreamingResponse):
    """Frames as parts of a multipart answer; closes their source when the viewer leaves."""

    def __init__(self, frames: AsyncGenerator[bytes, None], admission: Admission[Any]) -> None:
        self._parts = _parts(frames, admission)
        super().__init__(
            self._parts,
            media_type="multipart/x-mixed-replace; boundary=frame",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )

    async def stream_response(self, send: Send) -> None:
        """As Starlette's, but not leaving the generators to the garbage collector."""
        async with aclosing(self._parts):
            await super().stream_response(send)


async def _parts(
    frames: AsyncGenerator[bytes, None], admission: Admission[Any]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(frames):
        yield _BOUNDARY
        async for jpeg in frames:
            if await admission.refusal() is not None:
                return
            head = f"Content-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            yield b"".join((head.encode(), jpeg, b"\r\n", _BOUNDARY))


async def _cameras(request: Request) -> CameraService:
    service: CameraService = request.app.state.cameras
    return service


async def _course(
    request: Request,
    drone_id: str,
    username: Annotated[str, Query(description="The owner of the drone model.")],
) -> Admission[Track | None]:
    """The model's course, None when its track is gone; NotFoundError when the user or the model is
    unknown."""

    def grant(session: Session, visitor: Visitor) -> Track | None:
        signed_in(session, visitor)
        owner = get_account(session, username, visitor)
        model = crud.get_users_drone_model(session, owner, drone_id)
        details = DroneDetails.model_validate(model.drone_details)
        try:
            return course_of(session, details, owner.username).track
        except RacerError:  # who starts a training hears of it; a picture needs some course
            return None

    return await admit_viewer(request, grant)


async def _viewer(request: Request) -> Admission[None]:
    return await admit_viewer(request, signed_in)


Cameras = Annotated[CameraService, Depends(_cameras)]
ItsCourse = Annotated[Admission[Track | None], Depends(_course)]
Viewer = Annotated[Admission[None], Depends(_viewer)]


@router.get(
    "/gazebo-stream/{drone_id}",
    summary="Watch a drone model's drone (MJPEG)",
    response_class=StreamingResponse,
    responses=_RESPONSES,
)
async def watch_model(drone_id: str, course: ItsCourse, cameras: Cameras) -> MjpegResponse:
    """The live vehicle while the model's simulation runs, else its training's newest flight."""
    return MjpegResponse(cameras.frames(drone_id.lower(), track=course.granted), course)


@router.get(
    "/drones/{drone}/stream",
    summary="Watch the vehicle (MJPEG)",
    response_class=StreamingResponse,
    responses=_RESPONSES,
)
async def watch_vehicle(drone: str, viewer: Viewer, cameras: Cameras) -> MjpegResponse:
    """The live vehicle, whichever model flies it."""
    if drone != str(cameras.drone):
        here = f"this service flies drone {cameras.drone}"
        raise NotFoundError(f"There is no drone {drone[:64]!r} here; {here}.")
    return MjpegResponse(cameras.vehicle_frames(), viewer)


@router.post(
    "/stream-session",
    summary="Let an <img> of this browser watch streams",
    status_code=HTTPStatus.NO_CONTENT,
    responses=errors(s401="Sign in first."),
)
def open_stream_session(
    request: Request, response: Response, user: CurrentUser, visitor: AnyVisitor
) -> None:
    """Sets a cookie that opens the camera streams of the token's account, and nothing else.

    It lasts as long as a new token, and as the token's session; send it again before that.
    """
    key = stream_key(request.app.state.secret_key)
    response.set_cookie(
        STREAM_COOKIE,
        create_token(user, key, session_id=visitor.session_id or ""),
        max_age=TOKEN_LIFETIME_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


@router.delete("/stream-session", summary="Forget that cookie", status_code=HTTPStatus.NO_CONTENT)
def close_stream_session(response: Response) -> None:
    """Signs this browser's streams out; those that are open end with their token."""
    response.delete_cookie(STREAM_COOKIE, httponly=True, samesite="strict")
