"""Who holds the vehicle's UDP port: asked of real sockets of real processes."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import psutil
import pytest

from racer.errors import ConfigurationError
from racer.flight.ports import earlier_holder, listening_port, port_conflict
from tests.support import REPOSITORY

# Binds as MAVSDK does (address reuse) and waits for its standard input to close.
_HOLDER = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("0.0.0.0", 0))
print(s.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_another_process_is_named_with_its_pid_and_command() -> None:
    command = [sys.executable, "-c", _HOLDER]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as holder:  # type: ignore[call-overload] # pipes
        port = int(holder.stdout.readline())
        conflict = port_conflict(f"udpin://0.0.0.0:{port}")
        holder.communicate()
    assert conflict is not None
    assert "\n" not in conflict.splitlines()[0]
    assert f"UDP port {port} is held by process {holder.pid}" in conflict
    assert sys.executable in conflict
    assert port_conflict(f"udpin://0.0.0.0:{port}") is None


def test_of_two_that_both_hold_the_port_the_younger_one_is_told() -> None:
    """MAVSDK's address reuse lets both in when they look at the same instant."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        url = f"udpin://127.0.0.1:{ours.getsockname()[1]}"
        asked = "from racer.flight.ports import earlier_holder; print(earlier_holder(%r))"
        younger = subprocess.check_output(
            [sys.executable, "-c", asked % url], text=True, cwd=REPOSITORY
        )
        assert f"is held by process {os.getpid()} (" in younger
        assert earlier_holder(url) is None  # we came first


def test_a_holder_that_ends_while_we_look_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's list is older than the look at the process: the pid may be gone by then."""
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.bind(("127.0.0.1", 0))
        port = ours.getsockname()[1]
        mine = [c for c in psutil.net_connections("udp") if c.laddr and c.laddr.port == port]
        listed = [c._replace(pid=ended.pid) for c in mine]
        assert listed
        monkeypatch.setattr(psutil, "net_connections", lambda kind: listed)
        monkeypatch.setattr(psutil, "pid_exists", lambda pid: True)  # it ends right after
        assert earlier_holder(f"udpin://127.0.0.1:{port}") is None
        assert "another user's process" in (port_conflict(f"udpin://127.0.0.1:{port}") or "")
        monkeypatch.setattr(psutil, "Process", lambda pid=None: _Ended(pid, ended.pid))
        assert earlier_holder(f"udpin://127.0.0.1:{port}") is None


class _Ended:
    """A process that could still be opened and is gone when asked for its age."""

    def __init__(self, pid: int | None, ended: int) -> None:
        self.pid, self._ended = pid or os.getpid(), ended

    def create_time(self) -> float:
        if self.pid == self._ended:
            raise psutil.NoSuchProcess(self.pid)
        return 0.0


def test_an_address_that_is_not_ours_is_said_so() -> None:
    assert "cannot be opened" in (port_conflict("udpin://192.0.2.1:14540") or "")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("udpin://0.0.0.0:14540", ("0.0.0.0", 14540)),  # noqa: S104 - read, not bound
        ("udp://:14540", ("0.0.0.0", 14540)),  # noqa: S104 - read, not bound
        ("udpin://[::1]:14540", ("::1", 14540)),
        ("udpout://10.0.0.1:14540", None),
        ("tcpout://10.0.0.1:5760", None),
        ("serial:///dev/ttyUSB0:57600", None),
    ],
)
def test_only_listening_urls_bind(url: str, address: tuple[str, int] | None) -> None:
    assert listening_port(url) == address


def test_a_port_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="99999"):
        listening_port("udpin://0.0.0.0:99999")


def test_a_free_port_stays_free_after_the_look() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"udpin://127.0.0.1:{port}"
    assert port_conflict(url) is None
    assert port_conflict(url) is None
