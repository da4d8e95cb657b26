"""Every route, asked by everybody, in both modes of the accounts.

The routes are the router's own. tests/access/table.py has an entry for each, which says whose it is
and how it is asked; a route without an entry fails here by name, and so does an entry without a
route. The statuses follow from whose it is (`expected`). What is refused is refused in the words of
what does not exist.

The product runs as it does behind `python main.py`, but executes nothing: what is queued waits. The
things that are asked about are rows and files (tests/access/world.py).
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from jose import jwt
from passlib.context import CryptContext
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import Message

import auth
import main
from auth import TOKEN_LIFETIME_S, create_token
from models import Role, SignIn, User, new_uuid, utc_now
from racer.cameras.service import CameraService
from racer.control import simulation
from racer.control.service import ControlService
from racer.evaluations.service import evaluation_kind
from racer.flights.service import FlightService
from racer.jobs.service import JobService
from racer.policies.service import PolicyService
from racer.races.desk import RaceDesk
from racer.races.service import race_kind, reference_kind
from racer.settings import Settings
from racer.training.service import TrainingService
from racer.web.app import spine
from tests.access.table import ROUTES, Entry, Kind, expected
from tests.access.world import PASSWORD, Maker
from tests.support import claim_slot

_STREAMS = frozenset({("GET", "/gazebo-stream/{drone_id}"), ("GET", "/drones/{drone}/stream")})
_NOTHING = "00000000-0000-4000-8000-000000000000"
_UNKNOWN = {"username": "nobody-of-that-name", "model_id": "2000000000", "drone": "99"}
KEY = "k" * 48


def every_route(app: FastAPI) -> Iterator[tuple[str, str]]:
    for context in iter_route_contexts(app.routes):
        if context.path is not None and not isinstance(context.original_route, Mount):
            for method in context.methods or {"WEBSOCKET"}:
                yield method, context.path


def test_every_route_has_an_entry_and_every_entry_a_route() -> None:
    app = main.create_app(Settings(_env_file=None, database_url=""))
    routes = set(every_route(app))
    assert routes - set(ROUTES) == set(), "say in tests/access/table.py whose these are"
    assert set(ROUTES) - routes == set(), "these are gone"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """As the product's, but nobody executes trainings and jobs."""

    async def find_policy(name: str) -> str:
        return name

    settings: Settings = app.state.settings
    async with (
        spine(app),
        ControlService(settings, find_policy=find_policy) as app.state.control,
        FlightService(settings) as app.state.flights,
        PolicyService(settings, app.state.database) as app.state.policies,
        RaceDesk(settings, app.state.database) as app.state.races,
    ):
        factory = app.state.database.session_factory
        kinds = [evaluation_kind(settings), race_kind(settings), reference_kind()]
        app.state.training = TrainingService(settings, factory)
        app.state.jobs = JobService(settings, factory, kinds)
        async with CameraService(app.state.control, app.state.training) as app.state.cameras:
            yield


@dataclass
class Service:
    """The running product, and who may ask it."""

    app: FastAPI
    client: TestClient
    maker: Maker
    mode: str
    owner: User  # of the things that are refused
    ids: dict[str, str]
    another: User
    admin: User
    reborn: dict[str, str]  # header of a deleted account whose id another one has now

    def token(self, user: User, key: str = KEY, *, now: float | None = None) -> str:
        """A good one, unless `key` or `now` say otherwise."""
        return create_token(user, key, now=now, session_id=self._session_of(user))

    def revoked(self, user: User) -> str:
        """The token of a session that was ended."""
        session_id = self._session_of(user)
        with self.app.state.database.session() as session:
            session.delete(session.get_one(SignIn, session_id))
        return create_token(user, KEY, session_id=session_id)

    def _session_of(self, user: User) -> str:
        lasting = {"expires_at": utc_now().replace(year=utc_now().year + 1)}
        secrets = {"handle_sha256": new_uuid(), "secret_sha256": new_uuid()}
        with self.app.state.database.session() as session:
            row = SignIn(user_id=user.id, **lasting, **secrets)
            session.add(row)
            session.flush()
            return str(row.id)

    def world(self, *, protected: bool = True) -> tuple[User, dict[str, str]]:
        """A new account and one of everything under it."""
        with self.app.state.database.session() as session:
            user = self.maker.user(session, protected=protected)
            return user, self.maker.world(session, user)

    def bad_headers(self) -> dict[str, dict[str, str]]:
        """Of who pretends to be the owner."""
        owner = self.owner
        other_id = User(id=owner.id + 10**6, username=owner.username)
        claims = jwt.get_unverified_claims(self.token(owner))
        tokens = {
            "expired": self.token(owner, now=time.time() - TOKEN_LIFETIME_S - 1),
            "forged with another key": self.token(owner, "x" * 48),
            "forged without a key": _unsigned(claims),
            "forged as text": "metrics",
            "of an account of that name": _signed(claims | {"uid": other_id.id}),
            "revoked": self.revoked(owner),
        }
        return {who: _bearer(token) for who, token in tokens.items()} | {"reborn": self.reborn}

    def ask(
        self, route: tuple[str, str], entry: Entry, ids: Mapping[str, str], headers: dict[str, str]
    ) -> tuple[int, str]:
        """(status, the problem's sentence)."""
        method, template = route
        named = {parameter: ids[name] for parameter, name in entry.ids.items()}
        named = ids | named | {"password": PASSWORD, "new_name": f"new-{new_uuid()}"}
        url = template.format_map(named)
        if entry.query:
            url += "?" + entry.query.format_map(named)
        if route in _STREAMS:
            return self._status_of_stream(method, url, headers), ""
        sent: dict[str, Any] = {}
        if isinstance(entry.body, str):
            kinds = {"/token": "application/x-www-form-urlencoded"}
            kind = kinds.get(template, "application/toml")
            if template.endswith("/policies"):
                kind = "application/zip"
            content = entry.body.format_map(named) if template == "/token" else entry.body
            sent = {"content": content, "headers": headers | {"Content-Type": kind}}
        else:
            sent = {"headers": headers} | ({} if entry.body is None else {"json": entry.body})
            if isinstance(entry.body, dict):
                sent["json"] = {
                    key: value.format_map(named) if isinstance(value, str) else value
                    for key, value in entry.body.items()
                }
        answer = self.client.request(method, url, **sent)
        told = answer.json() if "problem+json" in answer.headers.get("content-type", "") else {}
        return answer.status_code, str(told.get("detail", ""))

    def _status_of_stream(self, method: str, url: str, headers: dict[str, str]) -> int:
        """Of an answer without end: its viewer leaves when it begins."""
        path, _, query = url.partition("?")
        names = {"host": "localhost"} | headers
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(k.lower().encode(), v.encode()) for k, v in names.items()],
        }

        async def status() -> int:
            begun = asyncio.Event()
            statuses: list[int] = []
            asked = iter([{"type": "http.request", "body": b"", "more_body": False}])

            async def receive() -> Message:
                if (message := next(asked, None)) is not None:
                    return message
                await begun.wait()
                return {"type": "http.disconnect"}

            async def send(message: Message) -> None:
                if message["type"] == "http.response.start":
                    statuses.append(message["status"])
                    begun.set()

            await self.app(scope, receive, send)
            return statuses[0]

        assert self.client.portal is not None
        return self.client.portal.call(status)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _signed(claims: dict[str, Any]) -> str:
    return str(jwt.encode(claims, KEY, algorithm="HS256"))


def _unsigned(claims: dict[str, Any]) -> str:
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    coded = (base64.urlsafe_b64encode(json.dumps(part).encode()) for part in parts)
    return ".".join(part.decode().rstrip("=") for part in coded) + "."


@pytest.fixture(scope="module", params=["open", "required"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The product in each mode."""
    folder = tmp_path_factory.mktemp(request.param)
    with claim_slot(folder) as slot, pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulation, "CONNECT_S", 0.0)  # of a vehicle that does not come
        patch.setattr(auth, "_passwords", CryptContext(schemes=["bcrypt"], bcrypt__rounds=4))
        settings = Settings(
            _env_file=None,
            data_dir=folder,
            database_url="",
            stack="external",
            vehicle_instance=int(slot["VEHICLE_INSTANCE"]),
            ros_domain_id=int(slot["ROS_DOMAIN_ID"]),
            auth_mode=request.param,
            secret_key=KEY,
        )
        app = main.create_app(settings)
        app.router.lifespan_context = lifespan
        patterns = tmp_path_factory.mktemp("patterns")
        maker = Maker(folder, patterns, drone=settings.vehicle_instance + 1)
        with TestClient(app, base_url="http://localhost") as client:
            yield _peopled(app, client, maker, request.param)


def _peopled(app: FastAPI, client: TestClient, maker: Maker, mode: str) -> Service:
    with app.state.database.session() as session:
        another, owner, gone = (maker.user(session) for _ in range(3))
        ids = maker.world(session, owner)
        admin = maker.user(session)
        admin.role = Role.ADMIN
    service = Service(app, client, maker, mode, owner, ids, another, admin, {})
    service.reborn = _bearer(service.token(gone))
    with app.state.database.session() as session:
        session.delete(session.get_one(User, gone.id))
        session.flush()
        session.add(User(id=gone.id, username="reborn", password_hash=owner.password_hash))
    return service


Asking = Callable[[str], tuple[int, str]]
HTTP = [(route, entry) for route, entry in ROUTES.items() if entry.kind is not Kind.SOCKET]


@pytest.mark.parametrize(("route", "entry"), HTTP, ids=[" ".join(route) for route, _ in HTTP])
def test_who_is_answered_what(service: Service, route: tuple[str, str], entry: Entry) -> None:
    another = _bearer(service.token(service.another))
    refused: dict[str, dict[str, str]] = {"anonymous": {}, "another": another}
    signer = {"signer": service.owner.username}
    found, wanted = {}, {}
    for who, headers in (refused | service.bad_headers()).items():
        wanted[who] = expected(entry, who, mode=service.mode, good_token=who in refused)
        found[who], _ = service.ask(route, entry, service.ids | signer, headers)
    owner, ids = service.world()  # another one for each who may change it
    found["owner"], _ = service.ask(
        route, entry, ids | {"signer": owner.username}, _bearer(service.token(owner))
    )
    wanted["owner"] = expected(entry, "owner", mode=service.mode, good_token=True)
    _, ids = service.world()
    headers = _bearer(service.token(service.admin))
    found["admin"], _ = service.ask(route, entry, ids | signer, headers)
    wanted["admin"] = expected(entry, "admin", mode=service.mode, good_token=True)
    assert found == wanted


OWNED = [(route, entry) for route, entry in HTTP if entry.kind is Kind.OWNED]


@pytest.mark.parametrize(("route", "entry"), OWNED, ids=[" ".join(route) for route, _ in OWNED])
def test_what_is_of_an_open_account_is_everybodys_or_nobodys(
    service: Service, route: tuple[str, str], entry: Entry
) -> None:
    another = _bearer(service.token(service.another))
    is_open = service.mode == "open"
    for headers, refusal in ((another, 404), ({}, 401)):
        _, ids = service.world(protected=False)
        status, _ = service.ask(route, entry, ids, headers)
        assert status == (entry.ok if is_open else refusal)


@pytest.mark.parametrize(("route", "entry"), OWNED, ids=[" ".join(route) for route, _ in OWNED])
def test_anothers_is_as_if_it_did_not_exist(
    service: Service, route: tuple[str, str], entry: Entry
) -> None:
    asked = route[1] + entry.query + (json.dumps(entry.body) if entry.body else "")
    names = [name for name in service.ids if f"{{{name}}}" in asked]
    unknown = {name: _UNKNOWN.get(name, _NOTHING) for name in entry.unknown or names}
    blank = Entry(entry.kind, entry.ok, {}, entry.query, entry.body)
    theirs = service.ids | {name: service.ids[used] for name, used in entry.ids.items()}
    another = _bearer(service.token(service.another))

    def told(ids: dict[str, str], headers: dict[str, str]) -> tuple[int, str]:
        status, detail = service.ask(route, blank, ids, headers)
        for name in unknown:
            detail = detail.replace(ids[name], name)
        return status, detail

    assert told(theirs, another) == told(theirs | unknown, another)
    assert told(theirs | unknown, another)[0] == 404
    # Nobody is asked to sign in before anything is looked up where everybody must.
    nobody = told(theirs | unknown, {})
    assert nobody[0] == (404 if service.mode == "open" else 401)
    if service.mode == "required":
        assert nobody == told(theirs, {})


LISTS = {"/runs": "run_id", "/policies": "policy_id", "/evaluations": "evaluation_id"}


@pytest.mark.parametrize("path", LISTS)
def test_lists_show_what_one_may_use(service: Service, path: str) -> None:
    owner, ids = service.world()
    _, open_ids = service.world(protected=False)
    name, kind = LISTS[path], path.removeprefix("/")

    def shown(headers: dict[str, str], **query: str) -> set[str]:
        answer = service.client.get(path, params={"limit": "100"} | query, headers=headers)
        return {row["id"] for row in answer.json().get(kind, [])}

    of_owner = {"username": owner.username}
    own, another = _bearer(service.token(owner)), _bearer(service.token(service.another))
    assert ids[name] in shown(own)
    assert ids[name] in shown(own, **of_owner)
    for headers in (another, {}):
        assert ids[name] not in shown(headers)
        assert shown(headers, **of_owner) == set()
        assert (open_ids[name] in shown(headers)) == (service.mode == "open")
    assert (open_ids[name] in shown(own)) == (service.mode == "open")
