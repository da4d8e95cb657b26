"""Who holds the UDP port that the vehicle sends to.

MAVSDK binds with address reuse: a second controller would open the same port without an error and
the kernel would give each datagram to only one of the two. So we look before we open.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

from racer.errors import ConfigurationError

_LISTENING_SCHEMES = ("udpin", "udp")


def listening_port(url: str) -> tuple[str, int] | None:
    """Address and UDP port that this MAVSDK URL binds; None if it binds none.

    Raises ConfigurationError if the port is no port.
    """
    parts = urlsplit(url)
    if parts.scheme not in _LISTENING_SCHEMES:
        return None
    try:
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"AUTOPILOT_URL {url}: {error}.") from error
    # As MAVSDK does.
    return None if port is None else (parts.hostname or "0.0.0.0", port)  # noqa: S104 # nosec B104


def port_conflict(url: str) -> str | None:
    """One line that says who holds the port of `url`; None when it is free."""
    if (address := listening_port(url)) is None:
        return None
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                return f"UDP port {port} on {host} cannot be opened: {error.strerror}."
            holders = _holders(port)
            return _complaint(port, _describe(holders[0]) if holders else "another user's process")
    return None


def earlier_holder(url: str) -> str | None:
    """The same line once we hold the port ourselves, if an older process holds it too.

    Two that looked at the same instant both saw a free port; the younger one leaves.
    """
    if (address := listening_port(url)) is None:
        return None
    own = psutil.Process()
    for holder in _holders(address[1]):
        with suppress(psutil.Error):  # it ended while we looked
            if (holder.create_time(), holder.pid) < (own.create_time(), own.pid):
                return _complaint(address[1], _describe(holder))
    return None


def _holders(port: int) -> list[psutil.Process]:
    """Processes with a UDP socket on this port, as far as we may see them."""
    pids = {
        connection.pid
        for connection in psutil.net_connections(kind="udp")
        if connection.laddr and connection.laddr.port == port and connection.pid
    }
    holders = []
    for pid in pids:
        with suppress(psutil.Error):  # it ended while we looked
            holders.append(psutil.Process(pid))
    return holders


def _describe(holder: psutil.Process) -> str:
    try:
        return f"process {holder.pid} ({' '.join(holder.cmdline())})"
    except psutil.Error:
        return f"process {holder.pid}"


def _complaint(port: int, holder: str) -> str:
    return (
        f"UDP port {port} is held by {holder}. Stop it, or choose another vehicle with "
        "VEHICLE_INSTANCE or AUTOPILOT_URL."
    )
