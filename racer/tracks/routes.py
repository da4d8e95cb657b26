"""Tracks: list, read, download and draw; check, post, replace, share and delete one's own.

What ships with the product or is shared is everybody's to see; the rest is its owner's, to see and
to change. A text is checked before the first query: no transaction waits for it.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import structlog
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

import crud
from auth import Admitted, AnyVisitor, NamedAccount, Somebody, Visitor, VisitorDep
from database import SessionDep
from models import UserTrack
from racer.accounts.service import audit
from racer.errors import ConflictError
from racer.policy.tables import track_table
from racer.sim.track import Track, parse_track, track_names
from racer.sim.track_keys import MAX_TEXT_BYTES, InvalidTrackError
from racer.tracks import courses, queries, service
from racer.tracks.drawing import draw
from racer.tracks.schemas import (
    TrackChange,
    TrackCheck,
    TrackFilter,
    TrackOut,
    TrackPage,
    TrackProblem,
    TrackSummary,
)
from racer.web.conditional import ReadingDep, Writing, WritingDep
from racer.web.idempotency import CREATES
from racer.web.openapi import body, errors

log = structlog.get_logger(__name__)
router = APIRouter(tags=["tracks"])
_TEXT_TYPES = frozenset({"", "text/plain", "application/toml", "text/toml"})
_TOKEN = errors(s401="The token that was sent is not good any more.")
_PROTECTED = errors(s401="The account has a password: sign in first.")
_SEEN = _PROTECTED | errors(s404="No such track that the visitor may see.")
_OWN = _SEEN | errors(s409="The track ships with the product.")
_SENT = errors(
    s413=f"The text is longer than {MAX_TEXT_BYTES} bytes.",
    s415="The body is neither TOML nor JSON.",
)
_TAKEN = errors(s400="The user has another track of that name.")
_TOML_EXAMPLE = 'name = "my course"\nlaps = 3\n'
_SVG_EXAMPLE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 30">…</svg>'
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/toml": {"schema": {"type": "string"}},
            "text/plain": {"schema": {"type": "string"}},
            "application/json": {"schema": {"type": "object"}},
        },
    }
}


class _Sent(NamedTuple):
    """A body as it came."""

    body: bytes
    is_json: bool


class _Text(NamedTuple):
    """A text that is a course."""

    content: str
    track: Track


async def _sent(request: Request, _somebody: Somebody) -> _Sent:
    """The body, of which no more is read than a course may have."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _TEXT_TYPES and kind != "application/json":
        raise HTTPException(
            415, "Send the track as application/toml or text/plain, or as application/json."
        )
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_TEXT_BYTES:
            raise HTTPException(413, f"A track may have at most {MAX_TEXT_BYTES} bytes.")
    return _Sent(body, kind == "application/json")


Sent = Annotated[_Sent, Depends(_sent)]


def _read(sent: _Sent) -> _Text:
    content = courses.read_text(sent.body, is_json=sent.is_json)
    return _Text(content, courses.read_course(content))


def _checked(sent: Sent) -> _Text:
    try:
        return _read(sent)
    except InvalidTrackError as error:
        problems = [
            {
                "type": "value_error",
                "loc": ("body", problem.key) if problem.key else ("body",),
                "msg": problem.message,
                "ctx": {"error": problem.message},
            }
            for problem in error.problems
        ]
        raise RequestValidationError(problems) from error


Text = Annotated[_Text, Depends(_checked)]


def _own(session: SessionDep, track_id: str, visitor: Visitor, writing: Writing) -> UserTrack:
    """The row of a track that the visitor may change, locked, as they last saw it."""
    if track_id in track_names():
        raise ConflictError(
            "Shipped tracks stay as they are. Post a copy under another name to change it."
        )
    row = service.own_row(session, track_id, visitor)
    writing.require(lambda: _out(service.record_of(row)))
    return row


@router.get("/tracks", summary="List tracks", responses=_TOKEN)
def list_tracks(
    session: SessionDep, visitor: AnyVisitor, wanted: Annotated[TrackFilter, Query()]
) -> TrackPage:
    """Shipped ones first, then shared ones and one's own, the newest first. With `username` that
    account's alone: the shared ones, and the others if the account is one's own or open."""
    owner = crud.find_user(session, wanted.username) if wanted.username else None
    if wanted.username and owner is None:
        return TrackPage(tracks=[], next=None)
    names = track_names()
    shown: list[courses.TrackInfo] = []
    before = wanted.before
    if owner is None and (before is None or before in names):
        first = 0 if before is None else names.index(before) + 1
        shown, before = list(courses.shipped()[first:]), None
    rows = queries.list_tracks(
        session, owner=owner, visitor=visitor, before=before, limit=wanted.limit + 1
    )
    shown += [service.info_of(row) for row in rows]
    more = len(shown) > wanted.limit
    shown = shown[: wanted.limit]
    return TrackPage(
        tracks=[TrackSummary.model_validate(info) for info in shown],
        next=_place(shown[-1]) if more else None,
    )


def _place(info: courses.TrackInfo) -> str:
    return queries.place_of(info.id, info.created_at) if info.created_at else info.id


@router.post(
    "/tracks/validate",
    summary="Check a track",
    responses=_SENT | _PROTECTED,
    openapi_extra={"requestBody": _BODY["requestBody"] | {"required": False}},  # nothing is a text
)
def validate_track(sent: Sent, _admitted: Admitted) -> TrackCheck:
    """Everything that is wrong with the text, or what a list would show of it. Keeps nothing."""
    try:
        track = _read(sent).track
    except InvalidTrackError as error:
        problems = [TrackProblem.model_validate(problem) for problem in error.problems]
        return TrackCheck(valid=False, problems=problems)
    return TrackCheck(
        valid=True,
        problems=[],
        name=track.name,
        gates=len(track.gates),
        laps=track.laps,
        length_m=courses.length_m(track),
        mean_height_m=courses.mean_height_m(track),
        airframes=courses.airframes_for(track),
    )


@router.get(
    "/tracks/{track_id}.toml",
    summary="Download a track",
    response_class=Response,
    responses=_SEEN | body("application/toml", _TOML_EXAMPLE),
)
def download_track(track_id: str, session: SessionDep, visitor: AnyVisitor) -> Response:
    """The file, as its owner sent it."""
    record = service.visible(session, track_id, visitor)
    name = f'attachment; filename="{record.name}.toml"'  # letters, digits, spaces, - and _
    return Response(
        record.content.encode(),
        media_type="application/toml",
        headers={"Content-Disposition": name, "X-Content-Type-Options": "nosniff"},
    )


@router.get(
    "/tracks/{track_id}.svg",
    summary="See a track",
    response_class=Response,
    responses=_SEEN | body("image/svg+xml", _SVG_EXAMPLE),
)
def preview_track(track_id: str, session: SessionDep, visitor: AnyVisitor) -> Response:
    """A drawing to scale, from above and from the south; follows the reader's light or dark."""
    record = service.visible(session, track_id, visitor)
    picture = draw(parse_track(record.content), title=record.full_name)
    return Response(
        picture.encode(),
        media_type="image/svg+xml",
        headers={
            "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.get("/tracks/{track_id}", summary="Read a track", response_model=TrackOut, responses=_SEEN)
def read_track(
    track_id: str, session: SessionDep, visitor: AnyVisitor, reading: ReadingDep
) -> Response:
    """Its gates, obstacles and bounds, and whose it is."""
    return reading.answer(_out(service.visible(session, track_id, visitor)))


@router.post(
    "/users/{username}/tracks",
    summary="Post a track",
    status_code=201,
    responses=_OWN | _SENT | _TAKEN,
    openapi_extra=_BODY | CREATES,
)
def post_track(text: Text, session: SessionDep, user: NamedAccount) -> TrackOut:
    """TOML as in docs/tracks.md, or JSON of the same structure; its `name` is the track's. Nobody
    else sees it until it is shared."""
    row = queries.add_track(session, user, text.content, text.track)
    log.info("track_posted", track_id=row.id, username=user.username, gates=row.gates)
    return _out(service.record_of(row))


@router.put(
    "/tracks/{track_id}",
    summary="Replace a track",
    response_model=TrackOut,
    responses=_OWN | _SENT | _TAKEN,
    openapi_extra=_BODY,
)
def replace_track(
    track_id: str, text: Text, session: SessionDep, visitor: VisitorDep, writing: WritingDep
) -> Response:
    """By another text, under the name that stands in it. Runs and policies keep what they had."""
    row = _own(session, track_id, visitor, writing)
    queries.replace_track(session, row, text.content, text.track)
    return writing.answer(_out(service.record_of(row)))


@router.patch(
    "/tracks/{track_id}",
    summary="Share a track, or no longer",
    response_model=TrackOut,
    responses=_OWN,
)
def share_track(
    track_id: str,
    change: TrackChange,
    session: SessionDep,
    visitor: VisitorDep,
    writing: WritingDep,
) -> Response:
    """A shared one is seen by everybody and named `username/name` in anybody's drone models. Runs
    that were begun on it go on when it is shared no longer."""
    row = _own(session, track_id, visitor, writing)
    row.shared = change.shared
    session.flush()
    return writing.answer(_out(service.record_of(row)))


@router.delete("/tracks/{track_id}", summary="Delete a track", status_code=204, responses=_OWN)
def delete_track(
    track_id: str, session: SessionDep, visitor: VisitorDep, writing: WritingDep
) -> None:
    """Runs and policies keep what they had; a drone model that names it cannot be trained again
    until it names another one."""
    session.delete(_own(session, track_id, visitor, writing))
    audit.record(session, "track.delete", track_id)
    log.info("track_deleted", track_id=track_id)


def _out(record: courses.TrackRecord) -> TrackOut:
    track = parse_track(record.content)
    summary = TrackSummary.model_validate(record)
    return TrackOut(
        **summary.model_dump(),
        airframes=courses.airframes_for(track),
        course=track_table(track),
    )
