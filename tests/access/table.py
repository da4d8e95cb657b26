"""Who may ask what: an entry a route, and what each visitor is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from tests.tracks.texts import loop


class Kind(Enum):
    """Whose a route is."""

    PUBLIC = auto()  # everybody's; a token is not looked at
    SEEN = auto()  # everybody's; a token that is not good is refused
    SIGNED_IN = auto()  # everybody's who signed in, and in open mode everybody's
    LIST = auto()  # likewise, of which each sees what is his
    ME = auto()  # of who signed in, in both modes
    OWNED = auto()  # of whose thing it is about
    METRICS = auto()  # the installation's
    ADMIN = auto()  # for admins
    SOCKET = auto()  # tests/control and tests/training


@dataclass(frozen=True)
class Entry:
    """How a route is asked so that it answers its owner with `ok`."""

    kind: Kind
    ok: int = 200
    ids: Mapping[str, str] = field(default_factory=dict)  # of the world's things, by parameter
    query: str = ""
    body: Any = None  # JSON, or a text as it is; {names} of the world's things are filled in
    unknown: tuple[str, ...] = ()  # parameters that may name nothing; none: all of them


def _run(ok: int = 200, run: str = "run_id", **more: Any) -> Entry:
    return Entry(Kind.OWNED, ok, ids={"run_id": run}, **more)


_MODEL = "/users/{username}/drone-models/{drone_id}"
_SHARED = {"track_id": "shared_id"}
_RACED = {"race_id": "raced_id"}
_DETAILS = {"raceType": "time-trial", "algorithm": "ppo", "velocityLimit": "15", "windSpeed": ""}
_NEW_MODEL = {"title": "New", "description": "", "training_epochs": 4, "drone_details": _DETAILS}
_NEW_RACE = {"name": "Cup", "username": "{username}", "format": "time_trial", "track": "toledo"}
_OWNED, _PUBLIC = Entry(Kind.OWNED), Entry(Kind.PUBLIC)

ROUTES: dict[tuple[str, str], Entry] = {
    ("GET", "/openapi.json"): _PUBLIC,
    ("HEAD", "/openapi.json"): _PUBLIC,
    ("GET", "/docs"): _PUBLIC,
    ("GET", "/docs/oauth2-redirect"): _PUBLIC,
    ("GET", "/redoc"): _PUBLIC,
    ("GET", "/livez"): _PUBLIC,
    ("GET", "/readyz"): _PUBLIC,
    ("GET", "/metrics"): Entry(Kind.METRICS),
    # Accounts and their drone models.
    ("POST", "/users/"): Entry(
        Kind.PUBLIC, body={"username": "{new_name}", "password": "{password}"}
    ),
    ("POST", "/token"): Entry(Kind.PUBLIC, body="username={signer}&password={password}"),
    ("POST", "/token/refresh"): Entry(Kind.PUBLIC, 401, body={"refresh_token": "no.such"}),
    ("POST", "/logout"): Entry(Kind.ME, 204),
    ("GET", "/users/me"): Entry(Kind.ME),
    ("PUT", "/users/{username}/password"): Entry(
        Kind.OWNED, 204, body={"password": "another red kite", "current": "{password}"}
    ),
    ("PUT", "/users/{username}/role"): Entry(Kind.ADMIN, body={"role": "race_director"}),
    ("DELETE", "/users/{username}"): Entry(Kind.OWNED, 204),
    ("GET", "/audit"): Entry(Kind.ADMIN),
    ("GET", "/users/{username}"): _OWNED,
    ("GET", "/users/{username}/drone-models/"): _OWNED,
    ("POST", "/users/{username}/drone-models/"): Entry(Kind.OWNED, body=_NEW_MODEL),
    ("GET", _MODEL): _OWNED,
    ("POST", _MODEL + "/clone"): Entry(Kind.OWNED, 201),
    ("DELETE", _MODEL): Entry(Kind.OWNED, 204, ids={"drone_id": "untrained_id"}),
    ("PUT", "/drone-models/{model_id}/"): Entry(Kind.OWNED, body={"train_loss": 0.5}),
    ("GET", "/users/{username}/flights"): _OWNED,
    # The vehicle.
    ("GET", "/drones"): Entry(Kind.SIGNED_IN),
    ("GET", "/drones/{drone}/state"): Entry(Kind.SIGNED_IN, 503),  # there is no vehicle
    ("GET", "/drones/{drone}/stream"): Entry(Kind.SIGNED_IN),
    ("GET", "/gazebo-stream/{drone_id}"): Entry(Kind.OWNED, query="username={username}"),
    ("POST", "/stream-session"): Entry(Kind.ME, 204),
    ("DELETE", "/stream-session"): Entry(Kind.PUBLIC, 204),
    ("POST", _MODEL + "/start-simulation"): _OWNED,
    ("POST", _MODEL + "/stop-simulation"): _OWNED,
    # Trainings.
    ("GET", _MODEL + "/training"): _OWNED,
    ("POST", _MODEL + "/start-training"): _OWNED,
    ("POST", _MODEL + "/cancel-training"): _OWNED,
    ("POST", _MODEL + "/runs"): Entry(Kind.OWNED, 201, body={"seeds": [0]}),
    ("POST", "/reward-functions/validate"): Entry(Kind.SIGNED_IN, body={"source": "reward = 1"}),
    ("GET", "/runs"): Entry(Kind.LIST),
    ("GET", "/runs/{run_id}"): _run(),
    ("GET", "/runs/{run_id}/epochs"): _run(),
    ("GET", "/runs/{run_id}/epochs.csv"): _run(),
    ("GET", "/runs/{run_id}/log"): _run(),
    ("POST", "/runs/{run_id}/pause"): _run(run="waiting_id"),
    ("POST", "/runs/{run_id}/resume"): _run(run="paused_id"),
    ("POST", "/runs/{run_id}/retry"): _run(run="failed_id"),
    ("POST", "/runs/{run_id}/cancel"): _run(run="waiting_id"),
    ("DELETE", "/runs/{run_id}"): _run(204),
    ("POST", "/runs/{run_id}/policy"): _run(409),  # it has left no files
    # Policies and evaluations.
    ("GET", "/policies"): Entry(Kind.LIST),
    ("GET", "/policies/{policy_id}"): _OWNED,
    ("GET", "/policies/{policy_id}/download"): _OWNED,
    ("GET", "/policies/{policy_id}/export"): Entry(Kind.OWNED, query="format=onnx"),
    ("DELETE", "/policies/{policy_id}"): Entry(Kind.OWNED, 204),
    # What is sent is looked at when it is known who may send it; this is no zip.
    ("POST", "/users/{username}/policies"): Entry(Kind.OWNED, 422, body="no zip"),
    ("POST", "/policies/{policy_id}/evaluations"): Entry(Kind.OWNED, 202, body={}),
    ("GET", "/evaluations"): Entry(Kind.LIST),
    ("GET", "/evaluations/compare"): Entry(Kind.OWNED, query="a={evaluation_id}&b={evaluation_id}"),
    ("GET", "/evaluations/{evaluation_id}"): _OWNED,
    ("GET", "/evaluations/{evaluation_id}/trajectories"): _OWNED,
    ("POST", "/evaluations/{evaluation_id}/cancel"): Entry(
        Kind.OWNED, 204, ids={"evaluation_id": "queued_id"}
    ),
    ("DELETE", "/evaluations/{evaluation_id}"): Entry(Kind.OWNED, 204),
    # Tracks.
    ("GET", "/tracks"): Entry(Kind.SEEN),
    ("POST", "/tracks/validate"): Entry(Kind.SIGNED_IN, body=loop("new")),
    ("GET", "/tracks/{track_id}"): _OWNED,
    ("GET", "/tracks/{track_id}.toml"): _OWNED,
    ("GET", "/tracks/{track_id}.svg"): _OWNED,
    ("POST", "/users/{username}/tracks"): Entry(Kind.OWNED, 201, body=loop("new")),
    ("PUT", "/tracks/{track_id}"): Entry(Kind.OWNED, ids=_SHARED, body=loop("new")),
    ("PATCH", "/tracks/{track_id}"): Entry(Kind.OWNED, ids=_SHARED, body={"shared": False}),
    ("DELETE", "/tracks/{track_id}"): Entry(Kind.OWNED, 204, ids=_SHARED),
    # Races: to be seen by everybody, changed by their organisers and entrants.
    ("POST", "/races"): Entry(Kind.OWNED, 201, body=_NEW_RACE),
    ("GET", "/races"): _PUBLIC,
    ("GET", "/races/{race_id}"): _PUBLIC,
    ("GET", "/races/{race_id}/results"): Entry(Kind.PUBLIC, ids=_RACED),
    ("GET", "/races/{race_id}/results.csv"): Entry(Kind.PUBLIC, ids=_RACED),
    ("GET", "/races/{race_id}/replay"): Entry(Kind.PUBLIC, ids=_RACED),
    ("GET", "/races/{race_id}/replay.json"): Entry(Kind.PUBLIC, ids=_RACED),
    ("GET", "/races/{race_id}/replay.svg"): Entry(Kind.PUBLIC, ids=_RACED),
    ("GET", "/leaderboards/{track}"): Entry(Kind.SEEN),
    ("POST", "/races/{race_id}/entries"): Entry(
        Kind.OWNED, 201, body={"policy_id": "{policy_id}"}, unknown=("policy_id",)
    ),
    ("DELETE", "/races/{race_id}/entries/{entry_id}"): Entry(
        Kind.OWNED, 204, unknown=("entry_id",)
    ),
    ("POST", "/races/{race_id}/start"): Entry(Kind.OWNED, 202),
    ("POST", "/races/{race_id}/cancel"): Entry(Kind.OWNED, 204),
    ("DELETE", "/races/{race_id}"): Entry(Kind.OWNED, 204),
    # Sockets.
    ("WEBSOCKET", "/ws/control"): Entry(Kind.SOCKET),
    ("WEBSOCKET", "/ws/telemetry"): Entry(Kind.SOCKET),
    ("WEBSOCKET", "/ws/train"): Entry(Kind.SOCKET),
}


def expected(entry: Entry, who: str, *, mode: str, good_token: bool) -> int:
    """The status that `who` is answered: anonymous, another, owner, admin, or the name of a token
    that is not good."""
    kind, ok, is_open = entry.kind, entry.ok, mode == "open"
    if kind is Kind.PUBLIC or (kind is Kind.METRICS and is_open):
        return ok
    if not good_token and who != "anonymous":
        return 401
    if kind is Kind.SEEN:
        return ok
    if kind in (Kind.SIGNED_IN, Kind.LIST):
        return ok if is_open or who != "anonymous" else 401
    if who == "anonymous":
        return 401
    allowed = {
        Kind.ME: ("another", "owner", "admin"),
        Kind.OWNED: ("owner", "admin"),
        Kind.METRICS: ("admin",),
        Kind.ADMIN: ("admin",),
    }[kind]
    return ok if who in allowed else 404
