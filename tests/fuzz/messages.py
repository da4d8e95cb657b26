"""The parsers of what comes over sockets, ROS 2 topics, headers and addresses."""

from __future__ import annotations

import asyncio
import base64
import functools
import hashlib
import hmac
import json
import tempfile
from typing import Any

from starlette.datastructures import State

import crud
from auth import claims_of, visitor_of
from database import Database
from models import Base, Policy, Race
from racer.accounts import tokens
from racer.control.accounts import SignIn, account_named
from racer.control.events import Events
from racer.control.pilots import Pilots
from racer.control.sockets import ControlSession
from racer.control.telemetry import lease_in_state, state_fields
from racer.errors import InvalidInputError, RacerError, UnavailableError
from racer.flight.admission import parse_presence
from racer.flight.commands import (
    CommandResult,
    StickRequest,
    is_finite,
    parse_request,
    sticks_of,
)
from racer.settings import Settings
from racer.tracks import queries as tracks
from racer.web import ids, paging
from racer.web.origins import host_allowed, origin_allowed
from racer.web.tokens import Admission
from schemas import clean_username
from tests.fuzz.mutate import decoded, encoded

KEY = "k" * 48


def controller_message(data: bytes) -> None:
    """What anybody may publish to `/control_commands`: it is understood or answered."""
    understood = parse_request(decoded(data))
    if isinstance(understood, CommandResult):
        assert not understood.ok
        assert len(understood.to_json()) < 32_000, "a short text can make a long answer"
        raise InvalidInputError(understood.message)
    if isinstance(understood, StickRequest):
        assert is_finite(understood.velocity)


def presence(data: bytes) -> None:
    """What a bridge says of its pilot."""
    parse_presence(decoded(data))


def controller_state(data: bytes) -> None:
    """What the controller says of itself, as viewers are told."""
    text = decoded(data)
    fields = state_fields(text)
    lease_in_state(text)
    json.dumps(fields, allow_nan=False).encode()


def socket_frame(data: bytes) -> None:
    """A frame of `/ws/control`: everything is answered, and every answer can be sent."""
    _loop().run_until_complete(_take(decoded(data)))


async def _take(text: str) -> None:
    control = _Control(Events())
    admission = await Admission.of(_state(), account_named(""), _good_token())
    session = ControlSession(_Socket(), control, admission)  # type: ignore[arg-type]
    with control.pilots.pilot("ada", admission.granted) as pilot:
        session._pilot = pilot
        session._sign_in = SignIn(admission, control.pilots, pilot, session._answers.put)
        await session._take(text)
        for task in (*session._flights, *filter(None, [session._sign_in._renewing])):
            await task
        answers = [session._answers.get_nowait() for _ in range(session._answers.qsize())]
    for answer in answers:
        assert len(json.dumps(answer, allow_nan=False)) < 4096
    refusals = ("error", None), ("token", False)
    if any((answer["type"], answer.get("ok")) in refusals for answer in answers):
        raise InvalidInputError("refused")


class _Socket:
    """Nobody sends or receives: frames are given to the session one by one."""


class _Control:
    """The control service without a vehicle."""

    def __init__(self, events: Events) -> None:
        self.events = events
        self.pilots = Pilots(events, lambda *_: None)

    async def send_command(self, _order: object, _pilot: object) -> CommandResult:
        raise UnavailableError("There is no vehicle.")

    def send_sticks(self, sticks: dict[str, Any], _pilot: object) -> None:
        assert is_finite(sticks_of(sticks))
        json.dumps(sticks).encode()


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def cursor(data: bytes) -> None:
    """`before` of every list."""
    place, problems = decoded(data), []
    for column in (Policy, Race):
        try:
            str(paging.after(place, column.created_at, column.id).compile())
        except InvalidInputError as error:
            problems.append(error)
    try:
        tracks._place(place)
    except InvalidInputError as error:
        problems.append(error)
    if problems:
        raise problems[0]


def name(data: bytes) -> None:
    """A user's name, and ids and names as they come in paths."""
    text = decoded(data)
    if ids.is_id(text):
        assert "\0" not in text
    if tracks._NAME.fullmatch(text):
        text.encode()
    cleaned = clean_username(text)
    assert clean_username(cleaned) == cleaned
    assert "\0" not in cleaned
    cleaned.encode()


def origin_header(data: bytes) -> None:
    """Origin and Host, from a page that is not ours."""
    text = data.decode("latin-1")  # as servers hand headers on
    host_allowed(text, names=frozenset({"racer.lan"}))
    origin_allowed(text, host=text[7:], settings=_settings())


@functools.cache
def _settings() -> Settings:
    return Settings(_env_file=None, cors_origins=["https://racing.example"])


def token(data: bytes) -> None:
    """A bearer token."""
    state = _state()
    with state.database.session(read_only=True) as session:
        visitor = visitor_of(session, decoded(data), state)
        assert visitor.user is not None
        assert visitor.user.username == "ada"


def claims(data: bytes) -> None:
    """A token whose header and claims are anything, signed with our key."""
    try:
        header, content = json.loads(data)
        parts = [json.dumps(header), json.dumps(content)]
    except (ValueError, TypeError, RecursionError) as error:
        raise RefusedClaimsError from error
    signed = ".".join(map(_encoded, parts))
    signature = hmac.new(KEY.encode(), signed.encode(), hashlib.sha256).digest()
    token(encoded(f"{signed}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"))


class RefusedClaimsError(Exception):
    """No header and no claims."""


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(encoded(text)).decode().rstrip("=")


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="toledo-racer-fuzz-")


@functools.cache
def _state() -> State:
    """Of an app with one account."""
    database = Database(f"sqlite:///{_folder().name}/fuzz.db")
    Base.metadata.create_all(database.engine)
    with database.session() as session:
        crud.create_user(session, "ada", password_hash="$2b$12$" + "x" * 53)
    return State({"secret_key": KEY, "settings": _settings(), "database": database})


@functools.cache
def _good_token() -> str:
    with _state().database.session() as session:
        return tokens.begin(session, crud.get_user(session, "ada"), KEY).access_token


def token_corpus() -> tuple[bytes, ...]:
    """A good one, and what strangers try."""
    good = _good_token()
    header, body, signature = good.split(".")
    unsigned = _encoded('{"alg":"none","typ":"JWT"}')
    deep = _encoded("[" * 20_000)
    texts = (good, f"{unsigned}.{body}.", f"{header}.{body}.{signature[::-1]}", "..", "a.b.c")
    return tuple(
        map(encoded, (*texts, f"{deep}.{body}.{signature}", f"{header}.{deep}.{signature}"))
    )


def claims_corpus() -> tuple[bytes, ...]:
    """Header and claims of a good token."""
    content = claims_of(_good_token(), KEY)
    headers = ({"alg": "HS256", "typ": "JWT"}, {"alg": "HS256", "kid": "a", "crit": ["b64"]})
    return tuple(encoded(json.dumps([header, content])) for header in headers)


def frame_corpus() -> tuple[bytes, ...]:
    """Of `/ws/control`, with a fresh token."""
    return FRAMES + WORDS + _texts(f"token {_good_token()}")


def _texts(*values: str | dict[str, Any]) -> tuple[bytes, ...]:
    return tuple(encoded(v if isinstance(v, str) else json.dumps(v)) for v in values)


_LEASE = {"token": 7, "holder": "4f2e"}
_STICKS = {"type": "velocity", "forward": 1.5, "right": 0, "up": -0.25, "yaw_rate": 20}
COMMANDS = _texts(
    {"id": "a1", "command": "takeoff", "lease": _LEASE, "sent": {"boot": "b", "s": 81.25}},
    {"command": "fly_policy", "policy": "1b4e28ba-2fa1-11d2-883f-0016d3cca427"},
    {**_STICKS, "lease": _LEASE, "sent": {"boot": "b", "s": 81.25}, "id": "p"},
)
WORDS = _texts("takeoff", "land", " STOP ", "fly_policy 1b4e28ba-2fa1-11d2-883f-0016d3cca427")
FRAMES = _texts(
    _STICKS,
    {"type": "heartbeat"},
    {"type": "acquire"},
    {"type": "release"},
    {"type": "hand_over", "to": "4f2e"},
    {"type": "request"},
    {"command": "takeoff"},
    {"command": "fly_policy", "policy": "1b4e28ba-2fa1-11d2-883f-0016d3cca427"},
)
PRESENCES = _texts({"lease": _LEASE, "present": True, "account": {"id": 1, "username": "ada"}})
STATES = _texts(
    {
        **{"connected": True, "armed": False, "in_air": False, "flight_mode": "HOLD"},
        **{"phase": "ready", "message": "Ready.", "lease": _LEASE | {"present": True}},
    }
)
CURSORS = _texts("1763800000000000-1b4e28ba-2fa1-11d2-883f-0016d3cca427", "0-a", f"{'9' * 17}-x")
NAMES = _texts("ada", "Grace Hopper", "o'neil@x+y", "Zoë", "ada/my course", "6f8d2f0e-3c1b-4c55")
ORIGINS = _texts(
    "http://localhost:5000", "https://racing.example", "http://[::1]:80", "127.0.0.1:5"
)
REFUSALS: tuple[type[Exception], ...] = (RacerError,)
