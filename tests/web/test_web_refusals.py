"""Sockets that are refused, at the real server: how many there may be, and what its log says."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from tests.support import wait_for
from tests.web.test_web_server import MAIN, serving, stop

ENGINE = "/_nicegui_ws/socket.io/?EIO=4&transport="
POLLING, SOCKET = ENGINE + "polling", ENGINE + "websocket"
TELEMETRY = "/ws/telemetry"
MOST = 3


@contextmanager
def opened(url: str, path: str, *, origin: str | None = None) -> Iterator[ClientConnection]:
    target = url.replace("http", "ws", 1) + path
    with connect(target, origin=Origin(origin) if origin else None) as socket:
        yield socket


def refused(url: str, path: str, *, origin: str | None = None) -> int:
    """The status of a refusal."""
    with pytest.raises(InvalidStatus) as error, opened(url, path, origin=origin):
        pass
    return error.value.response.status_code


def test_the_consoles_sockets_count_and_each_refusal_is_one_line(tmp_path: Path) -> None:
    limit = {"STACK": "external", "MAX_SOCKETS_PER_USER": str(MOST)}
    with serving(MAIN, tmp_path, **limit) as (process, url):
        with ExitStack() as held:
            held.enter_context(opened(url, TELEMETRY))
            held.enter_context(opened(url, SOCKET))
            assert httpx.get(url + POLLING).status_code == 200
            assert refused(url, SOCKET) == 403
            polled = httpx.get(url + POLLING)
            assert polled.status_code == 401
            assert "MAX_SOCKETS_PER_USER" in polled.text
            assert refused(url, TELEMETRY) == 429
        assert refused(url, "/ws/control?username=nobody") == 404
        assert refused(url, TELEMETRY, origin="http://evil.example") == 403

        def both_open() -> bool:
            """The two that were closed have left their places: the server hears it in a moment."""
            try:
                with opened(url, SOCKET), opened(url, SOCKET):
                    return True
            except InvalidStatus:
                return False

        wait_for("the places of those who left", both_open, timeout_s=20)
        _, log = stop(process, signal.SIGTERM)
    lines = log.splitlines()
    told = [line for line in lines if "socket refused" in line]
    for reason in ("nobody", "evil.example"):
        assert len([line for line in told if reason in line]) == 1, reason
    by_status = [line for line in told if "status=429" in line]
    assert len(by_status) == 1
    assert "MAX_SOCKETS_PER_USER" in by_status[0]
    for line in lines:
        assert "without completing handshake" not in line
        assert "error" not in line.partition("]")[0], line  # the level
