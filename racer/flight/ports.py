"""Who holds the UDP port that the vehicle sends to.

MAVSDK binds with address reuse: a second controller would open the same port without an error and
the kernel would give each datagram to only one of the two. So we look before we open.
"""

from __future__ import annotations

import errno
import socket
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
    return None if port is None else (parts.hostname or "0.0.0.0", port)  # noqa: S104 - as MAVSDK


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
            return (
                f"UDP port {port} is held by {_holder(port)}. Stop it, or choose another vehicle "
                "with VEHICLE_INSTANCE or AUTOPILOT_URL."
            )
    return None


def _holder(port: int) -> str:
    for connection in psutil.net_connections(kind="udp"):
        if connection.laddr and connection.laddr.port == port and connection.pid:
            try:
                command = " ".join(psutil.Process(connection.pid).cmdline())
            except psutil.Error:
                command = "no longer running or not ours to look at"
            return f"process {connection.pid} ({command})"
    return "a process of another user"
