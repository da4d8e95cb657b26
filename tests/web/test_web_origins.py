"""Foreign pages get nothing: not by their Origin, not by a name that resolves to this machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import APIRouter
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from racer.settings import Settings
from racer.web.app import assemble, spine
from racer.web.origins import host_allowed, own_names
from tests.web.test_web_server import MAIN, serving

LAN = "http://192.168.1.20:3000"
EVIL = "http://evil.example"
ENGINE = "/_nicegui_ws/socket.io/?EIO=4&transport="
SOCKETS = ["/ws/control", "/ws/telemetry", "/ws/train", ENGINE + "websocket"]
START = "/users/ada/drone-models/1/start-simulation"


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("localhost", True),
        ("LocalHost:5000", True),
        ("localhost.:5000", True),
        ("app.localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("203.0.113.7", True),
        ("[::1]:5000", True),
        ("[2001:db8::7]", True),
        ("bound.lan:5000", True),
        ("Racing.Example", True),
        ("studio.lan:8443", True),
        (socket.gethostname(), True),
        (f"{socket.gethostname().partition('.')[0]}.local:5000", True),
        ("evil.example", False),
        ("localhost.evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("racing.example.evil.example", False),
        ("evil.example:80@localhost", False),
        ("localhost:5000.evil.example", False),
        ("localhost, evil.example", False),
        ("[evil.example]", False),
        ("[::1", False),
        ("::1", False),
        (":5000", False),
        (".", False),
        ("", False),
    ],
)
def test_which_hosts_are_us(host: str, allowed: bool) -> None:
    origins = ["https://racing.example", "http://studio.lan:3000", "http://[", "nonsense"]
    names = own_names(Settings(_env_file=None, host="bound.lan", cors_origins=origins))
    assert host_allowed(host, names=names) is allowed


@contextmanager
def client_of(settings: Settings, done: list[str]) -> Iterator[TestClient]:
    router = APIRouter()

    @router.post("/act")
    def act() -> str:
        done.append("act")
        return "done"

    app = assemble(settings, routers=[router], lifespan=spine)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def done() -> list[str]:
    """What the routes did."""
    return []


@pytest.fixture
def client(tmp_path: Path, done: list[str]) -> Iterator[TestClient]:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url="", cors_origins=[LAN])
    with client_of(settings, done) as client:
        yield client


def test_a_refusal_is_logged_and_told_like_every_error(client: TestClient, done: list[str]) -> None:
    with capture_logs() as lines:
        stranger = client.post("/act", headers={"Host": "evil.example", "Origin": EVIL})
        page = client.post("/act", headers={"Origin": EVIL})
    assert (stranger.status_code, page.status_code) == (400, 403)
    for answer, shown in ((stranger, "'evil.example'"), (page, f"'{EVIL}'")):
        assert answer.json().keys() == {"title", "status", "detail"}
        assert shown in answer.json()["detail"]
        assert "CORS_ORIGINS" in answer.json()["detail"]
        assert answer.headers["X-Request-ID"]
        assert "Access-Control-Allow-Origin" not in answer.headers
    requests = [line["status"] for line in lines if line["event"] == "request"]
    assert requests == [400, 403]
    assert not done


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "INVENTED"])
@pytest.mark.parametrize("origin", [EVIL, "null", "", "http://192.168.1.20:3001"])
def test_no_foreign_page_acts(client: TestClient, method: str, origin: str) -> None:
    assert client.request(method, "/act", headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": LAN},
        {"Origin": "http://localhost:3000"},
        {"Host": "192.168.1.7:5000", "Origin": "http://192.168.1.7:5000"},
        {"Host": "192.168.1.20:5000"},
    ],
)
def test_programs_our_page_and_listed_pages_act(
    client: TestClient, done: list[str], headers: dict[str, str]
) -> None:
    assert client.post("/act", headers=headers).status_code == 200
    assert done == ["act"]


def test_another_page_on_the_same_network_is_foreign(client: TestClient) -> None:
    headers = {"Host": "192.168.1.7:5000", "Origin": "http://192.168.1.8:5000"}
    assert client.post("/act", headers=headers).status_code == 403


def test_a_foreign_page_may_not_hide_behind_a_second_host(client: TestClient) -> None:
    headers = [("Host", "localhost"), ("Host", "evil.example")]
    assert client.post("/act", headers=headers).status_code == 400


def test_a_star_is_everybody(tmp_path: Path, done: list[str]) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url="", cors_origins=["*"])
    with client_of(settings, done) as client:
        headers = {"Host": "racing.example", "Origin": EVIL}
        assert client.post("/act", headers=headers).status_code == 200


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The product, without vehicle, with a page in the LAN allowed."""
    directory = tmp_path_factory.mktemp("origins")
    with serving(MAIN, directory, STACK="external", CORS_ORIGINS=LAN) as (_, url):
        yield url


@contextmanager
def opened(
    url: str, path: str, *, origin: str | None, host: str | None = None
) -> Iterator[ClientConnection]:
    """A socket to the product under a name that leads here, as rebinding makes it."""
    port = int(url.rpartition(":")[2])
    target = f"ws://{host or '127.0.0.1'}:{port}{path}"
    with (
        socket.create_connection(("127.0.0.1", port)) as line,
        connect(target, sock=line, origin=Origin(origin) if origin else None) as opened,
    ):
        yield opened


@pytest.mark.parametrize("path", SOCKETS)
def test_no_foreign_page_opens_a_socket(url: str, path: str) -> None:
    port = url.rpartition(":")[2]
    for host, origin in (
        (None, EVIL),
        (None, "null"),
        ("evil.example", f"{EVIL}:{port}"),
        ("evil.example", None),
    ):
        with pytest.raises(InvalidStatus) as refused, opened(url, path, origin=origin, host=host):
            pass
        assert refused.value.response.status_code == 403
        assert b"CORS_ORIGINS" in refused.value.response.body
        assert refused.value.response.headers["X-Request-ID"]


@pytest.mark.parametrize("path", SOCKETS)
def test_our_page_and_a_listed_one_open_every_socket(url: str, path: str) -> None:
    for origin in (url, LAN, None):
        with opened(url, path, origin=origin):
            pass


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/", "/users/", "/gazebo-stream/1", "/docs"])
def test_a_rebound_name_reads_nothing(url: str, path: str) -> None:
    answer = httpx.get(url + path, headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert answer.json().keys() == {"title", "status", "detail"}


def test_a_foreign_page_neither_lends_the_vehicle_nor_polls_the_console(url: str) -> None:
    assert httpx.post(url + START, headers={"Origin": EVIL}).status_code == 403
    assert httpx.post(url + START).status_code == 404  # a program gets to the route
    polling = url + ENGINE + "polling"
    assert httpx.get(polling, headers={"Origin": EVIL}).status_code == 403
    assert httpx.get(polling, headers={"Origin": url}).status_code != 403


def test_a_listed_page_in_the_lan_passes_preflight_and_posts(url: str) -> None:
    host = {"Host": "192.168.1.7:5000"}
    preflight = httpx.options(
        url + "/users/",
        headers=host | {"Origin": LAN, "Access-Control-Request-Method": "POST"},
    )
    assert preflight.status_code == 200
    posted = httpx.post(url + "/users/", headers=host | {"Origin": LAN}, json={"username": "ada"})
    assert posted.is_success
    for answer in (preflight, posted):
        assert answer.headers["Access-Control-Allow-Origin"] == LAN


def test_the_console_loads_by_localhost_and_by_any_address(url: str) -> None:
    for host in ("localhost:5000", "192.168.1.7:5000", "[2001:db8::7]:5000"):
        page = httpx.get(url, headers={"Host": host})
        assert page.status_code == 200
        assert "Toledo Racer" in page.text


def test_a_program_of_http_1_0_needs_no_host(url: str) -> None:
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as line:
        line.sendall(b"GET /livez HTTP/1.0\r\n\r\n")
        line.settimeout(5)
        assert line.recv(1000).split(b" ")[1] == b"200"
