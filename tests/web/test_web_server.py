"""Starting and stopping as a person at a terminal sees it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from racer.errors import ConfigurationError
from racer.secret_key import require_safe
from racer.settings import Settings
from racer.web.server import listen, url_of
from tests.support import REPOSITORY, claim_slot, wait_for

TOY = [sys.executable, "-m", "tests.web.toy_service"]
MAIN = [sys.executable, "main.py"]
STOP_LIMIT_S = 10.0  # it ends by itself; benchmarks.service measures how fast


@contextmanager
def started(command: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A program of ours, killed at the end if it still runs."""
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def serving(
    command: list[str], directory: Path, **settings: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The program and its URL, once it says where it is."""
    with claim_slot(directory) as slot, started(command, slot | settings) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f"http://127.0.0.1:{slot['PORT']}" in line
        yield process, f"http://127.0.0.1:{slot['PORT']}"


def stop(process: subprocess.Popen[str], number: signal.Signals) -> tuple[str, str]:
    """Stop it and return what it printed; fails if it takes too long."""
    began = time.monotonic()
    process.send_signal(number)
    printed = process.communicate(timeout=20)
    assert time.monotonic() - began < STOP_LIMIT_S
    return printed


def refused(command: list[str], environment: dict[str, str]) -> str:
    """The one line of a program that cannot start."""
    result = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    return result.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("path", ["/stream", "/silent"])
def test_an_open_stream_ends_properly_when_the_service_stops(
    tmp_path: Path, number: signal.Signals, path: str
) -> None:
    with (
        serving([*TOY, "ok"], tmp_path) as (process, url),
        httpx.stream("GET", url + path) as answer,
    ):
        parts = answer.iter_raw()
        assert next(parts)
        printed, errors = stop(process, number)
        for _ in parts:  # ends, and httpx would raise if the last chunk were missing
            pass
    assert "lifespan left" in printed
    assert process.returncode == 0
    assert "Traceback" not in errors
    assert "error" not in errors.lower()


def test_an_open_socket_is_told_that_the_service_restarts(tmp_path: Path) -> None:
    with serving([*TOY, "ok"], tmp_path) as (process, url):
        with connect(url.replace("http", "ws") + "/socket") as socket_:
            assert socket_.recv() == "hello"
            _, errors = stop(process, signal.SIGINT)
            with pytest.raises(ConnectionClosed) as closed:
                socket_.recv(timeout=5)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert "Traceback" not in errors


def test_a_request_in_flight_is_finished(tmp_path: Path) -> None:
    answers: list[httpx.Response] = []
    with serving([*TOY, "ok"], tmp_path) as (process, url):
        client = threading.Thread(target=lambda: answers.append(httpx.get(url + "/slow")))
        client.start()
        time.sleep(0.2)  # it is in its half second of work now
        stop(process, signal.SIGTERM)
        client.join()
    assert answers[0].json() == "done"


def test_a_start_that_takes_for_ever_can_be_stopped(tmp_path: Path) -> None:
    with claim_slot(tmp_path) as slot, started([*TOY, "endless"], slot) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        _, errors = stop(process, signal.SIGINT)
        assert process.returncode == 0
        assert "Traceback" not in errors


def test_a_part_that_cannot_start_is_one_line(tmp_path: Path) -> None:
    with claim_slot(tmp_path) as slot:
        line = refused([*TOY, "broken"], slot)
    assert line == "Toledo Racer cannot start: The moon is in the way. Move it."


def test_a_port_in_use_is_one_line_and_nothing_starts(tmp_path: Path) -> None:
    with (
        claim_slot(tmp_path / "data") as slot,
        listen("127.0.0.1", int(slot["PORT"])),
    ):
        line = refused(MAIN, slot)
        assert f"127.0.0.1:{slot['PORT']}" in line
        assert "PORT" in line
        assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"PORT": "many"}, "PORT='many'"),
        ({"STACK": "half"}, "STACK='half'"),
        ({"HOST": "no.such.host.invalid"}, "HOST=no.such.host.invalid"),
        ({"DATABASE_URL": "postgresql://u:hush@127.0.0.1:9/x"}, "DATABASE_URL"),
        ({"DATA_DIR": "/proc/nowhere"}, "/proc/nowhere"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    tmp_path: Path, wrong: dict[str, str], says: str
) -> None:
    with claim_slot(tmp_path) as slot:
        line = refused(MAIN, slot | wrong)
    assert line.startswith("Toledo Racer cannot start: ")
    assert says in line
    assert "hush" not in line


def test_the_product_starts_says_where_and_stops(tmp_path: Path) -> None:
    with serving(MAIN, tmp_path, STACK="external") as (process, url):
        assert httpx.get(url + "/livez").json() == {"alive": True}
        ready = wait_for("readiness", lambda: is_ready(url), timeout_s=10)
        assert ready["parts"]["database"] is True
        assert ready["parts"]["ros"] is True
        assert ready["parts"]["controller"] is False
        assert ready["parts"]["vehicle"] is False
        for path in ("/docs", "/redoc", "/openapi.json", "/"):
            assert httpx.get(url + path).status_code == 200
        for page in ("/docs", "/redoc"):
            assets = re.findall(r'(?:src|href)="([^"]+)"', httpx.get(url + page).text)
            assert assets
            for asset in assets:  # from our own host: a laptop may have no internet
                assert httpx.get(url + asset).status_code == 200
        _, errors = stop(process, signal.SIGINT)
    assert process.returncode == 0
    assert "Traceback" not in errors


def is_ready(url: str) -> dict[str, dict[str, object]] | None:
    answer = httpx.get(url + "/readyz")
    body: dict[str, dict[str, object]] = answer.json()
    assert answer.status_code == (200 if body["ready"] else 503)
    return body if body["ready"] else None


EVERYWHERE = {"HOST": "0.0.0.0"}  # noqa: S104
KEY = "k" * 32


@pytest.mark.parametrize("command", [[*TOY, "ok"], MAIN])
def test_open_accounts_are_served_to_this_machine_only(tmp_path: Path, command: list[str]) -> None:
    with claim_slot(tmp_path / "data") as slot:
        error = refused(command, slot | EVERYWHERE)
    assert "HOST=0.0.0.0" in error
    assert "AUTH_MODE=required" in error
    assert "HOST=127.0.0.1" in error
    assert list(tmp_path.iterdir()) == []  # nothing had begun


@pytest.mark.parametrize("key", ["", "k" * 31])
def test_where_everybody_signs_in_the_key_is_set(tmp_path: Path, key: str) -> None:
    required = {"AUTH_MODE": "required", "SECRET_KEY": key}
    with claim_slot(tmp_path / "data") as slot:
        error = refused([*TOY, "ok"], slot | EVERYWHERE | required)
    assert "SECRET_KEY" in error
    assert "token_urlsafe" in error
    assert not key or key not in error


def test_where_everybody_signs_in_other_machines_come_in(tmp_path: Path) -> None:
    required = {"AUTH_MODE": "required", "SECRET_KEY": KEY}
    with serving([*TOY, "ok"], tmp_path, **EVERYWHERE, **required) as (process, url):
        assert httpx.get(url + "/slow").status_code == 200
        stop(process, signal.SIGINT)


@pytest.mark.parametrize(
    ("host", "safe"),
    [
        ("127.0.0.1", True),
        ("127.8.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104
        ("::", False),
        ("", False),
        ("192.0.2.7", False),
        ("::ffff:0.0.0.0", False),
        ("fe80::1", False),
        ("no such host", False),
    ],
)
def test_which_addresses_are_of_this_machine_alone(host: str, safe: bool) -> None:
    settings = Settings(_env_file=None, host=host, auth_mode="open", secret_key="")
    with nullcontext() if safe else pytest.raises(ConfigurationError, match=r"HOST=127\.0\.0\.1"):
        require_safe(settings)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:"),
        ("localhost", "http://localhost:"),
        ("0.0.0.0", "http://127.0.0.1:"),  # noqa: S104
        ("::1", "http://[::1]:"),
    ],
)
def test_the_printed_address_is_one_that_a_browser_opens(host: str, url: str) -> None:
    with listen("127.0.0.1", 0) as listener:
        assert url_of(listener, host) == f"{url}{listener.getsockname()[1]}"


def test_two_servers_never_share_a_port() -> None:
    with listen("127.0.0.1", 0) as first, pytest.raises(ConfigurationError, match="in use"):
        listen("127.0.0.1", first.getsockname()[1])
