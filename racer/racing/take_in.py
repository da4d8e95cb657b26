"""A recorded flight on its way into a race: `python -m racer.racing.take_in < CONFIG`.

Reads the recording, checks that the account flew it by hand, with the race's airframe and in its
wind, that it is a flight of the race's course, and writes what the race will judge. CONFIG is the
JSON of `Wanted`; the answer is one JSON object: `{"attempts": 3}`, or `{"error": "a sentence",
"kind": …}`, the kind being the name of a class in racer.errors. It is a process of its own because
it takes seconds.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

from racer.errors import ConflictError, RacerError, UnavailableError
from racer.flight.plan import start_of
from racer.flight.recordings import Recording, limit_memory, read_recording
from racer.flight.stretches import Stretch
from racer.process import configure_logging, die_with_parent
from racer.racing.by_hand import (
    AT_REST_M_S,
    FLIGHT_FILE,
    START_WITHIN_M,
    attempts,
    save,
    trajectory_of,
)
from racer.sim.airframe import load_airframe
from racer.sim.track import parse_track

_SAME_WIND_M_S = 0.05


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Which flight into which race."""

    recordings: str  # folder
    flight: str  # id of the recording
    user_id: int
    username: str
    since_s: float  # Unix time of the account's making: what its predecessor flew is not its own
    track: str  # TOML text
    laps: int
    airframe: str
    wind_speed_m_s: float
    output: str  # folder that gets FLIGHT_FILE


def take_in(wanted: Wanted) -> int:
    """Write the flight's file; how many attempts it holds.

    Raises NotFoundError, ConflictError or InvalidInputError when it cannot race, with advice.
    """
    recording = read_recording(Path(wanted.recordings), wanted.flight)
    own = [stretch for stretch in recording.stretches if _is_theirs(stretch, wanted)]
    if not own:
        raise ConflictError(
            f"{wanted.username} flew nothing of that recording by hand. Name your account when you "
            "fly: /ws/control?username=…"
        )
    _check_vehicle(recording, wanted)
    timely = [trajectory_of(stretch) for stretch in own if stretch.in_real_time]
    if not timely:
        raise ConflictError(
            "The vehicle's clock did not run with real time in that flight (SPEED_FACTOR), which "
            "makes it another race."
        )
    track = dataclasses.replace(parse_track(wanted.track), laps=wanted.laps)
    airframe = load_airframe(wanted.airframe)
    found = attempts(timely, track, airframe)
    if not found:
        east, north, up = start_of(track, radius_m=airframe.body.collision_radius_m)
        raise ConflictError(
            f"That flight never leaves the course's start from rest: hover within "
            f"{START_WITHIN_M:g} m of {east:g} m east, {north:g} m north, {up:g} m up, slower than "
            f"{AT_REST_M_S:g} m/s, and fly from there."
        )
    save(Path(wanted.output) / FLIGHT_FILE, timely)
    return len(found)


def _is_theirs(stretch: Stretch, wanted: Wanted) -> bool:
    account = stretch.account
    same = (account.id, account.username) == (wanted.user_id, wanted.username)
    return same and stretch.samples[0].wall_s >= wanted.since_s


def _check_vehicle(recording: Recording, wanted: Wanted) -> None:
    if recording.airframe is None or recording.wind_speed_m_s is None:
        raise ConflictError(
            "That recording does not say which airframe flew in which wind: it is older than that "
            "note. Fly again."
        )
    if recording.airframe != wanted.airframe:
        raise ConflictError(
            f"'{recording.airframe}' was flown and the race is for '{wanted.airframe}'."
        )
    if abs(recording.wind_speed_m_s - wanted.wind_speed_m_s) > _SAME_WIND_M_S:
        raise ConflictError(
            f"It was flown in a wind of {recording.wind_speed_m_s:g} m/s and the race has "
            f"{wanted.wind_speed_m_s:g} m/s. VEHICLE_WIND_EAST and _NORTH are the vehicle's."
        )


def main() -> int:
    """Answer the one question on standard input."""
    die_with_parent()
    os.nice(5)
    limit_memory()
    configure_logging(os.environ.get("LOG_LEVEL", "INFO"), program="take_in")
    print(json.dumps(_answer(Wanted(**json.load(sys.stdin)))), flush=True)
    return 0


def _answer(wanted: Wanted) -> dict[str, Any]:
    try:
        return {"attempts": take_in(wanted)}
    except RacerError as error:
        return {"error": error.message, "kind": type(error).__name__}
    except OSError as error:
        why = f"The server cannot keep the entry: {error.strerror}."
        told = f"{why} Make room in its temporary folder (TMPDIR)."
        return {"error": told, "kind": UnavailableError.__name__}


if __name__ == "__main__":
    sys.exit(main())
