"""What races leave: results, replays, leaderboards. All of it is public."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from auth import AnyVisitor
from database import SessionDep
from models import Race, RaceStatus
from racer.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from racer.jobs.service import why_no_files
from racer.races import queries, views
from racer.races.boards import MOST_ROWS, leaderboard
from racer.races.routes import NOT_FOUND, Jobs
from racer.races.schemas import Leaderboard, Results
from racer.races.tables import results_csv
from racer.racing.config import MAX_WIND_M_S, Format
from racer.racing.drawing import draw
from racer.racing.replay import REPLAY_FILE, Replay, decode, to_json
from racer.sim.track import MAX_LAPS
from racer.tracks.service import visible
from racer.web.openapi import answer, body, errors

router = APIRouter(tags=["races"])
_CONFLICT = errors(s409="The race has not finished.")
_BINARY = "application/octet-stream"
_CSV_EXAMPLE = "rank,username,flown,policy,version\r\n1,ada,policy,First laps,1\r\n"
_REPLAY_EXAMPLE = {
    "format": "toledo-racer-replay",
    "rate_hz": 50,
    "airframe": "x500",
    "drones": [{"name": "ada", "time_s": [0.0], "position_m": [[0.0, 0.0, 0.2]]}],
}
_SVG_EXAMPLE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 30">…</svg>'
_SHA256 = re.compile(r"[0-9a-f]{64}")
OneHeat = Annotated[
    int | None, Query(ge=0, le=1000, description="Only the heat of this number, from 0.")
]
_NO_REPLAY = "The race's replay is not on this server: its files are gone."
_MOST_SAMPLES = 200_000  # of an answer in JSON: some 20 MB


@router.get(
    "/races/{race_id}/results", summary="Results of a race", responses=NOT_FOUND | _CONFLICT
)
def read_results(race_id: str, session: SessionDep) -> Results:
    """Everybody's place, times and splits, and the heats."""
    race = _finished(session, race_id)
    return Results(
        race=views.summary(race),
        ranking=[views.result_row(entry) for entry in views.ranked(race)],
        heats=race.heats or [],
    )


@router.get(
    "/races/{race_id}/results.csv",
    summary="Results of a race as a table",
    response_class=Response,
    responses=NOT_FOUND | _CONFLICT | body("text/csv", _CSV_EXAMPLE),
)
def read_results_as_csv(race_id: str, session: SessionDep) -> Response:
    """A line an entry, a column a gate; an empty field where there is no number."""
    race = _finished(session, race_id)
    name = f"attachment; filename={race.id}.csv"
    text = results_csv(race, views.ranked(race))
    return Response(text, media_type="text/csv", headers={"Content-Disposition": name})


@router.get(
    "/races/{race_id}/replay",
    summary="Everybody's flight in one file",
    response_class=FileResponse,
    responses=NOT_FOUND | _CONFLICT | body(_BINARY, "\u0089TRG\r\n\u001a\n", binary=True),
)
def read_replay(race_id: str, session: SessionDep, jobs: Jobs) -> FileResponse:
    """docs/replays.md describes the format."""
    race = _finished(session, race_id, heats=False)
    path = _replay_file(race, jobs)
    session.commit()  # the file is sent after it
    return FileResponse(path, filename=f"{race.id}.replay", media_type=_BINARY)


@router.get(
    "/races/{race_id}/replay.json",
    summary="Everybody's flight as JSON",
    responses=NOT_FOUND | _CONFLICT | answer(_REPLAY_EXAMPLE),
)
def read_replay_as_json(
    race_id: str,
    session: SessionDep,
    jobs: Jobs,
    heat: OneHeat = None,
) -> dict[str, Any]:
    """The file's header, and of each drone lists of `time_s`, `position_m` (ENU) and
    `quaternion_wxyz`."""
    replay = _replay(race_id, session, jobs, heat)
    if sum(ghost.samples for ghost in replay.header.drones) > _MOST_SAMPLES:
        raise InvalidInputError(
            "The flights are too long for JSON: take the file at /replay, or one heat of several."
        )
    return to_json(replay)


@router.get(
    "/races/{race_id}/replay.svg",
    summary="Everybody's line from above",
    response_class=Response,
    responses=NOT_FOUND | _CONFLICT | body("image/svg+xml", _SVG_EXAMPLE),
)
def draw_replay(race_id: str, session: SessionDep, jobs: Jobs, heat: OneHeat = None) -> Response:
    """A picture to scale; a cross where somebody crashed."""
    return Response(
        draw(_replay(race_id, session, jobs, heat)).encode(),
        media_type="image/svg+xml",
        headers={
            "Content-Security-Policy": "default-src 'none'; sandbox",
            "X-Content-Type-Options": "nosniff",
        },
    )


@router.get(
    "/leaderboards/{track}",
    summary="The best results on a track",
    responses=NOT_FOUND | errors(s401="The token is wrong."),
)
def read_leaderboard(
    track: str,
    *,
    session: SessionDep,
    visitor: AnyVisitor,
    airframe: Annotated[str, Query(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "x500",
    format: Format = "time_trial",
    laps: Annotated[
        int | None, Query(ge=1, le=MAX_LAPS, description="Left out: as the track says.")
    ] = None,
    wind_speed_m_s: Annotated[
        float, Query(ge=0.0, le=MAX_WIND_M_S, description="Only of races in exactly this wind.")
    ] = 0.0,
    limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 50,
) -> Leaderboard:
    """Of a track's id, or of the SHA-256 of its text: also of one that is gone or has changed.

    One row a competitor (an account with a network), with its best time; how far from the least
    that physics allows it is; and its Elo among those who raced there.
    """
    if _SHA256.fullmatch(track):
        name, sha256, own_laps = queries.track_of(session, track)
    else:
        record = visible(session, track, visitor)
        name, sha256, own_laps = record.full_name, record.sha256, record.laps
    return leaderboard(
        session,
        track=name,
        track_sha256=sha256,
        airframe=airframe,
        form=format,
        laps=laps or own_laps,
        wind_speed_m_s=wind_speed_m_s,
        limit=limit,
    )


def _finished(session: SessionDep, race_id: str, *, heats: bool = True) -> Race:
    """The race; ConflictError unless it has finished."""
    race = queries.get(session, race_id, heats=heats)
    if race.status is not RaceStatus.FINISHED:
        raise ConflictError(f"The race is {views.status_of(race)}: there are no results.")
    return race


def _replay(race_id: str, session: SessionDep, jobs: Jobs, heat: int | None) -> Replay:
    """The flights of a finished race, or of one of its heats."""
    path = _replay_file(_finished(session, race_id, heats=False), jobs)
    session.commit()  # the file is read after it
    try:
        replay = decode(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFoundError(_NO_REPLAY) from error
    except InvalidInputError as error:  # it was whole when the race ended
        raise UnavailableError(
            "The race's replay is damaged on the server's disk: put it back from a backup."
        ) from error
    return replay if heat is None else replay.of_heat(heat)


def _replay_file(race: Race, jobs: Jobs) -> Path:
    path = jobs.folder_of(race.job_id) / REPLAY_FILE if race.job_id else Path()
    if not path.is_file():
        raise NotFoundError(_no_replay(race))
    return path


def _no_replay(race: Race) -> str:
    why = why_no_files(race.job) if race.job else None
    return f"There is no replay of the race any more. {why}" if why else _NO_REPLAY
